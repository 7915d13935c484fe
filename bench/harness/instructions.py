"""User instructions a request, counted by valgrind: exact, and slow.

Exactly so many requests are counted, and nothing else: a client steps through them and says when to
switch. A server that is 50 times slower finds every connection ready at each turn, so what a loop
does once a turn weighs less than on a real processor; it is the same for all.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from harness import child, counters, machine
from harness.case import Case, Settings
from harness.rounds import FAILURES
from harness.workloads.echo import C_SERVERS, Echo

REQUESTS = 10_000
LIMIT_S = 120.0  # for the start, the warm-up and the counted requests each
# A command, and how many words in front execute the rest -> the same under valgrind.
Slowly = Callable[[list[str], int], list[str]]


@dataclass
class Stepped:
    """What is counted, and who makes its requests: a program with --step in its options."""

    pid: int  # of the process under valgrind
    client: subprocess.Popen[str]  # says "warm" and "done", and waits for a line after each
    end: Callable[[], str]  # ends what is counted; what it wrote


@runtime_checkable
class Steppable(Protocol):
    """A case that can be counted. `counted_requests` take some seconds under valgrind."""

    name: str
    counted_requests: int

    def stepped(
        self, name: str, settings: Settings, slowly: Slowly, requests: int
    ) -> contextlib.AbstractContextManager[Stepped]: ...


@contextlib.contextmanager
def stepped_server(server: child.Server, load: list[str]) -> Iterator[Stepped]:
    """A server that listens already, and the client for it."""
    _, cpu = machine.cpus()

    def end() -> str:
        server.stop()
        return server.output()

    with subprocess.Popen(
        child.pinned(cpu, load), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        try:
            yield Stepped(server.pid, client, end)
        finally:
            client.kill()


@contextlib.contextmanager
def stepped_echo(
    case: Echo, name: str, settings: Settings, slowly: Slowly, requests: int
) -> Iterator[Stepped]:
    command = case.server_command(name, settings)
    before = 0 if name in C_SERVERS[case.wire] else len(settings.python) - 1
    cpu, _ = machine.cpus()
    with child.Server(name, slowly(command, before), cpu, env=settings.env) as server:
        load = case.load_command(server.hello(LIMIT_S), server.pid, settings)
        load += ["--step", "--requests", str(requests), "--silence-ms", str(int(LIMIT_S * 1000))]
        with stepped_server(server, load) as stepped:
            yield stepped


def can_count(case: Case) -> bool:
    return case.wire != "unix" if isinstance(case, Echo) else isinstance(case, Steppable)


def count(
    case: Case,
    name: str,
    settings: Settings,
    requests: int | None = None,
    profile: Path | None = None,
) -> float:
    """profile: where callgrind leaves what it saw."""

    def slowly(command: list[str], before: int) -> list[str]:
        # The runner of yula replaces its process once: by the interpreter with the options asked for.
        options = ("--instr-atstart=no", "--trace-children=yes")
        return counters.under_valgrind(command, before, *options, profile=profile)

    if isinstance(case, Echo):
        requests = requests or REQUESTS
        stepping: contextlib.AbstractContextManager[Stepped]
        stepping = stepped_echo(case, name, settings, slowly, requests)
    else:
        assert isinstance(case, Steppable)
        requests = requests or case.counted_requests
        stepping = case.stepped(name, settings, slowly, requests)
    with stepping as stepped:
        step_through(stepped, name, settings.python[:-1])
        stepped.client.wait(LIMIT_S)
        total = counters.collected(stepped.end())
    if total is None:
        raise child.ServerFailed(f"{name}: valgrind did not say how much it counted")
    return float(total) / requests


def step_through(stepped: Stepped, name: str, prefix: list[str]) -> None:
    """Counting is on exactly while the client makes the requests that are to be counted."""
    client = stepped.client
    assert client.stdin is not None and client.stdout is not None
    for word, on in (("warm", True), ("done", False)):
        said = (child.line_within(client.stdout, LIMIT_S) or "").strip()
        if said != word:
            raise child.ServerFailed(f"{name}: no '{word}' under valgrind, but '{said}'")
        counters.switch(prefix, stepped.pid, on)
        client.stdin.write("\n")
        client.stdin.flush()
    child.line_within(client.stdout, LIMIT_S)  # a result, or the end


def count_all(
    case: Case,
    names: Sequence[str],
    settings: Settings,
    requests: int | None = None,
    profiles: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
    failing: Callable[[str, str], None] = lambda name, why: None,
) -> dict[str, float]:
    """Of each server that could be counted. profiles: a folder for NAME.callgrind of each."""
    found = {}
    with case.prepared(settings):
        for name in names:
            say(f"{case.name}  counting instructions: {name}")
            profile = profiles / f"{name.replace(' ', '-')}.callgrind" if profiles else None
            try:
                found[name] = count(case, name, settings, requests, profile)
            except FAILURES as error:
                failing(name, str(error))
    return found
