"""The event loops that can be compared, by name: how each one is made.

Imports nothing but the standard library until a loop is asked for, so that it can be read by
any interpreter.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

# name -> module, factory, how the module of the loop's type begins. A module that does not
# import is a loop that is not installed. aiofastnet is no loop: it replaces the transports, the
# streams and the sock_* methods of one, here of uvloop.
FACTORIES = {
    "asyncio": ("asyncio", "SelectorEventLoop", "asyncio"),
    "uvloop": ("uvloop", "new_event_loop", "uvloop"),
    "zuvloop": ("zuvloop", "new_event_loop", "zuvloop"),
    "rsloop": ("rsloop", "new_event_loop", "rsloop"),
    "rloop": ("rloop", "new_event_loop", "rloop"),
    "talyn": ("talyn", "Loop", "talyn"),
    "zloop": ("zloop", "new_event_loop", "zloop"),
    "blazio": ("blazio", "new_event_loop", "blazio"),
    "aiofastnet": ("loops", "aiofastnet_on_uvloop", "uvloop"),
    "yula": ("yula", "new_event_loop", "yula"),
}


def aiofastnet_on_uvloop() -> asyncio.AbstractEventLoop:
    aiofastnet: Any = importlib.import_module("aiofastnet")
    uvloop: Any = importlib.import_module("uvloop")
    loop: asyncio.AbstractEventLoop = aiofastnet.patch_loop(uvloop.new_event_loop())
    return loop


def factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """The function that makes a loop of this kind. ImportError when it is not installed."""
    module, attribute, _ = FACTORIES[name]
    if module == "loops":
        return aiofastnet_on_uvloop
    found: Any = getattr(importlib.import_module(module), attribute)
    return found  # type: ignore[no-any-return]


def type_name(loop: asyncio.AbstractEventLoop) -> str:
    return f"{type(loop).__module__}.{type(loop).__qualname__}"


def is_of(loop_type: str, name: str) -> bool:
    """Whether a type, as type_name() says it, is the loop of this name."""
    module = loop_type.split(".")[0].lstrip("_")
    return module.startswith(FACTORIES[name][2])
