"""The event loops that can be compared, by name: where each one's factory is.

Imports nothing but the standard library until a loop is asked for, so that it can be read by
any interpreter.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

# name -> module, factory. A module that does not import is a loop that is not installed.
FACTORIES = {
    "asyncio": ("asyncio", "SelectorEventLoop"),
    "uvloop": ("uvloop", "new_event_loop"),
    "zuvloop": ("zuvloop", "new_event_loop"),
    "rsloop": ("rsloop", "new_event_loop"),
    "rloop": ("rloop", "new_event_loop"),
    "talyn": ("talyn", "Loop"),
    "yula": ("yula", "new_event_loop"),
}


def factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """The function that makes a loop of this kind. ImportError when it is not installed."""
    module, attribute = FACTORIES[name]
    found: Any = getattr(importlib.import_module(module), attribute)
    return found  # type: ignore[no-any-return]


def type_name(loop: asyncio.AbstractEventLoop) -> str:
    return f"{type(loop).__module__}.{type(loop).__qualname__}"
