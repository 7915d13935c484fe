"""C tasks inside CPython while a Python thread computes: what they keep, and how long they take.

    python bench/native_lane.py                                  3.11 or whatever runs it
    python bench/native_lane.py --python "tools/interpreters exec 3.14 python" --rounds 5
    python bench/native_lane.py --paced 1000                     a load the server can easily bear

The server is the responder of examples/c-extension: /health from C, the rest from a Python handler
on the same port. It computes in a thread of its own process, or a second process computes; either
way server and computing share one CPU, so only the interpreter lock differs. wrk asks from another,
as much as is answered; its latencies are then those of a full CPU, which two threads share. With
--paced so many requests a second are made for each path: the server's own latency.
"""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harness import machine, process, report, stats, web

EXAMPLE = process.BENCH.parent / "examples" / "c-extension" / "responder.c"
INCLUDE = process.BENCH.parent / "include"
SERVER = process.BENCH / "servers" / "native_lane_server.py"
PACED = process.BENCH / "servers" / "paced_client.py"
COMPUTE = process.BENCH / "servers" / "compute.py"
C_KEPT = 0.90  # of the rate beside a process
C_P99_MS = 2.0
C_P99_MIXED_MS = 10.0

# name: computing threads, computing processes, what is asked
CASES: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "C alone": (0, 0, ("/health",)),
    "C, a process computes": (0, 1, ("/health",)),
    "C, a thread computes": (1, 0, ("/health",)),
    "Python, a thread computes": (1, 0, ("/python",)),
    "both, a thread computes": (1, 0, ("/health", "/python")),
}

Result = dict[str, Any]


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


def load(port: int, path: str, options: argparse.Namespace) -> subprocess.Popen[str]:
    _, cpu = machine.cpus()
    if options.paced:
        paced = [sys.executable, str(PACED), "--port", str(port), "--path", path,
                 "--rate", str(options.paced), "--seconds", str(options.seconds)]  # fmt: skip
        return subprocess.Popen(process.pinned(cpu, paced), stdout=subprocess.PIPE, text=True)
    command = ["wrk", "--threads", "1", "--connections", str(options.connections),
               "--duration", f"{options.seconds}s", "--timeout", "10s",
               "--script", str(process.BENCH / "wrk_report.lua"),
               f"http://127.0.0.1:{port}{path}"]  # fmt: skip
    return subprocess.Popen(process.pinned(cpu, command), stdout=subprocess.PIPE, text=True)


def counted(wrk: subprocess.Popen[str], options: argparse.Namespace) -> Result:
    said, _ = wrk.communicate(timeout=options.seconds + 30)
    lines = said.strip().splitlines()
    if wrk.returncode != 0 or not lines or not lines[-1].startswith("{"):
        raise SystemExit(f"the load failed: {said.strip()}")
    result: Result = json.loads(lines[-1])
    if result["non_2xx"] or any(result[kind] for kind in ("connect", "read", "write", "timeout")):
        raise SystemExit(f"wrong answers: {result}")
    result["rate"] = result["requests"] / (result["microseconds"] / 1e6)
    return result


def measure(case: str, options: argparse.Namespace, folder: Path) -> dict[str, Result]:
    """The result of each path that was asked, and the computing's own speed as "computing"."""
    threads, processes, paths = CASES[case]
    cpu, _ = machine.cpus()
    progress = folder / "progress"
    progress.write_bytes(bytes(64))
    command = [*options.python, str(SERVER), "--responder", str(folder),
               "--compute", str(threads), "--progress", str(progress)]  # fmt: skip
    with ExitStack() as stack:
        server = stack.enter_context(process.Server(case, command, cpu))
        port = server.hello()["port"]
        if processes:
            beside = [*options.python, str(COMPUTE), "--progress", str(progress)]
            stack.enter_context(process.Server("computing", beside, cpu)).hello()
        before = struct.unpack("Q", progress.read_bytes()[:8])[0]
        loads = {path: load(port, path, options) for path in paths}
        results = {path: counted(wrk, options) for path, wrk in loads.items()}
        done = struct.unpack("Q", progress.read_bytes()[:8])[0] - before
        results["computing"] = {"rate": done / options.seconds}
    return results


def middle(rounds: list[dict[str, Result]], path: str, field: str) -> float:
    return statistics.median(one[path][field] for one in rounds)


def row(case: str, rounds: list[dict[str, Result]], path: str) -> list[str]:
    rates = [one[path]["rate"] for one in rounds]
    return [f"{case}: {path}", f"{statistics.median(rates):,.0f}",
            f"{stats.spread(rates):.0%}" if len(rates) > 1 else "",
            f"{middle(rounds, path, 'p50_us') / 1e3:.2f}",
            f"{middle(rounds, path, 'p99_us') / 1e3:.2f}",
            f"{middle(rounds, 'computing', 'rate'):,.0f}"]  # fmt: skip


def said(good: bool, text: str) -> str:
    return f"{'met    ' if good else 'NOT MET'} {text}"


def verdicts(results: dict[str, list[dict[str, Result]]]) -> list[str]:
    thread, apart = results["C, a thread computes"], results["C, a process computes"]
    both = results["both, a thread computes"]
    ratio = stats.paired_ratio(
        [one["/health"]["rate"] for one in thread], [one["/health"]["rate"] for one in apart]
    )
    alone_ms = middle(thread, "/health", "p99_us") / 1e3
    mixed_ms = middle(both, "/health", "p99_us") / 1e3
    return [
        said(ratio.mean >= C_KEPT, f"C keeps {ratio} of its rate beside a process (0.90)"),
        said(alone_ms < C_P99_MS, f"C's p99 beside a thread: {alone_ms:.2f} ms (2)"),
        said(mixed_ms < C_P99_MIXED_MS, f"C's p99 beside Python requests: {mixed_ms:.2f} ms (10)"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=10, help="for each path (10)")
    parser.add_argument("--paced", type=int, default=0, metavar="N",
                        help="N requests a second on one connection for each path, not wrk")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of load in each case (2)")
    parser.add_argument("--python", help="interpreter or command for the servers (this one)")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    options = parser.parse_args()
    options.python = process.server_python(options.python)
    web.require_wrk()
    what = machine.describe()
    interpreter = machine.ask_interpreter(options.python, ["yula"])
    machine.print_header(what, interpreter, (f"{options.paced} requests a second for each path, "
                          if options.paced
                          else f"{options.connections} connections for each path, ") +
                         f"{options.rounds} rounds of {options.seconds} s")  # fmt: skip
    results: dict[str, list[dict[str, Result]]] = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory(prefix="bench-native-") as folder:
        build(options.python, Path(folder))
        for _ in range(options.rounds):
            for case, rounds in results.items():
                rounds.append(measure(case, options, Path(folder)))
    head = ["", "requests/s", "±", "p50 ms", "p99 ms", "computed /s"]
    rows = [row(case, rounds, path) for case, rounds in results.items() for path in CASES[case][2]]
    print(report.table(head, rows))
    print("\n".join(verdicts(results)))
    if options.json:
        saved = {"machine": what, "interpreter": interpreter, "rounds": results}
        options.json.write_text(json.dumps(saved, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
