"""Every kind of workload works, for a moment, on asyncio and on yula; nothing is timed."""

import pytest
from bench_harness import PATIENCE_S, c_tools, installed, settings
from harness import child, command
from harness.case import choose
from harness.workloads.connections import IdleMemory
from harness.workloads.echo import Echo
from limits import SLOWDOWN
from workloads import clients, web_servers

pytestmark = [
    pytest.mark.timeout(PATIENCE_S + 60),
    pytest.mark.yula_only,
    # They start dozens of interpreters, and what they serve on is tested elsewhere.
    pytest.mark.skipif(SLOWDOWN > 1, reason="not under sanitizers"),
]

ONE_OF_EACH = [
    "echo/protocol/1/1", "echo/protocol/1m/1", "echo/buffered/10k/10", "echo/streams/100k/10",
    "echo/sock/1k/100", "unix/protocol/1k/10", "unix/streams/1k/10", "unix/sock/1k/10",
    "tls/protocol/1k/10", "tls/streams/100k/10", "udp/1k/32", "accept", "operation", "startup",
]  # fmt: skip
CASES = [*choose(command.CASES, ONE_OF_EACH, 0), IdleMemory(500)]
LOOPS = ["asyncio", "yula"]


def check(case, figures, name):
    assert figures[case.figure.key] > 0
    assert figures.get("lost", 0) == 0 and figures.get("errors", 0) == 0
    if "loop" in figures and name in LOOPS:
        assert figures["loop"].startswith(name)
    if "requests" in figures:
        assert figures["requests"] > 0
        assert figures["p50_us"] <= figures["p99_us"] <= figures["p999_us"]


def test_one_of_each_names_cases_that_exist():
    found = {case.name for case in CASES}
    for pattern in ONE_OF_EACH:
        assert any(name == pattern or name.startswith(f"{pattern}/") for name in found), pattern


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_workload_of_the_package_measures(case, name):
    if case.lacks(settings(), {}):
        pytest.skip(case.lacks(settings(), {}))
    with case.prepared(settings()):
        check(case, case.measure(name, settings()), name)


@pytest.mark.parametrize(
    "case",
    [Echo("protocol"), Echo("streams", 102400, 10), Echo("streams", 1024, 10, "unix"),
     Echo("protocol", 20_000, 10, "tls"), Echo("datagram", 1024, 16, "udp"),
     *choose(command.CASES, ["accept/protocol"], 0), IdleMemory(500)],
    ids=lambda case: case.name,
)  # fmt: skip
def test_the_client_in_c_measures_the_bare_servers_and_a_loop(case):
    with_c = settings([str(c_tools() / "load")], c_tools())
    for name in [*case.references(with_c), "yula"]:
        check(case, case.measure(name, with_c), name)


def test_tls_is_left_out_where_its_bare_server_was_not_built(tmp_path):
    assert Echo("protocol", 1024, 10, "tls").references(settings(c_tools=tmp_path)) == []


WEB = choose(web_servers.CASES, ["uvicorn/10k", "aiohttp/plaintext", "aiohttp/echo"], 0)
CLIENTS = choose(clients.CASES, ["postgres/*/10", "redis/get/1", "redis/pipeline",
                                 "aiohttp-client/get*/32"], 0)  # fmt: skip


@pytest.mark.parametrize("case", WEB + CLIENTS, ids=lambda case: case.name)
def test_a_workload_of_the_suite_measures(case):
    lacks = case.lacks(settings(), installed(*case.modules))
    if lacks:
        pytest.skip(lacks)
    with case.prepared(settings()):
        for name in LOOPS:
            check(case, case.measure(name, settings()), name)


def test_a_server_that_runs_another_loop_than_asked_for_is_refused(monkeypatch):
    case = Echo("protocol", 64, 1)
    command_of_asyncio = case.server_command("asyncio", settings())
    monkeypatch.setattr(Echo, "server_command", lambda *_: command_of_asyncio)
    with pytest.raises(child.ServerFailed, match="the loop that serves is asyncio"):
        case.measure("yula", settings())


def test_a_server_that_does_not_start_is_reported_with_its_own_words():
    case = Echo("protocol", 64, 1)
    broken = settings()
    broken.env = ["PYTHONHOME=/nonexistent"]
    with pytest.raises(child.ServerFailed, match="ended, exit status 1") as failure:
        case.measure("yula", broken)
    assert "encodings" in str(failure.value)


def test_an_operation_that_hangs_is_ended(monkeypatch):
    impatient = settings()
    impatient.patience = -9.5  # of the ten seconds that an interpreter gets to start
    (case,) = choose(command.CASES, ["operation/subprocess_wait"], 0)
    monkeypatch.setattr(case, "command", lambda *_: ["sh", "-c", "sleep 1000"])
    with pytest.raises(child.ServerFailed, match="no result in 0 s"):
        case.measure("yula", impatient)


COUNTED = choose([*web_servers.CASES, *clients.CASES],
                 ["uvicorn/plaintext", "aiohttp/echo", "redis/get/1", "aiohttp-client/get/1"], 0)  # fmt: skip


@pytest.mark.parametrize("case", COUNTED, ids=lambda case: case.name)
def test_a_workload_of_the_suite_can_be_stepped_through_for_valgrind(case):
    """The client stops before and after exactly so many requests; valgrind itself is left out."""
    lacks = case.lacks(settings(), installed(*case.modules))
    if lacks:
        pytest.skip(lacks)

    def slowly(command, before):
        return command

    with (
        case.prepared(settings()),
        case.stepped("yula", settings(), slowly, 100) as stepped,
    ):
        for word in ("warm", "done"):
            assert stepped.client.stdout.readline().strip() == word
            stepped.client.stdin.write("\n")
            stepped.client.stdin.flush()
        assert stepped.client.wait(PATIENCE_S) == 0
        assert "Traceback" not in stepped.end()
