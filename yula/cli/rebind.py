"""What the runner, and nothing else, changes in asyncio and uvloop: see docs/running.md.

Each change is made once per process, right after the module was imported. Programs that ask for
a loop get yula's; a program that builds its own loop on top of asyncio's, by deriving from it or
by giving it a selector, keeps asyncio's, because such a loop relies on insides that yula has not.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import asyncio.unix_events
import types
from collections.abc import Container
from typing import Any

import yula

# What --keep can name.
NAMES = ("default", "selector", "uvloop")


class StandIn(type):
    """The type of a class that takes the place of another library's loop class.

    Calling it makes a yula loop. isinstance() and issubclass() hold for yula's loops and for the
    original's. A subclass is a subclass of the original. So is what a call with arguments makes:
    the only one there is, asyncio's `selector`, asks for that very selector.
    """

    original: type

    def __new__(
        mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **keywords: Any
    ) -> Any:
        if any(isinstance(base, StandIn) for base in bases):
            bases = tuple(getattr(base, "original", base) for base in bases)
            return types.new_class(name, bases, keywords, lambda body: body.update(namespace))
        return super().__new__(mcls, name, bases, namespace, **keywords)

    def __call__(cls, *args: Any, **keywords: Any) -> Any:
        if any(value is not None for value in (*args, *keywords.values())):
            return cls.original(*args, **keywords)
        return yula.Loop()

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, (yula.Loop, cls.original))

    def __subclasscheck__(cls, subclass: type) -> bool:
        return subclass is cls or issubclass(subclass, (yula.Loop, cls.original))


def stand_in(original: type, module: str, name: str) -> StandIn:
    """A class to be bound to `module.name`, by which it is pickled."""
    namespace = {
        "original": original,
        "__module__": module,
        "__qualname__": name,
        "__doc__": f"yula.Loop in the place of {module}.{name}, by python -m yula.",
    }
    made = StandIn(name, (yula.Loop,), namespace)
    assert isinstance(made, StandIn)
    return made


def rebind_asyncio(keep: Container[str]) -> None:
    unix_events = asyncio.unix_events
    own = unix_events._UnixSelectorEventLoop
    policy = getattr(unix_events, "_UnixDefaultEventLoopPolicy", None)
    if "keep-default" not in keep and policy is not None:
        policy._loop_factory = yula.Loop
    if "keep-selector" not in keep and asyncio.SelectorEventLoop is own:
        loop_class = stand_in(own, "asyncio", "SelectorEventLoop")
        for module in (asyncio, unix_events):
            for name in ("SelectorEventLoop", "EventLoop"):  # the second since Python 3.13
                if getattr(module, name, None) is own:
                    setattr(module, name, loop_class)


def rebind_uvloop(uvloop: types.ModuleType, keep: Container[str]) -> None:
    own = getattr(uvloop, "Loop", None)
    if "keep-uvloop" in keep or not isinstance(own, type) or isinstance(own, StandIn):
        return
    if not issubclass(own, asyncio.AbstractEventLoop):
        return  # somebody else's module of that name
    # new_event_loop() and run() look this one up when they are called.
    uvloop.Loop = stand_in(own, "uvloop", "Loop")  # type: ignore[attr-defined]
    # uvloop's policy has no child watcher, which asyncio's subprocesses need before Python 3.14.
    for name in ("EventLoopPolicy", "install"):
        if hasattr(yula, name):
            setattr(uvloop, name, getattr(yula, name))
