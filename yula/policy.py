"""yula.EventLoopPolicy and yula.install(), while Python still has event loop policies.

The policy is asyncio's default one making another loop, so get_event_loop(), the main thread's
rules and the child watchers are those of the running interpreter. The class is taken under its
private name because the public one warns from Python 3.14 on, where it is asked for and not
where it is used.
"""

from __future__ import annotations

import asyncio.events
import asyncio.unix_events
import sys
import warnings

from .loop import Loop

if not hasattr(asyncio.unix_events, "_UnixDefaultEventLoopPolicy"):
    raise ImportError(
        "Python {}.{} has no event loop policies".format(*sys.version_info),
        name=__name__,
    )


class EventLoopPolicy(asyncio.unix_events._UnixDefaultEventLoopPolicy):
    """asyncio's default policy, making yula's loops."""

    _loop_factory = Loop


def install() -> None:
    """Make every loop that asyncio makes from now on yula's.

    Warns from Python 3.14 on, where policies are deprecated: `yula.run(main)` needs none.
    """
    if sys.version_info >= (3, 14):
        warnings.warn(
            "yula.install() needs an event loop policy, which Python 3.16 no longer has; "
            "use yula.run(main) or asyncio.run(main, loop_factory=yula.new_event_loop)",
            DeprecationWarning,
            stacklevel=2,
        )
        asyncio.events._set_event_loop_policy(EventLoopPolicy())
    else:
        asyncio.set_event_loop_policy(EventLoopPolicy())
