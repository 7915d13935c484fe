"""examples/c-extension: HTTP in C beside a Python handler, on one port."""

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from computing import computing
from extensions import compile_extension, load_extension

import yula

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "c-extension"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return compile_extension(EXAMPLE / "responder.c", tmp_path_factory.mktemp("responder"))


@pytest.fixture(scope="module")
def responder(built):
    return load_extension(built)


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    (folder / "css").mkdir(parents=True)
    (folder / "index.html").write_text("<p>hello</p>")
    (folder / "css" / "style.css").write_bytes(b"p { color: red }")
    (folder / "large.bin").write_bytes(bytes(range(256)) * 4096)
    (folder / "empty.txt").write_bytes(b"")
    return folder


async def default_handler(method, target, body):
    await asyncio.sleep(0)
    return 200, "text/plain", f"{method} {target} {len(body)}".encode()


async def raw(port, data):
    """What the server answers to these bytes until it ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def get(port, target, body=b"", method=None):
    """(status, headers, body) of one answer."""
    method = method or ("POST" if body else "GET")
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    if body:
        head += f"Content-Length: {len(body)}\r\n"
    answer = await raw(port, head.encode() + b"\r\n" + body)
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    headers = dict(field.lower().split(": ", 1) for field in fields)
    return int(line.split()[1]), headers, body


@pytest.fixture
def served(responder, site):
    """served(test, handler): run test(port) beside the server."""

    def run(test, handler=default_handler):
        async def main():
            with socket.create_server(("127.0.0.1", 0)) as sock:
                sock.setblocking(False)
                future = responder.serve(sock, str(site), handler)
                try:
                    return await test(sock.getsockname()[1])
                finally:
                    future.cancel()
                    await asyncio.wait([future])

        return yula.run(main())

    return run


def test_health_and_files_come_from_c_and_the_rest_from_python(served, site):
    async def test(port):
        assert (await get(port, "/health"))[0] == 200
        status, headers, body = await get(port, "/index.html?x=1")
        assert (status, body) == (200, b"<p>hello</p>")
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert (await get(port, "/css/style.css"))[2] == b"p { color: red }"
        assert (await get(port, "/large.bin"))[2] == (site / "large.bin").read_bytes()
        assert (await get(port, "/empty.txt"))[2] == b""
        assert (await get(port, "/other"))[2] == b"GET /other 0"
        assert (await get(port, "/health", b"12345"))[2] == b"POST /health 5"

    served(test)


def test_a_head_request_has_no_body(served):
    async def test(port):
        status, headers, body = await get(port, "/index.html", method="HEAD")
        assert (status, headers["content-length"], body) == (200, "12", b"")

    served(test)


def test_requests_on_one_connection_are_answered_in_order(served):
    async def test(port):
        requests = b"".join(
            b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in (b"a", b"health", b"b")
        )
        answer = await raw(port, requests + b"GET /c HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert [part for part in (b"/a", b"/b", b"/c") if part in answer] == [b"/a", b"/b", b"/c"]
        assert answer.index(b"GET /a") < answer.index(b"GET /b") < answer.index(b"GET /c")
        assert answer.count(b"HTTP/1.1 200") == 4

    served(test)


def test_files_outside_of_the_folder_are_not_found_by_c(served):
    async def test(port):
        for target in ("/../secret", "//etc/passwd", "/css/../index.html"):
            assert (await get(port, target))[2] == f"GET {target} 0".encode()

    served(test)


def test_a_handler_that_fails_is_an_error_500_and_is_reported(served):
    told = []

    async def fail(method, target, body):
        raise ValueError("no luck")

    async def test(port):
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        assert (await get(port, "/x"))[0] == 500
        assert (await get(port, "/health"))[0] == 200

    served(test, fail)
    assert [str(context["exception"]) for context in told] == ["no luck"]


@pytest.mark.parametrize("answer", [None, (200, "text/plain"), (200, "text/plain", 5), "text"])
def test_a_handler_that_returns_something_else_is_an_error_500(served, answer):
    told = []

    async def handler(method, target, body):
        return answer

    async def test(port):
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        assert (await get(port, "/x"))[0] == 500

    served(test, handler)
    assert [type(context["exception"]) for context in told] == [TypeError]


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: 5, 6\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", b"4"),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"501"),
    ],
)
def test_a_request_that_cannot_be_understood_is_refused(served, request_head, status):
    async def test(port):
        assert (await raw(port, request_head)).startswith(b"HTTP/1.1 " + status)

    served(test)


def test_a_head_that_is_too_long_ends_the_connection(served):
    async def test(port):
        try:
            answer = await raw(port, b"GET / HTTP/1.1\r\nX: " + b"x" * 20000)
        except ConnectionResetError:  # the end came before all of it was read
            answer = b""
        assert answer == b""

    served(test)


def test_c_answers_while_python_computes_and_holds_the_loop(served):
    async def test(port):
        def ask():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            for _ in range(50):
                connection.request("GET", "/health")
                assert connection.getresponse().read() == b""
            connection.close()

        with computing():
            await asyncio.to_thread(ask)
            for _ in range(5):
                assert (await get(port, "/x"))[2] == b"GET /x 0"

    served(test)


def test_requests_that_python_works_on_are_cancelled_with_the_server(responder, site):
    ended = []

    async def slow(method, target, body):
        try:
            ended.append("began")
            await asyncio.sleep(3600)
        finally:
            ended.append("ended")

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as sock:
            sock.setblocking(False)
            future = responder.serve(sock, str(site), slow)
            asking = asyncio.create_task(get(sock.getsockname()[1], "/x"))
            while not ended:
                await asyncio.sleep(0.001)
            future.cancel()
            await asyncio.wait([asking])
            asking.exception()

    yula.run(main())
    assert ended == ["began", "ended"]


def test_the_program_serves_and_stops_on_a_signal(built, site):
    path = f"{built.parent}:{Path(yula.__file__).parent.parent}"
    with subprocess.Popen(
        [sys.executable, str(EXAMPLE / "app.py"), "--folder", str(site)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
    ) as process:  # fmt: skip
        port = int(process.stdout.readline().rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/echo", "hello")
        assert connection.getresponse().read() == b'{"method": "POST", "body": "hello"}'
        connection.request("GET", "/index.html")
        assert connection.getresponse().read() == b"<p>hello</p>"
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "stopped\n"
        assert process.wait(30) == 0
