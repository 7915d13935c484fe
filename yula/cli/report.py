"""--report: which event loops ran in this process, said on stderr when it ends.

Loops of any kind announce themselves by `asyncio._set_running_loop`, so that is where they are
counted; what a program made and never ran did not serve anything. yula's also tell how many turns
they made, which must be asked before they are closed.
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

import yula

# By the name of the class: how many loops, and all their turns.
ran: collections.Counter[str] = collections.Counter()
turns: collections.Counter[str] = collections.Counter()
# The loops among them that still exist, and the turns of each that have been added to `turns`.
seen: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, int] = weakref.WeakKeyDictionary()
said = False


def watch() -> None:
    """Start counting. Must run before other libraries take a copy of `_set_running_loop`."""
    set_running_loop: Callable[[asyncio.AbstractEventLoop | None], None]
    set_running_loop = asyncio._set_running_loop
    if getattr(set_running_loop, "__module__", None) == __name__:
        return

    def counted(loop: asyncio.AbstractEventLoop | None) -> None:
        before = asyncio._get_running_loop()
        set_running_loop(loop)
        if loop is not None and loop not in seen:
            seen[loop] = 0
            ran[name_of(type(loop))] += 1
        elif loop is None:
            count_turns(before)

    asyncio._set_running_loop = asyncio.events._set_running_loop = counted
    os.register_at_fork(after_in_child=start_again)
    say_when_terminated()


def name_of(loop_class: type) -> str:
    if loop_class.__module__.startswith("yula."):
        return f"yula.{loop_class.__qualname__}"
    return f"{loop_class.__module__}.{loop_class.__qualname__}"


def count_turns(loop: asyncio.AbstractEventLoop | None) -> None:
    if isinstance(loop, yula.Loop) and loop in seen and not loop.is_closed():
        made: int = loop.stats()["turns"]
        turns[name_of(type(loop))] += made - seen[loop]
        seen[loop] = made


def start_again() -> None:
    global said
    said = False
    ran.clear()
    turns.clear()
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
    count_turns(asyncio._get_running_loop())  # if a signal ends the program
    loops = []
    for name, count in sorted(ran.items()):
        loops.append(f"{count} x {name}")
        if turns[name]:
            loops[-1] += f" ({turns[name]} turns)"
    line = f"yula: pid {os.getpid()}: {', '.join(loops) or 'no event loop'} ran\n"
    # Past sys.stderr: a signal may have come in the middle of a print() to it.
    with contextlib.suppress(OSError):
        os.write(2, line.encode())
