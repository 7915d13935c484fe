"""aiohttp's server on a chosen loop, with the routes of examples/python/asgi_app.py.

    python aiohttp_server.py --loop uvloop

Prints one line of JSON when it listens; ends by a signal.
"""

from __future__ import annotations

import argparse
import asyncio
import json

import loops
from aiohttp import web

HELLO = b"Hello, world!"
TEN_KIB = bytes(range(ord("0"), ord("0") + 64)) * 160


async def plaintext(request: web.Request) -> web.Response:
    return web.Response(body=HELLO, content_type="text/plain")


async def ten_kib(request: web.Request) -> web.Response:
    return web.Response(body=TEN_KIB, content_type="text/plain")


async def document(request: web.Request) -> web.Response:
    return web.json_response({"message": "Hello, world!", "numbers": [1, 2, 3]})


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


async def which_loop(request: web.Request) -> web.Response:
    return web.json_response({"loop": loops.type_name(asyncio.get_running_loop())})


async def serve() -> None:
    application = web.Application()
    application.add_routes([
        web.get("/", plaintext), web.get("/10k", ten_kib), web.get("/json", document),
        web.post("/echo", echo), web.get("/loop", which_loop),
    ])  # fmt: skip
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    port = runner.addresses[0][1]
    hello = {"port": port, "loop": loops.type_name(asyncio.get_running_loop())}
    print(json.dumps(hello), flush=True)
    await asyncio.get_running_loop().create_future()  # for ever


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=sorted(loops.FACTORIES), default="asyncio")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=loops.factory(arguments.loop)) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
