"""What the benchmarks share.

The ground is yula/cli/bench, which `python -m yula bench` uses too; it is reached as `harness.stats`
and so on, by path, so that measuring needs no yula in the interpreter that measures. Here is what
only the source tree has: the C tools, processor counters, wrk, the real services.
"""

from pathlib import Path

__path__.append(str(Path(__file__).resolve().parents[2] / "yula" / "cli" / "bench"))
