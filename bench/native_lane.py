"""C tasks inside CPython while a Python thread computes: what they keep, and how long they take.

    python bench/native_lane.py                                  3.11 or whatever runs it
    python bench/native_lane.py --python "tools/interpreters exec 3.14 python" --rounds 5
    python bench/native_lane.py --loads paced --layouts apart    one table of the four

The server is the responder of examples/c-extension: /health from C, the rest from a Python handler
on the same port. It computes in a thread of its own process, or a second process computes; both do
so on the same CPU, so that only the interpreter lock differs.

Two loads.  saturated: wrk asks as much as is answered; the rate is what counts, and the latencies
are those of a queue.  paced: so many requests a second for each path (bench/c/paced_http.c), each
timed from when it was due, which is what a user waits.

Two layouts.  shared: the whole server and the computing on one CPU, the load has the other: what
the kernel gives to two threads that want the same CPU is part of the figures.  apart: the computing
on one CPU, the server may use both, and so may C while Python computes; the load has to sleep.

others: how much of a CPU was had by programs that are no part of it, and by the host's other guests. A
run in which that is more than 5 % is repeated, twice at most. unseen: requests that the paced load
had to leave out, because they were answered while it did not run itself.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from harness import machine, process, report, stats, web

EXAMPLE = process.BENCH.parent / "examples" / "c-extension" / "responder.c"
INCLUDE = process.BENCH.parent / "include"
SERVER = process.BENCH / "servers" / "native_lane_server.py"
PACED = process.BUILD / "paced_http"
COMPUTE = process.BENCH / "servers" / "compute.py"
C_KEPT = 0.90  # of the rate beside a process
C_P99_MS = 2.0
C_P99_MIXED_MS = 10.0
OTHERS_MOST = 0.05  # of a CPU: what other programs, or the host's other guests, may take of a run

# name: computing threads, computing processes, what is asked
CASES: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "C alone": (0, 0, ("/health",)),
    "C, a process computes": (0, 1, ("/health",)),
    "C, a thread computes": (1, 0, ("/health",)),
    "Python, a thread computes": (1, 0, ("/python",)),
    "both, a thread computes": (1, 0, ("/health", "/python")),
}

Result = dict[str, Any]
Rounds = dict[str, list[dict[str, Result]]]  # of each case
Processes = list[tuple[tuple[str, ...], subprocess.Popen[str]]]


class Plan(NamedTuple):
    load: str
    layout: str


LOADS, LAYOUTS = ("saturated", "paced"), ("shared", "apart")


def build(python: list[str], folder: Path) -> None:
    """The example, for the interpreter that is asked for, with its own compiler if it has one."""
    script = (
        "import subprocess, sys, sysconfig\n"
        "source, include, folder = sys.argv[1:]\n"
        "name = folder + '/responder' + sysconfig.get_config_var('EXT_SUFFIX')\n"
        "subprocess.run(['cc', '-O2', '-std=gnu17', '-shared', '-fPIC', '-I' + include,\n"
        "                '-I' + sysconfig.get_path('include'), source, '-o', name], check=True)\n"
    )
    command = [*python, "-P", "-c", script, str(EXAMPLE), str(INCLUDE), str(folder)]
    subprocess.run(command, check=True, timeout=120)


def loads(port: int, paths: tuple[str, ...], plan: Plan, options: argparse.Namespace) -> Processes:
    """The processes that ask, each with the paths that it asks for."""
    _, cpu = machine.cpus()
    if plan.load == "paced":
        spin = ["--spin"] if plan.layout == "shared" and cpu is not None else []
        paced = [str(PACED), *spin, str(port), str(options.rate), str(options.seconds),
                 str(options.connections), *paths]  # fmt: skip
        return [(paths, started(process.pinned(cpu, paced)))]
    wrk = ["wrk", "--threads", "1", "--connections", str(options.connections),
           "--duration", f"{options.seconds}s", "--timeout", "10s",
           "--script", str(process.BENCH / "wrk_report.lua")]  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    return [((path,), started(process.pinned(cpu, [*wrk, address + path]))) for path in paths]


def started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def counted(asking: subprocess.Popen[str], count: int, options: argparse.Namespace) -> list[Result]:
    """What a process of the load says in its last lines, of each path one."""
    said, _ = asking.communicate(timeout=options.seconds + 30)
    lines = said.strip().splitlines()[-count:]
    if asking.returncode != 0 or len(lines) != count or not lines[0].startswith("{"):
        raise SystemExit(f"the load failed: {said.strip()}")
    results: list[Result] = [json.loads(line) for line in lines]
    for result in results:
        if result["non_2xx"] or any(result[why] for why in ("connect", "read", "write", "timeout")):
            raise SystemExit(f"wrong answers: {result}")
        result["rate"] = result["requests"] / (result["microseconds"] / 1e6)
    return results


def progressed(progress: Path) -> int:
    done: int = struct.unpack("Q", progress.read_bytes()[:8])[0]
    return done


def busy_seconds() -> float:
    """Of all CPUs, by anybody: what they were not idle. The host's other guests are in it.

    The kernel samples who runs, four milliseconds apart; it is the idle time that it measures.
    """
    ticks = [int(word) for word in Path("/proc/stat").read_text().split()[1:6]]
    idle = (ticks[3] + ticks[4]) / os.sysconf(
        "SC_CLK_TCK"
    )  # the second: while a disk was waited for
    return (os.cpu_count() or 1) * time.monotonic() - idle


def load_seconds() -> float:
    """Of the children that have ended: the load's, while no server ends."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def measure(case: str, plan: Plan, options: argparse.Namespace, folder: Path) -> dict[str, Result]:
    """The result of each path that was asked, and the computing's own speed as "computing"."""
    threads, processes, paths = CASES[case]
    cpu, _ = machine.cpus()
    progress = folder / "progress"
    progress.write_bytes(bytes(64))
    command = [*options.python, str(SERVER), "--responder", str(folder),
               "--compute", str(threads), "--progress", str(progress)]  # fmt: skip
    if cpu is not None:
        command += ["--compute-cpu", str(cpu)]
    with ExitStack() as stack:
        server_cpu = cpu if plan.layout == "shared" else None
        server = stack.enter_context(process.Server(case, command, server_cpu))
        port, servers = server.hello()["port"], [server]
        if processes:
            beside = [*options.python, str(COMPUTE), "--progress", str(progress)]
            apart = stack.enter_context(process.Server("computing", beside, cpu))
            apart.hello()
            servers.append(apart)
        before, busy = progressed(progress), busy_seconds()
        ours = load_seconds() + sum(one.cpu_ns() for one in servers) / 1e9
        asking = loads(port, paths, plan, options)
        results: dict[str, Result] = {}
        for asked, one in asking:
            results.update(zip(asked, counted(one, len(asked), options), strict=True))
        busy = busy_seconds() - busy
        ours = load_seconds() + sum(one.cpu_ns() for one in servers) / 1e9 - ours
        results["computing"] = {
            "rate": (progressed(progress) - before) / options.seconds,
            "others": max(busy - ours, 0.0) / options.seconds,
        }
    return results


def undisturbed(
    case: str, plan: Plan, options: argparse.Namespace, folder: Path
) -> dict[str, Result]:
    """A run, repeated when others had much of the machine; twice at most."""
    for _ in range(2):
        results = measure(case, plan, options, folder)
        if results["computing"]["others"] < OTHERS_MOST:
            return results
    return measure(case, plan, options, folder)


def middle(rounds: list[dict[str, Result]], path: str, field: str) -> float:
    return statistics.median(one[path][field] for one in rounds)


def row(case: str, rounds: list[dict[str, Result]], path: str) -> list[str]:
    rates = [one[path]["rate"] for one in rounds]
    p99 = [one[path]["p99_us"] / 1e3 for one in rounds]
    unseen = sum(one[path].get("unseen", 0) for one in rounds)
    asked = sum(one[path]["requests"] for one in rounds)
    return [f"{case}: {path}", f"{statistics.median(rates):,.0f}",
            f"{stats.spread(rates):.0%}" if len(rates) > 1 else "",
            f"{middle(rounds, path, 'p50_us') / 1e3:.2f}",
            f"{statistics.median(p99):.2f}", f"{min(p99):.2f}-{max(p99):.2f}",
            f"{middle(rounds, path, 'max_us') / 1e3:.1f}",
            f"{middle(rounds, 'computing', 'rate'):,.0f}",
            f"{middle(rounds, 'computing', 'others'):.1%}", f"{unseen / asked:.1%}"]  # fmt: skip


HEAD = ["", "requests/s", "±", "p50 ms", "p99 ms", "of rounds", "max ms", "computed /s", "others",
        "unseen"]  # fmt: skip


def said(good: bool, text: str) -> str:
    return f"{'met    ' if good else 'NOT MET'} {text}"


def verdicts(plan: Plan, results: Rounds) -> list[str]:
    thread, apart = results["C, a thread computes"], results["C, a process computes"]
    both = results["both, a thread computes"]
    ratio = stats.paired_ratio(
        [one["/health"]["rate"] for one in thread], [one["/health"]["rate"] for one in apart]
    )
    alone_ms = middle(thread, "/health", "p99_us") / 1e3
    mixed_ms = middle(both, "/health", "p99_us") / 1e3
    limits = [
        said(alone_ms < C_P99_MS, f"C's p99 beside a thread: {alone_ms:.2f} ms (2)"),
        said(mixed_ms < C_P99_MIXED_MS, f"C's p99 beside Python requests: {mixed_ms:.2f} ms (10)"),
    ]
    if plan.load == "paced":
        return limits
    return [said(ratio.mean >= C_KEPT, f"C keeps {ratio} of its rate beside a process (0.90)"),
            *limits]  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=LOADS, help="(both)")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=LAYOUTS, help="(both)")
    parser.add_argument("--connections", type=int, default=10, help="for each path (10)")
    parser.add_argument("--rate", type=int, default=1000,
                        help="of the paced load: requests a second for each path (1000)")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of load in each case (2)")
    parser.add_argument("--python", help="interpreter or command for the servers (this one)")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    options = parser.parse_args()
    options.python = process.server_python(options.python)
    return options


def main() -> int:
    options = arguments()
    web.require_wrk()
    process.build_c_tools()
    what = machine.describe()
    interpreter = machine.ask_interpreter(options.python, ["yula"])
    machine.print_header(what, interpreter,
                         f"{options.connections} connections for each path, paced: {options.rate} "
                         f"requests a second, {options.rounds} rounds of {options.seconds} s")  # fmt: skip
    plans = [Plan(load, layout) for layout in options.layouts for load in options.loads]
    results: dict[Plan, Rounds] = {plan: {case: [] for case in CASES} for plan in plans}
    with tempfile.TemporaryDirectory(prefix="bench-native-") as folder:
        build(options.python, Path(folder))
        for _ in range(options.rounds):
            for plan in plans:
                for case, rounds in results[plan].items():
                    rounds.append(undisturbed(case, plan, options, Path(folder)))
    for plan in plans:
        rows = [row(case, rounds, path)
                for case, rounds in results[plan].items() for path in CASES[case][2]]  # fmt: skip
        print(f"{plan.load}, {plan.layout}")
        print(report.table(HEAD, rows))
        print("\n".join(verdicts(plan, results[plan])), "\n")
    if options.json:
        rounds_of = {" ".join(plan): rounds for plan, rounds in results.items()}
        saved = {"machine": what, "interpreter": interpreter, "rounds": rounds_of}
        options.json.write_text(json.dumps(saved, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
