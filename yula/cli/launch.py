"""Start the interpreter again, in this process, on the program.

`python -X dev -m yula --report app.py a b` becomes `python -X dev app.py a b`, by exec: the same
process, and the same command line less ourselves. What makes it run on yula is the folder
startup/ in front of PYTHONPATH, whose sitecustomize.py Python runs first; the program's child
processes inherit it, which is how workers and reloaders are reached.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NoReturn

STARTUP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "startup")
# ORDER YULA_RUN: read again in startup/yula_startup.py
OPTIONS_VARIABLE = "YULA_RUN"


class CannotStart(Exception):
    """This interpreter offers no way to reach the program."""


def start(options: set[str], program: list[str]) -> NoReturn:
    for flag, letter, advice in (
        (sys.flags.isolated, "-I", "use -P -s"),
        (sys.flags.ignore_environment, "-E", "leave it out"),
        (sys.flags.no_site, "-S", "leave it out"),
    ):
        if flag:
            raise CannotStart(
                f"with {letter} Python does not read what PYTHONPATH and sitecustomize.py say, "
                "which is how yula reaches the program and its children; "
                f"{advice}, or call yula.run(main) in the program"
            )
    if not sys.executable:
        raise CannotStart("sys.executable is empty: no interpreter to start the program with")
    if os.pathsep in STARTUP:
        raise CannotStart(f"PYTHONPATH cannot hold a path with {os.pathsep!r} in it: {STARTUP}")
    if sys.stdout is not None:  # closed by the shell
        sys.stdout.flush()  # exec would drop what a sitecustomize has printed into a pipe
    os.execve(sys.executable, interpreter() + program, environment(options))


def interpreter() -> list[str]:
    """The command line up to and without `-m yula`.

    What stands before it stays: `python -m cProfile -m yula app.py` profiles app.py.
    """
    count = len(sys.argv) - 1
    before = sys.orig_argv[: len(sys.orig_argv) - count]
    if before[-1:] == ["yula"]:  # -m yula, -Bm yula
        before.pop()
        letters = before.pop()
    elif before and before[-1].endswith("yula"):  # -myula, -Bmyula
        letters = before.pop().removesuffix("yula")
    else:
        letters = ""
    if not before or not letters.startswith("-") or not letters.endswith("m"):
        # Started by something else than a command line; do as multiprocessing does.
        flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        return [sys.executable, *flags]
    if letters != "-m":
        before.append(letters.removesuffix("m"))
    return before


def environment(options: set[str]) -> dict[str, str]:
    env = dict(os.environ)
    paths = env.get("PYTHONPATH", "").split(os.pathsep) if env.get("PYTHONPATH") else []
    env["PYTHONPATH"] = os.pathsep.join([STARTUP, *(path for path in paths if path != STARTUP)])
    env[OPTIONS_VARIABLE] = " ".join(sorted({f"pid-{os.getpid()}", *options}))
    # In the C locale Python sets LC_CTYPE for itself (PEP 538). The next interpreter must find what
    # this one found, or it leaves UTF-8 mode off, which a direct run turns on.
    initial = initial_environment()
    if "LC_CTYPE" in initial:
        env["LC_CTYPE"] = initial["LC_CTYPE"]
    else:
        env.pop("LC_CTYPE", None)
    return env


def initial_environment() -> dict[str, str]:
    """The environment that this process was started with."""
    try:
        with open("/proc/self/environ", "rb") as file:
            entries = [entry.split(b"=", 1) for entry in file.read().split(b"\0") if b"=" in entry]
    except OSError:
        return dict(os.environ)
    return {os.fsdecode(name): os.fsdecode(value) for name, value in entries}
