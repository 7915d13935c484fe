"""100 MiB through a server process, both ways: all bytes arrive, and nobody holds them all.

The server is a process of its own, so that its peak memory is its own. Growth allowed is a small
part of the body: flow control that does not work shows as the whole of it.
"""

import asyncio
import contextlib
import json
import sys
import zlib
from pathlib import Path

import aiohttp
import httpx
import psutil
import pytest
from http_site import CHUNK, SERVERS, crc_of_pattern, pattern

MIB = 1024 * 1024
SIZE = 100 * MIB
GROWTH = 24 * MIB

pytestmark = [pytest.mark.yula_only, pytest.mark.timeout(120)]


@pytest.fixture(params=SERVERS)
def kind(request):
    return request.param


class Growth:
    """How far our resident memory rose above where it was, at any look."""

    def __init__(self):
        self.start = self.now()
        self.most = 0

    def now(self):
        return psutil.Process().memory_info().rss

    def look(self):
        self.most = max(self.most, self.now() - self.start)


class PeakGrowth(Growth):
    """How far another process' peak of resident memory rose: the kernel looks all the time."""

    def __init__(self, pid):
        self.status = Path(f"/proc/{pid}/status")
        super().__init__()

    def now(self):
        words = self.status.read_text().split()
        return int(words[words.index("VmHWM:") + 1]) * 1024


@contextlib.asynccontextmanager
async def server_process(kind):
    """Run http_site.py in a process; yield its address and its Growth; it must end well."""
    program = Path(__file__).with_name("http_site.py")
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "faulthandler", program, kind, stdout=asyncio.subprocess.PIPE
    )
    try:
        port = int(await child.stdout.readline())
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(verify=False) as client:  # warm, before memory is counted
            assert (await client.get(url)).json()["loop"] == "yula.loop.Loop"
            await client.post(f"{url}/count", content=b"x" * MIB)
            await client.get(f"{url}/big?size={MIB}")
        yield url, PeakGrowth(child.pid)
        child.terminate()
        assert await child.wait() == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def upload(looks):
    for number, chunk in enumerate(pattern(SIZE)):
        if number % 32 == 0:
            for growth in looks:
                growth.look()
        yield chunk


async def check_download(chunks, looks):
    crc = length = 0
    async for chunk in chunks:
        crc = zlib.crc32(chunk, crc)
        if (length // CHUNK) % 32 == 0:
            for growth in looks:
                growth.look()
        length += len(chunk)
    assert length == SIZE
    assert crc == crc_of_pattern(SIZE)


@pytest.mark.parametrize("client", ["httpx", "aiohttp"])
def test_100_mib_go_up_and_come_down_in_bounded_memory(run, kind, client):
    async def with_httpx(url, looks):
        async with httpx.AsyncClient(verify=False, timeout=60) as session:
            counted = (await session.post(f"{url}/count", content=upload(looks))).json()
            async with session.stream("GET", f"{url}/big?size={SIZE}") as response:
                await check_download(response.aiter_bytes(), looks)
        return counted

    async def with_aiohttp(url, looks):
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{url}/count", data=upload(looks)) as response:
                counted = await response.json(content_type=None)
            async with session.get(f"{url}/big?size={SIZE}") as response:
                await check_download(response.content.iter_any(), looks)
        return counted

    async def main():
        async with server_process(kind) as (url, server):
            ours = Growth()
            talk = with_httpx if client == "httpx" else with_aiohttp
            counted = await talk(url, [server, ours])
            assert counted == {"length": SIZE, "crc": crc_of_pattern(SIZE)}
            assert server.most < GROWTH
            assert ours.most < GROWTH

    run(main())


def test_curl_echoes_100_mib_through_a_server_that_sends_while_it_receives(
    run, kind, curl, tmp_path
):
    source = tmp_path / "source"
    with open(source, "wb") as stream:
        for chunk in pattern(SIZE):
            stream.write(chunk)
    result = tmp_path / "result"

    async def main():
        async with server_process(kind) as (url, server):
            upload = ["-T", str(source), "-X", "POST", "-H", "Transfer-Encoding: chunked"]
            done = await curl(*upload, f"{url}/echo", "-o", str(result))
            server.look()
            assert done.code == 0, done.err
            assert server.most < GROWTH

    run(main())
    crc = 0
    with open(result, "rb") as stream:
        while chunk := stream.read(CHUNK):
            crc = zlib.crc32(chunk, crc)
    assert crc == crc_of_pattern(SIZE)
    assert result.stat().st_size == SIZE
    source.unlink()
    result.unlink()


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_the_uvicorn_command_serves_on_yula_and_ends_at_sigterm(run, curl, http, free_port):
    """The command line a user types: `uvicorn app:app --loop yula:new_event_loop`."""

    async def main():
        port = free_port()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "uvicorn", "http_site:app", "--port", str(port),
            "--loop", "yula:new_event_loop", "--http", http, "--lifespan", "off",
            cwd=Path(__file__).parent,
            stderr=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        said = b""
        try:
            while b"Uvicorn running" not in said:
                line = await child.stderr.readline()
                assert line, said.decode()
                said += line
            done = await curl(f"http://127.0.0.1:{port}/?nonce=7")
            assert json.loads(done.out)["loop"] == "yula.loop.Loop"
        finally:
            child.terminate()
            said += await child.stderr.read()
            code = await child.wait()
        assert b"Finished server process" in said
        assert code in (0, -15)  # uvicorn raises the signal again when it has shut down

    run(main())
