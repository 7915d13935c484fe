"""What the tests of process and interpreter pools send to their workers.

A module of its own, with nothing but the standard library in it: a worker that is not forked imports
it by name.
"""

import asyncio
import contextvars
import os
import pathlib
import signal
import socket
import threading

var = contextvars.ContextVar("var", default="unset")
loop = None


class Refused(Exception):
    """An exception of the user's own, with arguments that have to survive the journey."""

    def __init__(self, code, reason):
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


def square(n):
    return n * n


def refuse(code, reason):
    raise Refused(code, reason)


def pid_and_square(n):
    return os.getpid(), n * n


def interpreter_and_square(n):
    from concurrent import interpreters

    return interpreters.get_current().id, n * n


def die():
    os._exit(3)


def value_of_var():
    return var.get()


def mark(path):
    """Leave a file that says: this job ran."""
    pathlib.Path(path).touch()


def wait_for(fifo, started=None):
    """Run until the test opens the FIFO and writes to it; return what it wrote."""
    if started is not None:
        mark(started)
    with open(fifo) as stream:
        return stream.read()


def unpicklable():
    return threading.Lock()


def fail_to_start():
    raise RuntimeError("no worker today")


def send_signal_to_self(number):
    os.kill(os.getpid(), number)
    return signal.getsignal(number) is not None


def new_event_loop(name):
    if name == "yula":
        import yula

        return yula.new_event_loop()
    return asyncio.SelectorEventLoop()


def run_a_loop(name, messages):
    """A whole asyncio program in the worker: an echo server, its client, a timer, a thread."""

    async def echo(reader, writer):
        while data := await reader.readline():
            writer.write(data)
        writer.close()

    async def main():
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            answers = []
            for message in messages:
                writer.write(message + b"\n")
                answers.append((await reader.readline()).strip())
            writer.close()
            await writer.wait_closed()
        await asyncio.sleep(0.001)
        total = await asyncio.get_running_loop().run_in_executor(None, sum, [1, 2])
        return type(asyncio.get_running_loop()).__module__, answers, total

    with asyncio.Runner(loop_factory=lambda: new_event_loop(name)) as runner:
        return runner.run(main())


def open_a_loop(name):
    """An initializer: a loop that stays open from one job to the next."""
    global loop
    loop = new_event_loop(name)


def use_the_loop(n):
    """One job on the loop that open_a_loop made."""

    async def main():
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            right.setblocking(False)
            await loop.sock_sendall(left, str(n).encode())
            return int(await loop.sock_recv(right, 100)) ** 2

    return loop.run_until_complete(main())


def close_the_loop():
    loop.close()
