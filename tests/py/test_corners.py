"""What programs meet rarely, and only with a second look, as on asyncio."""

import asyncio
import errno
import socket
import struct
import time

import pytest
from peers import KINDS, BufferedRecorder, Recorder, catch_reports, pair, turns, until, wired

SO_SNDBUFFORCE = 32  # socket(7); the socket module does not name it

# --- debug mode -----------------------------------------------------------------------------------


class Slow(Recorder):
    """Slow in one method, which is long past the loop's threshold of zero seconds."""

    def data_received(self, data):
        super().data_received(data)
        time.sleep(0.001)


def test_a_slow_method_of_a_protocol_is_reported_in_debug_mode(loop, caplog):
    async def main():
        protocol = Slow()
        async with wired(protocol) as (_, peer):
            caplog.clear()
            loop.slow_callback_duration = 0.0005
            peer.send(b"x")
            await until(lambda: any("Executing" in line for line in caplog.messages))
            loop.slow_callback_duration = 60

    loop.set_debug(True)
    loop.slow_callback_duration = 60
    loop.run_until_complete(main())


def test_an_exception_of_a_protocol_is_the_same_in_debug_mode(loop):
    class Failing(Recorder):
        def data_received(self, data):
            raise ZeroDivisionError

    async def main():
        reports = catch_reports(loop)
        protocol = Failing()
        async with wired(protocol) as (_, peer):
            peer.send(b"x")
            await until(lambda: reports)
        (report,) = reports
        assert report["message"] == "Fatal error: protocol.data_received() call failed."
        assert isinstance(report["exception"], ZeroDivisionError)

    loop.set_debug(True)
    loop.slow_callback_duration = 60
    loop.run_until_complete(main())


# --- fork -----------------------------------------------------------------------------------------


@KINDS
@pytest.mark.yula_only(reason="in asyncio's child the loop runs on and reads what was sent")
def test_what_a_callback_wrote_before_it_forked_is_sent_once(python_program, kind):
    finished = python_program(
        """
import os, signal, socket, sys

async def main():
    loop = asyncio.get_running_loop()
    if sys.argv[1] == "unix":
        ours, peer = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            peer, _ = listener.accept()
    ours.setblocking(False)
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)

    def fork():
        transport.write(b"once")
        pid = os.fork()
        if pid == 0:
            raise SystemExit(0)     # unwinds through the loop
        os.waitpid(pid, 0)
        loop.call_soon(transport.write, b".")

    loop.call_soon(fork)
    got = b""
    while not got.endswith(b"."):
        await asyncio.sleep(0)
        try:
            got += peer.recv(100, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
    print(got.decode())
    transport.abort()
    await asyncio.sleep(0)
    peer.close()

parent = os.getpid()
try:
    run(main())
finally:
    if os.getpid() != parent:
        os._exit(0)
""",
        kind,
        options=("-W", "ignore"),  # of fork() beside threads, and what the child leaves open
    )
    assert finished.out == "once.\n", finished.err


# --- names, descriptors, buffers ------------------------------------------------------------------


@pytest.mark.parametrize("protocol_class", [Recorder, BufferedRecorder])
def test_the_name_of_the_peer_survives_its_reset(loop, protocol_class):
    class Protocol(protocol_class):
        names = None

        def connection_lost(self, exc):
            self.names = [self.transport.get_extra_info(n) for n in ("peername", "sockname")]
            super().connection_lost(exc)

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            transport, protocol = await loop.create_connection(Protocol, *address)
            peer, name = listener.accept()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
            await until(lambda: protocol.names)
            assert protocol.names == [address, name]
            transport.abort()

    loop.run_until_complete(main())


def test_who_takes_the_socket_of_a_transport_does_not_overtake_what_was_written(loop):
    async def main():
        async with wired(Recorder(), "unix") as (transport, peer):
            for _ in range(2):
                transport.write(b"x")
                assert transport.get_extra_info("socket").family == socket.AF_UNIX
                assert peer.recv(10) == b"x"

    loop.run_until_complete(main())


def test_a_large_datagram_is_received_whole(loop):
    size = 400_000

    async def main():
        ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours, peer:
            ours.setblocking(False)
            try:
                peer.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 4 * size)
            except PermissionError:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * size)
            for receive in (loop.sock_recvfrom, loop.sock_recv):
                try:
                    peer.send(b"x" * size)
                except OSError as error:
                    if error.errno != errno.EMSGSIZE:
                        raise
                    pytest.skip("the kernel sends no datagrams of this size here")
                data = await receive(ours, 2 * size)
                assert len(data[0] if isinstance(data, tuple) else data) == size

    loop.run_until_complete(main())


def test_the_arguments_of_sock_methods_may_be_given_by_keyword(loop):
    async def main():
        ours, peer = pair("unix")
        with ours, peer:
            await loop.sock_sendall(sock=ours, data=b"abcdef")
            assert await loop.sock_recv(sock=peer, n=2) == b"ab"
            assert await loop.sock_recv(peer, n=2) == b"cd"
            buffer = bytearray(2)
            assert await loop.sock_recv_into(peer, buf=buffer) == 2
            assert buffer == b"ef"
            with pytest.raises(TypeError):
                await loop.sock_recv(ours, 1, 2)
            with pytest.raises(TypeError):
                await loop.sock_recv(ours, m=2)

    loop.run_until_complete(main())


def test_the_limits_of_a_write_buffer_may_be_any_number(loop):
    async def main():
        async with wired(Recorder()) as (transport, _):
            transport.set_write_buffer_limits(high=1e5)
            assert transport.get_write_buffer_limits() == (25_000, 100_000)
            transport.set_write_buffer_limits(low=10.0)
            assert transport.get_write_buffer_limits() == (10, 40)

    loop.run_until_complete(main())


# --- the clock, the listener ----------------------------------------------------------------------


def test_a_clock_that_fails_ends_the_run_with_its_exception(loop_class):
    class Loop(loop_class):
        broken = False

        def time(self):
            if self.broken:
                raise ZeroDivisionError
            return super().time()

    def break_it():
        loop.broken = True

    loop = Loop()
    try:
        loop.call_later(0, break_it)
        loop.call_later(3600, print)
        with pytest.raises(ZeroDivisionError):
            loop.run_forever()
        loop.broken = False
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.broken = False
        loop.close()


@pytest.mark.yula_only(reason="asyncio reports it as an exception in a callback")
def test_a_listener_that_cannot_accept_says_so(loop):
    async def main():
        reports = catch_reports(loop)
        listener = socket.create_server(("127.0.0.1", 0))
        server = await loop.create_server(asyncio.Protocol, sock=listener)
        listener.shutdown(socket.SHUT_RDWR)
        await until(lambda: reports)
        server.close()
        await server.wait_closed()
        await turns(1)
        assert reports[0]["message"] == "socket.accept() failed"
        assert reports[0]["exception"].errno == errno.EINVAL

    loop.run_until_complete(main())
