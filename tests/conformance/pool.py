"""Keeps a few children busy, each with about ten tests, and turns what they say into records."""

import collections
import gc
import json
import os
import selectors
import shutil
import signal
import tempfile
import time
from dataclasses import asdict, dataclass

import worker

TESTS_PER_PROCESS = 10
GRACE = 5.0  # seconds between SIGABRT, which makes faulthandler print the stacks, and SIGKILL


@dataclass
class Record:
    """One test and what became of it."""

    id: str
    set: str | None  # "A", "B", "C", or None if no loop under test was constructed
    outcome: str  # pass, fail, skip, hang, crash
    detail: str = ""
    output: str = ""
    seconds: float = 0.0
    constructed: int = 0

    as_dict = asdict


class _Child:
    """One process and the tests it still owes."""

    def __init__(self, tests, parent_folder):
        self.folder = tempfile.mkdtemp(dir=parent_folder)
        self.tests = tests
        self.pid, self.fd = worker.fork(tests, self.folder)
        self.pending = b""
        self.current = None  # index of the running test
        self.log_start = 0
        self.started = time.monotonic()
        self.aborted = None  # when we told it to stop
        self.seen = set()
        self.fixture = None  # a setUpModule or setUpClass that failed or skipped

    @property
    def timeout(self):
        return self.tests[self.current or 0].timeout

    def kill(self, number):
        for send, target in ((os.killpg, self.pid), (os.kill, self.pid)):
            try:
                send(target, number)
                return
            except ProcessLookupError:
                pass  # not a group leader yet, or gone

    def log_tail(self):
        try:
            with open(worker.log_path(self.folder), "rb") as file:
                file.seek(self.log_start)
                return file.read(worker.OUTPUT_LIMIT).decode(errors="replace")
        except OSError:
            return ""


class Pool:
    """Runs `tests` in up to `jobs` children at a time; run() yields a Record for each test."""

    def __init__(self, tests, *, jobs):
        self._queue = collections.deque(_chunks(tests))
        self._jobs = jobs
        self._children = {}

    def run(self):
        self._root = tempfile.mkdtemp(prefix="yula-conformance-")
        # What was imported is no test's garbage: tests that collect a hundred times get by
        # without walking it, and the children go on sharing its memory.
        gc.collect()
        gc.freeze()
        self._selector = selectors.DefaultSelector()
        try:
            while self._queue or self._children:
                while self._queue and len(self._children) < self._jobs:
                    child = _Child(self._queue.popleft(), self._root)
                    self._children[child.fd] = child
                    self._selector.register(child.fd, selectors.EVENT_READ)
                for key, _ in self._selector.select(timeout=1.0):
                    yield from self._read(self._children[key.fd])
                self._stop_the_late()
        finally:
            for child in self._children.values():
                child.kill(signal.SIGKILL)
                os.waitpid(child.pid, 0)
            self._selector.close()
            shutil.rmtree(self._root, ignore_errors=True)

    def _read(self, child):
        data = os.read(child.fd, 65536)
        if not data:
            yield from self._finished(child)
            return
        *lines, child.pending = (child.pending + data).split(b"\n")
        for line in lines:
            yield from self._message(child, json.loads(line))

    def _message(self, child, message):
        if "start" in message:
            child.current, child.log_start = message["start"], message["log"]
            child.started = time.monotonic()
        elif "fixture" in message:
            child.fixture = message["fixture"], message["detail"]
        else:
            index = message["done"]
            child.current = None
            child.seen.add(index)
            yield _record(child.tests[index], message, time.monotonic() - child.started)
            child.started = time.monotonic()

    def _stop_the_late(self):
        now = time.monotonic()
        for child in self._children.values():
            if child.aborted is not None:
                if now - child.aborted > GRACE:
                    child.kill(signal.SIGKILL)
            elif now - child.started > child.timeout:
                child.aborted = now
                os.kill(child.pid, signal.SIGABRT)

    def _finished(self, child):
        """The pipe is at its end: the process is gone, or a moment from it."""
        self._selector.unregister(child.fd)
        os.close(child.fd)
        del self._children[child.fd]
        _, status = os.waitpid(child.pid, 0)
        child.kill(signal.SIGKILL)  # whatever is left of its group
        if child.current is not None:
            child.seen.add(child.current)
            yield _lost(child, status)
        left = [t for i, t in enumerate(child.tests) if i not in child.seen]
        if child.fixture and status == 0:
            outcome, detail = child.fixture
            for test in left:
                yield Record(test.id, "A" if test.in_mixin else "B", outcome, detail)
        elif left and (child.seen or child.current is not None):
            self._queue.appendleft(left)
        elif left:
            # It died before its first test: one more try would be the same, so say so and go on.
            detail = f"the process ended with status {status} before its first test"
            for test in left:
                which = "A" if test.in_mixin else "B"
                yield Record(test.id, which, "crash", detail, child.log_tail())
        shutil.rmtree(child.folder, ignore_errors=True)


def _record(test, message, seconds):
    default, named = message["default_loops"], message["named_loops"]
    if test.in_mixin:
        which = "A"
    elif default:
        which = "B"
    else:
        which = "C" if named else None
    outcome, detail, output = message["outcome"], message["detail"], message["output"]
    return Record(test.id, which, outcome, detail, output, seconds, default + named)


def _lost(child, status):
    """The record of the test during which the process died. We cannot ask it: it counts as having
    constructed a loop."""
    test = child.tests[child.current]
    which = "A" if test.in_mixin else "B"
    seconds = time.monotonic() - child.started
    if child.aborted is not None:
        detail = (
            f"still running after {child.timeout:.0f} seconds; its stacks are in the output below"
        )
        return Record(test.id, which, "hang", detail, child.log_tail(), seconds, constructed=1)
    code = os.waitstatus_to_exitcode(status)
    detail = f"the process ended with {f'signal {-code}' if code < 0 else f'status {code}'}"
    return Record(test.id, which, "crash", detail, child.log_tail(), seconds, constructed=1)


def _chunks(tests):
    """About ten tests of one module each."""
    by_module = collections.defaultdict(list)
    for test in tests:
        by_module[test.module].append(test)
    for group in by_module.values():
        for i in range(0, len(group), TESTS_PER_PROCESS):
            yield group[i : i + TESTS_PER_PROCESS]
