"""User-mode instructions and cycles of a process, through `perf stat`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

EVENTS = "instructions:u,cycles:u"


@cache
def why_not() -> str | None:
    """None when perf can count here, else the reason in a few words."""
    if shutil.which("perf") is None:
        return "perf is not installed (Debian: linux-perf)"
    tried = subprocess.run(
        ["perf", "stat", "-x,", "-e", EVENTS, "--", "true"],
        check=False,
        capture_output=True,
        text=True,
    )
    if tried.returncode != 0:
        return "perf is not permitted to count (kernel.perf_event_paranoid)"
    if "<not" in tried.stderr:
        return "this machine has no such counters"
    return None


def parse(text: str) -> dict[str, float] | None:
    """{'instructions': n, 'cycles': n} from the output of perf stat -x, or None."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[0].isdigit():
            found[fields[2].split(":")[0]] = float(fields[0])
    return found if {"instructions", "cycles"} <= found.keys() else None


class Counted:
    """A command to run in place of `command`, which also counts what process `pid` does."""

    def __init__(self, pid: int, command: list[str]) -> None:
        self.command = command
        self._file: Path | None = None
        if why_not() is None:
            with tempfile.NamedTemporaryFile(prefix="perf-", delete=False) as file:
                self._file = Path(file.name)
            self.command = ["perf", "stat", "-x,", "-e", EVENTS, "-p", str(pid),
                            "-o", str(self._file), "--", *command]  # fmt: skip

    def result(self) -> dict[str, float] | None:
        """What was counted while the command ran; None where there are no counters."""
        if self._file is None:
            return None
        text = self._file.read_text()
        self._file.unlink()
        self._file = None
        return parse(text)


def under_valgrind(
    command: list[str], words_before: int, *options: str, profile: Path | None = None
) -> list[str]:
    """The command under callgrind, which counts every instruction (and is 50 times slower).

    words_before: how many words in front execute the rest, such as "tools/interpreters exec
    3.14"; valgrind has to stand behind them. profile: where callgrind leaves what it saw.
    """
    tool = [
        "valgrind",
        "--tool=callgrind",
        "--fair-sched=try",  # else a thread may wait for minutes for valgrind's one lock
        f"--callgrind-out-file={profile or '/dev/null'}",
        *options,
    ]
    return [*command[:words_before], *tool, *command[words_before:]]


def switch(prefix: list[str], pid: int, on: bool) -> None:
    """Start or stop counting in a process that runs under callgrind."""
    command = [*prefix, "vgdb", f"--pid={pid}", "instrumentation", "on" if on else "off"]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    if ran.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {ran.stderr.strip()}")


def collected(valgrind_output: str) -> int | None:
    """The total that callgrind prints at exit."""
    found = re.search(r"Collected : (\d+)", valgrind_output)
    return int(found[1]) if found else None


def whole_run(command: list[str], words_before: int, tool: str, timeout: float) -> int:
    """User instructions of a command from start to end, by 'perf' or by 'valgrind'."""
    if tool == "perf":
        full = ["perf", "stat", "-x,", "-e", EVENTS, "--", *command]
    else:
        full = under_valgrind(command, words_before)
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    ran = subprocess.run(
        full, check=False, capture_output=True, text=True, timeout=timeout, env=env
    )
    if ran.returncode != 0:
        raise RuntimeError(f"{' '.join(full)}: exit status {ran.returncode}\n{ran.stderr}")
    if tool == "perf":
        found = (parse(ran.stderr) or {}).get("instructions")
    else:
        found = collected(ran.stderr)
    if found is None:
        raise RuntimeError(f"{tool} did not say how many instructions it counted\n{ran.stderr}")
    return int(found)
