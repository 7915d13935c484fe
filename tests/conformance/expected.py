"""The list of what is expected, one file per interpreter version, and the judgement.

    [at_least.A]                    # tests that construct the loop under test, by set and module
    test_events = 73

    [at_least."3.11.7".B]           # and from this patch release on
    test_streams = 67

    [[expect]]
    tests = ["test_events.EPollEventLoopTests.test_x", "test_windows_utils.*"]
    outcome = "fail"                # or "skip"
    reason = "why, in words that convince a user"
    on = "both"                     # asyncio fails or skips it just the same; else "yula", which may be left out
    when = "no IPv6"                # only on machines of which this is true: FACTS below

A listed test that passes, or that does not exist any more, is a failure like one that is not listed.
"""

import fnmatch
import os
import socket
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import suite

FOLDER = Path(__file__).parent / "expected"


def _no_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return True
    return False


def _no_pty():
    try:
        for fd in os.openpty():
            os.close(fd)
    except OSError:
        return True
    return False


FACTS = {
    "no IPv6": _no_ipv6,
    "no pty": _no_pty,
    "root": lambda: os.geteuid() == 0,
    "not root": lambda: os.geteuid() != 0,
    "release build": lambda: not hasattr(sys, "gettotalrefcount"),
    "less than 4 GB of memory": suite.little_memory,
    "free-threaded": lambda: not getattr(sys, "_is_gil_enabled", lambda: True)(),
}


class BadList(Exception):
    """The data file does not make sense."""


@dataclass
class Entry:
    pattern: str
    outcome: str
    reason: str
    when: str
    matched: bool = False  # some test has this name
    used: set = field(default_factory=set)  # outcomes seen


class Expected:
    """What one interpreter's file says about one loop."""

    def __init__(self, path, *, loop_is_asyncio):
        with open(path, "rb") as file:
            data = tomllib.load(file)
        self.path = path
        self.at_least = _pinned(data.get("at_least", {}))
        self.exact, self.patterns = {}, []
        for item in data.get("expect", []):
            self._add(item, loop_is_asyncio)

    def _add(self, item, loop_is_asyncio):
        outcome, on = item.get("outcome"), item.get("on", "yula")
        known = outcome in ("fail", "skip") and on in ("yula", "both")
        if not known or not item.get("reason"):
            text = "an entry needs a reason, an outcome and a known `on`"
            raise BadList(f"{self.path}: {text}: {item}")
        when = item.get("when")
        if when is not None and when not in FACTS:
            raise BadList(f"{self.path}: unknown condition {when!r}; there are: {', '.join(FACTS)}")
        if (loop_is_asyncio and on == "yula") or (when and not FACTS[when]()):
            return
        for pattern in item["tests"]:
            entry = Entry(pattern, outcome, item["reason"], when)
            if "*" in pattern:
                self.patterns.append(entry)
            elif self.exact.setdefault(pattern, entry) is not entry:
                raise BadList(f"{self.path}: {pattern} is listed twice")

    def find(self, test_id):
        if test_id in self.exact:
            return self.exact[test_id]
        for entry in self.patterns:
            if fnmatch.fnmatchcase(test_id, entry.pattern):
                return entry
        return None

    def stale(self, known_ids, modules):
        """Entries of these modules that name no test."""
        gone = [e for name, e in self.exact.items() if name not in known_ids]
        gone += [e for e in self.patterns if not fnmatch.filter(known_ids, e.pattern)]
        return [e for e in gone if e.pattern.partition(".")[0] in modules]


def _pinned(table):
    """{set: {module: least}}: the numbers of the oldest patch release, then those of later ones."""
    pinned = {key: dict(table.get(key, {})) for key in "ABC"}
    for version in sorted((v for v in table if v not in pinned), key=_version_tuple):
        if sys.version_info[:3] >= _version_tuple(version):
            for key, counts in table[version].items():
                pinned[key].update(counts)
    return pinned


def _version_tuple(text):
    return tuple(int(part) for part in text.split("."))


def path_for_this_interpreter():
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return FOLDER / f"{version}.toml"


def judge(record, entry):
    """(verdict, what is wrong) for one test. Verdicts: pass, fail, skip, xfail, n/a."""
    outcome, applies = record.outcome, record.set is not None
    if outcome == "skip":
        if entry and entry.outcome == "skip":
            return "skip", ""
        return "fail", f"skipped, which is not listed: {record.detail}"
    if entry and entry.outcome == "skip":
        return "fail", f"listed as a skip, but it ran ({outcome}): {entry.reason}"
    if outcome == "pass":
        if entry:
            return "fail", f"unexpected pass; it is listed: {entry.reason}"
        return ("pass", "") if applies else ("n/a", "")
    if outcome == "crash":
        return "fail", record.detail  # a test may be listed, the end of the process may not
    if entry:
        return "xfail", ""
    return ("fail", record.detail) if applies else ("n/a", "")
