"""What the figures were measured on: machine, kernel, versions."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Any

from .child import NOT_INHERITED
from .programs.loops import FACTORIES

LOOPS = list(FACTORIES)

# Variables of the environment that a process under test would inherit and obey.
_CHANGES_FIGURES = ("PYTHON", "MALLOC_", "UV_", "YULA_", "LD_PRELOAD")

# Asked of the interpreter that runs the servers, which need not be ours.
_ASK = """
import importlib, importlib.metadata, json, platform, sys, sysconfig
found, broken = {}, {}
for name in sys.argv[1:]:
    if name == "asyncio":
        found[name] = platform.python_version()
        continue
    try:
        module = importlib.import_module(name)
    except Exception as error:  # also one that was built for another interpreter
        found[name] = None
        if not (isinstance(error, ModuleNotFoundError) and error.name == name):
            broken[name] = f"{type(error).__name__}: {error}"
        continue
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found[name] = str(getattr(module, "__version__", "unknown"))
gil = getattr(sys, "_is_gil_enabled", lambda: True)()
print(json.dumps({"python": platform.python_version(), "compiler": platform.python_compiler(),
                  "gil": gil, "executable": sys.executable, "versions": found,
                  "broken": broken}))
"""


def ask_interpreter(python: list[str], modules: list[str]) -> dict[str, Any]:
    """Version of the interpreter and of each module in it (None: not installed, or in "broken")."""
    answer = subprocess.run(
        [*python, "-P", "-c", _ASK, *modules],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if answer.returncode != 0:
        raise SystemExit(f"{' '.join(python)} does not run:\n{answer.stderr}")
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _virtual() -> str:
    cpuinfo = Path("/proc/cpuinfo").read_text()
    return " (virtual machine)" if "hypervisor" in cpuinfo else ""


def describe() -> dict[str, Any]:
    return {
        "cpu": _cpu_model() + _virtual(),
        "cpus": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "load_average": os.getloadavg()[0],
        "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "environment": {
            name: value
            for name, value in os.environ.items()
            if name.startswith(_CHANGES_FIGURES) and name not in NOT_INHERITED
        },
    }


@cache
def cpus() -> tuple[int | None, int | None]:
    """The CPU for the server and the CPU for the load; None: not pinned."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


def print_header(
    what: dict[str, Any], interpreter: dict[str, Any], settings: str, *, pinned: bool = True
) -> None:
    print(f"machine   {what['cpu']}, {what['cpus']} CPUs, {what['kernel']}")
    server, load = cpus()
    if not pinned:
        print("pinning   none, on purpose")
    elif server is None:
        print("pinning   none: there is only one CPU, so server and load share it")
    else:
        print(f"pinning   server on CPU {server}, load on CPU {load}")
    if what["load_average"] > 0.5:
        print(f"          (load average is {what['load_average']:.1f}: other work is running)")
    if what["environment"]:
        print(
            "variables", " ".join(f"{name}={value}" for name, value in what["environment"].items())
        )
    versions = [f"{name} {version}" for name, version in interpreter["versions"].items()
                if version is not None and name != "asyncio"]  # fmt: skip
    gil = "" if interpreter["gil"] else ", free-threaded"
    print(f"Python    {interpreter['python']}{gil}, {interpreter['executable']}")
    if versions:
        print(f"versions  {', '.join(versions)}")
    print(f"settings  {settings}")
    broken = interpreter["broken"]
    missing = [name for name, version in interpreter["versions"].items()
               if version is None and name not in broken]  # fmt: skip
    if missing:
        print(f"skipped   {', '.join(missing)}: not installed for this Python")
    for name, why in broken.items():
        print(f"skipped   {name}: does not import: {why}")
    print(flush=True)
