"""An echo server that also computes, in one of several ways; driven by bench/offload.py.

Two listeners: one echoes, the other takes orders. An order is a line of JSON,
{"way": "process", "steps": 70000, "size": 0, "seconds": 0.5}: for so long, call a computation of
so many steps with an argument of so many bytes, one call after the other. The answer is a line
of JSON with what that took. Prints both ports when it listens; ends by a signal.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import json
import multiprocessing
import os
import time
from collections.abc import Awaitable, Callable

import loops
from echo_server import EchoProtocol
from offload_job import compute, steps_in_a_millisecond

Call = Callable[[int, bytes], Awaitable[tuple[int, int]]]


async def inline(steps: int, data: bytes) -> tuple[int, int]:
    result = compute(steps, data)
    await asyncio.sleep(0)  # as a considerate program would: the others get a turn
    return result


async def to_thread(steps: int, data: bytes) -> tuple[int, int]:
    return await asyncio.to_thread(compute, steps, data)


def in_pool(pool: concurrent.futures.Executor) -> Call:
    async def call(steps: int, data: bytes) -> tuple[int, int]:
        return await asyncio.get_running_loop().run_in_executor(pool, compute, steps, data)

    return call


async def idle(steps: int, data: bytes) -> tuple[int, int]:
    """Nothing: what the echo is like on a machine that does not compute."""
    await asyncio.sleep(0.1)
    return os.getpid(), 0


def make_call(way: str) -> Call:
    if way == "idle":
        return idle
    if way == "inline":
        return inline
    if way == "thread":
        return to_thread
    if way == "process":
        context = multiprocessing.get_context("forkserver")
        return in_pool(concurrent.futures.ProcessPoolExecutor(1, mp_context=context))
    return in_pool(concurrent.futures.InterpreterPoolExecutor(1))


async def measure(call: Call, steps: int, size: int, seconds: float) -> dict[str, float]:
    """Calls one after the other. CPU time is that of this process and of the worker's."""
    data = os.urandom(size)
    pid, worker_before = await call(1, data)
    mine_before, began = time.process_time_ns(), time.perf_counter_ns()
    count = 0
    while count < 5 or time.perf_counter_ns() - began < seconds * 1e9:
        pid, worker_after = await call(steps, data)
        count += 1
    wall = time.perf_counter_ns() - began
    cpu = time.process_time_ns() - mine_before
    if pid != os.getpid():
        cpu += worker_after - worker_before
    return {"calls": count, "wall_us": wall / count / 1e3, "cpu_us": cpu / count / 1e3}


async def serve(way: str) -> None:
    loop = asyncio.get_running_loop()
    call = make_call(way)
    for _ in range(0 if way == "idle" else 20):  # the worker starts, and imports what it needs
        await call(1000, b"")

    async def take_orders(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            order = json.loads(line)
            result = await measure(call, order["steps"], order["size"], order["seconds"])
            writer.write(json.dumps(result).encode() + b"\n")
        writer.close()

    echo = await loop.create_server(EchoProtocol, "127.0.0.1", 0)
    orders = await asyncio.start_server(take_orders, "127.0.0.1", 0)
    hello = {
        "echo": echo.sockets[0].getsockname()[1],
        "orders": orders.sockets[0].getsockname()[1],
        "loop": loops.type_name(loop),
        "steps_in_a_millisecond": steps_in_a_millisecond(),
    }
    print(json.dumps(hello), flush=True)
    await loop.create_future()  # for ever


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=sorted(loops.FACTORIES), default="yula")
    parser.add_argument("--way", choices=["idle", "inline", "thread", "process", "interpreter"])
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=loops.factory(arguments.loop)) as runner:
        runner.run(serve(arguments.way))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
