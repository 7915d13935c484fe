"""Work that must leave the loop: what a thread, a process and an interpreter cost, and when each pays.

    python bench/offload.py                                 a minute
    python bench/offload.py --loop asyncio --rounds 5 --json offload.json
    python bench/offload.py --lengths 100us,10ms --sizes 0,1048576

A server computes in pure Python, one call after the other, of several lengths and with arguments
of several sizes, in each of four ways: in the coroutine itself, in asyncio.to_thread, in a pool
of one process, in a pool of one interpreter (Python 3.14 and later). Beside that it echoes 64
bytes a millisecond, and the answers are timed from the moment at which each request was due, so
that a server which stands still for 100 ms is late for 100 requests and not for one. The row `none` is
the same echo with no computation.

Nothing is pinned: to use a second CPU is the point of half of the ways.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import statistics
import sys
import time
from pathlib import Path

from harness import machine, process, report

WAYS = ["inline", "thread", "process", "interpreter"]
PROBE = bytes(range(64))
PROBE_EVERY_NS = 1_000_000
UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000}
SCRIPT = process.BENCH / "servers" / "offload_server.py"

# One figure of one round: (way, length in µs, argument in bytes) -> what was measured
Cell = tuple[str, int, int]


def length_us(text: str) -> int:
    for unit, factor in UNITS_US.items():
        number = text.removesuffix(unit)
        if number != text and number.isdigit():
            return int(number) * factor
    raise argparse.ArgumentTypeError(f"'{text}' is no length like 100us or 10ms")


def length_text(us: int) -> str:
    return f"{us // 1000} ms" if us >= 1000 else f"{us} µs"


def size_text(size: int) -> str:
    return f"{size // 1024} KiB" if size >= 1024 else f"{size} B"


class Probe:
    """Requests at fixed times on one connection, however late the answers to earlier ones are."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def until_readable(self, other: socket.socket, limit_s: float) -> list[int]:
        """Probe until the other socket has something to read. Returns latencies in ns."""
        latencies: list[int] = []
        due: list[int] = []  # when each request without an answer should have been sent
        got = 0
        began = time.monotonic_ns()
        next_ns = began
        finishing = False
        while not finishing or due:
            now = time.monotonic_ns()
            if now - began > limit_s * 1e9:
                raise TimeoutError(f"no answer within {limit_s:.0f} s")
            while not finishing and now >= next_ns:
                self.sock.sendall(PROBE)
                due.append(next_ns)
                next_ns += PROBE_EVERY_NS
            wait = 1.0 if finishing else max(0.0, (next_ns - time.monotonic_ns()) / 1e9)
            watched = [self.sock] if finishing else [self.sock, other]
            ready, _, _ = select.select(watched, [], [], wait)
            if self.sock in ready:
                data = self.sock.recv(65536)
                if not data:
                    raise ConnectionError("the server closed the connection")
                now = time.monotonic_ns()
                got += len(data)
                while due and got >= len(PROBE):
                    got -= len(PROBE)
                    latencies.append(now - due.pop(0))
            finishing = finishing or other in ready
        return latencies

    def close(self) -> None:
        self.sock.close()


def percentile(values: list[int], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] / 1e6


def measure_way(way: str, options: argparse.Namespace) -> dict[Cell, dict[str, float]]:
    """All lengths and sizes in one server process; of an idle one, all are the same."""
    lengths, sizes = ([0], [0]) if way == "idle" else (options.lengths, options.sizes)
    command = [*options.python, str(SCRIPT), "--loop", options.loop, "--way", way]
    path = os.pathsep.join(filter(None, [str(SCRIPT.parent), os.environ.get("PYTHONPATH")]))
    env = [f"PYTHONPATH={path}", *options.env]
    found: dict[Cell, dict[str, float]] = {}
    with process.Server(way, command, None, env=env) as server:
        hello = server.hello(60)
        probe = Probe(hello["echo"])
        with socket.create_connection(("127.0.0.1", hello["orders"])) as orders:
            answers = orders.makefile("r")
            for us in lengths:
                for size in sizes:
                    steps = round(hello["steps_in_a_millisecond"] * us / 1000)
                    order = {"steps": steps, "size": size, "seconds": options.seconds}
                    orders.sendall(json.dumps(order).encode() + b"\n")
                    try:
                        latencies = probe.until_readable(orders, options.seconds + 30)
                    except (OSError, TimeoutError) as error:
                        raise server.failure(str(error)) from error
                    result: dict[str, float] = json.loads(answers.readline())
                    for name, part in (("p50_ms", 0.5), ("p99_ms", 0.99)):
                        result[name] = percentile(latencies, part)
                    found[way, us, size] = result
            answers.close()
        probe.close()
    return found


def run_rounds(ways: list[str], options: argparse.Namespace) -> list[dict[Cell, dict[str, float]]]:
    rounds = []
    for number in range(options.rounds):
        cells: dict[Cell, dict[str, float]] = {}
        for way in ["idle", *ways] if number % 2 == 0 else [*ways[::-1], "idle"]:
            report.progress(f"round {number + 1} of {options.rounds}: {way} ...")
            cells.update(measure_way(way, options))
        rounds.append(cells)
    report.progress("")
    return rounds


def median(rounds: list[dict[Cell, dict[str, float]]], cell: Cell, field: str) -> float:
    return statistics.median(cells[cell][field] for cells in rounds)


def moved(rounds: list[dict[Cell, dict[str, float]]], cell: Cell, field: str) -> str:
    values = [cells[cell][field] for cells in rounds]
    return f"{min(values):.3g}-{max(values):.3g}" if len(values) > 1 else ""


def result_table(
    cells: list[dict[Cell, dict[str, float]]], ways: list[str], size: int, lengths: list[int]
) -> str:
    rows = []
    head = ["computation", "way", "call takes µs", "CPU µs", "calls/s",
            "echo p50 ms", "p99 ms", "p99 of the rounds"]  # fmt: skip
    idle = ("idle", 0, 0)
    echoes = [f"{median(cells, idle, field):.2f}" for field in ("p50_ms", "p99_ms")]
    rows.append(["none", "", "", "", "", *echoes, moved(cells, idle, "p99_ms")])
    for us in lengths:
        for way in ways:
            cell = (way, us, size)
            took = median(cells, cell, "wall_us")
            rows.append([
                length_text(us) if way == ways[0] else "",
                way,
                f"{took:,.0f}",
                f"{median(cells, cell, 'cpu_us'):,.0f}",
                f"{1e6 / took:,.0f}",
                f"{median(cells, cell, 'p50_ms'):.2f}",
                f"{median(cells, cell, 'p99_ms'):.2f}",
                moved(cells, cell, "p99_ms"),
            ])  # fmt: skip
    return report.table(head, rows)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loop", choices=machine.LOOPS, default="yula")
    parser.add_argument("--ways", default=",".join(WAYS), help="comma-separated (all)")
    parser.add_argument("--lengths", default="10us,100us,1ms,10ms,100ms",
                        help="of the computation (10us,100us,1ms,10ms,100ms)")  # fmt: skip
    parser.add_argument("--sizes", default="0,102400", help="bytes of the argument (0,102400)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.4, help="for each figure (0.4)")
    parser.add_argument("--python", help="interpreter or command for the servers (this one)")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--void-p99", type=float, default=3.0, metavar="MS",
                        help="the run is void when the echo beside nothing is later than this (3)")  # fmt: skip
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    options = parser.parse_args()
    options.python = process.server_python(options.python)
    options.lengths = [length_us(text) for text in options.lengths.split(",")]
    options.sizes = [int(text) for text in options.sizes.split(",")]
    ways = options.ways.split(",")
    if unknown := sorted(set(ways) - set(WAYS)):
        parser.error(f"unknown ways: {', '.join(unknown)}; known: {', '.join(WAYS)}")

    what = machine.describe()
    interpreter = machine.ask_interpreter(options.python, [options.loop])
    if interpreter["versions"][options.loop] is None:
        parser.error(f"{options.loop} is not installed for this Python")
    major, minor = map(int, interpreter["python"].split(".")[:2])
    if (major, minor) < (3, 14) and "interpreter" in ways:
        ways.remove("interpreter")
    machine.print_header(what, interpreter, f"loop {options.loop}, {options.rounds} rounds, "
                         f"{options.seconds:g} s a figure", pinned=False)  # fmt: skip
    rounds = run_rounds(ways, options)
    for size in options.sizes:
        print(report.bold(f"argument of {size_text(size)}"))
        print(result_table(rounds, ways, size, options.lengths))
        print()
    noise = median(rounds, ("idle", 0, 0), "p99_ms")
    if noise > options.void_p99:
        print(report.paint(f"VOID: with no computation the echo's p99 was {noise:.1f} ms: other work "
                           "was running; repeat the run", "31;1"))  # fmt: skip
    if options.json:
        saved = {
            "void": noise > options.void_p99,
            "machine": what,
            "interpreter": interpreter,
            "settings": vars(options),
            "rounds": [
                [{"way": way, "length_us": us, "size": size, **result}
                 for (way, us, size), result in cells.items()]
                for cells in rounds
            ],
        }  # fmt: skip
        options.json.write_text(json.dumps(saved, indent=1, default=str) + "\n")
        print(f"written: {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
