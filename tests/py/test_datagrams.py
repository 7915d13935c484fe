"""Datagram endpoints: UDP and Unix sockets, on both loops."""

import asyncio
import contextvars
import gc
import logging
import socket
import sys
import warnings
import weakref
from asyncio import selector_events

import pytest
from peers import catch_reports, turns, until

LOCAL = ("127.0.0.1", 0)
# What a queued datagram weighs beside its bytes. Versions without it send no empty ones.
HEADER = getattr(selector_events._SelectorDatagramTransport, "_header_size", 0)


class Recorder(asyncio.DatagramProtocol):
    def __init__(self):
        self.got = []
        self.errors = []
        self.calls = []
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.calls.append("made")

    def datagram_received(self, data, address):
        self.got.append((data, address))

    def error_received(self, exc):
        self.errors.append(exc)

    def pause_writing(self):
        self.calls.append("pause")

    def resume_writing(self):
        self.calls.append("resume")

    def connection_lost(self, exc):
        self.calls.append("lost")
        self.lost.set_result(exc)


async def endpoint(protocol=Recorder, **kwargs):
    if not kwargs:
        kwargs["local_addr"] = LOCAL
    return await asyncio.get_running_loop().create_datagram_endpoint(protocol, **kwargs)


async def ended(*protocols):
    for protocol in protocols:
        protocol.transport.close()
    return [await protocol.lost for protocol in protocols]


def plain(transport):
    """A plain socket bound to loopback, and the address of the transport to send to."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(LOCAL)
    return sock, transport.get_extra_info("sockname")


async def full_receiver(tmp_path):
    """A transport connected to a Unix socket that nobody reads from, and takes no more."""
    reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    reader.bind(str(tmp_path / "full"))
    reader.setblocking(False)
    transport, protocol = await endpoint(remote_addr=str(tmp_path / "full"), family=socket.AF_UNIX)
    sent = 0
    while not transport.get_write_buffer_size():
        transport.sendto(b"%d" % sent)
        sent += 1
        assert sent < 100_000
    return reader, transport, protocol, sent


# --- both ways ------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_datagrams_go_both_ways_with_their_senders(run, host):
    async def main():
        try:
            server, one = await endpoint(local_addr=(host, 0))
        except OSError:
            pytest.skip("this machine has no such loopback address")
        address = server.get_extra_info("sockname")
        client, two = await endpoint(remote_addr=address[:2])
        for i in range(3):  # the same sender again: its address is remembered
            client.sendto(b"question %d" % i)
            await until(lambda i=i: len(one.got) > i)
            server.sendto(b"answer %d" % i, one.got[i][1])
            await until(lambda i=i: len(two.got) > i)
        sender = client.get_extra_info("sockname")
        assert one.got == [(b"question %d" % i, sender) for i in range(3)]
        assert two.got == [(b"answer %d" % i, address) for i in range(3)]
        assert [type(item) for item in one.got[0][1]] == [type(item) for item in sender]
        assert await ended(one, two) == [None, None]

    run(main())


def test_many_senders_each_get_their_own_answer(run):
    class Echo(Recorder):
        def datagram_received(self, data, address):
            self.transport.sendto(data, address)

    async def main():
        server, protocol = await endpoint(Echo)
        address = server.get_extra_info("sockname")
        clients = [await endpoint(remote_addr=address) for _ in range(300)]
        for repeat in (b"first", b"second"):
            for number, (client, _) in enumerate(clients):
                client.sendto(b"%s %d" % (repeat, number))
                if number % 20 == 19:
                    await until(lambda n=number: clients[n][1].got)
            await until(lambda: all(one.got for _, one in clients))
            for number, (_, one) in enumerate(clients):
                assert one.got == [(b"%s %d" % (repeat, number), address)]
                one.got.clear()
        await ended(protocol, *[one for _, one in clients])

    run(main())


def test_addresses_can_be_kept_and_used_much_later(run):
    """An address object is shared between datagrams: what is kept must stay what it was."""

    async def main():
        server, protocol = await endpoint()
        socks = []
        for number in range(600):
            sock, address = plain(server)
            sock.sendto(b"%d" % number, address)
            socks.append(sock)
            if number % 20 == 19:
                await until(lambda n=number: len(protocol.got) > n)
        assert [sender for _, sender in protocol.got] == [s.getsockname() for s in socks]
        for number, sock in enumerate(socks):
            server.sendto(b"to %d" % number, protocol.got[number][1])
            sock.settimeout(10)
            assert sock.recvfrom(100) == (b"to %d" % number, server.get_extra_info("sockname"))
            sock.close()
        await ended(protocol)

    run(main())


def test_data_of_all_kinds_and_sizes_arrives(run):
    async def main():
        server, one = await endpoint()
        client, two = await endpoint(remote_addr=server.get_extra_info("sockname"))
        kinds = [
            b"bytes",
            bytearray(b"bytearray"),
            memoryview(b"memoryview"),
            b"x",
            bytes(range(256)) * 200,
            b"a" * 65507,
            b"short again",
        ]
        for i, data in enumerate(kinds):
            client.sendto(data)
            await until(lambda i=i: len(one.got) > i)
        assert [data for data, _ in one.got] == [bytes(data) for data in kinds]
        assert all(type(data) is bytes for data, _ in one.got)
        await ended(one, two)

    run(main())


def test_what_is_received_is_the_receivers_to_keep(run):
    async def main():
        server, protocol = await endpoint()
        sock, address = plain(server)
        with sock:
            for number in range(50):
                sock.sendto(b"%04d" % number * 200, address)
            await until(lambda: len(protocol.got) == 50)
        assert [data for data, _ in protocol.got] == [b"%04d" % n * 200 for n in range(50)]
        await ended(protocol)

    run(main())


def test_an_empty_datagram_is_received(run):
    async def main():
        server, protocol = await endpoint()
        sock, address = plain(server)
        with sock:
            sock.sendto(b"", address)
            await until(lambda: protocol.got)
            assert protocol.got == [(b"", sock.getsockname())]
        await ended(protocol)

    run(main())


def test_an_empty_datagram_is_sent_where_asyncio_sends_it(run):
    async def main():
        server, one = await endpoint()
        client, two = await endpoint(remote_addr=server.get_extra_info("sockname"))
        client.sendto(b"")
        client.sendto(b"after")
        await until(lambda: (b"after", client.get_extra_info("sockname")) in one.got)
        empty = [b""] if HEADER else []
        assert [data for data, _ in one.got] == [*empty, b"after"]
        await ended(one, two)

    run(main())


def test_a_host_given_by_name_is_looked_up(run):
    async def main():
        server, one = await endpoint()
        client, two = await endpoint()
        port = server.get_extra_info("sockname")[1]
        client.sendto(b"by name", ("localhost", port))
        client.sendto(b"by number", ("127.0.0.1", port))
        await until(lambda: len(one.got) == 2)
        client.sendto(b"lost", ("no.such.host.invalid", port))
        assert isinstance(two.errors[0], socket.gaierror)
        assert not client.is_closing()
        await ended(one, two)

    run(main())


def test_datagrams_over_a_unix_socket_carry_the_senders_path(run, tmp_path):
    async def main():
        path = str(tmp_path / "server")
        server, one = await endpoint(local_addr=path, family=socket.AF_UNIX)
        client, two = await endpoint(
            local_addr=str(tmp_path / "client"), remote_addr=path, family=socket.AF_UNIX
        )
        client.sendto(b"question")
        await until(lambda: one.got)
        assert one.got == [(b"question", str(tmp_path / "client"))]
        server.sendto(b"answer", one.got[0][1])
        await until(lambda: two.got)
        assert two.got == [(b"answer", path)]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless:
            nameless.sendto(b"from nobody", path)
            await until(lambda: len(one.got) == 2)
        assert one.got[1] == (b"from nobody", None)
        await ended(one, two)

    run(main())


# --- what sendto() refuses --------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["text", 5, None, [1]])
def test_only_bytes_can_be_sent(run, data):
    async def main():
        transport, protocol = await endpoint()
        with pytest.raises(TypeError, match="data argument must be a bytes-like object, not"):
            transport.sendto(data, ("127.0.0.1", 9))
        await ended(protocol)

    run(main())


def test_arguments_can_be_named(run):
    async def main():
        server, one = await endpoint()
        client, two = await endpoint()
        address = server.get_extra_info("sockname")
        client.sendto(data=b"1", addr=address)
        client.sendto(b"2", addr=address)
        for args, kwargs in (((), {}), ((b"", None, 1), {}), ((b"",), {"to": 1})):
            with pytest.raises(TypeError):
                client.sendto(*args, **kwargs)
        with pytest.raises(TypeError):
            client.sendto(b"3", data=b"3")
        await until(lambda: len(one.got) == 2)
        assert [data for data, _ in one.got] == [b"1", b"2"]
        await ended(one, two)

    run(main())


def test_a_connected_endpoint_sends_to_its_peer_only(run):
    async def main():
        server, one = await endpoint()
        address = server.get_extra_info("sockname")
        client, two = await endpoint(remote_addr=address)
        assert client.get_extra_info("peername") == address
        client.sendto(b"1", address)
        client.sendto(b"2", (address[0], address[1]))
        with pytest.raises(ValueError, match="Invalid address: must be None or "):
            client.sendto(b"3", ("127.0.0.1", 9))
        await until(lambda: len(one.got) == 2)
        await ended(one, two)

    run(main())


def test_an_endpoint_with_an_address_and_no_connection_sends_there(run):
    async def main():
        server, one = await endpoint()
        address = server.get_extra_info("sockname")
        client, two = await endpoint(remote_addr=address, allow_broadcast=True)
        assert client.get_extra_info("peername") is None
        client.sendto(b"1")
        client.sendto(b"2", address)
        with pytest.raises(ValueError, match="Invalid address: must be None or "):
            client.sendto(b"3", ("127.0.0.1", 9))
        await until(lambda: len(one.got) == 2)
        await ended(one, two)

    run(main())


def test_a_socket_that_was_connected_before_sends_to_its_peer(run):
    async def main():
        server, one = await endpoint()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(server.get_extra_info("sockname"))
        client, two = await endpoint(sock=sock)
        client.sendto(b"hello")
        await until(lambda: one.got)
        await ended(one, two)
        assert sock.fileno() == -1

    run(main())


def test_no_address_at_all_is_fatal(run):
    async def main():
        reports = catch_reports(asyncio.get_running_loop())
        transport, protocol = await endpoint()
        transport.sendto(b"where to?")
        assert isinstance(await protocol.lost, TypeError)
        assert reports[0]["message"] == "Fatal write error on datagram transport"
        assert reports[0]["transport"] is transport
        assert reports[0]["protocol"] is protocol

    run(main())


# --- errors ---------------------------------------------------------------------------------------


def test_a_refusal_is_told_to_error_received(run, free_port):
    async def main():
        remote = ("127.0.0.1", free_port(kind=socket.SOCK_DGRAM))
        transport, protocol = await endpoint(remote_addr=remote)
        transport.sendto(b"anybody?")
        await until(lambda: protocol.errors)
        assert isinstance(protocol.errors[0], ConnectionRefusedError)
        assert not transport.is_closing()
        transport.sendto(b"1")
        transport.sendto(b"2")  # is told of the first one's refusal
        assert len(protocol.errors) == 2
        await ended(protocol)

    run(main())


def test_a_datagram_that_is_too_long_is_told_at_once(run):
    async def main():
        transport, protocol = await endpoint()
        transport.sendto(bytes(70_000), ("127.0.0.1", 9))
        assert [type(error) for error in protocol.errors] == [OSError]
        assert transport.get_write_buffer_size() == 0
        await ended(protocol)

    run(main())


def test_what_error_received_raises_is_the_senders(run):
    class Raising(Recorder):
        def error_received(self, exc):
            raise ZeroDivisionError

    async def main():
        transport, protocol = await endpoint(Raising)
        with pytest.raises(ZeroDivisionError):
            transport.sendto(bytes(70_000), ("127.0.0.1", 9))
        assert not transport.is_closing()
        await ended(protocol)

    run(main())


@pytest.mark.parametrize("method", ["datagram_received", "error_received", "connection_made"])
def test_a_failing_method_is_reported_and_the_endpoint_goes_on(run, free_port, method):
    class Failing(Recorder):
        failed = False

        def fail_once(self, *args):
            if self.failed:
                return getattr(super(), method)(*args)
            self.failed = True
            if method == "connection_made":
                super().connection_made(*args)
            raise ZeroDivisionError

    setattr(Failing, method, Failing.fail_once)

    async def main():
        reports = catch_reports(asyncio.get_running_loop())
        if method == "error_received":
            remote = ("127.0.0.1", free_port(kind=socket.SOCK_DGRAM))
            transport, protocol = await endpoint(Failing, remote_addr=remote)
            transport.sendto(b"anybody?")
        else:
            transport, protocol = await endpoint(Failing)
            sock, address = plain(transport)
            with sock:
                sock.sendto(b"1", address)
                sock.sendto(b"2", address)
            await until(lambda: (b"2") in [data for data, _ in protocol.got])
        await until(lambda: reports)
        assert [type(report["exception"]) for report in reports] == [ZeroDivisionError]
        assert not transport.is_closing()
        await ended(protocol)

    run(main())


@pytest.mark.parametrize("exit_type", [SystemExit, KeyboardInterrupt])
def test_an_exit_leaves_the_loop_and_the_next_run_delivers_the_rest(loop, exit_type):
    class Leaving(Recorder):
        def datagram_received(self, data, address):
            super().datagram_received(data, address)
            if data == b"leave":
                raise exit_type

    transport, protocol = loop.run_until_complete(endpoint(Leaving))
    sock, address = plain(transport)
    with sock:
        for data in (b"leave", b"1", b"2"):
            sock.sendto(data, address)
    with pytest.raises(exit_type):
        loop.run_forever()

    async def end():
        await until(lambda: len(protocol.got) == 3)
        await ended(protocol)

    loop.run_until_complete(end())


# --- waiting for room ---------------------------------------------------------------------------------


def test_what_has_to_wait_is_sent_in_order_when_there_is_room(run, tmp_path):
    async def main():
        reader, transport, protocol, sent = await full_receiver(tmp_path)
        changing = bytearray(b"as it was")
        transport.sendto(changing)
        changing[:] = b"changed!!"
        got = []
        with reader:
            while len(got) < sent + 1:
                try:
                    got.append(reader.recv(100))
                except BlockingIOError:
                    await asyncio.sleep(0)
        assert got == [b"%d" % i for i in range(sent)] + [b"as it was"]
        assert transport.get_write_buffer_size() == 0
        await ended(protocol)

    run(main())


def test_the_protocol_is_paused_and_resumed_at_the_marks(run, tmp_path):
    async def main():
        reader, transport, protocol, _ = await full_receiver(tmp_path)
        transport.set_write_buffer_limits(high=100, low=10)
        assert transport.get_write_buffer_limits() == (10, 100)
        transport.sendto(b"a" * 101)
        assert protocol.calls[-1] == "pause"
        transport.sendto(b"b" * 90)
        with reader:
            while protocol.calls[-1] != "resume":
                try:
                    reader.recv(100)
                except BlockingIOError:
                    await asyncio.sleep(0)
        assert protocol.calls == ["made", "pause", "resume"]
        await ended(protocol)

    run(main())


def test_limits_are_checked_as_by_asyncio(run):
    async def main():
        transport, protocol = await endpoint()
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        transport.set_write_buffer_limits(low=10)
        assert transport.get_write_buffer_limits() == (10, 40)
        with pytest.raises(ValueError, match="must be >="):
            transport.set_write_buffer_limits(high=1, low=2)
        await ended(protocol)

    run(main())


def test_the_queue_weighs_its_datagrams(run, tmp_path):
    async def main():
        reader, transport, protocol, _ = await full_receiver(tmp_path)
        before = transport.get_write_buffer_size()
        transport.sendto(b"12345")
        ours = type(transport).__module__ == "yula._core"
        assert transport.get_write_buffer_size() == before + 5 + (8 if ours else HEADER)
        transport.abort()
        reader.close()
        await protocol.lost

    run(main())


def test_close_sends_what_waits_first(run, tmp_path):
    async def main():
        reader, transport, protocol, sent = await full_receiver(tmp_path)
        transport.close()
        await turns(3)
        assert transport.is_closing()
        assert not protocol.lost.done()
        got = 0
        with reader:
            while not protocol.lost.done():
                try:
                    got += bool(reader.recv(100))
                except BlockingIOError:
                    await asyncio.sleep(0)
            while True:
                try:
                    got += bool(reader.recv(100))
                except BlockingIOError:
                    break
        assert got == sent

    run(main())


def test_abort_drops_what_waits(run, tmp_path):
    async def main():
        reader, transport, protocol, _ = await full_receiver(tmp_path)
        transport.abort()
        assert await protocol.lost is None
        reader.close()

    run(main())


# --- life -------------------------------------------------------------------------------------------


def test_connection_made_comes_first_and_connection_lost_last_and_once(run):
    class Ordered(Recorder):
        def datagram_received(self, data, address):
            self.calls.append("data")

    async def main():
        transport, protocol = await endpoint(Ordered)
        assert protocol.calls == ["made"]
        sock, address = plain(transport)
        with sock:
            sock.sendto(b"x", address)
            await until(lambda: "data" in protocol.calls)
            sock.sendto(b"too late", address)
        transport.close()
        transport.close()
        transport.abort()
        assert protocol.calls == ["made", "data"]
        await protocol.lost
        await turns(3)
        assert protocol.calls == ["made", "data", "lost"]
        assert transport.is_closing()

    run(main())


def test_closing_from_datagram_received_ends_receiving_at_once(run):
    class Closing(Recorder):
        def datagram_received(self, data, address):
            super().datagram_received(data, address)
            self.transport.close()

    async def main():
        transport, protocol = await endpoint(Closing)
        sock, address = plain(transport)
        with sock:
            for data in (b"1", b"2", b"3"):
                sock.sendto(data, address)
            await protocol.lost
        assert [data for data, _ in protocol.got] == [b"1"]

    run(main())


@pytest.mark.yula_only(
    selector_events._SelectorDatagramTransport.pause_reading is asyncio.ReadTransport.pause_reading,
    reason="the first releases of 3.11 cannot pause a datagram transport",
)
def test_reading_can_be_paused_from_datagram_received_without_losing_anything(run):
    class Pausing(Recorder):
        def datagram_received(self, data, address):
            super().datagram_received(data, address)
            self.transport.pause_reading()

    async def main():
        transport, protocol = await endpoint(Pausing)
        sock, address = plain(transport)
        with sock:
            for data in (b"1", b"2", b"3"):
                sock.sendto(data, address)
            for count in (1, 2, 3):
                await until(lambda count=count: len(protocol.got) == count)
                await turns(3)
                assert len(protocol.got) == count
                assert not transport.is_reading()
                transport.resume_reading()
                assert transport.is_reading()
        assert [data for data, _ in protocol.got] == [b"1", b"2", b"3"]
        await ended(protocol)

    run(main())


def test_a_flood_does_not_keep_the_loop_to_itself(run):
    async def main():
        transport, protocol = await endpoint()
        sock, address = plain(transport)
        turns_taken = 0
        with sock:
            for _ in range(100):
                sock.sendto(b"x", address)
            while len(protocol.got) < 100:
                before = len(protocol.got)
                await asyncio.sleep(0)
                assert len(protocol.got) - before <= 16
                turns_taken += 1
        assert turns_taken >= 6
        await ended(protocol)

    run(main())


def test_sending_on_a_closed_connection_is_dropped_and_warned_of(run, caplog):
    async def main():
        server, one = await endpoint()
        client, two = await endpoint(remote_addr=server.get_extra_info("sockname"))
        await ended(two)
        with caplog.at_level(logging.WARNING, logger="asyncio"):
            for _ in range(8):
                client.sendto(b"lost")
        assert [record.getMessage() for record in caplog.records] == [
            "socket.send() raised exception."
        ] * 4
        await ended(one)

    run(main())


@pytest.mark.yula_only(reason="asyncio goes on to its socket, which is gone")
def test_sending_on_a_closed_endpoint_without_an_address_is_dropped_as_well(run, caplog):
    async def main():
        transport, protocol = await endpoint()
        await ended(protocol)
        with caplog.at_level(logging.WARNING, logger="asyncio"):
            for _ in range(8):
                transport.sendto(b"lost", ("127.0.0.1", 9))
        assert len(caplog.records) == 4

    run(main())


def test_extra_info_is_known_before_and_after_the_end(run):
    async def main():
        server, one = await endpoint()
        address = server.get_extra_info("sockname")
        client, two = await endpoint(remote_addr=address)
        assert server.get_extra_info("peername") is None
        sock = client.get_extra_info("socket")
        assert sock.getsockname() == client.get_extra_info("sockname")
        assert sock.type == socket.SOCK_DGRAM
        assert client.get_extra_info("nothing", 5) == 5
        await ended(one, two)
        assert client.get_extra_info("peername") == address

    run(main())


def test_the_repr_tells_the_state(run):
    async def main():
        transport, protocol = await endpoint()
        fd = transport.get_extra_info("socket").fileno()
        assert f"fd={fd} read=polling write=<idle, bufsize=0>" in repr(transport)
        transport.close()
        assert "closing" in repr(transport)
        await protocol.lost
        assert "closed" in repr(transport)

    run(main())


def test_it_is_a_datagram_transport(run):
    async def main():
        transport, protocol = await endpoint()
        if sys.version_info >= (3, 13):
            assert isinstance(transport, asyncio.DatagramTransport)
        assert transport.get_protocol() is protocol
        other = Recorder()
        other.transport = transport
        transport.set_protocol(other)
        assert transport.get_protocol() is other
        await ended(other)

    run(main())


def test_a_transports_descriptor_is_not_watched_by_others(run):
    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await endpoint()
        fd = transport.get_extra_info("socket").fileno()
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop.add_reader(fd, print)
        await ended(protocol)

    run(main())


def test_callbacks_run_in_the_context_of_the_creation(run):
    variable = contextvars.ContextVar("variable", default="none")
    seen = []

    class Seeing(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            seen.append(variable.get())

        def datagram_received(self, data, address):
            super().datagram_received(data, address)
            seen.append(variable.get())

    async def main():
        variable.set("creator")
        transport, protocol = await endpoint(Seeing)
        variable.set("later")
        sock, address = plain(transport)
        with sock:
            sock.sendto(b"x", address)
            await until(lambda: protocol.got)
        await ended(protocol)
        assert seen == ["creator", "creator"]

    run(main())


def test_a_closed_endpoint_is_let_go(run):
    async def main():
        transport, protocol = await endpoint()
        await ended(protocol)
        alive = weakref.ref(transport)
        del transport, protocol
        await turns(2)
        gc.collect()
        assert alive() is None

    run(main())


def test_an_endpoint_left_open_warns_and_closes_its_socket(loop_factory):
    loop = loop_factory()
    transport, protocol = loop.run_until_complete(endpoint())
    sock = transport._sock
    loop.close()
    protocol.lost.cancel()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del transport, protocol
        gc.collect()
    assert any("unclosed transport" in str(warning.message) for warning in caught)
    assert sock.fileno() == -1


def test_a_number_that_is_used_again_does_not_get_the_datagrams_of_before(run):
    async def main():
        for number in range(20):
            transport, protocol = await endpoint()
            sock, address = plain(transport)
            with sock:
                sock.sendto(b"%d" % number, address)
                if number % 2:
                    await until(lambda p=protocol: p.got)
                    assert [data for data, _ in protocol.got] == [b"%d" % number]
            transport.abort()
            await protocol.lost

    run(main())


@pytest.mark.parametrize("kind", ["subclass", "seqpacket"])
def test_other_sockets_are_served_too(run, kind):
    class Socket(socket.socket):
        pass

    async def main():
        if kind == "subclass":
            sock = Socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(LOCAL)
            other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            other.connect(sock.getsockname())
        else:
            sock, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            try:
                transport, protocol = await endpoint(sock=sock)
            except ValueError:
                sock.close()
                pytest.skip("asyncio takes datagram sockets only")
            other.send(b"hello")
            await until(lambda: protocol.got)
            assert protocol.got[0][0] == b"hello"
            transport.abort()
            await protocol.lost

    run(main())


def test_debug_mode_reports_a_slow_datagram_received(loop, caplog):
    class Slow(Recorder):
        def datagram_received(self, data, address):
            super().datagram_received(data, address)
            loop.slow_callback_duration = 0

    async def main():
        transport, protocol = await endpoint(Slow)
        sock, address = plain(transport)
        with sock:
            sock.sendto(b"x", address)
            await until(lambda: protocol.got)
        loop.slow_callback_duration = 1000
        await ended(protocol)

    loop.set_debug(True)
    loop.slow_callback_duration = 1000
    with caplog.at_level(logging.WARNING, logger="asyncio"):
        loop.run_until_complete(main())
    assert any("Executing" in record.getMessage() for record in caplog.records)
