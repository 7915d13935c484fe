"""One web site, twice: as an ASGI application (for uvicorn) and as an aiohttp application.

Both answer the same paths, so that one test talks to every server:

    /           JSON: the running loop's type, the peer's address, the nonce of the query
    /echo       the body, sent back chunk by chunk while it arrives
    /count      JSON: length and CRC of the body
    /big        ?size=n bytes of `pattern`, chunk by chunk
    /wait       answers when the test sets `site.release`
    /until-gone answers never; the handler ends when the client has gone

Run as a program (`python http_site.py KIND`) it serves one site on yula until SIGTERM, and writes
its port as the first line.
"""

import asyncio
import contextlib
import json
import signal
import ssl
import sys
import urllib.parse
import zlib

import aiohttp.web
import uvicorn

import yula

CHUNK = 64 * 1024
SERVERS = ["uvicorn-httptools", "uvicorn-h11", "aiohttp"]


def pattern(size):
    """`size` bytes in chunks, each starting with its own number: lost or swapped chunks show."""
    for number in range((size + CHUNK - 1) // CHUNK):
        chunk = b"%012d|" % number + b"0123456789abcdef" * (CHUNK // 16)
        yield chunk[: min(CHUNK, size - number * CHUNK)]


def crc_of_pattern(size):
    crc = 0
    for chunk in pattern(size):
        crc = zlib.crc32(chunk, crc)
    return crc


class Site:
    """What the handlers of one site saw, and what they wait for."""

    def __init__(self):
        self.loops = set()
        self.sent = 0
        self.received = 0
        self.requests = 0
        self.entered = asyncio.Event()  # a handler of /wait or /until-gone runs
        self.release = asyncio.Event()
        self.gone = asyncio.Event()  # a handler was told that its client has gone

    def request(self):
        self.requests += 1
        self.loops.add(type(asyncio.get_running_loop()))

    def about(self, peer, query):
        kind = type(asyncio.get_running_loop())
        loop = f"{kind.__module__}.{kind.__qualname__}"
        nonce = query.get("nonce", "")
        return json.dumps({"loop": loop, "peer": list(peer or ())[:2], "nonce": nonce}).encode()

    def counted(self, length, crc):
        return json.dumps({"length": length, "crc": crc}).encode()


# --- ASGI ----------------------------------------------------------------------------------------


class AsgiSite:
    def __init__(self, site):
        self.site = site
        self.routes = {
            "/": self.about,
            "/echo": self.echo,
            "/count": self.count,
            "/big": self.big,
            "/wait": self.wait,
            "/until-gone": self.until_gone,
        }

    async def __call__(self, scope, receive, send):
        assert scope["type"] == "http"
        self.site.request()
        await self.routes[scope["path"]](scope, receive, send)

    async def start(self, send, *headers):
        headers = [(name.encode(), value.encode()) for name, value in headers]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def body(self, send, data, more=False):
        await send({"type": "http.response.body", "body": data, "more_body": more})

    async def reply(self, send, data):
        await self.start(send, ("content-length", str(len(data))))
        await self.body(send, data)

    async def chunks(self, receive):
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.site.gone.set()
                return
            more = message["more_body"]
            self.site.received += len(message["body"])
            yield message["body"]

    async def about(self, scope, receive, send):
        query = dict(urllib.parse.parse_qsl(scope["query_string"].decode()))
        await self.reply(send, self.site.about(scope["client"], query))

    async def echo(self, scope, receive, send):
        await self.start(send)
        async for chunk in self.chunks(receive):
            await self.body(send, chunk, more=True)
        await self.body(send, b"")

    async def count(self, scope, receive, send):
        length = crc = 0
        async for chunk in self.chunks(receive):
            length, crc = length + len(chunk), zlib.crc32(chunk, crc)
        await self.reply(send, self.site.counted(length, crc))

    async def big(self, scope, receive, send):
        query = dict(urllib.parse.parse_qsl(scope["query_string"].decode()))
        await receive()  # the empty body of the request
        watch = asyncio.create_task(self.gone_watch(receive))
        await self.start(send)
        for chunk in pattern(int(query["size"])):
            if watch.done():
                return
            await self.body(send, chunk, more=True)
            self.site.sent += len(chunk)
            # uvicorn drops what is sent to a closing connection without a turn of the loop, in
            # which the watch could learn of it.
            await asyncio.sleep(0)
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        await self.body(send, b"")

    async def gone_watch(self, receive):
        while (await receive())["type"] != "http.disconnect":
            pass
        self.site.gone.set()

    async def wait(self, scope, receive, send):
        self.site.entered.set()
        await self.site.release.wait()
        await self.reply(send, b"released")

    async def until_gone(self, scope, receive, send):
        self.site.entered.set()
        await self.gone_watch(receive)


# --- aiohttp -------------------------------------------------------------------------------------


class AiohttpSite:
    def __init__(self, site):
        self.site = site

    def application(self):
        app = aiohttp.web.Application()
        app.router.add_get("/", self.watched(self.about))
        app.router.add_post("/echo", self.watched(self.echo))
        app.router.add_post("/count", self.watched(self.count))
        app.router.add_get("/big", self.watched(self.big))
        app.router.add_get("/wait", self.watched(self.wait))
        app.router.add_get("/until-gone", self.watched(self.until_gone))
        return app

    def watched(self, handler):
        # Not a middleware: aiohttp keeps applications that have one in a cache of the process.
        async def watched(request):
            self.site.request()
            try:
                return await handler(request)
            except asyncio.CancelledError:
                self.site.gone.set()
                raise
            except ConnectionError:
                self.site.gone.set()
                return aiohttp.web.Response()  # to nobody; raising it would only be logged

        return watched

    async def about(self, request):
        peer = request.transport.get_extra_info("peername")
        return aiohttp.web.Response(body=self.site.about(peer, request.query))

    async def echo(self, request):
        response = aiohttp.web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            self.site.received += len(chunk)
            await response.write(chunk)
        await response.write_eof()
        return response

    async def count(self, request):
        length = crc = 0
        async for chunk in request.content.iter_any():
            self.site.received += len(chunk)
            length, crc = length + len(chunk), zlib.crc32(chunk, crc)
        return aiohttp.web.Response(body=self.site.counted(length, crc))

    async def big(self, request):
        response = aiohttp.web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for chunk in pattern(int(request.query["size"])):
            await response.write(chunk)
            self.site.sent += len(chunk)
        await response.write_eof()
        return response

    async def wait(self, request):
        self.site.entered.set()
        await self.site.release.wait()
        return aiohttp.web.Response(body=b"released")

    async def until_gone(self, request):
        self.site.entered.set()
        await asyncio.get_running_loop().create_future()


# --- serving -------------------------------------------------------------------------------------


class Served:
    """A running server: where it is, and `await stop()`, which lets requests finish."""

    def __init__(self, scheme, listener, stop):
        self.listener = listener  # the loop's own Server object
        address = listener.sockets[0].getsockname()
        self.host, self.port = address[:2] if isinstance(address, tuple) else ("localhost", 0)
        self.url = f"{scheme}://{self.host}:{self.port}"
        self.stop = stop


@contextlib.asynccontextmanager
async def serve(kind, site, *, certificate=None, uds=None):
    """Serve `site` on the running loop. certificate: a PEM file with key and chain."""
    start = serve_aiohttp if kind == "aiohttp" else serve_uvicorn
    scheme = "https" if certificate else "http"
    listener, stop = await start(kind, site, certificate, uds)
    try:
        yield Served(scheme, listener, stop)
    finally:
        await stop()


async def serve_uvicorn(kind, site, certificate, uds):
    config = uvicorn.Config(
        AsgiSite(site),
        port=0,
        uds=uds,
        http=kind.removeprefix("uvicorn-"),
        lifespan="off",
        log_config=None,
        ssl_certfile=certificate,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():
        await asyncio.sleep(0.001)

    async def stop():
        server.should_exit = True
        await serving

    return server.servers[0], stop


async def serve_aiohttp(kind, site, certificate, uds):
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    app = AiohttpSite(site).application()
    runner = aiohttp.web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    if uds:
        listening = aiohttp.web.UnixSite(runner, uds, ssl_context=context)
    else:
        listening = aiohttp.web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await listening.start()
    return listening._server, runner.cleanup


app = AsgiSite(Site())  # for `uvicorn http_site:app`


async def main(kind):
    assert type(asyncio.get_running_loop()) is yula.Loop
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with serve(kind, Site()) as served:
        print(served.port, flush=True)
        await stopped.wait()


if __name__ == "__main__":
    yula.run(main(sys.argv[1]))
