"""Loops with one thing wrong, to show that the runner notices (test_runner.py)."""

import asyncio
import os
import signal
import threading

import yula


class DropsCallbacks(yula.Loop):
    """Loses every 50th callback: the handle is there, and never runs."""

    _scheduled = 0

    def call_soon(self, callback, *args, context=None):
        self._scheduled += 1
        if self._scheduled % 50 == 0:
            return asyncio.Handle(callback, args, self, context)
        return super().call_soon(callback, *args, context=context)


class SwapsCallbacks(yula.Loop):
    """Runs every other callback a turn late, after those that came later."""

    _scheduled = 0

    def call_soon(self, callback, *args, context=None):
        self._scheduled += 1
        if self._scheduled % 2:
            return super().call_soon(callback, *args, context=context)
        return super().call_soon(super().call_soon, callback, *args, context=context)


class NoResults(yula.Loop):
    """Runs the future, and does not say what came of it."""

    def run_until_complete(self, future):
        super().run_until_complete(future)


class Crashes(yula.Loop):
    """Ends the process where a server should start."""

    def create_server(self, *args, **kwargs):
        os.kill(os.getpid(), signal.SIGSEGV)


class Hangs(yula.Loop):
    """Never returns from run_forever."""

    def run_forever(self):
        threading.Event().wait()


class CannotBeMade(yula.Loop):
    """Fails in its constructor."""

    def __init__(self):
        raise RuntimeError("no loop today")
