"""User instructions a request of an echo server, counted by valgrind: exact, and slow."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from harness import child, counters, machine
from harness.case import Settings
from harness.rounds import FAILURES
from harness.workloads.echo import C_SERVERS, Echo

REQUESTS = 10_000
LIMIT_S = 120.0  # for the start, the warm-up and the counted requests each


def count(
    case: Echo,
    name: str,
    settings: Settings,
    requests: int = REQUESTS,
    profile: Path | None = None,
) -> float:
    """Exactly so many requests are counted, and nothing else.

    A server that is 50 times slower finds every connection ready at each turn, so what a loop
    does once a turn weighs less than on a real processor; it is the same for all. profile: where
    callgrind leaves what it saw.
    """
    command = case.server_command(name, settings)
    before = 0 if name in C_SERVERS[case.wire] else len(settings.python) - 1
    server_cpu, load_cpu = machine.cpus()
    slow = counters.under_valgrind(command, before, "--instr-atstart=no", profile=profile)
    with child.Server(name, slow, server_cpu, env=settings.env) as server:
        load = case.load_command(server.hello(LIMIT_S), server.pid, settings)
        load += ["--step", "--requests", str(requests), "--silence-ms", str(int(LIMIT_S * 1000))]
        with subprocess.Popen(
            child.pinned(load_cpu, load), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as client:
            try:
                step_through(client, server, command[:before])
            finally:
                client.kill()
        server.stop()
        total = counters.collected(server.output())
        if total is None:
            raise server.failure("valgrind did not say how much it counted")
        return float(total) / requests


def step_through(client: subprocess.Popen[str], server: child.Server, prefix: list[str]) -> None:
    """Counting is on exactly while the client makes the requests that are to be counted."""
    assert client.stdin is not None and client.stdout is not None
    for word, on in (("warm", True), ("done", False)):
        if (child.line_within(client.stdout, LIMIT_S) or "").strip() != word:
            raise server.failure(f"the load did not get to '{word}' under valgrind")
        counters.switch(prefix, server.pid, on)
        client.stdin.write("\n")
        client.stdin.flush()
    child.line_within(client.stdout, LIMIT_S)


def count_all(
    case: Echo,
    names: Sequence[str],
    settings: Settings,
    requests: int = REQUESTS,
    profiles: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
    failing: Callable[[str, str], None] = lambda name, why: None,
) -> dict[str, float]:
    """Of each server that could be counted. profiles: a folder for NAME.callgrind of each."""
    found = {}
    for name in names:
        say(f"{case.name}  counting instructions: {name}")
        profile = profiles / f"{name.replace(' ', '-')}.callgrind" if profiles else None
        try:
            found[name] = count(case, name, settings, requests, profile)
        except FAILURES as error:
            failing(name, str(error))
    return found
