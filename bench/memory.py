"""Memory: what a large request costs besides its bytes: page faults and system calls.

    python bench/memory.py                                 streams, 10 KiB to 1 MiB, every loop
    python bench/memory.py --style protocol --sizes 100k --loops uvloop,yula
    python bench/memory.py --python .venv/bin/python --requests 5000

Each loop's echo server answers exactly so many requests, warm, twice: once for its minor page faults
(/proc/PID/stat) and CPU time, and once, where strace is installed, for its system calls. A loop that
receives into warm memory has no fault, one `recv` (`read`), one `send` (`write`, `sendmsg`) a
request and a share of an `epoll_wait`; `brk`, `mmap`, `munmap`, `madvise` are memory that goes to and fro.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness import child, machine, process, report, tools
from harness.case import Settings
from harness.rounds import FAILURES
from harness.workloads.echo import SIZES, STYLES, Echo

LIMIT_S = 60.0  # for the warm-up and for the requests that are counted, each
SIZES_DEFAULT = "10k,100k,1m"
# Which calls of strace's table are the ones that a request needs, under one name.
NEEDED = {"recv": ("recvfrom", "recvmsg", "read", "readv"),
          "send": ("sendto", "sendmsg", "write", "writev"),
          "poll": ("epoll_wait", "epoll_pwait", "epoll_pwait2", "io_uring_enter")}  # fmt: skip


@dataclass
class Spent:
    """Of one server, for one request."""

    cpu_us: float = 0.0
    faults: float = 0.0
    calls: dict[str, float] | None = None  # by the kernel's name; None: not counted
    failing: dict[str, float] = field(default_factory=dict)  # those of them that failed

    def needed(self, name: str) -> float:
        return sum((self.calls or {}).get(one, 0.0) for one in NEEDED[name])

    def others(self) -> dict[str, float]:
        known = {one for names in NEEDED.values() for one in names}
        return {name: count for name, count in (self.calls or {}).items() if name not in known}


def minor_faults(pid: int) -> int:
    """Of the whole process: the tenth field of proc_pid_stat(5), counted behind its name."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


class Tracer:
    """strace counting the calls of a process, between two moments."""

    def __init__(self, pid: int) -> None:
        self._table = tempfile.NamedTemporaryFile(mode="r", prefix="yula-bench-")  # noqa: SIM115
        command = ["strace", "-c", "-f", "-U", "calls,errors,name", "-o", self._table.name,
                   "-p", str(pid)]  # fmt: skip
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = child.line_within(self._process.stderr, LIMIT_S) or ""
        if "attached" not in said:
            self._process.kill()
            self._process.wait()
            self._table.close()
            raise child.ServerFailed(f"strace: {said.strip()}")

    def stop(self) -> tuple[dict[str, int], dict[str, int]]:
        """How often each was called, and how often it failed."""
        self._process.terminate()
        self._process.wait(LIMIT_S)
        with self._table:
            return parse(self._table.read())


def parse(text: str) -> tuple[dict[str, int], dict[str, int]]:
    """strace's table, of the columns calls, errors (may be empty) and name."""
    calls, failing = {}, {}
    for line in text.splitlines():
        words = line.split()
        if len(words) in (2, 3) and words[0].isdigit() and words[-1] != "total":
            calls[words[-1]] = int(words[0])
            if len(words) == 3:
                failing[words[-1]] = int(words[1])
    return calls, failing


def serve(case: Echo, name: str, settings: Settings, requests: int, traced: bool) -> Spent:
    server_cpu, load_cpu = machine.cpus()
    command = case.server_command(name, settings)
    with child.Server(name, command, server_cpu, env=settings.env) as server:
        load = case.load_command(server.hello(settings.patience), server.pid, settings)
        load += ["--step", "--requests", str(requests)]
        with subprocess.Popen(
            child.pinned(load_cpu, load), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as client:
            try:
                return count(client, server, requests, traced)
            finally:
                client.kill()


def count(
    client: subprocess.Popen[str], server: child.Server, requests: int, traced: bool
) -> Spent:
    def reached(word: str) -> None:
        assert client.stdout is not None
        if (child.line_within(client.stdout, LIMIT_S) or "").strip() != word:
            raise server.failure(f"the load did not get to '{word}'")

    def go_on() -> None:
        assert client.stdin is not None
        client.stdin.write("\n")
        client.stdin.flush()

    reached("warm")
    spent = Spent()
    tracer = Tracer(server.pid) if traced else None
    faults, cpu_ns = minor_faults(server.pid), server.cpu_ns()
    go_on()
    reached("done")
    spent.faults = (minor_faults(server.pid) - faults) / requests
    spent.cpu_us = (server.cpu_ns() - cpu_ns) / requests / 1e3
    if tracer is not None:
        time.sleep(0.05)  # the server is back in its poll, and not in the middle of a call
        calls, failing = tracer.stop()
        spent.calls = {one: number / requests for one, number in calls.items()}
        spent.failing = {one: number / requests for one, number in failing.items()}
    go_on()
    return spent


def row(case: Echo, name: str, spent: Spent) -> list[str]:
    found = [case.name, name, f"{spent.cpu_us:.1f}", f"{spent.faults:.2f}"]
    if spent.calls is None:
        return [*found, "n/a", "n/a", "n/a", "n/a", "n/a"]
    found += [f"{spent.needed(kind):.2f}" for kind in NEEDED]
    found.append(f"{sum(spent.failing.values()):.2f}")
    others = {name: count for name, count in spent.others().items() if count >= 0.005}
    ordered = sorted(others.items(), key=lambda one: -one[1])
    return [*found, ", ".join(f"{name} {count:.2f}" for name, count in ordered) or "none"]


HEAD = ["workload", "server", "CPU µs", "faults", *NEEDED, "failed", "other calls"]


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loops", default=",".join(machine.LOOPS), help="names, comma-separated")
    parser.add_argument("--wire", choices=("tcp", "unix", "tls"), default="tcp")
    parser.add_argument("--style", default="streams", help="protocol, buffered, streams or sock")
    parser.add_argument("--sizes", default=SIZES_DEFAULT, help=f"({SIZES_DEFAULT})")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--requests", type=int, default=2000, help="counted of each (2,000)")
    parser.add_argument("--no-c", action="store_true", help="leave the C servers out")
    parser.add_argument("--no-strace", action="store_true", help="do not count system calls")
    parser.add_argument("--python", help="interpreter or command for the servers (this one)")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    if options.style not in STYLES[options.wire]:
        parser.error(f"{options.wire} has the styles {', '.join(STYLES[options.wire])}")
    return options


def main() -> int:
    options = parse_options()
    settings = tools.settings(no_c=options.no_c)
    settings.python = process.server_python(options.python)
    settings.env = options.env
    strace = shutil.which("strace") is not None and not options.no_strace
    wanted = [name for name in options.loops.split(",") if name]
    interpreter = machine.ask_interpreter(settings.python, wanted)
    machine.print_header(
        machine.describe(), interpreter, f"{options.requests} requests of each, counted exactly"
    )
    rows, failed = [], False
    for size in options.sizes.split(","):
        case = Echo(options.style, SIZES.get(size) or int(size), options.connections, options.wire)
        loops = [name for name in wanted if interpreter["versions"][name] is not None]
        for name in [*case.references(settings), *loops]:
            report.progress(f"{case.name}  {name}")
            try:
                spent = serve(case, name, settings, options.requests, False)
                if strace:
                    traced = serve(case, name, settings, options.requests, True)
                    spent.calls, spent.failing = traced.calls, traced.failing
            except FAILURES as error:
                report.progress("")
                print(f"FAILED {case.name}: {error}", file=sys.stderr)
                failed = True
                continue
            rows.append(row(case, name, spent))
    report.progress("")
    print(report.table(HEAD, rows))
    print("\nfor one request; failed: of the system calls, those that only said 'not now'")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
