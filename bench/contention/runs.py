"""One server under load beside computing threads, and rounds of many of them."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import machine, process, report, stats

CONTROL = "asyncio"
SETTLE_S = 6.0  # for the first answer on every connection; starved accepts take 5 ms each

Result = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """A loop with its settings, under the name that tables show."""

    label: str
    loop: str
    env: tuple[str, ...] = ()


@dataclass(frozen=True)
class Load:
    """What one run is: the server's arguments and what the client asks."""

    connections: int = 100
    compute: int = 1  # threads that compute in the server process
    server: tuple[str, ...] = ()  # more arguments for gil_server.py
    apart: bool = False  # one process computes on the server's CPU, no thread
    paced: int = 0  # requests a second; 0: as fast as answers come


def subjects(options: argparse.Namespace) -> list[Subject]:
    """The loops asked for, and yula once more for each of --yula-shares."""
    found = []
    for name in options.loops:
        found.append(Subject(name, name))
        if name == "yula":
            found += [Subject(f"yula {share:g}", "yula", (f"YULA_GIL_SHARE={share:g}",))
                      for share in options.yula_shares]  # fmt: skip
    return found


def server_command(subject: Subject, load: Load, counters: Path | None,
                   options: argparse.Namespace) -> list[str]:  # fmt: skip
    script = str(process.BENCH / "servers" / "gil_server.py")
    command = [*options.python, script, "--loop", subject.loop, "--style", options.style,
               "--size", str(options.size), *load.server]  # fmt: skip
    if counters and not load.apart:
        command += ["--compute", str(load.compute), "--progress", str(counters)]
    return command


def client_command(hello: Result, pid: int, load: Load, counters: Path | None,
                   options: argparse.Namespace) -> list[str]:  # fmt: skip
    milliseconds = {
        "--settle-ms": SETTLE_S,
        "--warmup-ms": options.warmup,
        "--measure-ms": options.seconds,
    }
    command = [str(process.BUILD / "load"), "--pid", str(pid),
               "--loop-thread", str(hello["loop_threads"][0]),
               "--connections", str(load.connections), "--size", str(options.size)]  # fmt: skip
    for port in hello["ports"]:
        command += ["--port", str(port)]
    for name, seconds in milliseconds.items():
        command += [name, str(round(seconds * 1000))]
    if load.paced:
        command += ["--paced", str(load.paced)]
    if counters:
        command += ["--progress", str(counters), "--solo-ms", str(round(options.solo * 1000))]
    return command


def run_client(server: process.Server, command: list[str], limit: float) -> Result:
    _, cpu = machine.cpus()
    try:
        ran = subprocess.run(
            process.pinned(cpu, command), check=False, capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired as error:
        raise server.failure(f"the load was not done after {limit:.0f} s") from error
    if ran.returncode != 0:
        raise server.failure(f"the load failed: {ran.stderr.strip()}")
    result: Result = json.loads(ran.stdout)
    return result


def add_shares(result: Result) -> None:
    """Each thread's speed as a share of its own when the loop was idle, and that of them all."""
    alone = [
        (before + after) / 2
        for before, after in zip(result["solo_before"], result["solo_after"], strict=True)
    ]
    if not all(alone):
        raise process.ServerFailed(f"a thread did not compute with the loop idle: {alone}")
    result["shares"] = [now / base for now, base in zip(result["progress"], alone, strict=True)]
    result["share"] = sum(result["progress"]) / sum(alone)
    result["solo"] = sum(alone)
    result["solo_moved"] = sum(result["solo_after"]) / sum(result["solo_before"]) - 1


def add_costs(result: Result) -> None:
    elapsed_ns = result["seconds"] * 1e9
    result["cpu"] = result["server_cpu_ns"] / elapsed_ns
    result["loop_cpu"] = result["loop_cpu_ns"] / elapsed_ns
    result["cpu_us"] = result["server_cpu_ns"] / max(1, result["requests"]) / 1e3


def measure(subject: Subject, load: Load, options: argparse.Namespace,
            folder: Path | None = None) -> Result:  # fmt: skip
    """A new server, warmed up and measured once. folder: where its counters' file is to be."""
    cpu, _ = machine.cpus()
    threads = 1 if load.apart else load.compute
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-gil-")))
        counters = folder / "progress" if threads else None
        if counters:
            counters.write_bytes(bytes(8 * threads))
        command = server_command(subject, load, counters, options)
        env = [*options.env, *subject.env]
        server = stack.enter_context(process.Server(subject.label, command, cpu, env=env))
        hello = server.hello()
        if load.apart:
            script = str(process.BENCH / "servers" / "compute.py")
            beside = [*options.python, script, "--progress", str(counters)]
            stack.enter_context(process.Server("computing process", beside, cpu)).hello()
        limit = SETTLE_S + options.warmup + options.seconds + 2 * options.solo + 25
        began = time.monotonic()
        result = run_client(
            server, client_command(hello, server.pid, load, counters, options), limit
        )
        result["took"] = time.monotonic() - began
        result["loop"] = hello["loop"]
        add_costs(result)
        result["full"] = bool(counters) and not load.apart  # it has work for all its CPU
        if counters:
            add_shares(result)
        return result


@dataclass
class Rounds:
    """What was measured: by case (such as a number of connections), then by label."""

    results: dict[str, dict[str, list[Result]]]
    failed: dict[str, str]

    def column(self, case: str, label: str, field: str) -> list[float]:
        return [float(one[field]) for one in self.results[case].get(label, [])]

    def middle(self, case: str, label: str, field: str) -> float:
        return statistics.median(self.column(case, label, field))

    def labels(self, case: str) -> list[str]:
        return [label for label, done in self.results[case].items() if done]


Job = Callable[[Subject], Result]


def run_rounds(cases: Mapping[str, Job], who: Sequence[Subject], rounds: int) -> Rounds:
    """Every case for every subject, in each round; the order is reversed in every other round.

    What fails twice in a case is left out of the rest of that case; the others go on.
    """
    done: dict[str, dict[str, list[Result]]] = {
        case: {subject.label: [] for subject in who} for case in cases
    }
    failures: dict[str, list[str]] = {}
    work = [(case, subject) for case in cases for subject in who]
    for number in range(rounds):
        for case, subject in work if number % 2 == 0 else work[::-1]:
            key = f"{subject.label}, {case}"
            if len(failures.get(key, [])) > 1:
                continue
            report.progress(f"round {number + 1} of {rounds}: {key} ...")
            try:
                done[case][subject.label].append({"round": number, **cases[case](subject)})
            except (process.ServerFailed, subprocess.TimeoutExpired) as error:
                failures.setdefault(key, []).append(str(error))
                report.progress("")
                print(f"FAILED {key}: {error}", file=sys.stderr)
    report.progress("")
    return Rounds(done, {key: said[-1] for key, said in failures.items()})


def spread(values: Sequence[float]) -> str:
    return f"{stats.spread(values) * 100:.0f}%"


def percent(value: float) -> str:
    return f"{value * 100:.1f}%" if value < 0.1 else f"{value * 100:.0f}%"


def kept(done: Sequence[Result]) -> float:
    """The threads' share over several rounds: all they did to all they would have done alone.

    Not the median of the shares: the speed of a virtual machine's CPU wanders by tens of
    percent within a second, and a share, a quotient of two such speeds, by more.
    """
    alone = sum(one["solo"] * one["seconds"] for one in done)
    return float(sum(sum(one["progress"]) * one["seconds"] for one in done) / alone)


def verdict(rounds: Rounds, limit: float) -> tuple[bool, str]:
    """Whether the machine held still, judged by the threads beside asyncio while it was idle.

    Their speed alone is what a share is a share of, and no loop under test touches it.
    """
    drifts, alone, cpu = [], [], []
    for by_label in rounds.results.values():
        for one in by_label.get(CONTROL, []):
            if "solo" in one:
                drifts.append(abs(one["solo_moved"]))
                alone.append(one["solo"])
        cpu += [one["cpu"] for done in by_label.values() for one in done if one.get("full")]
    if not drifts:
        return True, f"no control ({CONTROL} was not run): stability is not judged"
    drift = statistics.median(drifts)
    text = (f"control: a thread's speed alone, beside idle {CONTROL}, changed by "
            f"{drift * 100:.0f} % (median) from before a run to after it (limit "
            f"{limit * 100:.0f} %), and {spread(alone)} from run to run")  # fmt: skip
    if cpu and min(cpu) < 0.9:
        slow = sum(one < 0.9 for one in cpu)
        text += f"; in {slow} of {len(cpu)} runs a server got less than 90 % of its CPU"
    return drift <= limit, text
