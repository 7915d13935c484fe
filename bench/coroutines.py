"""C coroutines: yula's against those of libuv, Boost.Context, Go, libdill, neco and minicoro.

    python bench/coroutines.py                          two minutes: everything that is found
    python bench/coroutines.py --only echo --rounds 15 --seconds 2 --json echo.json
    python bench/coroutines.py --only sleep --sleepers 1000000
    python bench/coroutines.py --only echo --rounds 5 --json 2.json --earlier 1.json
    python bench/coroutines.py --peers-folder /opt/peers

What is compared:

    echo     one coroutine (libuv: the callbacks) for each connection; server CPU per request, as a
             multiple of a bare C epoll server's; the client checks every byte
    change   from one stack to another and nothing else
    yield    two coroutines that let each other run, through the scheduler
    spawn    a coroutine made, run to its end and waited for
    sleep    memory of many sleeping coroutines, stacks and page tables included

Debian has libuv1-dev, libboost-context-dev and golang-go. Others are looked for, built and
installed, in --peers-folder (/usr/local): see bench/c/peers/Makefile. A peer that is not found is
left out, and said to be.

Some peers do not save the control bits of MXCSR and of the x87 unit, which belong to the callee.
`+ words` is the same peer with both saved and restored around its switch by the coroutine itself,
so that like is compared with like.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import machine, process, report, stats

BARE = {"C level": "--level", "C edge": "--edge"}
TIMED = {"change": 2_000_000, "yield": 1_000_000, "spawn": 200_000}
KINDS = ["echo", *TIMED, "sleep"]
PEERS = ["libuv", "boost-context", "go", "libdill", "neco", "minicoro", "minicoro-ucontext", "yula"]
NEEDS = {
    "libuv": "libuv1-dev",
    "boost-context": "libboost-context-dev",
    "go": "golang-go",
    "yula": "meson, ninja",
}


# Tools of the environment this runs in come first.
SEARCH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


class Program:
    """A peer's program and what it says of itself."""

    def __init__(self, name: str, path: Path, words: bool = False) -> None:
        self.path = path
        self.words = words
        about = json.loads(subprocess.check_output([path, "about"], text=True, timeout=20))
        self.operations: list[str] = about["operations"]
        self.saves: bool = about["saves_control_words"]
        self.version: str = about["version"]
        self.name = name + (" + words" if words else "")

    def with_words(self) -> Program:
        return Program(self.path.name.removeprefix("peer_"), self.path, words=True)

    def command(self, *arguments: str) -> list[str]:
        words = ["--control-words"] if self.words else []
        return [str(self.path), arguments[0], *arguments[1:], *words]


def build_libyula() -> None:
    """libyula.a of this checkout, optimised, in a folder of its own."""
    folder = process.BUILD / "libyula"
    meson = shutil.which("meson", path=SEARCH)
    ninja = shutil.which("ninja", path=SEARCH)
    if meson is None or ninja is None:
        return
    setup = [meson, "setup", str(folder), str(process.BENCH.parent), "--buildtype=release",
             "-Dpython=disabled", "-Dtests=false"]  # fmt: skip
    commands = [[ninja, "-C", str(folder), "src/core/libyula.a"]]
    if not (folder / "build.ninja").exists():
        commands.insert(0, setup)
    for command in commands:
        made = subprocess.run(command, check=False, capture_output=True, text=True)
        if made.returncode != 0:
            raise SystemExit(f"libyula does not build:\n{made.stdout}{made.stderr}")


def build(folder: Path) -> list[str]:
    """Build what can be built; returns why the others cannot."""
    process.build_c_tools()
    build_libyula()
    make = ["make", "-s", "-k", "-C", str(process.BENCH / "c" / "peers"),
            f"BUILD={process.BUILD}", f"PEERS={folder}"]  # fmt: skip
    made = subprocess.run(make, check=False, capture_output=True, text=True)
    if made.returncode != 0:
        print(f"not all peers build:\n{made.stderr}", file=sys.stderr)
    found = subprocess.check_output([*make, "found"], text=True).split()
    return [f"{name} ({NEEDS.get(name, 'not in --peers-folder')})"
            for name in PEERS if name not in found]  # fmt: skip


def load_command(port: int, pid: int, options: argparse.Namespace) -> list[str]:
    return [str(process.BUILD / "load"), "--port", str(port), "--pid", str(pid),
            "--connections", str(options.connections), "--size", str(options.size),
            "--warmup-ms", str(round(options.warmup * 1000)),
            "--measure-ms", str(round(options.seconds * 1000))]  # fmt: skip


def measure_echo(name: str, command: list[str], options: argparse.Namespace) -> dict[str, Any]:
    cpu, load_cpu = machine.cpus()
    with process.Server(name, command, cpu) as server:
        hello = server.hello()
        waited = server.waiting_ns()
        load = process.pinned(load_cpu, load_command(hello["port"], server.pid, options))
        limit = options.warmup + options.seconds + 60
        ran = subprocess.run(load, check=False, capture_output=True, text=True, timeout=limit)
        if ran.returncode != 0:
            raise server.failure(f"the load failed: {ran.stderr.strip()}")
        result: dict[str, Any] = json.loads(ran.stdout)
        result["cpu_us"] = result["server_cpu_ns"] / result["requests"] / 1e3
        result["waited"] = (server.waiting_ns() - waited) / 1e9
        return result


def run_echo(programs: list[Program], options: argparse.Namespace) -> dict[str, list[Any]]:
    server = str(process.BUILD / "echo_server")
    size = ["--size", str(options.size)]
    commands = {name: [server, flag, *size] for name, flag in BARE.items()}
    for program in programs:
        if "echo" in program.operations and not program.words:
            commands[program.name] = program.command("echo", *size)
    rounds: dict[str, list[Any]] = {name: [] for name in commands}
    for number in range(options.rounds):
        for name in list(rounds) if number % 2 == 0 else list(rounds)[::-1]:
            report.progress(f"echo, round {number + 1} of {options.rounds}: {name} ...")
            try:
                rounds[name].append(measure_echo(name, commands[name], options))
            except (process.ServerFailed, subprocess.TimeoutExpired) as error:
                report.progress("")
                print(f"FAILED {error}", file=sys.stderr)
                del rounds[name]
    report.progress("")
    return rounds


def ask(command: list[str], timeout: float) -> dict[str, Any] | str:
    """The program's JSON, or the last line of what it complained of."""
    pinned = process.pinned(machine.cpus()[0], command)
    try:
        ran = subprocess.run(pinned, check=False, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return f"takes longer than {timeout:.0f} s"
    if ran.returncode != 0:
        said = ran.stderr.strip().splitlines()
        return said[-1] if said else f"exit status {ran.returncode}"
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def run_timed(
    kind: str, programs: list[Program], options: argparse.Namespace
) -> dict[str, list[float]]:
    rounds: dict[str, list[float]] = {}
    able = [program for program in programs if kind in program.operations]
    if kind == "spawn":  # what a coroutine saves when it waits, and these do not
        able = [program for program in able if not program.words]
    for number in range(options.rounds):
        for program in able if number % 2 == 0 else able[::-1]:
            report.progress(f"{kind}, round {number + 1} of {options.rounds}: {program.name} ...")
            count = round(TIMED[kind] * options.scale)
            answer = ask(program.command(kind, "--count", str(count), "--repeats", "3"), 120)
            if isinstance(answer, str):
                print(f"FAILED {program.name}: {answer}", file=sys.stderr)
            else:
                rounds.setdefault(program.name, []).append(answer["ns"])
    report.progress("")
    return {program.name: rounds[program.name] for program in able if program.name in rounds}


def run_sleep(programs: list[Program], options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for program in programs:
        if "sleep" in program.operations and not program.words:
            report.progress(f"sleep: {program.name} ...")
            command = program.command("sleep", "--count", str(options.sleepers))
            found[program.name] = ask(command, 120)
    report.progress("")
    return found


def with_earlier(rounds: dict[str, list[Any]], options: argparse.Namespace) -> dict[str, list[Any]]:
    """The rounds of earlier runs with the same settings, then these; what is in all of them."""
    runs = []
    for path in options.earlier:
        earlier = json.loads(path.read_text())
        for name in ("size", "connections", "seconds", "warmup"):
            if earlier["settings"][name] != getattr(options, name):
                raise SystemExit(f"{path}: another --{name} than this run's")
        runs.append(earlier["echo"])
    runs.append(rounds)
    common = [name for name in rounds if all(name in run for run in runs)]
    return {name: [one for run in runs for one in run[name]] for name in common}


def echo_table(rounds: dict[str, list[Any]]) -> str:
    def column(name: str, field: str) -> list[float]:
        return [one[field] for one in rounds[name]]

    bare = [name for name in BARE if name in rounds]
    base = min(bare, key=lambda name: statistics.median(column(name, "cpu_us"))) if bare else None
    head = ["echo", "CPU µs/req", "±", f"to {base}", "to yula", "requests/s", "p50 µs", "p99 µs"]
    rows = []
    for name in rounds:
        cpu = column(name, "cpu_us")
        row = [name, f"{statistics.median(cpu):.2f}", f"{stats.spread(cpu) * 100:.0f}%"]
        for other in (base, "yula"):
            known = other is not None and other in rounds
            row.append(str(stats.paired_ratio(cpu, column(other, "cpu_us"))) if known else "n/a")
        row += [f"{statistics.median(column(name, field)):,.0f}"
                for field in ("rate", "p50_us", "p99_us")]  # fmt: skip
        rows.append(row)
    return report.table(head, rows)


def timed_table(kinds: dict[str, dict[str, list[float]]], programs: list[Program]) -> str:
    head = ["CPU ns, median ±", "saves words", *kinds]
    rows = []
    for program in programs:
        cells = []
        for kind in kinds:
            values = kinds[kind].get(program.name)
            cells.append(f"{statistics.median(values):.1f} ±{stats.spread(values) * 100:.0f}%"
                         if values else "")  # fmt: skip
        if any(cells):
            saves = "by itself" if program.saves else "added" if program.words else "no"
            rows.append([program.name, saves, *cells])
    return report.table(head, rows)


def sleep_table(found: dict[str, Any]) -> str:
    head = ["asleep", "count", "RSS bytes each", "page tables each", "reserved each", "GB for 10^6"]
    rows = []
    for name, figures in found.items():
        if isinstance(figures, str):
            rows.append([name, "failed", "", "", "", ""])
            continue
        count = figures["count"]
        rss, tables = figures["rss_bytes"] / count, figures["page_table_bytes"] / count
        rows.append([name, f"{count:,}", f"{rss:,.0f}", f"{tables:,.0f}",
                     f"{figures['virtual_bytes'] / count:,.0f}",
                     f"{(rss + tables) / 1e3:.2f}"])  # fmt: skip
    failures = [f"  {name}: {why}" for name, why in found.items() if isinstance(why, str)]
    return "\n".join([report.table(head, rows), *failures])


def print_header(programs: list[Program], missing: list[str], options: argparse.Namespace) -> None:
    what = machine.describe()
    server, load = machine.cpus()
    print(f"machine   {what['cpu']}, {what['cpus']} CPUs, {what['kernel']}")
    print(f"pinning   programs on CPU {server}, load on CPU {load}")
    if what["load_average"] > 0.5:
        print(f"          (load average is {what['load_average']:.1f}: other work is running)")
    names = [f"{p.name} {p.version}".strip() for p in programs if not p.words]
    print(f"programs  {', '.join(names)}")
    if missing:
        print(f"skipped   {', '.join(missing)}")
    print(f"settings  {options.rounds} rounds; echo: {options.size} B, {options.connections} "
          f"connections, {options.seconds:g} s; {options.sleepers:,} sleepers\n", flush=True)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(KINDS), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--peers", help="names, comma-separated (all that are found)")
    parser.add_argument("--peers-folder", type=Path, default=Path("/usr/local"),
                        help="where lib/ and include/ of libraries are that are not Debian's")  # fmt: skip
    parser.add_argument("--program", action="append", default=[], metavar="NAME=PATH",
                        help="one more program with the command line of peer_main.c")  # fmt: skip
    parser.add_argument("--size", type=int, default=1024, help="bytes a message (1024)")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5, help="(5; 15 or more for a verdict)")
    parser.add_argument("--seconds", type=float, default=1.0, help="measured in each round (1)")
    parser.add_argument("--warmup", type=float, default=0.3, help="seconds before that (0.3)")
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual repetitions")
    parser.add_argument("--sleepers", type=int, default=100_000)
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    parser.add_argument("--earlier", type=Path, action="append", default=[], metavar="FILE",
                        help="a --json of before: its rounds of echo count, too")  # fmt: skip
    options = parser.parse_args()
    kinds = options.only.split(",")
    if unknown := sorted(set(kinds) - set(KINDS)):
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(KINDS)}")

    missing = build(options.peers_folder.resolve())
    places = {name: process.BUILD / f"peer_{name}" for name in PEERS}
    places.update((name, Path(path)) for name, _, path in
                  (text.partition("=") for text in options.program))  # fmt: skip
    chosen = options.peers.split(",") if options.peers else list(places)
    programs = []
    for name in chosen:
        if name in places and os.access(places[name], os.X_OK):
            program = Program(name, places[name])
            programs.append(program)
            if not program.saves and "yield" in program.operations and name != "go":
                programs.append(program.with_words())
    print_header(programs, missing, options)

    saved: dict[str, Any] = {"machine": machine.describe(), "settings": vars(options),
                             "versions": {p.name: p.version for p in programs}}  # fmt: skip
    if "echo" in kinds:
        saved["echo"] = run_echo(programs, options)
        print(echo_table(with_earlier(saved["echo"], options)), end="\n\n", flush=True)
    timed = {kind: run_timed(kind, programs, options) for kind in TIMED if kind in kinds}
    if timed:
        saved.update(timed)
        print(timed_table(timed, programs), end="\n\n", flush=True)
    if "sleep" in kinds:
        saved["sleep"] = run_sleep(programs, options)
        print(sleep_table(saved["sleep"]))
    if options.json:
        options.json.write_text(json.dumps(saved, indent=1, default=str) + "\n")
        print(f"written: {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
