"""A small ASGI application, without a framework: what `make run` serves.

    python -m yula -m uvicorn --app-dir examples/python asgi_app:app

Routes: / (plain text), /10k (10 KiB), /json, /echo (answers with the request's body) and
/loop (which event loop serves this request).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HELLO = b"Hello, world!"
TEN_KIB = bytes(range(ord("0"), ord("0") + 64)) * 160
PLAIN_TEXT = b"text/plain; charset=utf-8"
JSON = b"application/json"


async def answer(send: Send, status: int, content_type: bytes, body: bytes) -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def whole_body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def loop_name() -> str:
    kind = type(asyncio.get_running_loop())
    return f"{kind.__module__}.{kind.__qualname__}"


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
    if scope["type"] != "http":
        raise ValueError(f"this application does not speak {scope['type']}")
    path = scope["path"]
    if path == "/":
        await answer(send, 200, PLAIN_TEXT, HELLO)
    elif path == "/10k":
        await answer(send, 200, PLAIN_TEXT, TEN_KIB)
    elif path == "/json":
        document = {"message": "Hello, world!", "numbers": [1, 2, 3]}
        await answer(send, 200, JSON, json.dumps(document).encode())
    elif path == "/echo":
        await answer(send, 200, b"application/octet-stream", await whole_body(receive))
    elif path == "/loop":
        await answer(send, 200, JSON, json.dumps({"loop": loop_name()}).encode())
    else:
        await answer(send, 404, PLAIN_TEXT, b"not found\n")
