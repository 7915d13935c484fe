"""A small HTTP server with fixed answers, the same for every client that is measured.

    python web_responder.py

On asyncio, with as little above it as there can be. Prints one line of JSON when it listens; ends
by a signal.
"""

from __future__ import annotations

import asyncio
import json
from typing import cast

BODIES = {"/": b"Hello, world!", "/10k": bytes(range(48, 112)) * 160}
ANSWERS = {
    path: b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
    % (len(body), body)
    for path, body in BODIES.items()
}


class Responder(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while True:
            request, end, rest = self.received.partition(b"\r\n\r\n")
            if not end:
                return
            self.received = rest
            self.transport.write(ANSWERS[request.split(b" ", 2)[1].decode()])


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Responder, "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
