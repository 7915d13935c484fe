"""One server under load beside computing threads, and rounds of many of them."""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from harness import machine, process, report, stats

CONTROL = "asyncio"
THREADS = 8  # computing threads that the file of counters has room for; two more are the CPU's
CPU_LEAST = 0.85  # of its CPU for a server with work for all of it; below, others had it
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
    stats: bool = False  # what loop.stats() says at the end, as "stats"
    env: tuple[str, ...] = ()


class Counters:
    """The file that computing threads count in, and the process that times the CPU beside them.

    One for a whole benchmark: who reads it takes differences. path: NAME on both sides of
    --python. real_time: whether the CPU is timed; without that the shares are noisier.
    """

    def __init__(self, python: list[str]) -> None:
        self._stack = ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-gil-"))
        self.path = Path(folder) / "progress"
        self.path.write_bytes(bytes(8 * (THREADS + 2)))
        script = str(process.BENCH / "servers" / "speedometer.py")
        command = [*python, script, "--progress", str(self.path)]
        speedometer = process.Server("speedometer", command, machine.cpus()[0])
        self.real_time = self._stack.enter_context(speedometer).hello()["real_time"]

    def cpu(self) -> tuple[int, int]:
        """The speedometer's counters: loops timed, nanoseconds they took."""
        timed, took_ns = struct.unpack("QQ", self.path.read_bytes()[-16:])
        return timed, took_ns

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def subjects(options: argparse.Namespace, settings: bool = False) -> list[Subject]:
    """The loops asked for; with settings, yula once more for each of --yula-shares."""
    found = []
    for name in options.loops:
        found.append(Subject(name, name))
        if name == "yula" and settings:
            found += [Subject(f"yula {share:g}", "yula", (f"YULA_GIL_SHARE={share:g}",))
                      for share in options.yula_shares]  # fmt: skip
    return found


def server_command(subject: Subject, load: Load, options: argparse.Namespace) -> list[str]:
    script = str(process.BENCH / "servers" / "gil_server.py")
    threads = 0 if load.apart else load.compute
    return [*options.python, script, "--loop", subject.loop, "--style", options.style,
            "--size", str(options.size), "--compute", str(threads),
            "--progress", str(options.counters.path), *load.server,
            *(["--stats", str(stats_file(options))] if load.stats else [])]  # fmt: skip


def stats_file(options: argparse.Namespace) -> Path:
    path: Path = options.counters.path
    return path.with_name("stats")


def client_command(hello: Result, pid: int, load: Load, options: argparse.Namespace) -> list[str]:
    durations = {
        "--settle-ms": SETTLE_S,
        "--warmup-ms": options.warmup,
        "--measure-ms": options.seconds,
    }
    if load.compute:
        durations["--solo-ms"] = options.solo
    command = [str(process.BUILD / "load"), "--pid", str(pid),
               "--loop-thread", str(hello["loop_threads"][0]),
               "--progress", str(options.counters.path),
               "--connections", str(load.connections), "--size", str(options.size)]  # fmt: skip
    for port in hello["ports"]:
        command += ["--port", str(port)]
    for name, seconds in durations.items():
        command += [name, str(round(seconds * 1000))]
    if load.paced:
        command += ["--paced", str(load.paced)]
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


def speeds(sample: list[float], threads: int, cpu: float) -> tuple[list[float], float]:
    """What each thread did a second of its process's CPU time, as if the CPU had always been
    equally fast; and how fast it was, by the speedometer: loops of its own in a microsecond.

    cpu: the part of the CPU that the process had. It has work for all of it, so what is lacking
    went to somebody else.
    """
    timed, took_ns = sample[-2:]
    speed = 1000 * timed / took_ns if timed else 1.0
    return [done / speed / cpu for done in sample[:threads]], speed


def add_shares(result: Result, load: Load) -> None:
    """Each thread's speed as a share of its own when the loop was idle, and that of them all.

    The threads are alike, so each alone has its part of what they do together: which of them
    gets how much of a few tenths of a second is chance.
    """
    threads = load.compute
    cpu, (cpu_before, cpu_after) = result["cpu"], result["solo_cpu"]
    if load.apart:  # the CPU time is the server's, not that of the process which computes
        cpu = cpu_before = cpu_after = 1.0
    now, result["cpu_speed"] = speeds(result["progress"], threads, cpu)
    before, _ = speeds(result["solo_before"], threads, cpu_before)
    after, _ = speeds(result["solo_after"], threads, cpu_after)
    if not sum(before) or not sum(after):
        raise process.ServerFailed("the threads did not compute while the loop was idle")
    result["computed"] = sum(now)
    result["alone"] = (sum(before) + sum(after)) / 2
    result["alone_moved"] = sum(after) / sum(before) - 1
    result["shares"] = [did / (result["alone"] / threads) for did in now]
    result["share"] = sum(now) / result["alone"]


def add_costs(result: Result) -> None:
    elapsed_ns = result["seconds"] * 1e9
    result["cpu"] = result["server_cpu_ns"] / elapsed_ns
    result["loop_cpu"] = result["loop_cpu_ns"] / elapsed_ns
    result["cpu_us"] = result["server_cpu_ns"] / max(1, result["requests"]) / 1e3


def measure(subject: Subject, load: Load, options: argparse.Namespace) -> Result:
    """A new server, warmed up and measured once."""
    cpu, _ = machine.cpus()
    with ExitStack() as stack:
        command = server_command(subject, load, options)
        env = [*options.env, *subject.env, *load.env]
        server = stack.enter_context(process.Server(subject.label, command, cpu, env=env))
        hello = server.hello()
        if load.apart:
            script = str(process.BENCH / "servers" / "compute.py")
            beside = [*options.python, script, "--progress", str(options.counters.path)]
            stack.enter_context(process.Server("computing process", beside, cpu)).hello()
        limit = SETTLE_S + options.warmup + options.seconds + 2 * options.solo + 25
        began = time.monotonic()
        result = run_client(server, client_command(hello, server.pid, load, options), limit)
        result["took"] = time.monotonic() - began
        result["loop"] = hello["loop"]
        add_costs(result)
        if load.compute:
            add_shares(result, load)
            result["full"] = not load.apart  # there is work for all of the CPU
        if load.stats:
            server.stop()
            result["stats"] = json.loads(stats_file(options).read_text())
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

    def pairs(self, case: str, base: str, label: str) -> list[tuple[Result, Result]]:
        """What `label` did in one case and in another, in each round that has both."""
        others = {one["round"]: one for one in self.results[base].get(label, [])}
        return [(one, others[one["round"]]) for one in self.results[case].get(label, [])
                if one["round"] in others]  # fmt: skip


Job = Callable[[Subject], Result]


def undisturbed(job: Job, subject: Subject) -> Result:
    """A run, repeated when something else had much of its CPU; twice at most."""
    for _ in range(2):
        result = job(subject)
        if not disturbed(result):
            return result
    return job(subject)


def disturbed(result: Result) -> bool:
    return bool(result.get("full")) and result["cpu"] < CPU_LEAST


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
                one = undisturbed(cases[case], subject)
                done[case][subject.label].append({"round": number, **one})
            except (process.ServerFailed, subprocess.TimeoutExpired) as error:
                failures.setdefault(key, []).append(str(error))
                report.progress("")
                print(f"FAILED {key}: {error}", file=sys.stderr)
    report.progress("")
    return Rounds(done, {key: said[-1] for key, said in failures.items()})


def spread(values: Sequence[float]) -> str:
    return f"{stats.spread(values) * 100:.0f}%"


def said(good: bool | None) -> str:
    if good is None:
        return report.paint("n/a ", "33")
    return report.paint("yes ", "32") if good else report.paint("NO  ", "31;1")


def percent(value: float) -> str:
    return f"{value * 100:.1f}%" if value < 0.1 else f"{value * 100:.0f}%"


def kept(done: Sequence[Result]) -> float:
    """The threads' share over several rounds: all they did to all they would have done alone.

    Not the median of the shares: the noise of a quotient is skewed, that of a sum averages out.
    """
    alone = sum(one["alone"] * one["seconds"] for one in done)
    return float(sum(one["computed"] * one["seconds"] for one in done) / alone)


def verdict(rounds: Rounds, limit: float) -> tuple[bool, str]:
    """Whether the machine held still, judged by the threads beside asyncio while it was idle.

    Their speed alone is what a share is a share of, and no loop under test touches it.
    """
    alone, moved, lacking, count = [], [], 0, 0
    for by_label in rounds.results.values():
        for one in by_label.get(CONTROL, []):
            if "alone" in one:
                alone.append(one["alone"])
                moved.append(abs(one["alone_moved"]))
        for done in by_label.values():
            count += len(done)
            lacking += sum(map(disturbed, done))
    text = ""
    if lacking:
        text = (f"in {lacking} of {count} runs a server got less than {CPU_LEAST * 100:.0f} % of "
                "its CPU, also when repeated; ")  # fmt: skip
    if not alone:
        return lacking <= count / 10, f"{text}no control in this run"
    worst = statistics.median(moved)
    text += (f"control: a thread's speed alone, beside idle {CONTROL}, moved {spread(alone)} from "
             f"run to run, and {worst * 100:.0f} % (median) from before a run to after it (limit "
             f"{limit * 100:.0f} %)")  # fmt: skip
    return worst <= limit and lacking <= count / 10, text
