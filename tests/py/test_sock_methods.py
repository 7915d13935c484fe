"""loop.sock_*: awaitable socket calls, cancelled and repeated, honest about misuse."""

import asyncio
import errno
import gc
import socket
import weakref

import pytest
from peers import KINDS, fill, pair, receive, turns, until

PATTERN = bytes(range(256)) * 8192


def run(loop, main):
    return loop.run_until_complete(main())


@pytest.fixture
def datagrams():
    a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with a, b:
        for sock in (a, b):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        yield a, b


@KINDS
def test_sock_recv_returns_what_is_there_and_waits_for_what_is_not(loop, kind):
    a, b = pair(kind)

    async def main():
        b.send(b"there")
        assert await loop.sock_recv(a, 100) == b"there"
        loop.call_later(0.001, b.send, b"later")
        assert await loop.sock_recv(a, 3) == b"lat"
        assert await loop.sock_recv(a, 100) == b"er"
        b.close()
        assert await loop.sock_recv(a, 100) == b""

    with a, b:
        run(loop, main)


@KINDS
def test_sock_recv_into_fills_the_buffer(loop, kind):
    a, b = pair(kind)

    async def main():
        buffer = bytearray(10)
        b.send(b"there")
        assert await loop.sock_recv_into(a, buffer) == 5
        assert buffer == b"there" + bytes(5)
        loop.call_later(0.001, b.send, b"later")
        assert await loop.sock_recv_into(a, memoryview(buffer)[5:8]) == 3
        assert buffer == b"therelat" + bytes(2)

    with a, b:
        run(loop, main)


@KINDS
def test_sock_sendall_sends_more_than_the_kernel_takes(loop, kind):
    a, b = pair(kind, buffer=1 << 16)

    async def main():
        sending = asyncio.ensure_future(loop.sock_sendall(a, PATTERN))
        assert await receive(b, len(PATTERN)) == PATTERN
        assert await sending is None
        for cls in (bytes, bytearray, memoryview):
            sending = asyncio.ensure_future(loop.sock_sendall(a, cls(PATTERN)))
            assert await receive(b, len(PATTERN)) == PATTERN
            await sending
        await loop.sock_sendall(a, b"")

    with a, b:
        run(loop, main)


def test_sock_connect_and_sock_accept_meet(loop):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            listener.setblocking(False)
            client.setblocking(False)
            accepting = asyncio.ensure_future(loop.sock_accept(listener))
            await turns(2)
            assert await loop.sock_connect(client, listener.getsockname()) is None
            connection, address = await accepting
            with connection:
                assert address == client.getsockname()
                assert connection.gettimeout() == 0
                await loop.sock_sendall(client, b"hello")
                assert await loop.sock_recv(connection, 10) == b"hello"

    run(loop, main)


def test_sock_connect_to_a_unix_listener(loop, tmp_path):
    async def main():
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
            listener.bind(str(tmp_path / "s"))
            listener.listen()
            listener.setblocking(False)
            client.setblocking(False)
            await loop.sock_connect(client, str(tmp_path / "s"))
            connection, _ = await loop.sock_accept(listener)
            connection.close()

    run(loop, main)


def test_sock_connect_resolves_a_name(loop):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, ("localhost", listener.getsockname()[1]))

    run(loop, main)


def test_sock_connect_refused_is_the_right_error(loop, free_port):
    async def main():
        with socket.socket() as client:
            client.setblocking(False)
            with pytest.raises(ConnectionRefusedError) as caught:
                await loop.sock_connect(client, ("127.0.0.1", free_port()))
            assert caught.value.errno == errno.ECONNREFUSED

    run(loop, main)


def test_sock_connect_to_a_missing_unix_path_is_the_right_error(loop, tmp_path):
    async def main():
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            with pytest.raises(FileNotFoundError):
                await loop.sock_connect(client, str(tmp_path / "missing"))

    run(loop, main)


def test_datagrams_with_their_addresses(loop, datagrams):
    a, b = datagrams

    async def main():
        assert await loop.sock_sendto(a, b"one", b.getsockname()) == 3
        assert await loop.sock_recvfrom(b, 100) == (b"one", a.getsockname())
        loop.call_later(0.001, a.sendto, b"two", b.getsockname())
        buffer = bytearray(10)
        count, address = await loop.sock_recvfrom_into(b, buffer)
        assert (count, address, buffer[:3]) == (3, a.getsockname(), b"two")
        loop.call_later(0.001, a.sendto, b"three", b.getsockname())
        count, _ = await loop.sock_recvfrom_into(b, buffer, 2)
        assert (count, buffer[:2]) == (2, b"th")
        await loop.sock_sendto(a, b"", b.getsockname())
        assert await loop.sock_recvfrom(b, 100) == (b"", a.getsockname())

    run(loop, main)


@KINDS
def test_a_receive_cancelled_and_repeated_at_once_loses_nothing(loop, kind):
    a, b = pair(kind)

    async def main():
        for round_ in range(200):
            waiting = asyncio.ensure_future(loop.sock_recv(a, 100))
            await turns(2)
            waiting.cancel()
            if round_ % 2:
                b.send(b"%d" % round_)
            with pytest.raises(asyncio.CancelledError):
                await waiting
            again = asyncio.ensure_future(loop.sock_recv(a, 100))
            await turns(round_ % 3)
            if not round_ % 2:
                b.send(b"%d" % round_)
            assert await again == b"%d" % round_

    with a, b:
        run(loop, main)


@KINDS
def test_a_receive_cancelled_while_its_data_arrives_leaves_the_data(loop, kind):
    a, b = pair(kind)

    async def main():
        for _ in range(100):
            waiting = asyncio.ensure_future(loop.sock_recv(a, 100))
            await turns(2)
            b.send(b"x")
            waiting.cancel()
            try:
                data = await waiting
            except asyncio.CancelledError:
                data = await loop.sock_recv(a, 100)
            assert data == b"x"

    with a, b:
        run(loop, main)


def test_an_accept_cancelled_and_repeated_at_once_loses_no_connection(loop):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            for round_ in range(50):
                waiting = asyncio.ensure_future(loop.sock_accept(listener))
                await turns(2)
                waiting.cancel()
                again = asyncio.ensure_future(loop.sock_accept(listener))
                if round_ % 2:
                    await turns(1)
                with socket.create_connection(listener.getsockname()) as client:
                    connection, address = await again
                    with connection:
                        assert address == client.getsockname()
                with pytest.raises(asyncio.CancelledError):
                    await waiting

    run(loop, main)


@KINDS
def test_a_send_cancelled_and_repeated_at_once_goes_on(loop, kind):
    a, b = pair(kind, buffer=1 << 16)

    async def main():
        for _ in range(20):
            filled = fill(a)
            waiting = asyncio.ensure_future(loop.sock_sendall(a, b"x"))
            await turns(2)
            waiting.cancel()
            again = asyncio.ensure_future(loop.sock_sendall(a, b"y"))
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await receive(b, filled + 1))[-1:] == b"y"
            await again

    with a, b:
        run(loop, main)


def test_a_cancelled_connect_frees_the_descriptor_for_the_next(loop):
    async def main():
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            address = full.getsockname()
            blockers = [socket.socket() for _ in range(4)]
            for sock in blockers:
                sock.setblocking(False)
                sock.connect_ex(address)
            with socket.create_server(("127.0.0.1", 0)) as listener:
                for _ in range(30):
                    stuck = socket.socket()
                    stuck.setblocking(False)
                    connecting = asyncio.ensure_future(loop.sock_connect(stuck, address))
                    await turns(2)
                    assert not connecting.done()
                    connecting.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await connecting
                    stuck.close()
                    with socket.socket() as fresh:  # usually the number just given back
                        fresh.setblocking(False)
                        await loop.sock_connect(fresh, listener.getsockname())
                        assert not loop.remove_writer(fresh)
            for sock in blockers:
                sock.close()

    run(loop, main)


@KINDS
def test_a_cancelled_receive_leaves_no_reader_behind(loop, kind):
    a, b = pair(kind)

    async def main():
        waiting = asyncio.ensure_future(loop.sock_recv(a, 100))
        await turns(2)
        waiting.cancel()
        await turns(2)
        assert loop.remove_reader(a) is False
        assert waiting.cancelled()

    with a, b:
        run(loop, main)


@KINDS
def test_a_timeout_around_a_receive_leaves_the_socket_usable(loop, kind):
    a, b = pair(kind)

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(loop.sock_recv(a, 100), 0.001)
        b.send(b"after")
        assert await asyncio.wait_for(loop.sock_recv(a, 100), 5) == b"after"

    with a, b:
        run(loop, main)


@KINDS
def test_reading_and_writing_one_socket_at_the_same_time(loop, kind):
    a, b = pair(kind, buffer=1 << 16)

    async def collect(sock):
        got = bytearray()
        while len(got) < len(PATTERN):
            got += await loop.sock_recv(sock, 50_000)
        return got

    async def main():
        got_a, got_b, _, _ = await asyncio.gather(
            collect(a), collect(b), loop.sock_sendall(a, PATTERN), loop.sock_sendall(b, PATTERN)
        )
        assert got_a == got_b == PATTERN

    with a, b:
        run(loop, main)


def test_debug_mode_refuses_a_blocking_socket(loop):
    async def main():
        loop.set_debug(True)
        with socket.socket() as sock, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            for call in (
                loop.sock_recv(sock, 10),
                loop.sock_recv_into(sock, bytearray(10)),
                loop.sock_sendall(sock, b"x"),
                loop.sock_connect(sock, ("127.0.0.1", 1)),
                loop.sock_accept(sock),
                loop.sock_recvfrom(datagram, 10),
                loop.sock_recvfrom_into(datagram, bytearray(10)),
                loop.sock_sendto(datagram, b"x", ("127.0.0.1", 1)),
            ):
                with pytest.raises(ValueError, match="must be non-blocking"):
                    await call

    run(loop, main)


def test_a_tls_socket_is_refused(loop):
    import ssl

    async def main():
        a, b = pair()
        context = ssl.create_default_context()
        with b, context.wrap_socket(a, server_hostname="x", do_handshake_on_connect=False) as tls:
            for call in (
                loop.sock_recv(tls, 10),
                loop.sock_recv_into(tls, bytearray(10)),
                loop.sock_sendall(tls, b"x"),
                loop.sock_connect(tls, ("127.0.0.1", 1)),
                loop.sock_accept(tls),
            ):
                with pytest.raises(TypeError, match="SSL"):
                    await call

    run(loop, main)


def test_a_closed_socket_is_an_error_not_a_hang(loop):
    async def main():
        sock = socket.socket()
        sock.setblocking(False)
        sock.close()
        for call in (
            loop.sock_recv(sock, 10),
            loop.sock_sendall(sock, b"x"),
            loop.sock_accept(sock),
            loop.sock_connect(sock, ("127.0.0.1", 1)),
        ):
            with pytest.raises((OSError, ValueError)):
                await call

    run(loop, main)


@KINDS
def test_a_socket_closed_behind_a_cancelled_receive_does_no_harm(loop, kind):
    async def main():
        for _ in range(50):
            a, b = pair(kind)
            waiting = asyncio.ensure_future(loop.sock_recv(a, 10))
            await turns(2)
            waiting.cancel()
            a.close()
            c, d = pair(kind)  # takes the number while the cancellation is still on its way
            fresh = asyncio.ensure_future(loop.sock_recv(c, 10))
            await turns(1)
            d.send(b"fresh")
            assert await fresh == b"fresh"
            with pytest.raises(asyncio.CancelledError):
                await waiting
            for sock in (b, c, d):
                sock.close()

    run(loop, main)


@pytest.mark.yula_only(reason="asyncio's selector believes the old registration and never fires")
def test_a_socket_closed_under_a_waiting_receive_does_not_disturb_the_next_owner(loop):
    async def main():
        for _ in range(50):
            a, b = pair("unix")
            waiting = asyncio.ensure_future(loop.sock_recv(a, 10))
            await turns(2)
            a.close()
            c, d = pair("unix")
            fresh = asyncio.ensure_future(loop.sock_recv(c, 10))
            await turns(1)
            d.send(b"fresh")
            assert await fresh == b"fresh"
            waiting.cancel()
            with pytest.raises((asyncio.CancelledError, OSError)):
                await waiting
            d.send(b"again")
            assert await loop.sock_recv(c, 10) == b"again"
            for sock in (b, c, d):
                sock.close()

    run(loop, main)


def test_a_reset_is_raised_by_the_call_that_meets_it(loop):
    a, b = pair()

    async def main():
        waiting = asyncio.ensure_future(loop.sock_recv(a, 10))
        await turns(2)
        b.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        b.close()
        with pytest.raises(ConnectionResetError):
            await waiting

    with a, b:
        run(loop, main)


def test_a_refused_argument_leaves_nothing_held(loop):
    """An operation made in vain kept its socket for ever, and its buffer exported."""
    buffer = bytearray(4)
    calls = {
        "sock_sendall": ("not bytes",),
        "sock_recv_into": (b"read-only",),
        "sock_recvfrom_into": (buffer, 100),
        "sock_recv": (-1,),
    }

    async def main():
        for name, args in calls.items():
            a, b = pair("tcp")
            with pytest.raises((TypeError, ValueError, BufferError)):
                await getattr(loop, name)(a, *args)
            gone = weakref.ref(a)
            a.close()
            b.close()
            del a
            gc.collect()
            assert gone() is None, name
        buffer.append(0)

    run(loop, main)


def test_a_socket_connected_by_name_is_not_held(loop):
    """It was, for ever, by the operation that had looked for an address literal."""

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            sock = socket.socket()
            sock.setblocking(False)
            await loop.sock_connect(sock, ("localhost", listener.getsockname()[1]))
            gone = weakref.ref(sock)
            sock.close()
            del sock
            gc.collect()
            assert gone() is None

    run(loop, main)


def test_what_the_calls_return_can_be_made_a_task(loop):
    a, b = pair()

    async def main():
        task = loop.create_task(loop.sock_recv(a, 10))
        b.send(b"x")
        assert await task == b"x"
        async with asyncio.TaskGroup() as group:
            got = group.create_task(loop.sock_recv(a, 10))
            group.create_task(loop.sock_sendall(b, b"y"))
        assert got.result() == b"y"

    with a, b:
        run(loop, main)


def test_a_hundred_conversations_do_not_mix(loop):
    async def echo(sock):
        while data := await loop.sock_recv(sock, 1000):
            await loop.sock_sendall(sock, data)

    async def talk(sock, name):
        for turn in range(10):
            word = b"%d:%d" % (name, turn)
            await loop.sock_sendall(sock, word)
            assert await loop.sock_recv(sock, 1000) == word
        sock.shutdown(socket.SHUT_WR)

    async def main():
        pairs = [pair() for _ in range(100)]
        calls = [echo(a) for a, _ in pairs] + [talk(b, n) for n, (_, b) in enumerate(pairs)]
        await asyncio.gather(*calls)
        for a, b in pairs:
            a.close()
            b.close()

    run(loop, main)


def test_sock_sendfile_sends_a_part_of_a_file(loop, tmp_path):
    a, b = pair()
    path = tmp_path / "file"
    path.write_bytes(PATTERN)

    async def main():
        with open(path, "rb") as file:
            sending = asyncio.ensure_future(loop.sock_sendfile(a, file, 1000, 500_000))
            got = await receive(b, 500_000)
            assert await sending == 500_000
            assert got == PATTERN[1000:501_000]
            assert file.tell() == 501_000

    with a, b:
        run(loop, main)


def test_readiness_is_not_lost_between_add_reader_and_sock_recv(loop):
    a, b = pair()
    seen = []

    async def main():
        loop.add_reader(a, lambda: (seen.append(1), loop.remove_reader(a)))
        b.send(b"x")
        await until(lambda: seen)
        assert await loop.sock_recv(a, 10) == b"x"

    with a, b:
        run(loop, main)
