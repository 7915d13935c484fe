"""WebSocket echo: the websockets library on both sides, aiohttp on both sides, and uvicorn."""

import asyncio
import contextlib
import os
import socket
import struct

import aiohttp
import aiohttp.web
import pytest
import uvicorn
import websockets.asyncio.client
import websockets.asyncio.server
import websockets.exceptions

MIB = 1024 * 1024
LIMIT = 32 * MIB


class Echo:
    """A handler for the websockets library that remembers how each connection ended."""

    def __init__(self):
        self.loops = set()
        self.ended = asyncio.Queue()

    async def __call__(self, connection):
        self.loops.add(type(asyncio.get_running_loop()))
        with contextlib.suppress(websockets.exceptions.ConnectionClosedError):
            async for message in connection:
                await connection.send(message)
        await self.ended.put((connection.close_code, connection.close_reason))


@pytest.fixture
def echo(loop_class):
    echo = Echo()
    yield echo
    assert echo.loops == {loop_class}


@contextlib.asynccontextmanager
async def serving(echo, **options):
    options = {"max_size": LIMIT, "compression": None, **options}
    async with websockets.asyncio.server.serve(echo, "127.0.0.1", 0, **options) as server:
        yield server.sockets[0].getsockname()[1]


def connect(port, scheme="ws", **options):
    url = f"{scheme}://localhost:{port}/"
    options = {"max_size": LIMIT, "proxy": None, "family": socket.AF_INET, **options}
    return websockets.asyncio.client.connect(url, **options)


def test_text_and_binary_messages_come_back_in_order(run, echo):
    async def main():
        async with serving(echo) as port, connect(port) as client:
            sent = ["", "юла", b"", b"\0\xff", *(f"message {n}" for n in range(200))]
            for message in sent:
                await client.send(message)
            assert [await client.recv() for _ in sent] == sent

    run(main())


def test_a_close_carries_its_code_and_reason(run, echo):
    async def main():
        async with serving(echo) as port:
            async with connect(port) as client:
                await client.close(4321, "enough")
            assert await echo.ended.get() == (4321, "enough")

    run(main())


def test_a_ping_is_answered_by_a_pong(run, echo):
    async def main():
        async with serving(echo) as port, connect(port) as client:
            for _ in range(10):
                assert await (await client.ping()) >= 0

    run(main())


def test_keepalive_pings_close_a_connection_whose_peer_is_silent(run, echo):
    async def main():
        loop = asyncio.get_running_loop()
        async with serving(echo, ping_interval=0.05, ping_timeout=0.05, close_timeout=0.1) as port:
            with socket.socket() as sock:
                sock.setblocking(False)
                await loop.sock_connect(sock, ("127.0.0.1", port))
                await loop.sock_sendall(
                    sock,
                    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                    b"Sec-WebSocket-Version: 13\r\n\r\n",
                )
                assert (await echo.ended.get())[0] == 1006  # no close frame came

    run(main())


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_message_of_16_mib_comes_back_whole(run, echo, compression):
    message = os.urandom(16 * 1024) * (16 * MIB // (16 * 1024))

    async def main():
        async with (
            serving(echo, compression=compression) as port,
            connect(port, compression=compression) as client,
        ):
            await client.send(message)
            assert await client.recv() == message

    run(main())


def test_a_fragmented_message_is_put_together(run, echo):
    async def main():
        async with serving(echo) as port, connect(port) as client:
            await client.send([b"x" * 100_000 for _ in range(20)])
            assert await client.recv() == b"x" * 2_000_000

    run(main())


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_connection_reset_by_one_side_raises_at_the_other(run, loop_class, who):
    ends = asyncio.Queue()
    go = asyncio.Event()

    async def handler(connection):
        if who == "server":
            await connection.recv()
            reset(connection.transport)
            return
        go.set()
        with pytest.raises(websockets.exceptions.ConnectionClosedError):
            await connection.recv()
        await ends.put(connection.close_code)

    def reset(transport):
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    async def main():
        async with serving(handler) as port, connect(port) as client:
            if who == "client":
                await go.wait()
                reset(client.transport)
                assert await ends.get() == 1006
            else:
                await client.send("now")
                with pytest.raises(websockets.exceptions.ConnectionClosedError):
                    await client.recv()
                assert client.close_code == 1006

    run(main())


def test_a_reader_that_stops_stops_the_sender(run, loop_class):
    """Flow control through the whole library: the sender's coroutine has to wait."""
    message = b"x" * MIB
    sent = 0

    async def handler(connection):
        nonlocal sent
        for _ in range(64):
            await connection.send(message)
            sent += 1

    async def main():
        async with serving(handler) as port, connect(port, max_queue=1) as client:
            assert await client.recv() == message
            seen = -1
            while seen != sent:
                seen = sent
                await asyncio.sleep(0.1)
            assert sent < 40
            for _ in range(63):
                assert await client.recv() == message
        assert sent == 64

    run(main())


def test_100_clients_at_once_each_get_their_own_echo(run, echo):
    async def talk(port, number):
        async with connect(port) as client:
            for turn in range(5):
                await client.send(f"{number} {turn}")
                assert await client.recv() == f"{number} {turn}"

    async def main():
        async with serving(echo) as port:
            await asyncio.gather(*(talk(port, number) for number in range(100)))

    run(main())


def test_a_cancelled_receive_loses_no_message(run, echo):
    async def main():
        async with serving(echo) as port, connect(port) as client:
            for number in range(20):
                receive = asyncio.create_task(client.recv())
                await asyncio.sleep(0)
                receive.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await receive
                await client.send(str(number))
                assert await client.recv() == str(number)

    run(main())


def test_websockets_work_over_tls(run, echo, certificates):
    message = os.urandom(4 * MIB)

    async def main():
        async with (
            serving(echo, ssl=certificates.server) as port,
            connect(port, "wss", ssl=certificates.ca) as client,
        ):
            for each in ["hello", message]:
                await client.send(each)
                assert await client.recv() == each
            assert await (await client.ping()) >= 0

    run(main())


# --- aiohttp -------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def aiohttp_echo(loops, *, heartbeat=None, ssl=None):
    async def handler(request):
        loops.add(type(asyncio.get_running_loop()))
        websocket = aiohttp.web.WebSocketResponse(max_msg_size=LIMIT, heartbeat=heartbeat)
        await websocket.prepare(request)
        async for message in websocket:
            if message.type is aiohttp.WSMsgType.TEXT:
                await websocket.send_str(message.data)
            else:
                await websocket.send_bytes(message.data)
        return websocket

    app = aiohttp.web.Application()
    app.router.add_get("/", handler)
    runner = aiohttp.web.AppRunner(app, access_log=None)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl).start()
    try:
        yield f"{'wss' if ssl else 'ws'}://localhost:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_aiohttp_echoes_text_and_16_mib_of_bytes(run, loop_class, certificates, tls):
    loops = set()
    message = os.urandom(64 * 1024) * (16 * MIB // (64 * 1024))
    server_tls, client_tls = (certificates.server, certificates.ca) if tls else (None, True)

    async def main():
        connector = aiohttp.TCPConnector(ssl=client_tls, family=socket.AF_INET)
        async with (
            aiohttp_echo(loops, ssl=server_tls) as url,
            aiohttp.ClientSession(connector=connector) as session,
            session.ws_connect(url, max_msg_size=LIMIT) as websocket,
        ):
            for number in range(100):
                await websocket.send_str(f"text {number}")
                assert await websocket.receive_str() == f"text {number}"
            await websocket.send_bytes(message)
            assert await websocket.receive_bytes() == message

    run(main())
    assert loops == {loop_class}


def test_an_aiohttp_heartbeat_keeps_a_quiet_connection_open(run, loop_class):
    async def main():
        async with (
            aiohttp_echo(set(), heartbeat=0.1) as url,
            aiohttp.ClientSession() as session,
            session.ws_connect(url, heartbeat=0.1) as websocket,
        ):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await websocket.receive()

    run(main())


def test_an_aiohttp_client_that_is_aborted_ends_the_servers_handler(run, loop_class):
    ended = asyncio.Event()

    async def handler(request):
        websocket = aiohttp.web.WebSocketResponse()
        await websocket.prepare(request)
        async for _ in websocket:
            pass
        ended.set()
        return websocket

    async def main():
        app = aiohttp.web.Application()
        app.router.add_get("/", handler)
        runner = aiohttp.web.AppRunner(app, access_log=None)
        await runner.setup()
        await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"ws://127.0.0.1:{runner.addresses[0][1]}/"
        async with aiohttp.ClientSession() as session:
            websocket = await session.ws_connect(url)
            websocket.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            await ended.wait()
            await websocket.close()
        await runner.cleanup()

    run(main())


# --- uvicorn -------------------------------------------------------------------------------------


def test_uvicorn_speaks_websockets_to_the_websockets_client(run, loop_class):
    loops = set()

    async def app(scope, receive, send):
        loops.add(type(asyncio.get_running_loop()))
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            reply = {key: message[key] for key in ("text", "bytes") if message.get(key) is not None}
            await send({"type": "websocket.send", **reply})

    async def main():
        config = uvicorn.Config(
            app, port=0, ws="websockets-sansio", lifespan="off", log_config=None, ws_max_size=LIMIT
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started and not serving.done():
            await asyncio.sleep(0.001)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with connect(port) as client:
            for message in ["text", b"bytes", b"x" * (4 * MIB)]:
                await client.send(message)
                assert await client.recv() == message
        server.should_exit = True
        await serving

    run(main())
    assert loops == {loop_class}
