"""An echo server, written the way an asyncio program is, on a chosen loop.

    python echo_server.py --loop uvloop --style streams --size 1024
    python echo_server.py --style protocol --unix /tmp/echo.sock
    python echo_server.py --style streams --tls certificate-and-key.pem
    python echo_server.py --style datagram

Prints one line of JSON when it listens; ends by a signal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import ssl
from dataclasses import dataclass
from typing import Any, cast

import loops  # type: ignore[import-not-found]  # beside this file, which is run as a script

BACKLOG = 4096
KEEP: list[object] = []  # servers and tasks that must live as long as the process


class EchoProtocol(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class BufferedEchoProtocol(asyncio.BufferedProtocol):
    def __init__(self, size: int) -> None:
        self.buffer = bytearray(max(size, 65536))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        # A copy: the transport may keep what it is given, and the buffer is used again.
        self.transport.write(bytes(memoryview(self.buffer)[:nbytes]))


class DatagramEchoProtocol(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.transport.sendto(data, address)


@dataclass(frozen=True)
class Place:
    """Where to listen; each style's function returns the socket that listens there."""

    unix: str | None = None  # a path; None: 127.0.0.1, a port of the kernel's choice
    tls: ssl.SSLContext | None = None


TCP = Place()


def kept(server: asyncio.Server) -> Any:
    KEEP.append(server)
    return server.sockets[0]


async def serve_protocols(factory: Any, place: Place) -> Any:
    loop = asyncio.get_running_loop()
    common: Any = {"backlog": BACKLOG, "ssl": place.tls}
    if place.unix:
        return kept(await loop.create_unix_server(factory, place.unix, **common))
    return kept(await loop.create_server(factory, "127.0.0.1", 0, **common))


async def serve_protocol(size: int, place: Place = TCP) -> Any:
    return await serve_protocols(EchoProtocol, place)


async def serve_buffered(size: int, place: Place = TCP) -> Any:
    return await serve_protocols(lambda: BufferedEchoProtocol(size), place)


async def serve_streams(size: int, place: Place = TCP) -> Any:
    read_at_most = max(size, 65536)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(read_at_most):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    common: Any = {"backlog": BACKLOG, "ssl": place.tls}
    if place.unix:
        return kept(await asyncio.start_unix_server(echo, place.unix, **common))
    return kept(await asyncio.start_server(echo, "127.0.0.1", 0, **common))


async def serve_sock(size: int, place: Place = TCP) -> Any:
    loop = asyncio.get_running_loop()
    read_at_most = max(size, 65536)
    listener = socket.socket(socket.AF_UNIX if place.unix else socket.AF_INET)
    listener.bind(place.unix or ("127.0.0.1", 0))
    listener.listen(BACKLOG)
    listener.setblocking(False)

    async def echo(connection: socket.socket) -> None:
        with connection:
            if not place.unix:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                while data := await loop.sock_recv(connection, read_at_most):
                    await loop.sock_sendall(connection, data)
            except ConnectionError:
                pass

    async def accept() -> None:
        tasks = set()
        while True:
            connection, _ = await loop.sock_accept(listener)
            connection.setblocking(False)
            task = loop.create_task(echo(connection))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    KEEP.append(loop.create_task(accept()))
    return listener


async def serve_datagram(size: int, place: Place = TCP) -> Any:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(DatagramEchoProtocol, ("127.0.0.1", 0))
    KEEP.append(transport)
    return transport.get_extra_info("socket")


STYLES = {
    "protocol": serve_protocol,
    "buffered": serve_buffered,
    "streams": serve_streams,
    "sock": serve_sock,
    "datagram": serve_datagram,
}


def tls_context(pem: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def serve(style: str, size: int, place: Place) -> None:
    listener = await STYLES[style](size, place)
    loop = asyncio.get_running_loop()
    hello: dict[str, Any] = {"loop": loops.type_name(loop)}
    if not place.unix:
        hello["port"] = listener.getsockname()[1]
    print(json.dumps(hello), flush=True)
    await loop.create_future()  # for ever


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=sorted(loops.FACTORIES), default="asyncio")
    parser.add_argument("--style", choices=sorted(STYLES), default="protocol")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--unix", metavar="PATH", help="listen there instead of on a port")
    parser.add_argument("--tls", metavar="PEM", help="TLS, with this certificate and key")
    arguments = parser.parse_args()
    if arguments.tls and arguments.style in ("sock", "datagram"):
        parser.error("these have no TLS")
    with asyncio.Runner(loop_factory=loops.factory(arguments.loop)) as runner:
        tls = tls_context(arguments.tls) if arguments.tls else None
        runner.run(serve(arguments.style, arguments.size, Place(arguments.unix, tls)))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
