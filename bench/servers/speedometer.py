"""How fast this CPU is just now: a short loop of bytecode, timed every few milliseconds.

    python speedometer.py --progress FILE

The CPU of a virtual machine wanders by tens of percent within a second, with what its
neighbours do. Runs of the same kind of work, timed in the same moments, take that out of the
ratio of two speeds: 20 % of noise became 4 % where it was tried. It needs a real-time priority,
so that a timed loop is never interrupted by what is measured; it takes 1.5 % of the CPU.

The last two counters of the file are its own: loops timed, and nanoseconds they took.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import compute

PERIOD_S = 0.003
WARM_UP = 500  # untimed, because the caches hold another program's data
TIMED = 1000  # 30 microseconds
TOO_LONG = 3  # times the usual: the hypervisor ran something else meanwhile


def become_real_time() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    return True


def run(slots: compute.Slots) -> None:
    clock = time.perf_counter_ns
    parent = os.getppid()
    timed = took = 0
    usual = 0.0
    while timed % 256 or os.getppid() == parent:  # else the benchmark was killed
        time.sleep(PERIOD_S)
        total = 0
        for number in range(WARM_UP):
            total += number
        began = clock()
        for number in range(TIMED):
            total += number
        one = clock() - began
        usual += (one - usual) / min(timed + 1, 50)
        if one > TOO_LONG * usual:
            continue
        took += one
        timed += 1
        slots[-2] = timed
        slots[-1] = took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--progress", type=Path, required=True)
    arguments = parser.parse_args()
    slots = compute.open_progress(arguments.progress)
    may = become_real_time()
    print(json.dumps({"real_time": may}), flush=True)
    if may:
        run(slots)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
