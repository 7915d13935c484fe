"""The checks of conftest.py bite: each fault planted below fails, and nothing else does."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLANTED = """
import asyncio, os, subprocess, sys, threading, time, warnings
import pytest
import yula

KEPT = []

def test_fine_run(run):
    async def main():
        asyncio.get_running_loop().call_soon(print)
        await asyncio.to_thread(time.sleep, 0)
        return 1
    assert run(main()) == 1

def test_fine_loop(loop):
    assert loop.run_until_complete(asyncio.sleep(0, 3)) == 3

def test_fine_expected_error(run, asyncio_errors):
    async def main():
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0.01)
    run(main())
    [record] = asyncio_errors
    assert "ZeroDivisionError" in record.exc_text
    asyncio_errors.clear()

def test_descriptor():
    os.open("/dev/null", os.O_RDONLY)

def test_thread():
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()

def test_child():
    KEPT.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))

@pytest.mark.yula_only
def test_pending_task(run):
    async def main():
        KEPT.append(asyncio.create_task(asyncio.sleep(1000)))
    run(main())

@pytest.mark.yula_only
def test_open_loop(loop_factory):
    KEPT.append(loop_factory())

@pytest.mark.yula_only
def test_live_loop(loop):
    KEPT.append(loop)

@pytest.mark.yula_only
def test_live_handle(loop):
    KEPT.append(loop.call_soon(print))

@pytest.mark.yula_only
def test_exception_handler(run):
    async def main():
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0.01)
    run(main())

def test_warning():
    warnings.warn("planted")

def test_unraisable():
    class Faulty:
        def __del__(self):
            raise LookupError
    Faulty().itself = None

@pytest.mark.yula_only
@pytest.mark.timeout(1)
def test_hang(loop):
    loop.run_forever()

def test_end_what_was_planted():
    for kept in KEPT:
        if isinstance(kept, subprocess.Popen):
            kept.communicate()
"""

CAUGHT = {
    "descriptor": "-> /dev/null",
    "thread": "thread <Thread",
    "child": "child process",
    "pending_task": "tasks still pending",
    "open_loop": "left open by the test",
    "live_loop": "1 live yula.",
    "live_handle": "live ",
    "exception_handler": "asyncio logged: Exception in callback",
    "warning": "UserWarning: planted",
    "unraisable": "LookupError",
    "hang": "Timeout",
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What pytest says about the planted tests."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "test_planted.py").write_text(PLANTED)
    (folder / "pytest.ini").write_text("[pytest]\n")
    for name in ("conftest.py", "limits.py"):
        shutil.copy(Path(__file__).with_name(name), folder)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--color=no"]
    done = subprocess.run([*command, folder], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def lines_about(report, name):
    summary = report[report.index("short test summary info") :]
    return [line for line in summary.splitlines() if f"::test_{name}" in line]


@pytest.mark.parametrize("name", CAUGHT)
def test_what_a_test_leaves_behind_fails_it(report, name):
    lines = lines_about(report, name)
    assert any(line.startswith(("FAILED", "ERROR")) for line in lines), report
    assert CAUGHT[name] in report


def test_a_test_that_leaves_nothing_behind_passes(report):
    lines = lines_about(report, "fine")
    assert len(lines) == 6
    assert all(line.startswith("PASSED") for line in lines), report
