"""Runs a handful of tests in a process of their own.

The parent has imported everything and forks, so a process costs milliseconds; a test that hangs
or crashes takes down one child, and the parent starts another with the tests that are left.

The child writes one JSON object a line to a pipe: {"start": i, "log": offset} before test number
i and {"done": i, ...} after it. Its stdout and stderr go to a file, so that what a failing test
printed can be shown, and what faulthandler printed when the parent stopped a hanging one.
"""

import faulthandler
import gc
import json
import os
import resource
import signal
import sys
import traceback
import unittest
import warnings

from suite import DefaultLoop, NamedLoop

OUTPUT_LIMIT = 20_000


def fork(tests, folder):
    """Start a child for `tests`. Returns (pid, descriptor to read its lines from)."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    status = 1
    try:
        os.close(reader)
        _run(tests, folder, writer)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        # Not sys.exit(): the parent's exit handlers are not the child's.
        os._exit(status)


def log_path(folder):
    return os.path.join(folder, "output.log")


def _run(tests, folder, pipe):
    os.setpgid(0, 0)  # what a test leaves running dies with its group
    os.chdir(folder)  # tests write to one file name in the current folder
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(log_path(folder), os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(null)
    # On SIGABRT, which is how the parent ends a hanging test, and on a crash: all stacks to the log.
    faulthandler.enable(file=log, all_threads=True)
    if not sys.warnoptions:
        warnings.simplefilter("default")  # as unittest's own runner does
    suite = unittest.TestSuite(test.case for test in tests)
    suite.run(_Reporter(tests, pipe, log))


class _Reporter(unittest.TestResult):
    def __init__(self, tests, pipe, log):
        super().__init__()
        self._index = {id(test.case): i for i, test in enumerate(tests)}
        self._pipe = pipe
        self._log = log
        self._outcome = None

    def startTest(self, test):
        super().startTest(test)
        sys.stdout.flush()
        self._log_start = os.fstat(self._log).st_size
        DefaultLoop.constructed = NamedLoop.constructed = 0
        self._outcome = None
        self._send(start=self._index[id(test)], log=self._log_start)

    def stopTest(self, test):
        super().stopTest(test)
        # What a test leaves behind is collected here, not in the middle of the next one.
        gc.collect()
        outcome, detail = self._outcome or ("fail", "the test reported no outcome")
        self._send(
            done=self._index[id(test)],
            outcome=outcome,
            detail=detail,
            output=self._output(),
            default_loops=DefaultLoop.constructed,
            named_loops=NamedLoop.constructed,
        )

    def _output(self):
        sys.stdout.flush()
        sys.stderr.flush()
        return os.pread(self._log, OUTPUT_LIMIT, self._log_start).decode(errors="replace")

    def _send(self, **message):
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self._pipe, data) :]

    def _set(self, test, outcome, detail=""):
        """The worst outcome wins: a sub-test that failed, a tearDown that failed after a skip."""
        if id(test) not in self._index:
            # setUpModule or setUpClass: it speaks for all the tests that now do not run.
            self._send(fixture=outcome, detail=f"{test.id()}: {detail}")
            return
        if self._outcome is None:
            self._outcome = outcome, detail
        elif outcome == "fail":
            before = self._outcome[1] + "\n" if self._outcome[0] == "fail" else ""
            self._outcome = "fail", before + detail

    def addSuccess(self, test):
        self._set(test, "pass")

    def addError(self, test, err):
        self._set(test, "fail", self._format(test, err))

    addFailure = addError

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._set(test, "fail", f"{subtest}\n{self._format(test, err)}")

    def addSkip(self, test, reason):
        # A sub-test that skips itself does not make the whole test a skip.
        if hasattr(test, "test_case"):
            return
        self._set(test, "skip", reason)

    def addExpectedFailure(self, test, err):
        self._set(test, "pass")

    def addUnexpectedSuccess(self, test):
        self._set(test, "fail", "the suite marks this test expectedFailure, and it passed")

    def _format(self, test, err):
        return "".join(traceback.format_exception(*err)).rstrip()
