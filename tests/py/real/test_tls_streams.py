"""asyncio streams under TLS: from the start, and by an upgrade in the middle (STARTTLS)."""

import asyncio
import contextlib
import hashlib
import socket
import ssl
import struct

import pytest

MIB = 1024 * 1024


@contextlib.asynccontextmanager
async def serving(handler, **options):
    """Serve on a free port; on leaving, wait for the handlers."""
    handlers = set()

    async def tracked(reader, writer):
        handlers.add(asyncio.current_task())
        try:
            await handler(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    server = await asyncio.start_server(tracked, "127.0.0.1", 0, **options)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*handlers)


async def connect(port, context=None, **options):
    if context is not None:
        options |= {"ssl": context, "server_hostname": "localhost"}
    return await asyncio.open_connection("127.0.0.1", port, **options)


async def close(writer):
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()


async def echo_lines(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()


def test_lines_are_echoed_and_the_transport_tells_about_its_tls(run, certificates):
    async def main():
        async with serving(echo_lines, ssl=certificates.server) as port:
            reader, writer = await connect(port, certificates.ca)
            assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
            assert writer.get_extra_info("cipher")[2] >= 128
            assert ("DNS", "localhost") in writer.get_extra_info("peercert")["subjectAltName"]
            assert writer.get_extra_info("sslcontext") is certificates.ca
            assert writer.get_extra_info("peername") == ("127.0.0.1", port)
            assert not writer.can_write_eof()
            for number in range(100):
                writer.write(b"line %d\n" % number)
                assert await reader.readline() == b"line %d\n" % number
            await close(writer)

    run(main())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_32_mib_go_both_ways_at_once(run, certificates, version):
    size, block = 32 * MIB, bytes(range(256)) * 1024
    context = ssl.create_default_context(cafile=certificates.ca_pem)
    context.minimum_version = context.maximum_version = version

    async def send(writer):
        for _ in range(size // len(block)):
            writer.write(block)
            await writer.drain()

    async def receive(reader):
        digest, left = hashlib.sha1(), size
        while left:
            data = await reader.read(min(left, 1 << 16))
            assert data
            digest.update(data)
            left -= len(data)
        return digest.digest()

    expected = hashlib.sha1()
    for _ in range(size // len(block)):
        expected.update(block)

    async def handler(reader, writer):
        _, digest = await asyncio.gather(send(writer), receive(reader))
        assert digest == expected.digest()

    async def main():
        async with serving(handler, ssl=certificates.server) as port:
            reader, writer = await connect(port, context)
            _, digest = await asyncio.gather(send(writer), receive(reader))
            assert digest == expected.digest()
            await close(writer)

    run(main())


def test_both_ends_upgrade_a_plain_connection_in_the_middle(run, certificates):
    async def handler(reader, writer):
        writer.write(b"ready\n")
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go\n")
        await writer.drain()
        await writer.start_tls(certificates.server)
        await echo_lines(reader, writer)

    async def main():
        async with serving(handler) as port:
            reader, writer = await connect(port)
            assert await reader.readline() == b"ready\n"
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"go\n"
            assert writer.get_extra_info("ssl_object") is None
            await writer.start_tls(certificates.ca, server_hostname="localhost")
            assert writer.get_extra_info("ssl_object") is not None
            for number in range(50):
                line = b"%d" % number * 1000 + b"\n"
                writer.write(line)
                assert await reader.readline() == line
            await close(writer)

    run(main())


def test_an_upgrade_that_the_other_end_refuses_raises(run, certificates):
    async def handler(reader, writer):
        await reader.readexactly(1)
        writer.write(b"no TLS is spoken here\n")
        await writer.drain()

    async def main():
        async with serving(handler) as port:
            _, writer = await connect(port)
            with pytest.raises(ssl.SSLError):
                await writer.start_tls(certificates.ca, server_hostname="localhost")
            await close(writer)

    run(main())


def test_a_certificate_for_another_name_is_refused(run, certificates):
    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=certificates.server)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(ssl.SSLCertVerificationError, match=r"other\.example"):
                await asyncio.open_connection(
                    "127.0.0.1", port, ssl=certificates.ca, server_hostname="other.example"
                )

    run(main())


def test_a_handshake_that_gets_no_answer_times_out(run, certificates):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as silent:
            with pytest.raises(ConnectionAbortedError, match="handshake"):
                await connect(silent.getsockname()[1], certificates.ca, ssl_handshake_timeout=0.1)

    run(main())


def test_a_cancelled_handshake_closes_its_connection(run, certificates):
    async def main():
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.setblocking(False)
            connecting = asyncio.create_task(connect(silent.getsockname()[1], certificates.ca))
            peer, _ = await loop.sock_accept(silent)
            with peer:
                assert await loop.sock_recv(peer, 1)  # the client's hello has begun
                connecting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await connecting
                with contextlib.suppress(ConnectionResetError):
                    while await loop.sock_recv(peer, 65536):
                        pass

    run(main())


def test_a_cancelled_read_loses_no_byte(run, certificates):
    async def main():
        async with serving(echo_lines, ssl=certificates.server) as port:
            reader, writer = await connect(port, certificates.ca)
            for number in range(30):
                line = b"%d\n" % number
                reading = asyncio.create_task(reader.readexactly(len(line)))
                writer.write(line)
                await asyncio.sleep(0)
                reading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reading
                assert await reader.readline() == line
            await close(writer)

    run(main())


def test_a_peer_that_is_reset_under_tls_ends_the_reader_with_its_error(run, certificates):
    async def handler(reader, writer):
        await reader.readline()
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def main():
        async with serving(handler, ssl=certificates.server) as port:
            reader, writer = await connect(port, certificates.ca)
            writer.write(b"now\n")
            with pytest.raises(ConnectionResetError):
                while await reader.read(100):
                    pass
                raise AssertionError("the reader saw a clean end")
            await close(writer)

    run(main())


def test_a_peer_that_closes_under_tls_gives_all_its_bytes_and_then_the_end(run, certificates):
    async def handler(reader, writer):
        writer.write(b"x" * MIB)
        await writer.drain()

    async def main():
        async with serving(handler, ssl=certificates.server) as port:
            reader, writer = await connect(port, certificates.ca)
            assert len(await reader.read()) == MIB
            assert reader.at_eof()
            await close(writer)

    run(main())


def test_a_reader_that_stops_stops_a_tls_writer(run, certificates):
    sent = 0
    over = asyncio.Event()

    async def handler(reader, writer):
        nonlocal sent
        for _ in range(1024):
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536
        await over.wait()

    async def main():
        async with serving(handler, ssl=certificates.server) as port:
            reader, writer = await connect(port, certificates.ca)
            await reader.readexactly(1)
            seen = -1
            while seen != sent:
                seen = sent
                await asyncio.sleep(0.1)
            assert sent < 48 * MIB
            await reader.readexactly(64 * MIB - 1)
            over.set()
            assert await reader.read() == b""
            await close(writer)

    run(main())


def test_50_handshakes_at_once_all_succeed(run, certificates):
    async def talk(port, number):
        reader, writer = await connect(port, certificates.ca)
        writer.write(b"%d\n" % number)
        assert await reader.readline() == b"%d\n" % number
        await close(writer)

    async def main():
        async with serving(echo_lines, ssl=certificates.server) as port:
            await asyncio.gather(*(talk(port, number) for number in range(50)))

    run(main())
