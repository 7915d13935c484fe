"""yula.run and yula.new_event_loop: asyncio's own entry points, with yula's loop as the default."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Coroutine

from .loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")


def new_event_loop(*, gil_spin: float | None = None, gil_share: float | None = None) -> Loop:
    """Return a new event loop, to be closed by the caller. For the settings, see Loop."""
    return Loop(gil_spin=gil_spin, gil_share=gil_share)


def run(
    main: Coroutine[Any, Any, T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = new_event_loop,
    gil_spin: float | None = None,
    gil_share: float | None = None,
) -> T:
    """Run a coroutine to its end on a new loop, as `asyncio.run` does, and return its result.

    gil_spin and gil_share are the loop's settings, see Loop; a loop_factory of your own takes its
    own settings.
    """
    if gil_spin is not None or gil_share is not None:
        if loop_factory is not new_event_loop:
            raise TypeError("gil_spin and gil_share are settings of yula's loop: give them to it")
        loop_factory = functools.partial(new_event_loop, gil_spin=gil_spin, gil_share=gil_share)
    if sys.version_info >= (3, 12):
        return asyncio.run(main, debug=debug, loop_factory=loop_factory)
    # Python 3.11's asyncio.run knows no loop_factory. This is its body, and its messages.
    if asyncio.events._get_running_loop() is not None:
        raise RuntimeError("asyncio.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(main)
