"""How the benchmarks of the source tree measure: with the load client and bare servers in C."""

from __future__ import annotations

from harness import process
from harness.case import Settings


def settings(no_c: bool = False) -> Settings:
    """Builds what bench/c has. no_c: without the bare servers, only the load client is used."""
    process.build_c_tools()
    found = Settings(load=[str(process.BUILD / "load")])
    found.c_tools = None if no_c else process.BUILD
    return found
