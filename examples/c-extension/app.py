"""A web server: /health and the files of a folder from C, the rest from Python, on one port.

pip install yula setuptools && python setup.py build_ext --inplace
python app.py --port 8080 --folder site
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import tempfile

import responder

import yula


async def handler(method: str, target: str, body: bytes) -> tuple[int, str, bytes]:
    """Whatever C does not answer itself. Runs as a task of the loop, as any coroutine does."""
    if target != "/echo":
        return 404, "text/plain", b"not found\n"
    await asyncio.sleep(0)  # a database would be asked here
    answer = {"method": method, "body": body.decode(errors="replace")}
    return 200, "application/json", json.dumps(answer).encode()


async def serve(port: int, folder: str) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as sock:
        sock.setblocking(False)
        served = responder.serve(sock, folder, handler)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, served.cancel)
        print(f"listening on http://127.0.0.1:{sock.getsockname()[1]}", flush=True)
        try:
            await served
        except asyncio.CancelledError:
            print("stopped", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0: one that is free")
    parser.add_argument("--folder", help="files to serve (none)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as empty:
        yula.run(serve(options.port, options.folder or empty))


if __name__ == "__main__":
    main()
