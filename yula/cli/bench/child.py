"""Server processes: started pinned, watched, ended; what they spent."""

from __future__ import annotations

import json
import os
import resource
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

# What a benchmark must not inherit: it colours a server's output; it makes every import compile.
NOT_INHERITED = ("FORCE_COLOR", "PYTHONDONTWRITEBYTECODE")


def environment(added: Sequence[str]) -> dict[str, str]:
    """Ours, without NOT_INHERITED, and with NAME=VALUE added."""
    mine = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    for pair in added:
        name, _, value = pair.partition("=")
        mine[name] = value
    return mine


SILENT = "(it printed nothing)"


class ServerFailed(Exception):
    """A server did not start, or died; the text has its output."""


def pinned(cpu: int | None, command: list[str]) -> list[str]:
    """The command, bound to one CPU before it starts (taskset is part of util-linux)."""
    if cpu is None or shutil.which("taskset") is None:
        return command
    return ["taskset", "-c", str(cpu), *command]


def allow_descriptors(count: int) -> None:
    """Let this process and its children have so many, as far as the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def line_within(stream: IO[Any], limit: float) -> Any:
    """The next line of a pipe, empty when it has ended; None after so many seconds of silence.

    For a peer that writes a line and then waits for us: what Python has read ahead is not seen.
    """
    ready, _, _ = select.select([stream], [], [], limit)
    return stream.readline() if ready else None


class Server:
    """A server process, started pinned; its output is kept for when it fails.

    stderr goes to a file, because nobody reads a pipe while the load runs. stdout is a
    pipe for servers that announce themselves there (`hello`), else the same file.
    env: NAME=VALUE to add to our environment.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        cpu: int | None,
        *,
        hello: bool = True,
        env: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.command = command
        self._output = tempfile.TemporaryFile(mode="w+b")  # noqa: SIM115 (closed by stop)
        self.process = subprocess.Popen(
            pinned(cpu, command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if hello else self._output,
            stderr=self._output,
            env=environment(env),
        )
        self._clock = (~self.process.pid << 3) | 2  # clock_getcpuclockid(3)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._output.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def hello(self, timeout: float = 20.0) -> dict[str, Any]:
        """The line of JSON a server prints when it listens."""
        assert self.process.stdout is not None
        line = line_within(self.process.stdout, timeout)
        if not line:
            silent = line is None
            raise self.failure(f"did not start within {timeout:.0f} s" if silent else "ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def output(self) -> str:
        self._output.flush()
        self._output.seek(0)
        return self._output.read().decode(errors="replace")

    def alive(self) -> bool:
        return self.process.poll() is None

    def failure(self, what: str) -> ServerFailed:
        """The exception to raise: what happened, the command, the server's own words."""
        try:
            status = self.process.wait(0.5)
            ended = f", exit status {status}" if status >= 0 else f", killed by signal {-status}"
        except subprocess.TimeoutExpired:
            ended = ""
        said = self.output().strip()[-4000:] or SILENT
        return ServerFailed(
            f"{self.name}: {what}{ended}\n  {' '.join(self.command)}\n"
            + "\n".join(f"  | {line}" for line in said.splitlines())
        )

    def cpu_ns(self) -> int:
        """User and system time of all threads: the scheduler's exact sum."""
        return int(time.clock_gettime(self._clock) * 1e9)

    def resident_bytes(self) -> int:
        """Memory of the process that is in RAM: the sum over all mappings, counted exactly."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        (line,) = (line for line in text.splitlines() if line.startswith("Rss:"))
        return int(line.split()[1]) * 1024

    def waiting_ns(self) -> int:
        """How long the main thread stood in the run queue because others had its CPU."""
        try:
            return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1])
        except (OSError, IndexError):
            return 0

    def stop(self) -> None:
        """End it; what it said stays readable until the context is left."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def server_python(asked: str | None) -> list[str]:
    """The interpreter for the servers: the one asked for, else ours.

    It may be a command of several words that ends by executing the interpreter, such as
    "tools/interpreters exec 3.14 python": its process number must be the interpreter's.
    """
    return shlex.split(asked) if asked else [sys.executable]
