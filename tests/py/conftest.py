"""What every test of the Python package shares: loops, helpers, and the checks after each test.

A test asks for `loop` (an open loop), `loop_factory` (makes one) or `run` (runs a coroutine as
`asyncio.run` does) and is then run twice: on yula, and on stock asyncio as the control. Mark it
`@pytest.mark.yula_only(reason=...)` where asyncio cannot or need not pass; with a condition in front
where only some versions of it cannot.

After each test that passed, nothing may be left over: no descriptor, thread, child process,
pending task, loop, transport, server or handle, and nothing may have been logged by asyncio at
ERROR (which is what the default exception handler does). Python warnings are errors, and so are
exceptions that nobody could catch. A test that provokes such a log takes the `asyncio_errors`
fixture and removes the records it expected.
"""

import asyncio
import collections
import contextlib
import faulthandler
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from limits import SLOWDOWN

import yula

sys.path.insert(0, str(Path(__file__).parent.parent))  # `import services`

LOOPS = {"yula": yula.Loop, "asyncio": asyncio.SelectorEventLoop}
LIMIT_S = 60

# Warnings of third-party packages that are none of our business, each with its reason.
THIRD_PARTY_WARNINGS = []

BEFORE = pytest.StashKey()
REAL_STDERR = pytest.StashKey()
FAILED = pytest.StashKey()


# --- settings ------------------------------------------------------------------------------------


def pytest_configure(config):
    if not config.pluginmanager.hasplugin("timeout"):
        raise pytest.UsageError(
            "tests/py needs pytest-timeout: pip install -r tests/requirements.txt"
        )
    # A descriptor past pytest's capture, for the last words of a process that hangs.
    config.stash[REAL_STDERR] = os.dup(2)
    config.addinivalue_line(
        "markers", "yula_only([condition], *, reason): not run on stock asyncio"
    )
    config.addinivalue_line("filterwarnings", "error")
    for line in THIRD_PARTY_WARNINGS:
        config.addinivalue_line("filterwarnings", line)


def pytest_unconfigure(config):
    if REAL_STDERR in config.stash:
        os.close(config.stash[REAL_STDERR])


def pytest_collection_modifyitems(items):
    for item in items:
        mark = item.get_closest_marker("timeout")
        limit = (mark.args[0] if mark else LIMIT_S) * SLOWDOWN
        item.add_marker(pytest.mark.timeout(limit), append=False)


def pytest_generate_tests(metafunc):
    if "loop_name" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("yula_only")
    only = mark is not None and all(mark.args)
    metafunc.parametrize("loop_name", ["yula"] if only else list(LOOPS), scope="function")


# --- loops ---------------------------------------------------------------------------------------


@pytest.fixture
def loop_name():
    raise RuntimeError("parametrised by pytest_generate_tests")


@pytest.fixture
def loop_class(loop_name):
    return LOOPS[loop_name]


@pytest.fixture
def loop_factory(loop_class):
    """Makes loops of the kind under test; each must be closed by the test."""
    made = []

    def factory():
        loop = loop_class()
        made.append(loop)
        return loop

    yield factory
    left_open = [loop for loop in made if not loop.is_closed()]
    for loop in left_open:
        close_loop(loop)
    made.clear()
    assert not left_open, f"left open by the test: {left_open}"


@pytest.fixture
def loop(loop_class):
    """An open loop, not running; closed after the test as `asyncio.run` would."""
    loop = loop_class()
    yield loop
    if not loop.is_closed():
        pending = close_loop(loop)
        assert not pending, f"tasks still pending: {pending}"


def close_loop(loop):
    """Close as asyncio.Runner does; return the descriptions of the tasks it had to cancel."""
    pending = asyncio.all_tasks(loop)
    names = [repr(task) for task in pending]
    for task in pending:
        task.cancel()
    if pending:
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    return names


@pytest.fixture
def run(loop_factory):
    """run(coro): like `asyncio.run` on the loop under test, but a task left over is a failure."""

    def run(coro, *, debug=None):
        with asyncio.Runner(loop_factory=loop_factory, debug=debug) as runner:
            return runner.run(_then_no_task_is_left(coro))

    return run


async def _then_no_task_is_left(coro):
    result = await coro
    # Libraries close in the background: give their tasks turns, not time that a test depends on.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5 * SLOWDOWN):
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0.001)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left, f"tasks still pending: {left}"
    return result


# --- helpers -------------------------------------------------------------------------------------


@pytest.fixture
def free_port():
    """free_port(): a TCP port of 127.0.0.1 that was free a moment ago; prefer binding to 0."""

    def free_port(family=socket.AF_INET, kind=socket.SOCK_STREAM):
        host = "127.0.0.1" if family == socket.AF_INET else "::1"
        with socket.socket(family, kind) as sock:
            sock.bind((host, 0))
            return sock.getsockname()[1]

    return free_port


@pytest.fixture
def wait_until():
    """wait_until(condition): poll what cannot be awaited; the test's time limit bounds it."""

    def wait_until(condition):
        while not condition():
            time.sleep(0.005)

    return wait_until


Finished = collections.namedtuple("Finished", "code out err")

PRELUDE = {
    "yula": "import asyncio; from yula import new_event_loop",
    "asyncio": "import asyncio; from asyncio import SelectorEventLoop as new_event_loop",
}
RUN = (
    "def run(main):\n  with asyncio.Runner(loop_factory=new_event_loop) as r: return r.run(main)\n"
)


def python(program, *args, loop="yula", timeout=30, env=None, stdin="", options=("-W", "error")):
    """Run a program text in a clean interpreter; return (code, out, err).

    The program finds `asyncio`, `new_event_loop` and `run(coro)` of the loop asked for. Past the
    time limit the child is killed, after writing where all its threads stood.
    """
    timeout *= SLOWDOWN
    watch = f"import faulthandler; faulthandler.dump_traceback_later({timeout}, exit=True)\n"
    text = PRELUDE[loop] + "\n" + RUN + watch + program
    command = [sys.executable, *options, "-X", "faulthandler", "-c", text, *map(str, args)]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    )
    try:
        out, err = child.communicate(stdin, timeout=timeout + 10)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        out, err = child.communicate()
        pytest.fail(f"the program did not end in {timeout} s\n{out}\n{err}")
    return Finished(child.returncode, out, err)


@pytest.fixture
def python_program(loop_name):
    """python_program(text, *args, ...): `python` above, with the loop under test."""

    def python_program(program, *args, **options):
        return python(program, *args, loop=loop_name, **options)

    return python_program


@pytest.fixture
def run_python():
    """run_python(text, *args, loop="yula", ...): `python` above, for tests not parametrised."""
    return python


# --- nothing is left over ------------------------------------------------------------------------


class _ErrorRecords(logging.Handler):
    def __init__(self):
        super().__init__(logging.ERROR)
        self.records = []

    def emit(self, record):
        if record.exc_info:
            # Keep the text and not the traceback, whose frames would keep the loop alive; this
            # handler runs before those of pytest, which keep the record.
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = (record.exc_info[0], None, None)
        self.records.append(record)


@pytest.fixture
def asyncio_errors(request):
    """What asyncio's logger said at ERROR or above; remove what was expected."""
    return request.node.stash[BEFORE]["log"].records


@pytest.fixture(autouse=True)
def _nothing_is_left_over(request, _hang_watchdog):
    log = _ErrorRecords()
    logging.getLogger("asyncio").addHandler(log)
    # Freezing hides all that exists already from the collector: collections in the test are
    # cheap, and gc.get_objects() afterwards is what the test made and has not given back.
    gc.collect()
    gc.freeze()
    request.node.stash[BEFORE] = {
        "log": log,
        "fds": descriptors(),
        "threads": set(threading.enumerate()),
        "children": children(),
    }
    yield
    logging.getLogger("asyncio").removeHandler(log)
    gc.collect()  # here, so that pytest's check for unraisable exceptions comes after it


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    result = yield
    before = item.stash.get(BEFORE, None)
    if before is None:
        return result
    del item.stash[BEFORE]
    item.funcargs.clear()  # pytest's own references, to a loop for example
    # The traceback of a failed test keeps its objects alive: what follows would only add noise.
    if not item.stash.get(FAILED, False):
        left = left_over(before)
        if left:
            pytest.fail("left over after the test:\n  " + "\n  ".join(left), pytrace=False)
    return result


def left_over(before):
    found = [f"asyncio logged: {record.getMessage()}" for record in before["log"].records]
    found += living_threads(before)
    for _ in range(3):  # a finalizer may free the next link of a chain
        gc.collect()
    for fd, target in descriptors().items():
        if fd > 2 and before["fds"].get(fd) != target:  # pytest's capture moves 0 to 2
            found.append(f"descriptor {fd} -> {target}")
    found += [f"child process {pid}: {what}" for pid, what in children() - before["children"]]
    kept = collections.Counter(kind for kind in map(type, gc.get_objects()) if is_ours(kind))
    found += [f"{count} live {kind.__module__}.{kind.__qualname__}" for kind, count in kept.items()]
    return found


def living_threads(before):
    # A function of its own: a variable that outlives the join would keep what the thread holds.
    threads = set(threading.enumerate()) - before["threads"]
    for thread in threads:
        thread.join(2 * SLOWDOWN)
    return [f"thread {thread!r}" for thread in threads if thread.is_alive()]


WATCHED = (
    asyncio.AbstractEventLoop,
    asyncio.AbstractServer,
    asyncio.BaseTransport,
    asyncio.Handle,
    asyncio.Task,
)


def is_ours(kind):
    return str(kind.__module__).split(".")[0] == "yula" or issubclass(kind, WATCHED)


def descriptors():
    """{descriptor: what it points to}, without the one used to list them."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            target = os.readlink(f"/proc/self/fd/{name}")
            if not target.endswith("/maps"):  # the thread sanitizer reads it now and then
                found[int(name)] = target
    return found


def children():
    found = set()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found.add((child.pid, child.name()))
    return found


# --- hangs ---------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _hang_watchdog(request):
    """pytest-timeout needs the interpreter to come back from C; this one does not."""
    limit = request.node.get_closest_marker("timeout").args[0] * 1.5 + 15
    faulthandler.dump_traceback_later(limit, exit=True, file=request.config.stash[REAL_STDERR])
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def fifo(tmp_path):
    """A named pipe that a job of a pool waits at: pool_jobs.wait_for."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path
