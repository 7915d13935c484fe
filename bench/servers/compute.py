"""Threads that compute in Python, and publish how far they have come.

    python compute.py --progress FILE          as a process of its own

Each thread adds to a 64-bit counter of its own in a file that is mapped; who wants to know its
speed reads the counter twice (bench/c/progress.h).
"""

from __future__ import annotations

import argparse
import json
import mmap
import zlib
from collections.abc import Callable
from pathlib import Path

Slots = memoryview


def pure(slots: Slots, index: int) -> None:
    """Bytecode and nothing else: it gives the lock up only when another thread asks for it."""
    done = 0
    while True:
        total = 0
        for number in range(200):
            total += number
        done += 1
        slots[index] = done


def release(slots: Slots, index: int) -> None:
    """As programs on NumPy do: short native calls without the lock, some bytecode between them."""
    data = bytes(range(256)) * 128  # 32 KiB; zlib gives the lock up from 5 KiB on
    done = 0
    while True:
        total = 0
        for number in range(50):
            total += number
        zlib.crc32(data)
        done += 1
        slots[index] = done


KINDS: dict[str, Callable[[Slots, int], None]] = {"pure": pure, "release": release}


def open_progress(path: Path) -> Slots:
    """The counters in the file, to be written. The file has its size already."""
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--progress", type=Path, required=True)
    parser.add_argument("--kind", choices=sorted(KINDS), default="pure")
    arguments = parser.parse_args()
    slots = open_progress(arguments.progress)
    print(json.dumps({}), flush=True)
    KINDS[arguments.kind](slots, 0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
