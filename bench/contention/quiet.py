"""Little to do: a paced load beside a computing thread, and a loop with nothing to do at all."""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

from harness import machine, process, report

from contention import frontier, runs

POLLING_WANTED = 0.05  # of a core, at --pace requests a second


def gil_stats(result: runs.Result) -> dict[str, Any]:
    found = result.get("stats")
    gil = found.get("gil") if isinstance(found, dict) else None
    return gil if isinstance(gil, dict) else {}


def paced(options: argparse.Namespace) -> runs.Rounds:
    """What polling burns: the CPU of the loop's thread, exactly, and what it says it spun."""
    pace = options.pace

    def one(subject: runs.Subject, connections: int) -> runs.Result:
        load = runs.Load(connections, paced=pace, stats=subject.loop == "yula")
        return runs.measure(subject, load, options)

    cases = {f"{pace}/s on {frontier.case_name(count)}": partial(one, connections=count)
             for count in options.connections or [1, 10]}  # fmt: skip
    rounds = runs.run_rounds(cases, runs.subjects(options), options.rounds)
    for case in cases:
        print(f"{paced_table(rounds, case)}\n{paced_claims(rounds, case)}\n")
    return rounds


def spun(result: runs.Result) -> float | None:
    """What the loop says it spent polling, as a part of the time there was load and contention."""
    ns = gil_stats(result).get("spun_ns")
    return None if ns is None else ns / 1e9 / (result["took"])


def paced_table(rounds: runs.Rounds, case: str) -> str:
    head = [case, "requests/s", "p50 ms", "p99 ms", "thread keeps", "server CPU", "loop's CPU",
            "µs a request", "says it spun"]  # fmt: skip
    rows = []
    for label in rounds.labels(case):
        done = rounds.results[case][label]
        loop_cpu = rounds.middle(case, label, "loop_cpu")
        rate = rounds.middle(case, label, "rate")
        says = [part for part in map(spun, done) if part is not None]
        rows.append([
            label,
            f"{rate:,.0f}",
            *(f"{rounds.middle(case, label, field) / 1e3:.2f}" for field in ("p50_us", "p99_us")),
            runs.percent(runs.kept(done)),
            runs.percent(rounds.middle(case, label, "cpu")),
            f"{loop_cpu * 100:.2f}%",
            f"{loop_cpu / rate * 1e6:.0f}" if rate else "",
            f"{statistics.median(says) * 100:.2f}%" if says else "",
        ])  # fmt: skip
    return report.table(head, rows)


def paced_claims(rounds: runs.Rounds, case: str) -> str:
    labels = rounds.labels(case)
    if "yula" not in labels:
        return ""
    mine = rounds.middle(case, "yula", "loop_cpu")
    least = min(rounds.middle(case, label, "loop_cpu") for label in labels)
    return (f"{runs.said(mine <= POLLING_WANTED)} polling burns at most 5 % of a core: the whole "
            f"thread of yula's loop takes {mine * 100:.2f} %, {(mine - least) * 100:.2f} more than "
            "the least of them")  # fmt: skip


def thread_state(pid: int, thread: int) -> tuple[int, int, str]:
    """How often it went to sleep, its CPU time in ns, and the kernel function it waits in."""
    folder = Path(f"/proc/{pid}/task/{thread}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    spent = int((folder / "schedstat").read_text().split()[0])
    return int(status["voluntary_ctxt_switches"]), spent, (folder / "wchan").read_text()


def watch_idle(subject: runs.Subject, load: runs.Load, options: argparse.Namespace) -> runs.Result:
    """After a burst of requests, with open connections that are silent."""
    cpu, _ = machine.cpus()
    command = runs.server_command(subject, load, options)
    env = [*options.env, *subject.env]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(process.Server(subject.label, command, cpu, env=env))
        hello = server.hello()
        runs.run_client(server, runs.client_command(hello, server.pid, load, options), 60)
        for _ in range(load.connections):
            address = ("127.0.0.1", hello["port"])
            connection = stack.enter_context(socket.create_connection(address, timeout=20))
            connection.sendall(b"x" * options.size)
            left = options.size
            while left:
                left -= len(connection.recv(left))
        time.sleep(1)  # what follows a burst is not idleness yet
        before = thread_state(server.pid, hello["loop_threads"][0])
        time.sleep(options.idle_seconds)
        after = thread_state(server.pid, hello["loop_threads"][0])
        return {
            "returns": after[0] - before[0],
            "idle_cpu_ms": (after[1] - before[1]) / 1e6,
            "waits_in": after[2],
        }


def idle(options: argparse.Namespace) -> runs.Rounds:
    cases = {}
    for name, threads in (("alone", 0), ("a thread computes", 1)):
        load = runs.Load(10, compute=threads)
        cases[f"idle, {name}"] = partial(watch_idle, load=load, options=options)
    rounds = runs.run_rounds(cases, runs.subjects(options), 1)
    for case in cases:
        head = [case, f"returns from its poll in {options.idle_seconds:g} s", "CPU ms", "waits in"]
        rows = []
        for label in rounds.labels(case):
            one = rounds.results[case][label][0]
            rows.append([label, str(one["returns"]), f"{one['idle_cpu_ms']:.2f}", one["waits_in"]])
        print(report.table(head, rows))
        if "yula" in rounds.labels(case):
            returns = rounds.results[case]["yula"][0]["returns"]
            print(f"{runs.said(returns == 0)} yula does not return from its poll")
        print()
    return rounds
