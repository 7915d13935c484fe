"""yula.run and yula.new_event_loop: asyncio's own entry points, with yula's loop as the default."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine

from .loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")


def new_event_loop() -> Loop:
    """Return a new event loop, to be closed by the caller."""
    return Loop()


def run(
    main: Coroutine[Any, Any, T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = new_event_loop,
) -> T:
    """Run a coroutine to its end on a new loop, as `asyncio.run` does, and return its result."""
    if sys.version_info >= (3, 12):
        return asyncio.run(main, debug=debug, loop_factory=loop_factory)
    # Python 3.11's asyncio.run knows no loop_factory. This is its body, and its messages.
    if asyncio.events._get_running_loop() is not None:
        raise RuntimeError("asyncio.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(main)
