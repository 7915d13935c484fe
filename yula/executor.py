"""The default executor of a loop: a ThreadPoolExecutor whose threads are the loop's workers.

loop.run_in_executor(None, ...) does not come through here but goes to the workers directly
(src/ext/executor.c). This is what everybody else sees: the threads, submit(), shutdown().
"""

from __future__ import annotations

import os
import sys
import threading
import types
import weakref
from concurrent.futures import thread

from . import _core

TYPE_CHECKING = False  # importing typing would cost a third of our import
if TYPE_CHECKING:
    from typing import Any

_executors: weakref.WeakSet[LoopExecutor] = weakref.WeakSet()


class LoopExecutor(thread.ThreadPoolExecutor):
    """Names, number and end of the threads, submit() and shutdown() are inherited.

    Two things are not: the queue, which the loop's workers serve, and when a thread is started.
    """

    _work_queue: Any

    def __init__(self, loop: _core.LoopBase) -> None:
        super().__init__(thread_name_prefix="asyncio")
        context = None
        if sys.version_info >= (3, 14):
            context = self._create_worker_context()
        self._work_queue = _core.WorkQueue(loop, self._max_workers, context)
        _executors.add(self)

    def _adjust_thread_count(self) -> None:
        """submit() has queued something, and holds the locks."""
        worker = self._work_queue.worker()
        if worker is not None:
            self._start_thread(worker)

    def _start_worker(self, worker: Any) -> None:
        """The loop has queued something."""
        with thread._global_shutdown_lock:
            if thread._shutdown:
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            self._start_thread(worker)

    def _start_thread(self, worker: Any) -> None:
        if self._work_queue.is_shut():  # a look-up; its thread ends when it has the answer
            self._threads = {one for one in self._threads if one.is_alive()}
        name = f"{self._thread_name_prefix}_{len(self._threads)}"
        started = threading.Thread(name=name, target=worker)
        try:
            started.start()
        finally:
            if started in threading.enumerate():  # so it is when Ctrl-C came during start()
                self._threads.add(started)  # type: ignore[attr-defined]
                # At exit each thread there is joined, when None was put into its queue.
                thread._threads_queues[started] = self._work_queue  # type: ignore[index]

    @classmethod
    def _submit_is_replaced(cls) -> bool:
        """Whether a tracer has put its own submit() into ThreadPoolExecutor."""
        submit = cls.submit
        return not (isinstance(submit, types.FunctionType) and submit.__globals__ is vars(thread))


def _after_fork_in_child() -> None:
    for executor in list(_executors):
        executor._work_queue._forked()


os.register_at_fork(after_in_child=_after_fork_in_child)
