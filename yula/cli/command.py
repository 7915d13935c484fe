"""The command line of `python -m yula`."""

from __future__ import annotations

import platform
import sys

import yula

from . import launch
from .rebind import NAMES

USAGE = """\
usage: python [python's options] -m yula [options] script.py [args ...]
       python [python's options] -m yula [options] -m module [args ...]
       python [python's options] -m yula [options] -c code [args ...]
       python [python's options] -m yula [options] - [args ...]
       python [python's options] -m yula bench [options] [case ...]

Runs a Python program exactly as `python` would, except that the event loops it
makes are yula's, also where it asks for asyncio's own or for uvloop's.
`bench` compares the event loops that are installed (a program of that name is
./bench); it has options of its own: see `bench --help`.

options:
  --report       say at exit, on stderr, which event loops ran
  --no-children  leave the processes that the program starts alone
  --keep NAME    leave some loops as they are; may be repeated. NAME is one of
                   default   asyncio.run(), asyncio.Runner, asyncio.new_event_loop()
                   selector  asyncio.SelectorEventLoop, asyncio.EventLoop
                   uvloop    everything of uvloop
  --version      print versions and exit
  -h, --help     print this and exit
"""


class UsageError(Exception):
    """The command line cannot be understood."""


def main() -> None:
    if sys.argv[1:2] == ["bench"]:
        from .bench.command import main as bench

        sys.exit(bench(sys.argv[2:]))
    try:
        options, program = parse(sys.argv[1:])
        if "help" in options:
            print(USAGE, end="")
        elif "version" in options:
            print(f"yula {yula.__version__}, Python {platform.python_version()}")
        elif not program and sys.stdin is not None and sys.stdin.isatty():
            raise UsageError("no program to run")
        else:
            launch.start(options, program)
    except (UsageError, launch.CannotStart) as error:
        print(f"yula: {error}\n`python -m yula --help` says more.", file=sys.stderr)
        sys.exit(2)


def parse(arguments: list[str]) -> tuple[set[str], list[str]]:
    """Split into the words of our options and the program with its arguments.

    The program is what `python` itself would get: nothing at all means stdin.
    """
    options: set[str] = set()
    rest = list(arguments)
    while rest and not starts_program(rest[0]):
        option = rest.pop(0)
        value: str | None = None
        if option.startswith("--keep="):
            option, value = option.split("=", 1)
        if option in ("-h", "--help", "--version"):
            return {"version" if option == "--version" else "help"}, []
        if option == "--report":
            options.add("report")
        elif option == "--no-children":
            options.add("no-children")
        elif option == "--keep":
            if value is None:
                value = rest.pop(0) if rest else ""
            if value not in NAMES:
                raise UsageError(f"--keep takes one of {', '.join(NAMES)}, not {value!r}")
            options.add(f"keep-{value}")
        else:
            raise UsageError(f"unknown option {option} (python's own options go before -m yula)")
    return options, rest


def starts_program(argument: str) -> bool:
    # `-m` and `-c` may have their value joined on, and end the options as they do for python.
    return (
        argument in ("-", "--") or not argument.startswith("-") or argument.startswith(("-m", "-c"))
    )
