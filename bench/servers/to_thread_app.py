"""An ASGI application that computes in threads, as one does with a function of one's own.

Routes: / (plain text, by the loop alone), /compute (about a millisecond of Python through
asyncio.to_thread) and /loop (which event loop serves).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

STEPS = 40_000


def compute() -> int:
    total = 0
    for number in range(STEPS):
        total += number
    return total


async def lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    if scope["path"] == "/compute":
        body = b"%d" % await asyncio.to_thread(compute)
    elif scope["path"] == "/loop":
        kind = type(asyncio.get_running_loop())
        body = json.dumps({"loop": f"{kind.__module__}.{kind.__qualname__}"}).encode()
    else:
        body = b"Hello, world!"
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
