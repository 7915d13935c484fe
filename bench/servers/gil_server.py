"""The echo server of echo_server.py with threads beside it that compute in Python.

    python gil_server.py --loop uvloop --compute 1 --progress FILE

Prints one line of JSON when it listens and its threads run: ports, the loop, thread numbers.
Ends by a signal; with --stats SIGTERM leaves what loop.stats() says in that file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import compute
import echo_server
import loops


class Announcer:
    """Starts the threads and prints the line, once every loop listens."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.ports: list[int] = []
        self.loop_threads: list[int] = []
        self.ready = threading.Event()
        self._lock = threading.Lock()

    def listens(self, listener: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self.ports.append(listener.getsockname()[1])
            self.loop_threads.append(threading.get_native_id())
            if len(self.ports) < self.options.loops:
                return
        self._start_threads()
        hello = {
            "port": self.ports[0],
            "ports": self.ports,
            "loop": loops.type_name(loop),
            "loop_threads": self.loop_threads,
        }
        print(json.dumps(hello), flush=True)
        self.ready.set()

    def _start_threads(self) -> None:
        options = self.options
        if not options.compute:
            return
        self.slots = compute.open_progress(options.progress)
        first = 1 if options.main == "compute" else 0
        for index in range(first, options.compute):
            arguments = (self.slots, index)
            threading.Thread(
                target=compute.KINDS[options.kind], args=arguments, daemon=True
            ).start()


def say_and_end(loop: asyncio.AbstractEventLoop, path: Path) -> None:
    stats: Any = getattr(loop, "stats", None)
    path.write_text(json.dumps(stats() if stats else None, default=str))
    os._exit(0)  # the computing threads never end, and finalisation is not our subject


async def serve(announcer: Announcer) -> None:
    options = announcer.options
    loop = asyncio.get_running_loop()
    if options.stats:
        loop.add_signal_handler(signal.SIGTERM, say_and_end, loop, options.stats)
    listener = await echo_server.STYLES[options.style](options.size)
    announcer.listens(listener, loop)
    await loop.create_future()  # for ever


def run_loop(announcer: Announcer) -> None:
    with asyncio.Runner(loop_factory=loops.factory(announcer.options.loop)) as runner:
        runner.run(serve(announcer))


def preload(library: Path) -> None:
    """Begin again with it: the loader looks only once, and what starts us may not pass it on."""
    if os.environ.get("LD_PRELOAD") != str(library):
        os.environ["LD_PRELOAD"] = str(library)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=sorted(loops.FACTORIES), default="asyncio")
    parser.add_argument("--style", choices=sorted(echo_server.STYLES), default="protocol")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--compute", type=int, default=0, help="computing threads")
    parser.add_argument("--kind", choices=sorted(compute.KINDS), default="pure")
    parser.add_argument("--progress", type=Path, help="file for their counters, of 8 bytes each")
    parser.add_argument("--loops", type=int, default=1, help="that serve, a thread each")
    parser.add_argument("--main", choices=["loop", "compute"], default="loop",
                        help="what the main thread does")  # fmt: skip
    parser.add_argument("--stats", type=Path, help="file for loop.stats() at the end")
    parser.add_argument("--preload", type=Path, help="a library to load before all others")
    options = parser.parse_args()
    if options.preload:
        preload(options.preload)
    announcer = Announcer(options)
    elsewhere = options.loops - (options.main == "loop")
    for _ in range(elsewhere):
        threading.Thread(target=run_loop, args=(announcer,), daemon=True).start()
    if options.main == "loop":
        run_loop(announcer)
    else:
        announcer.ready.wait()
        compute.KINDS[options.kind](announcer.slots, 0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
