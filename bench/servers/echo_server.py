"""A TCP echo server, written the way an asyncio program is, on a chosen loop.

    python echo_server.py --loop uvloop --style streams --size 1024

Prints one line of JSON with the port when it listens; ends by a signal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
from typing import cast

import loops


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


async def serve_protocol(size: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(EchoProtocol, "127.0.0.1", 0, backlog=4096)
    KEEP.append(server)
    return server.sockets[0]


async def serve_buffered(size: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: BufferedEchoProtocol(size), "127.0.0.1", 0, backlog=4096
    )
    KEEP.append(server)
    return server.sockets[0]


async def serve_streams(size: int) -> socket.socket:
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

    server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=4096)
    KEEP.append(server)
    return server.sockets[0]


async def serve_sock(size: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    read_at_most = max(size, 65536)

    async def echo(connection: socket.socket) -> None:
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                while data := await loop.sock_recv(connection, read_at_most):
                    await loop.sock_sendall(connection, data)
            except ConnectionError:
                pass

    async def accept(listener: socket.socket) -> None:
        tasks = set()
        while True:
            connection, _ = await loop.sock_accept(listener)
            connection.setblocking(False)
            task = loop.create_task(echo(connection))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    KEEP.append(loop.create_task(accept(listener)))
    return listener


STYLES = {
    "protocol": serve_protocol,
    "buffered": serve_buffered,
    "streams": serve_streams,
    "sock": serve_sock,
}
KEEP: list[object] = []  # servers and tasks that must live as long as the process


async def serve(style: str, size: int) -> None:
    listener = await STYLES[style](size)
    loop = asyncio.get_running_loop()
    hello = {"port": listener.getsockname()[1], "loop": loops.type_name(loop)}
    print(json.dumps(hello), flush=True)
    await loop.create_future()  # for ever


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=sorted(loops.FACTORIES), default="asyncio")
    parser.add_argument("--style", choices=sorted(STYLES), default="protocol")
    parser.add_argument("--size", type=int, default=1024)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=loops.factory(arguments.loop)) as runner:
        runner.run(serve(arguments.style, arguments.size))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
