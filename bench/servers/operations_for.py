"""What the client programs share: operations in several tasks for a time, and what they cost."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import loops

Operation = Callable[[int], Awaitable[None]]  # gets a number, checks the answer itself
# An operation's connection: entered once in each task, yields the operation.
Connect = Callable[[argparse.Namespace], contextlib.AbstractAsyncContextManager[Operation]]


async def measure(connect: Connect, options: argparse.Namespace) -> dict[str, object]:
    latencies: list[int] = []

    async def repeat(operation: Operation, until: float) -> None:
        number = 0
        while (began := time.monotonic_ns()) < until:
            await operation(number)
            latencies.append(time.monotonic_ns() - began)
            number += 1

    async with contextlib.AsyncExitStack() as stack:
        operations = [await stack.enter_async_context(connect(options))
                      for _ in range(options.tasks)]  # fmt: skip
        for seconds in (options.warmup, options.seconds):
            latencies.clear()
            began, cpu = time.monotonic_ns(), time.process_time_ns()
            until = began + int(seconds * 1e9)
            await asyncio.gather(*[repeat(operation, until) for operation in operations])
        cpu = time.process_time_ns() - cpu
        elapsed = time.monotonic_ns() - began
    ordered = sorted(latencies)
    count = len(ordered)
    found = {"requests": count, "rate": count / elapsed * 1e9, "cpu_us": cpu / count / 1e3,
             "loop": loops.type_name(asyncio.get_running_loop())}  # fmt: skip
    for name, part in (("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)):
        found[name] = ordered[min(count - 1, int(part * count))] / 1e3
    return found


async def step(connect: Connect, options: argparse.Namespace) -> None:
    """Exactly so many operations, for valgrind: says "warm" before and "done" after them, and
    waits for a line each time."""
    left = 0

    async def repeat(operation: Operation) -> None:
        nonlocal left
        number = 0
        while left > 0:
            left -= 1
            await operation(number)
            number += 1

    async with contextlib.AsyncExitStack() as stack:
        operations = [await stack.enter_async_context(connect(options))
                      for _ in range(options.tasks)]  # fmt: skip
        for count, word in ((4 * options.tasks, "warm"), (options.step, "done")):
            left = count
            await asyncio.gather(*[repeat(operation) for operation in operations])
            print(word, flush=True)
            sys.stdin.readline()


def main(connections: dict[str, Connect]) -> None:
    """Parses the arguments, runs, prints a line of JSON. connections: by name of operation."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", choices=sorted(loops.FACTORIES), default="asyncio")
    parser.add_argument("--operation", choices=list(connections), required=True)
    parser.add_argument("--tasks", type=int, default=1)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--warmup", type=float, default=0.3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--step", type=int, metavar="OPERATIONS",
                        help="exactly so many, instead of --seconds")  # fmt: skip
    options = parser.parse_args()
    connect = connections[options.operation]
    with asyncio.Runner(loop_factory=loops.factory(options.loop)) as runner:
        if options.step is not None:
            runner.run(step(connect, options))
            return
        print(json.dumps(runner.run(measure(connect, options))), flush=True)


def expect(got: object, wanted: object) -> None:
    if got != wanted:
        raise RuntimeError(f"wrong answer: {got!r:.100}, not {wanted!r:.100}")


__all__ = ["AsyncIterator", "Operation", "expect", "main"]
