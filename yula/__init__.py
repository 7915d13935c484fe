"""asyncio's event loop, written in C.

    yula.run(main())                    # asyncio.run, on yula

    python -m yula app.py               # any program, unchanged, on yula

Importing this package replaces nothing in asyncio.
"""

from __future__ import annotations

import os

from .loop import Loop
from .run import new_event_loop, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .policy import EventLoopPolicy as EventLoopPolicy
    from .policy import install as install

__all__ = ("EventLoop", "Loop", "get_include", "new_event_loop", "run")

__version__ = "0.1.0"

EventLoop = Loop


def get_include() -> str:
    """The folder of yula's C headers, for extension modules that use <yula/python.h>."""
    package = os.path.dirname(os.path.realpath(__file__))
    folder = os.path.join(package, "include")
    if not os.path.isdir(folder):  # in a source tree they are where the C library has them
        folder = os.path.join(os.path.dirname(package), "include")
    return folder


def __getattr__(name: str) -> object:
    if name == "_C_API":  # what PyCapsule_Import() asks for
        from . import _core

        return _core._C_API
    # Policies are deprecated since Python 3.14 and go in 3.16, so what is built on them is not
    # touched before somebody asks for it.
    if name not in ("EventLoopPolicy", "install"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from . import policy
    except ImportError as error:
        raise AttributeError(
            f"yula.{name} does not exist here: {error}; "
            "use yula.run(main) or asyncio.run(main, loop_factory=yula.new_event_loop)"
        ) from None
    value: object = getattr(policy, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), "EventLoopPolicy", "install"})
