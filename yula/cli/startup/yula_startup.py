"""Runs before a program under `python -m yula`, and before each of its Python children.

Waits for the program to import asyncio, and rebinds its loops at that moment; a program, or a
child, that never does so pays for neither asyncio nor yula. Hence nothing but `sys`, `os` and
`atexit` is imported here.

A child may be another interpreter or another environment. Its own yula is used if it has one,
then the one of the parent, and if that was built for another Python the child stays as it is.
"""

from __future__ import annotations

import atexit
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

FOLDER = os.path.dirname(__file__)
PARENT = os.path.dirname(os.path.dirname(os.path.dirname(FOLDER)))  # where yula/ is
# ORDER YULA_RUN: written in cli/launch.py
waiting = False
options = frozenset(os.environ.get("YULA_RUN", "").split())


def start() -> None:
    if "no-children" in options:
        leave_environment()
    hook = ImportHook(
        {
            "asyncio": asyncio_came,
            "yula": yula_came,
            "uvloop": uvloop_came,
            "multiprocessing.util": multiprocessing_came,
        }
    )
    sys.meta_path.insert(0, hook)
    if "report" in options:
        atexit.register(report_at_exit)
    for name, came in hook.callbacks.items():  # by a .pth file
        if name in sys.modules:
            came(sys.modules[name])


def leave_environment() -> None:
    """Take ourselves out of what children inherit."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [path for path in paths if path != FOLDER]
    if paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    else:
        os.environ.pop("PYTHONPATH", None)
    os.environ.pop("YULA_RUN", None)


class ImportHook:
    """Calls back when one of a few modules has been imported."""

    def __init__(self, callbacks: dict[str, Callable[[ModuleType], None]]) -> None:
        self.callbacks = callbacks

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.callbacks:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                self.call_after(spec)
                return spec
        return None

    def call_after(self, spec: ModuleSpec) -> None:
        loader = spec.loader
        if loader is None or isinstance(loader, type):
            return  # a namespace package, a built-in or frozen module: none of ours
        execute = loader.exec_module

        # On the instance, so that the module keeps a loader of the usual class.
        def exec_module(module: ModuleType) -> None:
            loader.__dict__.pop("exec_module", None)
            execute(module)
            self.callbacks[spec.name](module)

        loader.exec_module = exec_module  # type: ignore[method-assign]


def asyncio_came(module: ModuleType) -> None:
    global waiting
    yula = sys.modules.get("yula")
    # The program may be importing yula, which has just imported asyncio and is not ready itself.
    waiting = yula is not None and getattr(yula.__spec__, "_initializing", False)
    if not waiting:
        rebind_asyncio()


def yula_came(module: ModuleType) -> None:
    global waiting
    if waiting:
        waiting = False
        rebind_asyncio()


def rebind_asyncio() -> None:
    try:
        from yula.cli import rebind
    except ImportError:
        sys.path.append(PARENT)
        try:
            from yula.cli import rebind
        except ImportError as error:
            if is_the_program():
                print(f"yula: this program runs on asyncio's own loops: {error}", file=sys.stderr)
            return
        finally:
            sys.path.remove(PARENT)
    if "report" in options:
        from yula.cli import report

        report.watch()
    rebind.rebind_asyncio(options)


def uvloop_came(module: ModuleType) -> None:
    rebind = sys.modules.get("yula.cli.rebind")
    if rebind is not None:
        rebind.rebind_uvloop(module, options)


def multiprocessing_came(module: ModuleType) -> None:
    if "report" in options:
        # A child by fork leaves without running atexit's list; multiprocessing has its own.
        def in_child(_: object) -> None:
            module.Finalize(None, report_at_exit, exitpriority=-100)

        module.register_after_fork(ImportHook, in_child)


def report_at_exit() -> None:
    report = sys.modules.get("yula.cli.report")
    if report is not None:
        report.say()
    elif is_the_program() and "asyncio" not in sys.modules:
        print(f"yula: pid {os.getpid()}: asyncio was not imported", file=sys.stderr)


def is_the_program() -> bool:
    """Whether this is what the user started, and no child of it."""
    return f"pid-{os.getpid()}" in options
