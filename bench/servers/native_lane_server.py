"""The responder of examples/c-extension, with threads beside it that compute in Python.

    python native_lane_server.py --responder FOLDER --compute 1 --progress FILE

Prints one line of JSON when it listens: the port.  /health is answered by C, the rest by Python.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path

import compute

import yula


async def handler(method: str, target: str, body: bytes) -> tuple[int, str, bytes]:
    return 200, "text/plain", b""


def computing(slots: compute.Slots, index: int, cpu: int | None) -> None:
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})  # this thread's
    compute.pure(slots, index)


async def serve(options: argparse.Namespace) -> None:
    sys.path.insert(0, str(options.responder))
    import responder  # built by bench/native_lane.py

    with (
        socket.create_server(("127.0.0.1", 0), backlog=512) as sock,
        tempfile.TemporaryDirectory() as empty,
    ):
        sock.setblocking(False)
        served = responder.serve(sock, empty, handler)
        slots = compute.open_progress(options.progress)
        for index in range(options.compute):
            arguments = (slots, index, options.compute_cpu)
            threading.Thread(target=computing, args=arguments, daemon=True).start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, served.cancel)
        print(json.dumps({"port": sock.getsockname()[1]}), flush=True)
        await served


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--responder", type=Path, required=True, help="where the module is")
    parser.add_argument("--compute", type=int, default=0, help="threads")
    parser.add_argument("--compute-cpu", type=int, help="where they may run (anywhere)")
    parser.add_argument("--progress", type=Path, required=True)
    try:
        yula.run(serve(parser.parse_args()))
    except asyncio.CancelledError:
        pass


if __name__ == "__main__":
    main()
