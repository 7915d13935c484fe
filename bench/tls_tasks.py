"""TLS in C: tasks of libyula-tls against OpenSSL over bare epoll.

    python bench/tls_tasks.py                               a minute
    python bench/tls_tasks.py --size 10240 --rounds 15 --seconds 2
    python bench/tls_tasks.py --rounds 0 --valgrind         instructions only: exact, also under load

Both servers echo over TLS 1.3 (bench/c/tls_server.c, bench/c/peers/yula_tls.c) for the same client,
which checks every byte. Reported is what the server's process spends on a request.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import certificate, child, counters, instructions, machine, process, report, stats

BARE, OURS = "C OpenSSL", "libyula-tls"


def build() -> dict[str, list[str]]:
    process.build_c_tools()
    folder = process.BUILD / "libyula-tls"
    if not (folder / "build.ninja").exists():
        setup = ["setup", str(folder), str(process.BENCH.parent), "-Dpython=disabled",
                 "-Dtests=false", "-Dbuildtype=release", "-Dtls=enabled"]  # fmt: skip
        meson = [sys.executable, "-m", "mesonbuild.mesonmain"]
        subprocess.run([*meson, *setup], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", str(folder), "--quiet"], check=True)
    make = ["make", "-s", "-C", str(process.BENCH / "c" / "peers"), f"BUILD={process.BUILD}",
            f"YULA={folder}", f"{process.BUILD}/yula_tls"]  # fmt: skip
    subprocess.run(make, check=True)
    return {BARE: [str(process.BUILD / "tls_server")], OURS: [str(process.BUILD / "yula_tls")]}


def load_command(port: int, pid: int, options: argparse.Namespace) -> list[str]:
    return [str(process.BUILD / "load"), "--port", str(port), "--pid", str(pid),
            "--connections", str(options.connections), "--size", str(options.size),
            "--warmup-ms", str(round(options.warmup * 1000)),
            "--measure-ms", str(round(options.seconds * 1000)),
            "--tls", str(certificate.pem())]  # fmt: skip


def measure(name: str, command: list[str], options: argparse.Namespace) -> dict[str, Any]:
    cpu, load_cpu = machine.cpus()
    with process.Server(name, command, cpu) as server:
        load = process.pinned(load_cpu, load_command(server.hello()["port"], server.pid, options))
        limit = options.warmup + options.seconds + 60
        ran = subprocess.run(load, check=False, capture_output=True, text=True, timeout=limit)
        if ran.returncode != 0:
            raise server.failure(f"the load failed: {ran.stderr.strip()}")
        result: dict[str, Any] = json.loads(ran.stdout)
        result["cpu_us"] = result["server_cpu_ns"] / result["requests"] / 1e3
        return result


@contextlib.contextmanager
def stepped(
    name: str, command: list[str], options: argparse.Namespace
) -> Iterator[instructions.Stepped]:
    slow = counters.under_valgrind(
        command, 0, "--instr-atstart=no", profile=options.profile and options.profile / name
    )
    limit = instructions.LIMIT_S
    with child.Server(name, slow, machine.cpus()[0]) as server:
        load = load_command(server.hello(limit)["port"], server.pid, options)
        load += ["--step", "--requests", str(options.count_requests),
                 "--silence-ms", str(int(limit * 1000))]  # fmt: skip
        with instructions.stepped_server(server, load) as found:
            yield found


def count(name: str, command: list[str], options: argparse.Namespace) -> float:
    with stepped(name, command, options) as found:
        instructions.step_through(found, name, [])
        found.client.wait(instructions.LIMIT_S)
        total = counters.collected(found.end())
    if total is None:
        raise child.ServerFailed(f"{name}: valgrind did not say how much it counted")
    return total / options.count_requests


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=1024, help="bytes a message (1024)")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5, help="(5; 15 or more for a verdict)")
    parser.add_argument("--seconds", type=float, default=1.0, help="measured in each round (1)")
    parser.add_argument("--warmup", type=float, default=0.3, help="seconds before that (0.3)")
    parser.add_argument("--valgrind", action="store_true", help="count user instructions, too")
    parser.add_argument("--count-requests", type=int, default=instructions.REQUESTS)
    parser.add_argument("--profile", type=Path, metavar="FOLDER", help="with --valgrind: keep each")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    options = parser.parse_args()
    if options.profile:
        options.profile.mkdir(parents=True, exist_ok=True)
        options.profile = options.profile.resolve()
    commands = {
        name: [*command, "--tls", str(certificate.pem()), "--size", str(options.size)]
        for name, command in build().items()
    }
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
    for number in range(options.rounds):
        for name in list(commands) if number % 2 == 0 else list(commands)[::-1]:
            report.progress(f"round {number + 1} of {options.rounds}: {name} ...")
            rounds[name].append(measure(name, commands[name], options))
    report.progress("")
    counted = {}
    if options.valgrind:
        for name, command in commands.items():
            counted[name] = count(name, command, options)

    rows = []
    bare = [one["cpu_us"] for one in rounds[BARE]]
    for name in commands:
        row = [name]
        cpu = [one["cpu_us"] for one in rounds[name]]
        if cpu:
            rate = statistics.median(one["rate"] for one in rounds[name])
            row += [f"{statistics.median(cpu):.2f}", str(stats.paired_ratio(cpu, bare)),
                    f"{rate:,.0f}"]  # fmt: skip
        else:
            row += ["", "", ""]
        if counted:
            row += [f"{counted[name]:,.0f}", f"{counted[name] / counted[BARE]:.3f}"]
        rows.append(row)
    head = ["TLS echo", "CPU µs/req", f"to {BARE}", "requests/s"]
    head += ["user instructions/req", f"to {BARE}"] if counted else []
    print(f"{options.size} B, {options.connections} connections, {options.rounds} rounds of "
          f"{options.seconds:g} s")  # fmt: skip
    print(report.table(head, rows))
    if options.json:
        saved = {"machine": machine.describe(), "settings": vars(options), "rounds": rounds,
                 "instructions": counted}  # fmt: skip
        options.json.write_text(json.dumps(saved, indent=1, default=str) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
