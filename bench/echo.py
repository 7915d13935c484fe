"""Echo over TCP: what each loop costs above a bare C epoll server.

    python bench/echo.py                                   a minute: 1 KiB, protocols
    python bench/echo.py --style streams --size 10240
    python bench/echo.py --rounds 15 --seconds 2 --json echo.json --python .venv/bin/python

The server is pinned to one CPU and a C client that checks every byte to another. In every
round each server is started anew, warmed up and measured once, in an order that is reversed
from one round to the next, so that a ratio compares neighbours in time. A ratio is the
geometric mean over the rounds with its 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import counters, machine, process, report, stats

C_SERVERS = {"C level": "--level", "C edge": "--edge"}
STYLES = ["protocol", "buffered", "streams", "sock"]
LOOPS = machine.LOOPS
CONTROL = "asyncio"

Rounds = dict[str, list[dict[str, Any]]]


def server_command(name: str, options: argparse.Namespace) -> list[str]:
    if name in C_SERVERS:
        server = str(process.BUILD / "echo_server")
        return [server, C_SERVERS[name], "--size", str(options.size)]
    script = str(process.BENCH / "servers" / "echo_server.py")
    return [*options.python, script, "--loop", name, "--style", options.style,
            "--size", str(options.size)]  # fmt: skip


def load_command(port: int, pid: int, options: argparse.Namespace) -> list[str]:
    return [str(process.BUILD / "load"), "--port", str(port), "--pid", str(pid),
            "--connections", str(options.connections), "--size", str(options.size),
            "--warmup-ms", str(round(options.warmup * 1000)),
            "--measure-ms", str(round(options.seconds * 1000))]  # fmt: skip


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One server, one round: what the client and the server's clocks said."""
    server_cpu, load_cpu = machine.cpus()
    command = server_command(name, options)
    with process.Server(name, command, server_cpu, env=options.env) as server:
        hello = server.hello()
        waited = server.waiting_ns()
        load = process.pinned(load_cpu, load_command(hello["port"], server.pid, options))
        limit = options.warmup + options.seconds + 60
        ran = subprocess.run(load, check=False, capture_output=True, text=True, timeout=limit)
        if ran.returncode != 0:
            raise server.failure(f"the load failed: {ran.stderr.strip()}")
        result: dict[str, Any] = json.loads(ran.stdout)
        requests = result["requests"]
        result["loop"] = hello["loop"]
        result["cpu_us"] = result["server_cpu_ns"] / requests / 1e3
        result["waited"] = (server.waiting_ns() - waited) / 1e9 / (options.warmup + options.seconds)
        if "server_instructions" in result:
            result["instructions"] = result["server_instructions"] / requests
            result["cycles"] = result["server_cycles"] / requests
        return result


def count_with_valgrind(name: str, options: argparse.Namespace) -> float:
    """User instructions a request: exactly --count-requests of them are counted, nothing else.

    A server that is 50 times slower finds every connection ready at each turn, so what a loop
    does once a turn weighs less than on a real processor; it is the same for all.
    """
    command = server_command(name, options)
    before = 0 if name in C_SERVERS else len(options.python) - 1
    server_cpu, load_cpu = machine.cpus()
    profile = options.profile / f"{name.replace(' ', '-')}.callgrind" if options.profile else None
    slow = counters.under_valgrind(command, before, "--instr-atstart=no", profile=profile)
    with process.Server(name, slow, server_cpu, env=options.env) as server:
        port = server.hello(120)["port"]
        load = load_command(port, server.pid, options)
        load += ["--step", "--requests", str(options.count_requests)]
        with subprocess.Popen(
            process.pinned(load_cpu, load), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as client:
            assert client.stdin is not None and client.stdout is not None
            for word, on in (("warm", True), ("done", False)):
                if client.stdout.readline().strip() != word:
                    raise server.failure("the load failed")
                counters.switch(command[:before], server.pid, on)
                client.stdin.write("\n")
                client.stdin.flush()
            client.stdout.read()
        server.stop()
        total = counters.collected(server.output())
        if total is None:
            raise server.failure("valgrind did not say how much it counted")
        return float(total) / float(options.count_requests)


def count_all(names: list[str], options: argparse.Namespace) -> dict[str, float]:
    found = {}
    for name in names:
        report.progress(f"counting instructions: {name} ...")
        try:
            found[name] = count_with_valgrind(name, options)
        except (process.ServerFailed, RuntimeError, subprocess.TimeoutExpired) as error:
            report.progress("")
            print(f"not counted: {error}", file=sys.stderr)
    report.progress("")
    return found


def valgrind_table(counted: dict[str, float]) -> str:
    base = counted.get("uvloop")
    head = ["server", "user instructions/req (valgrind)", "to uvloop"]
    rows = [
        [name, f"{count:,.0f}", f"{count / base:.2f}" if base else "n/a"]
        for name, count in counted.items()
    ]
    return report.table(head, rows)


def run_rounds(names: list[str], options: argparse.Namespace) -> tuple[Rounds, dict[str, str]]:
    """All rounds. A loop that fails is reported, dropped, and the others go on."""
    rounds: Rounds = {name: [] for name in names}
    failed: dict[str, str] = {}
    for number in range(options.rounds):
        order = names if number % 2 == 0 else names[::-1]
        for name in order:
            if name in failed:
                continue
            report.progress(f"round {number + 1} of {options.rounds}: {name} ...")
            try:
                rounds[name].append(measure(name, options))
            except (process.ServerFailed, subprocess.TimeoutExpired) as error:
                failed[name] = str(error)
                report.progress("")
                print(f"FAILED {error}", file=sys.stderr)
    report.progress("")
    return {name: done for name, done in rounds.items() if name not in failed}, failed


def column(rounds: Rounds, name: str, field: str) -> list[float]:
    return [one[field] for one in rounds[name]]


def faster_c(rounds: Rounds) -> str | None:
    present = [name for name in C_SERVERS if name in rounds]
    if not present:
        return None
    return min(present, key=lambda name: statistics.median(column(rounds, name, "cpu_us")))


def ratio(rounds: Rounds, name: str, base: str | None, field: str = "cpu_us") -> str:
    if base is None or base not in rounds or field not in rounds[name][0]:
        return "n/a"
    return str(stats.paired_ratio(column(rounds, name, field), column(rounds, base, field)))


def result_table(rounds: Rounds) -> str:
    base = faster_c(rounds)
    head = ["server", "CPU µs/req", "±", f"to {base or 'C'}", "to uvloop", "requests/s",
            "p50 µs", "p99 µs", "p99.9 µs"]  # fmt: skip
    rows = []
    for name in rounds:
        cpu = column(rounds, name, "cpu_us")
        row = [name, f"{statistics.median(cpu):.2f}", f"{stats.spread(cpu) * 100:.0f}%"]
        row += [ratio(rounds, name, base), ratio(rounds, name, "uvloop")]
        for field in ("rate", "p50_us", "p99_us", "p999_us"):
            row.append(f"{statistics.median(column(rounds, name, field)):,.0f}")
        rows.append(row)
    return report.table(head, rows)


def counter_table(rounds: Rounds) -> str:
    first = next(iter(rounds.values()))[0]
    if "instructions" not in first:
        return f"user instructions and cycles per request: n/a ({first.get('no_counters')})"
    head = ["server", "user instructions/req", "to uvloop", "user cycles/req", "to uvloop"]
    rows = []
    for name in rounds:
        rows.append([
            name,
            f"{statistics.median(column(rounds, name, 'instructions')):,.0f}",
            ratio(rounds, name, "uvloop", "instructions"),
            f"{statistics.median(column(rounds, name, 'cycles')):,.0f}",
            ratio(rounds, name, "uvloop", "cycles"),
        ])  # fmt: skip
    return report.table(head, rows)


def verdict(rounds: Rounds, limit: float) -> tuple[bool, str]:
    """Whether the machine held still: judged by the control, never by what is under test."""
    control = CONTROL if CONTROL in rounds else faster_c(rounds)
    if control is None:
        return True, "no control (neither asyncio nor C was run): stability is not judged"
    moved = stats.spread(column(rounds, control, "cpu_us"))
    text = f"control {control} moved {moved * 100:.0f} % between rounds (limit {limit * 100:.0f} %)"
    return moved <= limit, text


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loops", default=",".join(LOOPS), help="names, comma-separated")
    parser.add_argument("--no-c", action="store_true", help="leave the C servers out")
    parser.add_argument("--style", choices=STYLES, default="protocol")
    parser.add_argument("--size", type=int, default=1024, help="bytes a message (1024)")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5, help="(5; 15 or more for a verdict)")
    parser.add_argument("--seconds", type=float, default=1.0, help="measured in each round (1)")
    parser.add_argument("--warmup", type=float, default=0.3, help="seconds before that (0.3)")
    parser.add_argument("--python", help="interpreter or command for the servers (this one)")
    parser.add_argument("--valgrind", action="store_true",
                        help="count user instructions with valgrind, too (slow, exact)")  # fmt: skip
    parser.add_argument("--profile", type=Path, metavar="FOLDER",
                        help="with --valgrind: keep each profile, for callgrind_annotate")  # fmt: skip
    parser.add_argument("--count-requests", type=int, default=10_000,
                        help="requests to count with valgrind (10,000)")  # fmt: skip
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE",
                        help="for the servers, such as a tuned MALLOC_TRIM_THRESHOLD_")  # fmt: skip
    parser.add_argument("--void-spread", type=float, default=0.25,
                        help="the run is void when the control moved more (0.25)")  # fmt: skip
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    options = parser.parse_args()
    options.python = process.server_python(options.python)
    loops = [name for name in options.loops.split(",") if name]
    unknown = sorted(set(loops) - set(LOOPS))
    if unknown:
        parser.error(f"unknown loops: {', '.join(unknown)}; known: {', '.join(LOOPS)}")

    if options.valgrind and shutil.which("valgrind") is None:
        parser.error("valgrind is not installed (Debian: valgrind)")
    if options.profile:
        options.profile.mkdir(parents=True, exist_ok=True)
        options.profile = options.profile.resolve()
    process.build_c_tools()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if options.connections + 64 > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    what = machine.describe()
    interpreter = machine.ask_interpreter(options.python, loops)
    settings = (f"echo, {options.style}, {options.size} B, {options.connections} connections, "
                f"{options.rounds} rounds of {options.seconds:g} s")  # fmt: skip
    machine.print_header(what, interpreter, settings)
    names = [] if options.no_c else list(C_SERVERS)
    names += [name for name in loops if interpreter["versions"][name] is not None]
    rounds, failed = run_rounds(names, options)
    if not rounds:
        return 1

    print(result_table(rounds))
    print()
    print(counter_table(rounds))
    counted = count_all(list(rounds), options) if options.valgrind else {}
    if counted:
        print()
        print(valgrind_table(counted))
    steady, text = verdict(rounds, options.void_spread)
    waited = max(one["waited"] for done in rounds.values() for one in done)
    if waited > 0.05:
        text += f"; a server waited up to {waited * 100:.0f} % of the time for its CPU"
    print(f"\n{text}")
    if not steady:
        print(report.paint("VOID: the machine did not hold still; repeat the run", "31;1"))
    if options.json:
        saved = {
            "machine": what,
            "interpreter": interpreter,
            "settings": vars(options),
            "void": not steady,
            "verdict": text,
            "failed": failed,
            "rounds": rounds,
            "valgrind_instructions": counted,
        }
        options.json.write_text(json.dumps(saved, indent=1, default=str) + "\n")
        print(f"written: {options.json}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
