"""Waiting for child processes without a thread each, as asyncio itself does from 3.14 on.

Until then asyncio has child watchers, which programs can exchange; the default one of 3.11 starts
a thread for each child. A loop of ours waits on a pidfd instead, unless the program has chosen a
watcher, or the kernel has no pidfds.
"""

from __future__ import annotations

import functools
import os
from asyncio import events, unix_events
from asyncio.log import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@functools.cache
def _can_use_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False  # an old kernel, or a seccomp filter
    return True


def is_watched_by_others() -> bool:
    """Whether asyncio's way has to be taken: the program, or asyncio itself, made a watcher."""
    policy: Any = events.get_event_loop_policy()
    default: Any = unix_events._UnixDefaultEventLoopPolicy
    return (
        getattr(type(policy), "get_child_watcher", None) is not default.get_child_watcher
        or policy._watcher is not None
        or not _can_use_pidfd()
    )


class Child:
    """A child that a loop waits for, from its start until its end or that of the loop."""

    def __init__(self, loop: Any, transport: Any) -> None:
        self._loop = loop
        self._transport = transport
        self._pid: int = transport.get_pid()
        self._pidfd = os.pidfd_open(self._pid)
        loop._children.add(self)
        loop._add_reader(self._pidfd, self._ended)

    def forget(self) -> None:
        """Wait no longer."""
        self._loop._children.discard(self)
        self._loop._remove_reader(self._pidfd)
        os.close(self._pidfd)

    def _ended(self) -> None:
        self.forget()
        try:
            _, status = os.waitpid(self._pid, 0)
        except ChildProcessError:
            returncode = 255
            logger.warning(
                "child process pid %d exit status already read: will report returncode 255",
                self._pid,
            )
        else:
            returncode = os.waitstatus_to_exitcode(status)
        self._loop._child_watcher_callback(self._pid, returncode, self._transport)
