"""uvicorn with requests that compute in a thread beside requests that do not."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
import urllib.request
from functools import partial
from typing import Any

from harness import machine, process, report, web
from harness.programs import loops

from contention import runs

PLAIN_CONNECTIONS = 16
COMPUTE_CONNECTIONS = 4
COMPUTED = b"%d" % sum(range(40_000))  # STEPS of servers/to_thread_app.py

Result = runs.Result


def start_wrk(port: int, path: str, connections: int, seconds: int) -> subprocess.Popen[str]:
    command = ["wrk", "--threads", "1", "--connections", str(connections),
               "--duration", f"{seconds}s", "--timeout", "10s",
               "--script", str(process.BENCH / "wrk_report.lua"),
               f"http://127.0.0.1:{port}{path}"]  # fmt: skip
    pinned = process.pinned(machine.cpus()[1], command)
    return subprocess.Popen(pinned, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def counted(server: process.Server, wrk: subprocess.Popen[str], seconds: int) -> dict[str, Any]:
    try:
        said = wrk.communicate(timeout=seconds + 30)[0].strip().splitlines()
    except subprocess.TimeoutExpired:
        wrk.kill()
        wrk.communicate()
        raise server.failure("wrk did not end") from None
    if wrk.returncode != 0 or not said or not said[-1].startswith("{"):
        raise server.failure(f"wrk failed: {said}")
    found: dict[str, Any] = json.loads(said[-1])
    wrong = sum(found[kind] for kind in ("connect", "read", "write", "timeout", "non_2xx"))
    if wrong:
        raise server.failure(f"{wrong} requests failed")
    found["rate"] = found["requests"] / (found["microseconds"] / 1e6)
    return found


def ask(server: process.Server, port: int, path: str) -> bytes:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            body: bytes = answer.read()
            return body
    except OSError as error:
        raise server.failure(f"no proper answer: {error}") from error


def measure(subject: runs.Subject, options: argparse.Namespace) -> Result:
    seconds = max(1, round(options.seconds))
    folder = process.BENCH / "servers"
    command = web.uvicorn(options.python, subject.loop, "to_thread_app:app", folder)
    env = [*options.env, *subject.env]
    with process.Server(subject.label, command, machine.cpus()[0], hello=False, env=env) as server:
        port = web.wait_until_listening(server, "uvicorn", 30)
        serving = str(json.loads(ask(server, port, "/loop"))["loop"])
        if not loops.is_of(serving, subject.loop):
            raise server.failure(f"the loop that serves is {serving}, not {subject.loop}")
        if ask(server, port, "/compute") != COMPUTED:
            raise server.failure("wrong answer to /compute")
        counted(server, start_wrk(port, "/", PLAIN_CONNECTIONS, 1), 1)  # warm-up
        speed_0 = options.counters.cpu()
        alone = counted(server, start_wrk(port, "/compute", COMPUTE_CONNECTIONS, seconds), seconds)
        speed_1 = options.counters.cpu()
        cpu_ns, began = server.cpu_ns(), time.monotonic_ns()
        wrks = [start_wrk(port, "/compute", COMPUTE_CONNECTIONS, seconds),
                start_wrk(port, "/", PLAIN_CONNECTIONS, seconds)]  # fmt: skip
        compute, plain = (counted(server, wrk, seconds) for wrk in wrks)
        cpu = (server.cpu_ns() - cpu_ns) / (time.monotonic_ns() - began)
        speed_2 = options.counters.cpu()
    faster = speed(speed_1, speed_2) / speed(speed_0, speed_1)
    return {
        "loop": serving,
        "rate": plain["rate"],
        "p50_us": plain["p50_us"],
        "p99_us": plain["p99_us"],
        "compute_rate": compute["rate"],
        "compute_p99_us": compute["p99_us"],
        "alone_rate": alone["rate"],
        "share": compute["rate"] / alone["rate"] / faster,
        "cpu": cpu,
        "full": True,
    }


def speed(before: tuple[int, int], after: tuple[int, int]) -> float:
    took = after[1] - before[1]
    return (after[0] - before[0]) / took if took else 1.0


def run(options: argparse.Namespace) -> runs.Rounds:
    web.require_wrk()
    case = f"uvicorn, {PLAIN_CONNECTIONS} plain + {COMPUTE_CONNECTIONS} to_thread"
    cases = {case: partial(measure, options=options)}
    rounds = runs.run_rounds(cases, runs.subjects(options), options.rounds)
    print(f"{table(rounds, case)}\n")
    return rounds


def table(rounds: runs.Rounds, case: str) -> str:
    head = [case, "plain/s", "±", "p50 ms", "p99 ms", "computed/s", "p99 ms", "alone/s",
            "it keeps", "CPU"]  # fmt: skip
    rows = []
    for label in rounds.labels(case):
        rate = rounds.column(case, label, "rate")
        row = [label, f"{statistics.median(rate):,.0f}", runs.spread(rate)]
        row += [f"{rounds.middle(case, label, field) / 1e3:.2f}" for field in ("p50_us", "p99_us")]
        row += [f"{rounds.middle(case, label, 'compute_rate'):,.0f}",
                f"{rounds.middle(case, label, 'compute_p99_us') / 1e3:.2f}",
                f"{rounds.middle(case, label, 'alone_rate'):,.0f}",
                runs.percent(rounds.middle(case, label, "share")),
                runs.percent(rounds.middle(case, label, "cpu"))]  # fmt: skip
        rows.append(row)
    return report.table(head, rows)
