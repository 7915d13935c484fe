"""A transport's life: made once, lost once, closed from anywhere, on every route to it."""

import asyncio
import socket

import pytest
from peers import KINDS, Recorder, pair, receive, receive_all, turns, until, wired


def make_route(loop, route, tmp_path):
    """A function that connects a Recorder by one route: (transport, protocol, peer, server)."""

    async def adopt():
        ours, peer = pair("tcp")
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        return transport, protocol, peer, None

    async def adopt_unix():
        ours, peer = pair("unix")
        transport, protocol = await loop.create_unix_connection(Recorder, sock=ours)
        return transport, protocol, peer, None

    async def adopt_accepted():
        ours, peer = pair("tcp")
        transport, protocol = await loop.connect_accepted_socket(Recorder, ours)
        return transport, protocol, peer, None

    async def connect():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            host, port = listener.getsockname()
            transport, protocol = await loop.create_connection(Recorder, host, port)
            peer, _ = listener.accept()
        peer.setblocking(False)
        return transport, protocol, peer, None

    async def connect_unix():
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "listener"))
            listener.listen()
            transport, protocol = await loop.create_unix_connection(
                Recorder, str(tmp_path / "listener")
            )
            peer, _ = listener.accept()
        peer.setblocking(False)
        return transport, protocol, peer, None

    async def served(server):
        protocols = served.protocols
        peer = socket.socket(server.sockets[0].family)
        peer.connect(server.sockets[0].getsockname())
        peer.setblocking(False)
        await until(lambda: protocols and protocols[0].transport)
        return protocols[0].transport, protocols[0], peer, server

    served.protocols = []

    def factory():
        served.protocols.append(Recorder())
        return served.protocols[-1]

    async def serve():
        return await served(await loop.create_server(factory, "127.0.0.1", 0))

    async def serve_unix():
        return await served(await loop.create_unix_server(factory, str(tmp_path / "server")))

    routes = [adopt, adopt_unix, adopt_accepted, connect, connect_unix, serve, serve_unix]
    return {function.__name__: function for function in routes}[route]


ROUTES = pytest.mark.parametrize(
    "route",
    [
        "adopt",
        "adopt_unix",
        "adopt_accepted",
        "connect",
        "connect_unix",
        "serve",
        "serve_unix",
    ],
)


async def end(server, peer):
    peer.close()
    if server is not None:
        server.close()
        await server.wait_closed()


@ROUTES
def test_bytes_go_both_ways_and_the_peers_end_closes_the_transport(loop, route, tmp_path):
    async def main():
        transport, protocol, peer, server = await make_route(loop, route, tmp_path)()
        assert protocol.calls == ["made"]
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"from us")
        assert await receive(peer, 7) == b"from us"
        peer.send(b"from them")
        await until(lambda: protocol.data == b"from them")
        peer.shutdown(socket.SHUT_WR)
        assert await protocol.lost is None
        assert protocol.calls == ["made", "data", "eof", "lost"]
        assert transport.is_closing()
        assert await receive_all(peer) == b""
        await end(server, peer)

    loop.run_until_complete(main())


@ROUTES
def test_close_sends_what_was_written_and_is_lost_once_without_a_reason(loop, route, tmp_path):
    async def main():
        transport, protocol, peer, server = await make_route(loop, route, tmp_path)()
        payload = bytes(range(256)) * 8192  # more than the kernel takes at once
        transport.write(payload)
        transport.close()
        transport.close()
        assert transport.is_closing()
        assert "lost" not in protocol.calls
        assert await receive_all(peer) == payload
        assert await protocol.lost is None
        transport.close()
        await turns(3)
        assert protocol.calls.count("lost") == 1
        await end(server, peer)

    loop.run_until_complete(main())


@ROUTES
def test_abort_drops_what_was_written_and_is_lost_once(loop, route, tmp_path):
    async def main():
        transport, protocol, peer, server = await make_route(loop, route, tmp_path)()
        transport.write(bytes(1 << 23))
        assert transport.get_write_buffer_size() > 0
        transport.abort()
        assert "lost" not in protocol.calls
        assert await protocol.lost is None
        assert transport.get_write_buffer_size() == 0
        assert len(await receive_all(peer)) < 1 << 23
        assert protocol.calls.count("lost") == 1
        await end(server, peer)

    loop.run_until_complete(main())


@KINDS
@pytest.mark.parametrize("how", ["close", "abort"])
def test_connection_lost_is_never_called_inside_close_or_abort(loop, kind, how):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, _):
            getattr(transport, how)()
            assert protocol.calls == ["made"]
            await protocol.lost

    loop.run_until_complete(main())


@pytest.mark.parametrize("how", ["close", "abort"])
def test_closing_in_connection_made_reads_nothing(loop, how):
    async def main():
        class Closes(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                getattr(transport, how)()

        ours, peer = pair()
        with peer:
            peer.send(b"never read")
            _transport, protocol = await loop.create_connection(Closes, sock=ours)
            await protocol.lost
        assert protocol.calls == ["made", "lost"]
        assert protocol.data == b""

    loop.run_until_complete(main())


@KINDS
@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("method", ["data_received", "eof_received"])
def test_a_transport_may_be_closed_in_its_own_reading_callbacks(loop, kind, how, method):
    async def main():
        class Closes(Recorder):
            pass

        def closing(self, *args):
            getattr(Recorder, method)(self, *args)
            getattr(self.transport, how)()
            self.calls.append("closed")

        setattr(Closes, method, closing)
        protocol = Closes()
        async with wired(protocol, kind) as (_, peer):
            peer.send(b"x")
            peer.shutdown(socket.SHUT_WR)
            await protocol.lost
            await turns(3)
        assert protocol.calls[-2:] == ["closed", "lost"]
        assert protocol.calls.count("closed") == 1
        assert protocol.calls.count("lost") == 1

    loop.run_until_complete(main())


@pytest.mark.yula_only(reason="asyncio before 3.14.8 calls connection_lost twice (gh-156512)")
@KINDS
@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_a_transport_may_be_closed_in_its_own_writing_callbacks(loop, kind, how, method):
    async def main():
        class Closes(Recorder):
            pass

        def closing(self, *args):
            getattr(Recorder, method)(self, *args)
            getattr(self.transport, how)()
            self.calls.append("closed")

        setattr(Closes, method, closing)
        protocol = Closes()
        async with wired(protocol, kind, buffer=1 << 16) as (transport, peer):
            transport.write(bytes(1 << 20))
            await receive_all(peer)
            await protocol.lost
            await turns(3)
        assert protocol.calls.count("closed") == 1
        assert protocol.calls.count("lost") == 1
        assert protocol.calls[-1] == "lost"

    loop.run_until_complete(main())


@pytest.mark.yula_only(reason="asyncio raises AttributeError from abort() after a flushed close")
@KINDS
def test_abort_after_the_connection_was_lost_is_harmless(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind, buffer=1 << 16) as (transport, peer):
            transport.write(bytes(1 << 20))
            transport.close()
            await receive_all(peer)
            await protocol.lost
            transport.abort()
            transport.close()
            await turns(3)
            assert protocol.calls.count("lost") == 1

    loop.run_until_complete(main())


@KINDS
def test_data_that_arrives_after_close_is_not_delivered(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind, buffer=1 << 16) as (transport, peer):
            transport.write(bytes(1 << 20))
            transport.close()
            peer.send(b"too late")
            await receive(peer, 1 << 20)
            await protocol.lost
            assert protocol.data == b""

    loop.run_until_complete(main())


@KINDS
def test_two_transports_may_close_each_other_in_one_batch(loop, kind):
    async def main():
        class Closes(Recorder):
            other = None

            def data_received(self, data):
                super().data_received(data)
                self.other.transport.abort()

        one, two = Closes(), Closes()
        one.other, two.other = two, one
        async with wired(one, kind) as (_, peer1), wired(two, kind) as (_, peer2):
            peer1.send(b"x")
            peer2.send(b"x")
            loser = two if await first_done(one.lost, two.lost) is two.lost else one
            await turns(3)
            # The one closed by the other's callback got no data although its event was due.
            assert loser.data == b""
            assert [one.calls, two.calls].count(["made", "lost"]) == 1

    async def first_done(*futures):
        await until(lambda: any(f.done() for f in futures))
        return next(f for f in futures if f.done())

    loop.run_until_complete(main())


def test_reading_starts_after_connection_made(loop):
    async def main():
        order = []

        class Ordered(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                order.append("made")
                loop.call_soon(order.append, "next turn")

            def data_received(self, data):
                order.append("data")

        ours, peer = pair()
        with peer:
            peer.send(b"early bird")
            transport, _ = await loop.create_connection(Ordered, sock=ours)
            await until(lambda: "data" in order)
            transport.close()
            await turns(2)
        assert order[0] == "made"

    loop.run_until_complete(main())


def test_create_connection_returns_after_connection_made(loop):
    async def main():
        ours, peer = pair()
        with peer:
            transport, protocol = await loop.create_connection(Recorder, sock=ours)
            assert protocol.calls == ["made"]
            assert protocol.transport is transport
            assert transport.get_protocol() is protocol
            transport.abort()
            await protocol.lost

    loop.run_until_complete(main())


def test_a_protocol_factory_that_raises_leaves_the_error_and_no_descriptor(loop):
    def factory():
        raise LookupError("no protocol today")

    async def main():
        ours, peer = pair()
        with peer, ours:
            with pytest.raises(LookupError):
                await loop.create_connection(factory, sock=ours)

    loop.run_until_complete(main())


def test_the_socket_of_a_refused_connection_is_closed(loop, free_port):
    async def main():
        with pytest.raises(ConnectionRefusedError):
            await loop.create_connection(Recorder, "127.0.0.1", free_port())

    loop.run_until_complete(main())


def test_a_cancelled_create_connection_closes_its_socket(loop):
    async def main():
        # A listener whose backlog is full leaves the next connects pending.
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
            host, port = listener.getsockname()
            full = [socket.socket() for _ in range(4)]
            for sock in full:
                sock.setblocking(False)
                sock.connect_ex((host, port))
            task = asyncio.ensure_future(loop.create_connection(Recorder, host, port))
            await turns(5)
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for sock in full:
                sock.close()

    loop.run_until_complete(main())


@pytest.mark.parametrize("wrong", ["dgram", "blocking with ssl", "host too"])
def test_sockets_that_cannot_be_adopted_are_refused_with_a_value_error(loop, wrong):
    async def main():
        if wrong == "dgram":
            with socket.socket(type=socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                with pytest.raises(ValueError, match="A Stream Socket was expected"):
                    await loop.create_connection(Recorder, sock=sock)
                with pytest.raises(ValueError, match="A Stream Socket was expected"):
                    await loop.connect_accepted_socket(Recorder, sock)
        else:
            ours, peer = pair()
            with ours, peer:
                if wrong == "host too":
                    with pytest.raises(ValueError, match="can not be specified at the same time"):
                        await loop.create_connection(Recorder, "localhost", 80, sock=ours)
                else:
                    with pytest.raises(ValueError, match="server_hostname"):
                        await loop.create_connection(Recorder, sock=ours, ssl=True)

    loop.run_until_complete(main())


def test_cancelling_the_adoption_of_a_socket_closes_it_once(loop):
    import ssl

    async def main():
        for turn in range(6):
            ours, peer = pair()
            with peer:
                task = asyncio.ensure_future(
                    loop.create_connection(
                        Recorder,
                        sock=ours,
                        ssl=ssl.create_default_context(),
                        server_hostname="localhost",
                    )
                )
                await turns(turn)
                number = ours.fileno()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await turns(5)
                if ours.fileno() >= 0:
                    # Cancelled before it was adopted: still the caller's, and still open.
                    assert ours.fileno() == number
                    ours.getpeername()
                    ours.close()

    loop.run_until_complete(main())


def test_host_and_port_or_a_socket_are_required(loop):
    async def main():
        with pytest.raises(ValueError, match="host and port was not specified"):
            await loop.create_connection(Recorder)
        with pytest.raises(ValueError):
            await loop.create_unix_connection(Recorder)

    loop.run_until_complete(main())


def test_an_adopted_blocking_socket_is_made_non_blocking(loop):
    async def main():
        ours, peer = pair()
        ours.setblocking(True)
        with peer:
            transport, protocol = await loop.create_connection(Recorder, sock=ours)
            assert transport.get_extra_info("socket").gettimeout() == 0.0
            transport.close()
            await protocol.lost

    loop.run_until_complete(main())


def test_tcp_transports_send_small_writes_at_once(loop, tmp_path):
    async def main():
        for route in ("adopt", "connect", "serve"):
            transport, protocol, peer, server = await make_route(loop, route, tmp_path)()
            sock = transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            transport.close()
            await protocol.lost
            await end(server, peer)

    loop.run_until_complete(main())


def test_create_connection_tries_every_address_and_tells_all_errors(loop, free_port):
    async def main():
        port = free_port()
        with pytest.raises(OSError) as caught:
            await loop.create_connection(Recorder, "localhost", port)
        assert str(port) in str(caught.value) or caught.value.errno

    loop.run_until_complete(main())


def test_local_addr_binds_the_connection(loop):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            transport, protocol = await loop.create_connection(
                Recorder, *listener.getsockname(), local_addr=("127.0.0.2", 0)
            )
            peer, address = listener.accept()
            with peer:
                assert address[0] == "127.0.0.2"
                assert transport.get_extra_info("sockname") == address
                transport.close()
                await protocol.lost

    loop.run_until_complete(main())


def test_happy_eyeballs_connects(loop):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            transport, protocol = await loop.create_connection(
                Recorder, "localhost", port, happy_eyeballs_delay=0.2, interleave=1
            )
            transport.close()
            await protocol.lost

    loop.run_until_complete(main())


def test_a_thousand_connections_come_and_go(loop):
    async def main():
        protocols = []

        def factory():
            protocols.append(Recorder())
            return protocols[-1]

        server = await loop.create_server(factory, "127.0.0.1", 0, backlog=100)
        address = server.sockets[0].getsockname()
        for _ in range(20):
            made = len(protocols)
            clients = [(await loop.create_connection(Recorder, *address)) for _ in range(50)]
            for transport, _ in clients:
                transport.write(b"hi")
            await until(lambda made=made: len(protocols) == made + 50)
            await until(lambda made=made: all(p.data == b"hi" for p in protocols[made:]))
            for transport, _ in clients:
                transport.close()
            await until(lambda made=made: all(p.lost.done() for p in protocols[made:]))
        server.close()
        await server.wait_closed()
        assert len(protocols) == 1000
        assert all(p.calls == ["made", "data", "eof", "lost"] for p in protocols)
        await turns(2)

    loop.run_until_complete(main())
