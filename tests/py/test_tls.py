"""TLS over the transports, through the interpreter's own asyncio.sslproto."""

import asyncio
import functools
import socket
import ssl
import threading

import pytest
import trustme
from peers import Recorder, pair, receive, turns, until

PATTERN = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def server_context(authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def client_context(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


class Echo(Recorder):
    def data_received(self, data):
        super().data_received(data)
        self.transport.write(data)


async def end(server):
    server.close()
    await server.wait_closed()
    await turns(5)


def test_an_echo_over_tls_brings_back_every_byte(loop, server_context, client_context):
    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=server_context)
        transport, protocol = await loop.create_connection(
            Recorder,
            *server.sockets[0].getsockname(),
            ssl=client_context,
            server_hostname="localhost",
        )
        for _ in range(4):
            transport.write(PATTERN)
        await until(lambda: len(protocol.data) == 4 * len(PATTERN))
        assert protocol.data == PATTERN * 4
        transport.close()
        assert await protocol.lost is None
        await end(server)

    loop.run_until_complete(main())


def test_streams_over_tls(loop, server_context, client_context):
    async def main():
        async def serve(reader, writer):
            while line := await reader.readline():
                writer.write(line.upper())
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context)
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=client_context, server_hostname="localhost"
        )
        for _ in range(50):
            writer.write(b"hello\n")
            assert await reader.readline() == b"HELLO\n"
        writer.close()
        await writer.wait_closed()
        await end(server)

    loop.run_until_complete(main())


def test_tls_over_a_unix_socket(loop, server_context, client_context, tmp_path):
    async def main():
        path = str(tmp_path / "tls")
        server = await loop.create_unix_server(Echo, path, ssl=server_context)
        transport, protocol = await loop.create_unix_connection(
            Recorder, path, ssl=client_context, server_hostname="localhost"
        )
        transport.write(b"hello")
        await until(lambda: protocol.data == b"hello")
        transport.close()
        await protocol.lost
        await end(server)

    loop.run_until_complete(main())


def test_an_accepted_socket_can_speak_tls(loop, server_context, client_context):
    async def main():
        ours, theirs = pair()
        accepting = asyncio.ensure_future(
            loop.connect_accepted_socket(Echo, ours, ssl=server_context)
        )
        transport, protocol = await loop.create_connection(
            Recorder, sock=theirs, ssl=client_context, server_hostname="localhost"
        )
        _, echo = await accepting
        transport.write(b"hello")
        await until(lambda: protocol.data == b"hello")
        transport.close()
        await protocol.lost
        await echo.lost

    loop.run_until_complete(main())


def test_what_tls_tells_about_itself(loop, server_context, client_context):
    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=server_context)
        transport, protocol = await loop.create_connection(
            Recorder,
            *server.sockets[0].getsockname(),
            ssl=client_context,
            server_hostname="localhost",
        )
        assert transport.get_extra_info("sslcontext") is client_context
        assert isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject)
        assert transport.get_extra_info("peercert")["subjectAltName"] == (("DNS", "localhost"),)
        assert len(transport.get_extra_info("cipher")) == 3
        assert transport.get_extra_info("peername") == server.sockets[0].getsockname()
        assert transport.get_extra_info("socket").fileno() > 0
        assert transport.can_write_eof() is False
        with pytest.raises(NotImplementedError):
            transport.write_eof()
        transport.close()
        await protocol.lost
        await end(server)

    loop.run_until_complete(main())


def test_start_tls_turns_a_plain_connection_into_a_tls_one(loop, server_context, client_context):
    async def main():
        class Upgrades(Recorder):
            def data_received(self, data):
                if data == b"STARTTLS":
                    self.transport.write(b"GO")
                    self.upgrading = asyncio.ensure_future(self.upgrade())

            async def upgrade(self):
                self.secure = Echo()
                transport = await loop.start_tls(
                    self.transport, self.secure, server_context, server_side=True
                )
                self.secure.connection_made(transport)

        made = []

        def factory():
            made.append(Upgrades())
            return made[-1]

        server = await loop.create_server(factory, "127.0.0.1", 0)
        plain, greeting = await loop.create_connection(Recorder, *server.sockets[0].getsockname())
        plain.write(b"STARTTLS")
        await until(lambda: greeting.data == b"GO")
        secure = Recorder()
        transport = await loop.start_tls(plain, secure, client_context, server_hostname="localhost")
        secure.connection_made(transport)
        await made[0].upgrading
        transport.write(PATTERN)
        await until(lambda: len(secure.data) == len(PATTERN))
        assert secure.data == PATTERN
        assert greeting.data == b"GO"
        transport.close()
        await secure.lost
        await end(server)

    loop.run_until_complete(main())


def test_a_certificate_that_is_not_trusted_is_refused(loop, server_context):
    reports = []
    loop.set_exception_handler(lambda _, context: reports.append(context))

    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=server_context)
        with pytest.raises(ssl.SSLCertVerificationError):
            await loop.create_connection(
                Recorder,
                *server.sockets[0].getsockname(),
                ssl=ssl.create_default_context(),
                server_hostname="localhost",
            )
        await end(server)

    loop.run_until_complete(main())


def test_the_wrong_name_is_refused(loop, server_context, client_context):
    loop.set_exception_handler(lambda *_: None)

    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=server_context)
        with pytest.raises(ssl.SSLCertVerificationError):
            await loop.create_connection(
                Recorder,
                *server.sockets[0].getsockname(),
                ssl=client_context,
                server_hostname="example.org",
            )
        await end(server)

    loop.run_until_complete(main())


def test_a_peer_that_does_not_shake_hands_is_given_up(loop, client_context):
    async def main():
        ours, peer = pair()
        with peer:
            with pytest.raises(ConnectionAbortedError, match="SSL handshake is taking longer"):
                await loop.create_connection(
                    Recorder,
                    sock=ours,
                    ssl=client_context,
                    server_hostname="localhost",
                    ssl_handshake_timeout=0.01,
                )
        await turns(3)

    loop.run_until_complete(main())


def test_a_peer_that_hangs_up_during_the_handshake_is_told(loop, client_context):
    async def main():
        ours, peer = pair()
        connecting = asyncio.ensure_future(
            loop.create_connection(
                Recorder, sock=ours, ssl=client_context, server_hostname="localhost"
            )
        )
        await receive(peer, 1)
        peer.close()
        with pytest.raises(ConnectionError):
            await connecting
        await turns(3)

    loop.run_until_complete(main())


def test_closing_with_unread_data_closes(loop, server_context, client_context):
    # uvloop went on downloading for 30 seconds.
    async def main():
        class Floods(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                transport.write(bytes(1 << 22))

        server = await loop.create_server(
            Floods, "127.0.0.1", 0, ssl=server_context, ssl_shutdown_timeout=0.05
        )
        transport, protocol = await loop.create_connection(
            Recorder,
            *server.sockets[0].getsockname(),
            ssl=client_context,
            server_hostname="localhost",
            ssl_shutdown_timeout=0.05,
        )
        transport.pause_reading()
        await turns(5)
        transport.close()
        await protocol.lost
        await end(server)

    loop.set_exception_handler(lambda *_: None)
    loop.run_until_complete(main())


def test_an_end_without_close_notify_is_an_end(loop, server_context, client_context):
    # The peer is a blocking TLS client in a thread that just drops the TCP connection.
    async def main():
        echo = Echo()
        server = await loop.create_server(lambda: echo, "127.0.0.1", 0, ssl=server_context)
        thread = threading.Thread(
            target=functools.partial(rude, server.sockets[0].getsockname(), client_context)
        )
        thread.start()
        await echo.lost
        thread.join()
        assert echo.data == b"hello"
        assert "eof" in echo.calls
        await end(server)

    def rude(address, context):
        sock = socket.create_connection(address)
        tls = context.wrap_socket(sock, server_hostname="localhost")
        tls.sendall(b"hello")
        tls.recv(5)
        socket.socket(fileno=tls.detach()).close()

    loop.run_until_complete(main())


def test_pausing_a_tls_transport_stops_delivery_and_the_peer(loop, server_context, client_context):
    async def main():
        made = []

        class Floods(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                made.append(self)
                transport.write(PATTERN * 8)

        server = await loop.create_server(Floods, "127.0.0.1", 0, ssl=server_context)
        transport, protocol = await loop.create_connection(
            Recorder,
            *server.sockets[0].getsockname(),
            ssl=client_context,
            server_hostname="localhost",
        )
        transport.pause_reading()
        size = len(protocol.data)
        await turns(20)
        assert len(protocol.data) == size
        transport.resume_reading()
        await until(lambda: len(protocol.data) == 8 * len(PATTERN))
        assert protocol.data == PATTERN * 8
        transport.close()
        await protocol.lost
        await end(server)

    loop.run_until_complete(main())


def test_fifty_tls_connections_at_once(loop, server_context, client_context):
    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=server_context, backlog=100)

        async def talk(n):
            transport, protocol = await loop.create_connection(
                Recorder,
                *server.sockets[0].getsockname(),
                ssl=client_context,
                server_hostname="localhost",
            )
            word = b"%d " % n * 1000
            transport.write(word)
            await until(lambda: len(protocol.data) == len(word))
            assert protocol.data == word
            transport.close()
            await protocol.lost

        await asyncio.gather(*(talk(n) for n in range(50)))
        await end(server)

    loop.run_until_complete(main())
