"""Threads that compute in Python beside a loop."""

import asyncio
import contextlib
import threading


@contextlib.contextmanager
def computing(count=1, sample=None):
    """Threads that compute in Python; each calls sample() now and then. Yields their counters."""
    stop = False
    counters = [0] * count

    def compute(number):
        while not stop:
            for _ in range(1000):
                pass
            counters[number] += 1
            if sample is not None:
                sample()

    threads = [threading.Thread(target=compute, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield counters
    finally:
        stop = True
        for thread in threads:
            thread.join()


async def until_contended(loop):
    """Sleep, again and again, until the loop has noticed the other threads."""
    while not loop.stats()["gil"]["contended"]:
        await asyncio.sleep(0.001)
