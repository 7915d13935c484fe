"""--report: which event loops ran in this process, said on stderr when it ends.

Loops of any kind announce themselves by `asyncio._set_running_loop`, so that is where they are
counted; what a program made and never ran did not serve anything.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import collections
import contextlib
import os
import signal
import weakref
from collections.abc import Callable
from types import FrameType

ran: collections.Counter[str] = collections.Counter()
seen: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
said = False


def watch() -> None:
    """Start counting. Must run before other libraries take a copy of `_set_running_loop`."""
    set_running_loop: Callable[[asyncio.AbstractEventLoop | None], None]
    set_running_loop = asyncio._set_running_loop
    if getattr(set_running_loop, "__module__", None) == __name__:
        return

    def counted(loop: asyncio.AbstractEventLoop | None) -> None:
        set_running_loop(loop)
        if loop is not None and loop not in seen:
            seen.add(loop)
            ran[name_of(type(loop))] += 1

    asyncio._set_running_loop = asyncio.events._set_running_loop = counted
    os.register_at_fork(after_in_child=start_again)
    say_when_terminated()


def name_of(loop_class: type) -> str:
    if loop_class.__module__.startswith("yula."):
        return f"yula.{loop_class.__qualname__}"
    return f"{loop_class.__module__}.{loop_class.__qualname__}"


def start_again() -> None:
    global said
    said = False
    ran.clear()
    seen.clear()


def say_when_terminated() -> None:
    """Servers end by SIGTERM, often raised again after their shutdown, which skips atexit."""

    def terminated(number: int, frame: FrameType | None) -> None:
        say()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        with contextlib.suppress(ValueError):  # asyncio imported in another than the main thread
            signal.signal(signal.SIGTERM, terminated)


def say() -> None:
    global said
    if said:
        return
    said = True
    loops = ", ".join(f"{count} x {name}" for name, count in sorted(ran.items()))
    line = f"yula: pid {os.getpid()}: {loops or 'no event loop'} ran\n"
    # Past sys.stderr: a signal may have come in the middle of a print() to it.
    with contextlib.suppress(OSError):
        os.write(2, line.encode())
