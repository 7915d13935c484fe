"""uvicorn (httptools and h11) and aiohttp servers; httpx, aiohttp, curl and raw sockets as clients."""

import asyncio
import json
import socket
import struct
import zlib

import aiohttp
import httpx
import pytest
from http_site import SERVERS, Site, crc_of_pattern, serve

import yula

MIB = 1024 * 1024


@pytest.fixture(params=SERVERS)
def kind(request):
    return request.param


@pytest.fixture
def site(loop_class):
    """A site that must have been served by the loop under test, and by no other."""
    site = Site()
    yield site
    assert site.loops == {loop_class}


async def response_of(reader):
    """Read one response with a Content-Length; return (status line, body)."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return head.split(b"\r\n")[0], await reader.readexactly(length)


def reset(writer):
    """Close with a RST, as a client that crashed or a middlebox does."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def still_answers(served):
    reader, writer = await asyncio.open_connection(served.host, served.port)
    writer.write(b"GET /?nonce=after HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    status, body = await response_of(reader)
    writer.close()
    await writer.wait_closed()
    assert status == b"HTTP/1.1 200 OK"
    assert json.loads(body)["nonce"] == "after"


async def until_quiet(progress):
    """Wait until a counter stands still: the writer has been paused (or has written all)."""
    seen = -1
    while seen != progress():
        seen = progress()
        await asyncio.sleep(0.1)
    return seen


# --- keep-alive, pipelining, many connections ----------------------------------------------------


def test_httpx_reuses_one_connection_for_many_requests(run, kind, site):
    async def main():
        async with serve(kind, site) as served, httpx.AsyncClient(verify=False) as client:
            peers = set()
            for number in range(50):
                reply = (await client.get(f"{served.url}/?nonce={number}")).json()
                assert reply["nonce"] == str(number)
                peers.add(tuple(reply["peer"]))
            assert len(peers) == 1

    run(main())


def test_aiohttp_client_gets_each_of_200_concurrent_replies_on_the_right_connection(
    run, kind, site
):
    async def fetch(session, served, nonce):
        async with session.get(f"{served.url}/?nonce={nonce}") as response:
            reply = await response.json(content_type=None)
            assert reply["nonce"] == str(nonce)

    async def main():
        connector = aiohttp.TCPConnector(limit=50)
        async with (
            serve(kind, site) as served,
            aiohttp.ClientSession(connector=connector) as session,
        ):
            await asyncio.gather(*(fetch(session, served, nonce) for nonce in range(200)))
        assert site.requests == 200

    run(main())


def test_curl_reuses_its_connection_and_sees_the_loop_under_test(run, kind, site, curl, loop_class):
    async def main():
        async with serve(kind, site) as served:
            out = "\n%{num_connects}\n"
            done = await curl("-w", out, f"{served.url}/?nonce=1", f"{served.url}/?nonce=2")
        assert done.code == 0, done.err
        lines = done.out.decode().split("\n")
        replies = [json.loads(line) for line in lines if line.startswith("{")]
        assert [reply["nonce"] for reply in replies] == ["1", "2"]
        assert {reply["loop"] for reply in replies} == {
            f"{loop_class.__module__}.{loop_class.__qualname__}"
        }
        assert [line for line in lines if line.isdigit()] == ["1", "0"]

    run(main())


def test_pipelined_requests_are_answered_in_order(run, kind, site):
    async def main():
        async with serve(kind, site) as served:
            reader, writer = await asyncio.open_connection(served.host, served.port)
            request = "GET /?nonce={} HTTP/1.1\r\nHost: x\r\n\r\n"
            writer.write("".join(request.format(number) for number in range(30)).encode())
            for number in range(30):
                status, body = await response_of(reader)
                assert status == b"HTTP/1.1 200 OK"
                assert json.loads(body)["nonce"] == str(number)
            writer.close()
            await writer.wait_closed()

    run(main())


def test_200_open_connections_are_all_served_when_they_speak_at_once(run, kind, site):
    async def main():
        async with serve(kind, site) as served:
            opened = [await asyncio.open_connection(served.host, served.port) for _ in range(200)]
            for number, (_, writer) in enumerate(opened):
                writer.write(f"GET /?nonce={number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            for number, (reader, writer) in enumerate(opened):
                _, body = await response_of(reader)
                assert json.loads(body)["nonce"] == str(number)
                writer.close()
            for _, writer in opened:
                await writer.wait_closed()

    run(main())


def test_a_unix_socket_serves_httpx_and_curl(run, kind, site, curl, tmp_path):
    path = str(tmp_path / "http.sock")

    async def main():
        transport = httpx.AsyncHTTPTransport(uds=path, verify=False)
        async with serve(kind, site, uds=path), httpx.AsyncClient(transport=transport) as client:
            assert (await client.get("http://localhost/?nonce=5")).json()["nonce"] == "5"
            done = await curl("--unix-socket", path, "http://localhost/?nonce=6")
            assert done.code == 0, done.err
            assert json.loads(done.out)["nonce"] == "6"

    run(main())


# --- bodies --------------------------------------------------------------------------------------


def test_a_body_streamed_by_httpx_comes_back_while_it_is_sent(run, kind, site):
    """The echo has to arrive before the next chunk is sent: neither side may wait for the end."""

    async def main():
        async with serve(kind, site) as served:
            chunks = [bytes([number]) * 1000 for number in range(20)]
            reader, writer = await asyncio.open_connection(served.host, served.port)
            writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            head_read = False
            for chunk in chunks:
                writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                if not head_read:
                    assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
                    head_read = True
                size = int(await reader.readline(), 16)
                assert await reader.readexactly(size) == chunk
                assert await reader.readline() == b"\r\n"
            writer.write(b"0\r\n\r\n")
            assert await reader.readuntil(b"0\r\n\r\n") == b"0\r\n\r\n"
            writer.close()
            await writer.wait_closed()

    run(main())


def test_curl_uploads_a_chunked_body_after_100_continue(run, kind, site, curl):
    body = bytes(range(256)) * (3 * MIB // 256)

    async def main():
        async with serve(kind, site) as served:
            done = await curl(
                "-T", "-", "-X", "POST", "-H", "Expect: 100-continue",
                f"{served.url}/count", stdin=body,
            )  # fmt: skip
        assert done.code == 0, done.err
        assert json.loads(done.out) == {"length": len(body), "crc": zlib.crc32(body)}

    run(main())


@pytest.mark.parametrize("client", ["httpx", "aiohttp"])
def test_a_chunked_upload_and_download_of_8_mib_arrive_whole(run, kind, site, client):
    size = 8 * MIB

    async def chunks():
        for _ in range(128):
            yield b"z" * (size // 128)

    async def with_httpx(served):
        async with httpx.AsyncClient(verify=False) as session:
            counted = (await session.post(f"{served.url}/count", content=chunks())).json()
            crc = 0
            async with session.stream("GET", f"{served.url}/big?size={size}") as response:
                async for chunk in response.aiter_bytes():
                    crc = zlib.crc32(chunk, crc)
        return counted, crc

    async def with_aiohttp(served):
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{served.url}/count", data=chunks()) as response:
                counted = await response.json(content_type=None)
            crc = 0
            async with session.get(f"{served.url}/big?size={size}") as response:
                async for chunk in response.content.iter_any():
                    crc = zlib.crc32(chunk, crc)
        return counted, crc

    async def main():
        async with serve(kind, site) as served:
            talk = with_httpx if client == "httpx" else with_aiohttp
            counted, crc = await talk(served)
        assert counted == {"length": size, "crc": zlib.crc32(b"z" * size)}
        assert crc == crc_of_pattern(size)

    run(main())


# --- slow clients --------------------------------------------------------------------------------


def test_a_request_that_arrives_byte_by_byte_is_answered(run, kind, site):
    async def main():
        async with serve(kind, site) as served:
            reader, writer = await asyncio.open_connection(served.host, served.port)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request = b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
            for number in range(len(request)):
                writer.write(request[number : number + 1])
                await asyncio.sleep(0)
            _, body = await response_of(reader)
            assert json.loads(body) == {"length": 5, "crc": zlib.crc32(b"hello")}
            writer.close()
            await writer.wait_closed()

    run(main())


def test_a_client_that_does_not_read_stops_the_server_from_writing(run, kind, site):
    size = 64 * MIB

    async def main():
        async with serve(kind, site) as served:
            loop = asyncio.get_running_loop()
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.setblocking(False)
                await loop.sock_connect(sock, (served.host, served.port))
                request = f"GET /big?size={size} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                await loop.sock_sendall(sock, request)
                while not site.sent:
                    await asyncio.sleep(0.001)
                stopped_at = await until_quiet(lambda: site.sent)
                assert stopped_at < size // 2
                # The connection is slow and not dead: what it reads lets the server go on.
                await still_answers(served)
                while site.sent == stopped_at:
                    assert await loop.sock_recv(sock, 65536)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await site.gone.wait()
            await still_answers(served)

    run(main())


def test_a_client_that_reads_one_byte_at_a_time_gets_all_bytes(run, kind, site):
    size = 20_000

    async def main():
        async with serve(kind, site) as served:
            loop = asyncio.get_running_loop()
            with socket.socket() as sock:
                sock.setblocking(False)
                await loop.sock_connect(sock, (served.host, served.port))
                request = f"GET /big?size={size} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                await loop.sock_sendall(sock, request.encode())
                received = bytearray()
                while byte := await loop.sock_recv(sock, 1):
                    received += byte
        head, _, rest = bytes(received).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        length, _, rest = rest.partition(b"\r\n")
        body = rest[: int(length, 16)]
        assert zlib.crc32(body) == crc_of_pattern(size)
        assert rest[int(length, 16) :] == b"\r\n0\r\n\r\n"

    run(main())


# --- disconnects ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
def test_the_application_learns_that_the_client_left_in_the_middle_of_its_request(
    run, kind, site, how
):
    async def main():
        async with serve(kind, site) as served:
            _, writer = await asyncio.open_connection(served.host, served.port)
            head = b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
            writer.write(head + b"x" * 500)
            while site.received < 500:
                await asyncio.sleep(0.001)
            if how == "reset":
                reset(writer)
            else:
                writer.close()
                await writer.wait_closed()
            await site.gone.wait()
            await still_answers(served)

    run(main())


@pytest.mark.parametrize("how", ["close", "reset"])
def test_the_application_learns_that_the_client_left_while_it_was_thinking(run, kind, site, how):
    async def main():
        async with serve(kind, site) as served:
            _, writer = await asyncio.open_connection(served.host, served.port)
            writer.write(b"GET /until-gone HTTP/1.1\r\nHost: x\r\n\r\n")
            await site.entered.wait()
            if how == "reset":
                reset(writer)
            else:
                writer.close()
                await writer.wait_closed()
            await site.gone.wait()
            await still_answers(served)

    run(main())


@pytest.mark.parametrize("how", ["close", "reset"])
def test_the_application_learns_that_the_client_left_in_the_middle_of_the_response(
    run, kind, site, how
):
    size = 1024 * MIB

    async def main():
        async with serve(kind, site) as served:
            reader, writer = await asyncio.open_connection(served.host, served.port)
            writer.write(f"GET /big?size={size} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await reader.readexactly(100_000)
            if how == "reset":
                reset(writer)
            else:
                writer.close()
                await writer.wait_closed()
            await site.gone.wait()
            assert site.sent < size
            await still_answers(served)

    run(main())


def test_a_cancelled_httpx_request_closes_its_connection(run, kind, site):
    async def main():
        async with serve(kind, site) as served, httpx.AsyncClient(verify=False) as client:
            request = asyncio.create_task(client.get(f"{served.url}/until-gone"))
            await site.entered.wait()
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            await site.gone.wait()
            assert (await client.get(f"{served.url}/?nonce=1")).json()["nonce"] == "1"

    run(main())


# --- shutdown ------------------------------------------------------------------------------------


def test_a_graceful_shutdown_finishes_the_request_in_flight_and_then_refuses(run, kind, site):
    async def main():
        async with serve(kind, site) as served:
            reader, writer = await asyncio.open_connection(served.host, served.port)
            writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
            await site.entered.wait()
            stopping = asyncio.create_task(served.stop())
            while served.listener.is_serving():
                await asyncio.sleep(0.001)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(served.host, served.port)
            assert not stopping.done()
            site.release.set()
            status, body = await response_of(reader)
            assert (status, body) == (b"HTTP/1.1 200 OK", b"released")
            await stopping
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    run(main())


@pytest.mark.yula_only(reason="it is about which loop it is")
def test_the_application_runs_on_a_yula_loop(run, kind, site, loop_class):
    assert loop_class is yula.Loop

    async def main():
        async with serve(kind, site) as served, httpx.AsyncClient(verify=False) as client:
            reply = (await client.get(served.url)).json()
            assert reply["loop"] == "yula.loop.Loop"

    run(main())
