"""Server processes (harness.child), and the C tools that only the source tree has."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.child import Server as Server
from harness.child import ServerFailed as ServerFailed
from harness.child import environment as environment
from harness.child import pinned as pinned
from harness.child import server_python as server_python

BENCH = Path(__file__).resolve().parent.parent
BUILD = BENCH.parent / "build" / "bench"


def build_c_tools() -> None:
    made = subprocess.run(
        ["make", "-s", "-C", str(BENCH / "c"), f"BUILD={BUILD}"],
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode != 0:
        raise SystemExit(f"the C servers in bench/c do not build:\n{made.stdout}{made.stderr}")
