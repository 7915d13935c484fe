"""The small operations of a loop, one function each; run in a process per loop and operation.

    python small_operations.py --loop uvloop --case call_soon --repeats 5

Prints a line of JSON for every case: CPU and wall time of one operation, best of the repeats.
CPU time, because the process has one CPU to itself in name only: what else the machine does
must not count.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import json
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable

import loops  # type: ignore[import-not-found]  # beside this file, which is run as a script

BATCH = 1000  # how many callbacks or timers stand in a queue at a time


def nothing() -> None:
    pass


async def call_soon(count: int) -> None:
    """A queue of callbacks that do nothing."""
    loop = asyncio.get_running_loop()
    for _ in range(count // BATCH):
        for _ in range(BATCH):
            loop.call_soon(nothing)
        await asyncio.sleep(0)


async def call_soon_chain(count: int) -> None:
    """A callback that schedules itself: one turn of the loop each."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def step(left: int) -> None:
        if left:
            loop.call_soon(step, left - 1)
        else:
            done.set_result(None)

    loop.call_soon(step, count)
    await done


async def timer_cancel(count: int) -> None:
    """A timer made and cancelled at once, as every timeout that does not strike."""
    loop = asyncio.get_running_loop()
    for _ in range(count // BATCH):
        for _ in range(BATCH):
            loop.call_later(60, nothing).cancel()
        await asyncio.sleep(0)


async def timer_fire(count: int) -> None:
    """A timer made, and run when it is due (at once)."""
    loop = asyncio.get_running_loop()
    for _ in range(count // BATCH):
        done = loop.create_future()
        due = loop.time()
        for _ in range(BATCH - 1):
            loop.call_at(due, nothing)
        loop.call_at(due, done.set_result, None)
        await done


async def sleep_0(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def no_operation() -> None:
    pass


async def task_gather(count: int) -> None:
    """Tasks made and gathered, 100 at a time."""
    for _ in range(count // 100):
        await asyncio.gather(*[asyncio.create_task(no_operation()) for _ in range(100)])


async def future_wakeup(count: int) -> None:
    """A task that waits for a future which a callback resolves."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future


async def threadsafe(count: int, threads: int) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = count

    def arrived() -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set_result(None)

    def post() -> None:
        for _ in range(count // threads):
            loop.call_soon_threadsafe(arrived)

    posters = [threading.Thread(target=post) for _ in range(threads)]
    for poster in posters:
        poster.start()
    await done
    for poster in posters:
        poster.join()


async def threadsafe_1(count: int) -> None:
    await threadsafe(count, 1)


async def threadsafe_4(count: int) -> None:
    await threadsafe(count, 4)


async def executor(count: int) -> None:
    """A function run by a worker thread, one after the other."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        await loop.run_in_executor(None, nothing)


async def executor_100(count: int) -> None:
    """The same with 100 in flight."""
    loop = asyncio.get_running_loop()
    for _ in range(count // 100):
        await asyncio.gather(*[loop.run_in_executor(None, nothing) for _ in range(100)])


async def getaddrinfo(count: int) -> None:
    """The address of a literal: nothing to look up."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)


async def getaddrinfo_name(count: int) -> None:
    """The address of a name that the system knows (/etc/hosts)."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)


async def connect_close(count: int) -> None:
    """A connection opened and closed. The kernel alone is the peer: nobody accepts them."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        host, port = listener.getsockname()
        for _ in range(count):
            transport, _ = await loop.create_connection(asyncio.Protocol, host, port)
            transport.close()
            await asyncio.sleep(0)
        await asyncio.sleep(0)


async def file_read(count: int) -> None:
    """4 KiB of a file, read by a worker thread: what asynchronous file libraries do."""
    loop = asyncio.get_running_loop()

    def read() -> int:
        with open(__file__, "rb") as file:
            return len(file.read(4096))

    for _ in range(count):
        await loop.run_in_executor(None, read)


@functools.cache
def memory_in_use() -> bytearray:
    """64 MiB. Touched once, in the warm-up: its page faults are not the loop's."""
    return bytearray(os.urandom(1 << 12) * (1 << 14))


async def subprocess_wait(count: int) -> None:
    """/bin/true started and waited for. 64 MiB in use, as a program's memory slows fork()."""
    memory_in_use()
    for _ in range(count):
        child = await asyncio.create_subprocess_exec("/bin/true")
        await child.wait()


async def subprocess_pipe(count: int) -> None:
    """One MiB read from a child's standard output."""
    command = ("head", "-c", str(count << 20), "/dev/zero")
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    got = 0
    while data := await child.stdout.read(1 << 18):
        got += len(data)
    await child.wait()
    if got != count << 20:
        raise RuntimeError(f"{got} bytes came through the pipe")


# The counts take about 50 ms on asyncio. One that is given is rounded up to what a case needs.
CASES: dict[str, tuple[Callable[[int], Awaitable[None]], int]] = {
    "call_soon": (call_soon, 50_000),
    "call_soon_chain": (call_soon_chain, 30_000),
    "timer_cancel": (timer_cancel, 30_000),
    "timer_fire": (timer_fire, 20_000),
    "sleep_0": (sleep_0, 20_000),
    "task_gather": (task_gather, 10_000),
    "future_wakeup": (future_wakeup, 10_000),
    "threadsafe_1": (threadsafe_1, 20_000),
    "threadsafe_4": (threadsafe_4, 20_000),
    "executor": (executor, 1_000),
    "executor_100": (executor_100, 2_000),
    "getaddrinfo": (getaddrinfo, 1_000),
    "getaddrinfo_name": (getaddrinfo_name, 200),
    "connect_close": (connect_close, 300),
    "file_read": (file_read, 500),
    "subprocess_wait": (subprocess_wait, 20),
    "subprocess_pipe": (subprocess_pipe, 64),
}


BATCHED = {"call_soon": BATCH, "timer_cancel": BATCH, "timer_fire": BATCH, "task_gather": 100,
           "executor_100": 100, "threadsafe_4": 4}  # fmt: skip


async def measure(case: str, count: int | None, repeats: int) -> dict[str, object]:
    function, usual = CASES[case]
    count = count or usual
    if case in BATCHED:
        count = -(-count // BATCHED[case]) * BATCHED[case]
    warm_up = max(BATCHED.get(case, 1), count // 10)
    await function(warm_up if repeats else count)  # threads start, caches fill
    cpu, wall = [], []
    for _ in range(repeats):
        began, cpu_began = time.perf_counter_ns(), time.process_time_ns()
        await function(count)
        cpu.append(time.process_time_ns() - cpu_began)
        wall.append(time.perf_counter_ns() - began)
    best = {"cpu_ns": min(cpu) / count, "wall_ns": min(wall) / count} if repeats else {}
    loop = loops.type_name(asyncio.get_running_loop())
    return {"case": case, "count": count, "loop": loop, **best}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=sorted(loops.FACTORIES), default="asyncio")
    parser.add_argument("--case", action="append", choices=list(CASES), help="(all)")
    parser.add_argument("--repeats", type=int, default=5, help="0: run it once, unmeasured")
    parser.add_argument("--count", type=int, help="operations in a repeat")
    arguments = parser.parse_args()
    if not arguments.repeats:
        gc.disable()  # instructions are counted: whether a collection falls within is chance
    for case in arguments.case or list(CASES):
        with asyncio.Runner(loop_factory=loops.factory(arguments.loop)) as runner:
            result = runner.run(measure(case, arguments.count, arguments.repeats))
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
