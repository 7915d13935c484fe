"""What the tests of the benchmarks share: bench/ on the path, and settings for a moment's run."""

import atexit
import functools
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# `harness` and `workloads`, as the benchmarks see them
sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))

from harness.case import Settings

BENCH = Path(__file__).resolve().parents[2] / "bench"
MOMENT = 0.05
PATIENCE_S = 20


def settings(load=None, c_tools=None):
    found = Settings(seconds=MOMENT, warmup=MOMENT, patience=PATIENCE_S, c_tools=c_tools)
    if load is not None:
        found.load = load
    return found


@functools.cache
def c_tools():
    """The folder of the bare servers and the load client, built for this session."""
    build = Path(tempfile.mkdtemp(prefix="yula-bench-c-"))
    atexit.register(shutil.rmtree, build, ignore_errors=True)
    made = subprocess.run(
        ["make", "-s", "-C", BENCH / "c", f"BUILD={build}"], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    return build


def installed(*modules):
    """As machine.ask_interpreter says it, of this interpreter."""
    return {name: "?" if importlib.util.find_spec(name) else None for name in modules}
