"""The runner must bite: each kind of wrong result makes it fail, and name the test.

    python -m pytest tests/conformance/test_runner.py

A run of the whole suite cannot show this: there everything passes.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
TIME_LIMIT = 120
GOOD_TEST = "test_locks.LockTests.test_acquire"
NEEDS_RESULT = "test_events.EPollEventLoopTests.test_run_in_executor"

try:
    import test.test_asyncio  # noqa: F401
except ImportError:
    pytest.skip(f"Python {VERSION} was installed without its test suite", allow_module_level=True)


def conformance(*args):
    """Run the runner. Returns (exit code, its output)."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / "run.py"), *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIME_LIMIT,
    )
    return done.returncode, done.stdout


def write_list(folder, text):
    path = folder / "list.toml"
    path.write_text(text)
    return path


def expect(*tests, outcome="fail", reason="because"):
    return f"[[expect]]\ntests = {json.dumps(tests)}\noutcome = {outcome!r}\nreason = {reason!r}\n"


def test_a_module_that_passes_exits_with_zero_and_counts_the_loops_it_made():
    code, output = conformance("--module", "test_locks")
    assert code == 0, output
    assert "set B, through the default factory: 0" not in output
    assert " 0 failed" in output.splitlines()[-1]


@pytest.mark.parametrize(
    "loop, args, failing",
    [
        (
            "broken:DropsCallbacks",
            ["--module", "test_queues", "-k", "QueueGetTests", "--timeout", "3"],
            "test_queues",
        ),
        ("broken:SwapsCallbacks", ["--module", "test_locks"], "test_locks"),
        ("broken:NoResults", ["--module", "test_events", "-k", NEEDS_RESULT], NEEDS_RESULT),
    ],
)
def test_a_loop_that_treats_callbacks_wrongly_fails(loop, args, failing):
    code, output = conformance("--loop", loop, *args)
    assert code == 1, output
    assert any(line.startswith("FAILED") and failing in line for line in output.splitlines()), (
        output
    )


def test_a_crash_costs_one_test_and_is_reported_with_its_stack():
    code, output = conformance(
        "--loop", "broken:Crashes", "--module", "test_events", "-k", "test_create_server_ssl"
    )
    assert code == 1, output
    failed = [line for line in output.splitlines() if line.startswith("FAILED")]
    assert len(failed) > 1, output
    assert all("the process ended with signal 11" in line for line in failed)
    assert "in create_server" in output


def test_a_hang_costs_one_test_and_is_reported_with_its_stack():
    code, output = conformance(
        "--loop", "broken:Hangs", "--module", "test_server", "-k", "Selector", "--timeout", "1"
    )
    assert code == 1, output
    failed = [line for line in output.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 2 and all("still running after 1 seconds" in line for line in failed), (
        output
    )
    assert "in run_forever" in output


def test_a_loop_that_cannot_be_made_fails_every_test_that_uses_one():
    code, output = conformance("--loop", "broken:CannotBeMade", "--module", "test_sock_lowlevel")
    assert code == 1, output
    assert output.splitlines()[-1].startswith("0 passed")


def test_an_unexpected_pass_fails(tmp_path):
    listed = write_list(tmp_path, expect(GOOD_TEST, reason="it was broken once"))
    code, output = conformance("--module", "test_locks", "--expected", listed)
    assert code == 1, output
    assert f"FAILED {GOOD_TEST}: unexpected pass; it is listed: it was broken once" in output


def test_a_listed_test_that_is_gone_fails(tmp_path):
    listed = write_list(tmp_path, expect("test_locks.LockTests.test_of_long_ago"))
    code, output = conformance("--module", "test_locks", "--expected", listed)
    assert code == 1, output
    assert (
        "FAILED test_locks.LockTests.test_of_long_ago: listed in list.toml, but there is no such test"
        in output
    )


def test_a_skip_needs_a_reason_and_a_listed_skip_must_skip(tmp_path):
    code, output = conformance("--module", "test_server", "--expected", write_list(tmp_path, ""))
    assert code == 1, output
    assert "skipped, which is not listed: Windows only" in output
    listed = write_list(
        tmp_path,
        expect("test_server.ProactorStartServerTests.*", outcome="skip")
        + expect("test_server.SelectorStartServerTests.test_start_server_1", outcome="skip"),
    )
    code, output = conformance("--module", "test_server", "--expected", listed)
    assert code == 1, output
    assert (
        "FAILED test_server.SelectorStartServerTests.test_start_server_1: listed as a skip, but it ran"
        in output
    )
    assert "not listed" not in output


def test_an_expected_failure_that_fails_is_no_failure(tmp_path):
    args = ["--loop", "broken:NoResults", "--module", "test_events", "-k", NEEDS_RESULT]
    code, output = conformance(*args, "--expected", write_list(tmp_path, expect(NEEDS_RESULT)))
    assert code == 0, output
    assert "1 expected to fail" in output.splitlines()[-1]


def test_too_few_tests_that_construct_a_loop_fail(tmp_path):
    listed = write_list(tmp_path, "[at_least.B]\ntest_locks = 10000\n")
    code, output = conformance("--module", "test_locks", "--expected", listed)
    assert code == 1, output
    assert "at least 10000 are pinned" in output


def test_the_count_of_a_later_patch_release_is_not_asked_of_this_one(tmp_path):
    text = '[at_least."99.0.1".B]\ntest_locks = 10000\n'
    code, output = conformance("--module", "test_locks", "--expected", write_list(tmp_path, text))
    assert code == 0, output
    text += '[at_least."3.11.0".B]\ntest_locks = 20000\n'
    code, output = conformance("--module", "test_locks", "--expected", write_list(tmp_path, text))
    assert code == 1, output
    assert "at least 20000 are pinned" in output


def test_an_entry_without_a_reason_is_refused(tmp_path):
    listed = write_list(tmp_path, f'[[expect]]\ntests = ["{GOOD_TEST}"]\noutcome = "fail"\n')
    code, output = conformance("--module", "test_locks", "--expected", listed)
    assert code != 0
    assert "an entry needs a reason" in output


def test_the_json_report_has_every_test_with_its_verdict(tmp_path):
    code, output = conformance("--module", "test_locks", "--json", tmp_path / "report.json")
    assert code == 0, output
    report = json.loads((tmp_path / "report.json").read_text())
    verdicts = {test["id"]: test["verdict"] for test in report["tests"]}
    assert verdicts[GOOD_TEST] == "pass"
    assert report["loop"] == "yula.loop.Loop"
