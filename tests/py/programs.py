"""Whole programs for the tests of `python -m yula`: run to their end, or served and stopped."""

import collections
import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import time

from limits import SLOWDOWN

Finished = collections.namedtuple("Finished", "code out err")

YULA = ("-m", "yula")
LIMIT_S = 40 * SLOWDOWN

# A program's line about its loop, which no log line looks like.
TELL = """\
import asyncio, os
def tell():
    kind = type(asyncio.get_running_loop())
    return f"<{kind.__module__.split('.')[0]} {kind.__qualname__} {os.getpid()}>"
"""
TOLD = re.compile(r"<(\w+) (\w+) (\d+)>")

# An ASGI application that answers with the loop it runs on.
ASGI = (
    TELL
    + """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": tell().encode()})
"""
)


def told(text):
    """The kinds of loop, like "yula", in the order in which a program told them."""
    return [package for package, _, _ in TOLD.findall(text)]


def reports(text):
    """What --report said: {pid: what ran}, without the numbers of turns."""
    lines = re.findall(r"^yula: pid (\d+): (.*)$", text, re.MULTILINE)
    return {int(pid): re.sub(r" \(\d+ turns\)", "", what) for pid, what in lines}


def environment(changes):
    env = {**os.environ, **(changes or {})}
    return {name: value for name, value in env.items() if value is not None}


def without_uvloop(folder):
    """Changes to the environment under which `import uvloop` fails, installed or not."""
    hidden = folder / "hidden"
    hidden.mkdir(exist_ok=True)
    text = "raise ModuleNotFoundError(\"No module named 'uvloop'\", name='uvloop')\n"
    (hidden / "uvloop.py").write_text(text)
    return first_in_path(hidden)


def first_in_path(folder):
    """Changes to the environment that put a folder in front of PYTHONPATH."""
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    }


def execute(*command, cwd, env=None, stdin="", python=sys.executable):
    """Run `python command...` to its end."""
    done = subprocess.run(
        [python, *map(str, command)],
        cwd=cwd,
        env=environment(env),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


class Program:
    """A program that runs until it is told to stop; what it prints is one stream."""

    def __init__(self, process):
        self.process = process
        self.pid = process.pid
        self.text = ""
        self.code = None

    def read_until(self, pattern):
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"ended before it said {pattern!r}:\n{self.text}")
            self.text += line
            found = re.search(pattern, line)
            if found:
                return found

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        self.text += self.process.communicate(timeout=LIMIT_S)[0]
        self.code = self.process.returncode


@contextlib.contextmanager
def started(*command, cwd, env=None):
    """`python command...` in a session of its own, which is killed at the end, children and all."""
    process = subprocess.Popen(
        [sys.executable, "-u", *map(str, command)],
        cwd=cwd,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield Program(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def served(*command, cwd, env=None):
    """The same for a server that prints its address; `program.port` is where it listens."""
    with started(*command, cwd=cwd, env=env) as program:
        program.port = int(program.read_until(r"http://127\.0\.0\.1:(\d+)")[1])
        yield program


def get(port):
    """The body of a GET request; waits for servers that say their address before they listen."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
            with contextlib.closing(connection):
                connection.request("GET", "/")
                return connection.getresponse().read().decode()
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
