"""Run the asyncio tests of well-known libraries, as their authors wrote them, on yula and on asyncio.

    python tests/libraries/run.py              all of them: about fifteen minutes
    python tests/libraries/run.py anyio -k Unix

A test that passes on asyncio has to pass on yula; what fails on both is the machine's (no IPv6, no
cluster, no sentinels). A test that fails on yula alone is tried again by itself on both, because some of
these tests are about time. The sources come from PyPI into build/libraries, with an environment of their own.
Exits with 0 if yula lost no test.
"""

import argparse
import os
import subprocess
import sys
import tarfile
import venv
import xml.etree.ElementTree
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOLDER = ROOT / "build" / "libraries"

sys.path.insert(0, str(HERE.parent))
import services  # noqa: E402

COMMON = ["pytest", "pytest-asyncio", "pytest-timeout"]

# What a library's tests need beside it, and which of them are about asyncio.
LIBRARIES = {
    "anyio": {
        "version": "4.16.0",
        "needs": ["hypothesis", "psutil", "pytest-mock", "trustme", "truststore"],
        "options": ["tests"],
        "expression": "asyncio and not uvloop and not eager",
    },
    "redis": {
        "version": "8.1.0",
        "needs": ["aiohttp", "numpy", "pybreaker", "redis-entraid", "ujson", "xxhash"],
        "options": [
            "tests/test_asyncio",
            "-m=not onlycluster and not redismod and not ssl and not cp_integration",
            *(
                f"--ignore=tests/test_asyncio/{name}"
                for name in (
                    "test_cluster.py",
                    "test_cluster_transaction.py",
                    "test_scenario",
                    "test_sentinel_managed_connection.py",
                )
            ),
        ],
    },
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="(all)")
    parser.add_argument("-k", metavar="EXPRESSION", help="pytest's, beside the library's own")
    args = parser.parse_args()
    if unknown := set(args.names) - set(LIBRARIES):
        parser.error(f"no such library: {', '.join(unknown)}; there are: {', '.join(LIBRARIES)}")
    lost = 0
    with services.Redis() as redis:
        for name in args.names or LIBRARIES:
            lost += compare(Library(name, redis.port, args.k))
    return 1 if lost else 0


def compare(library):
    control, ours = library.run("asyncio"), library.run("yula")
    suspects = [
        test for test, outcome in ours.items() if fails(outcome) and not fails(control[test])
    ]
    lost = []
    for test in suspects:
        again = {loop: library.run(loop, only=test) for loop in ("asyncio", "yula")}
        if fails(again["yula"].get(test, "error")) and not fails(
            again["asyncio"].get(test, "error")
        ):
            lost.append(test)
    both = sum(fails(control[test]) for test in ours if fails(ours[test]))
    passed = sum(outcome == "passed" for outcome in ours.values())
    print(
        f"{library.name} {library.version}: {passed} passed, {both} failed on both, {len(lost)} lost"
    )
    for test in lost:
        print(f"  lost: {test}")
    if ours.keys() != control.keys() or not passed:
        print(f"  not the same tests on both: {ours.keys() ^ control.keys() or 'none passed'}")
        return 1
    return len(lost)


def fails(outcome):
    return outcome in ("failure", "error")


class Library:
    def __init__(self, name, redis_port, expression):
        self.name = name
        self.version = LIBRARIES[name]["version"]
        self.options = list(LIBRARIES[name]["options"])
        if name == "redis":
            self.options.append(f"--redis-url=redis://127.0.0.1:{redis_port}/0")
        chosen = [e for e in (LIBRARIES[name].get("expression"), expression) if e]
        if chosen:
            self.options.append("-k=" + " and ".join(f"({e})" for e in chosen))
        self.folder = FOLDER / f"{name}-{self.version}"
        self.python = FOLDER / f"venv-{name}" / "bin" / "python"
        self._set_up()

    def _set_up(self):
        stamp = FOLDER / f"{self.name}-{self.version}.ready"
        if stamp.exists():
            return
        FOLDER.mkdir(parents=True, exist_ok=True)
        print(f"setting up {self.folder.relative_to(ROOT)}", flush=True)
        venv.create(self.python.parent.parent, with_pip=True)
        pip = [self.python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        source = f"{self.name}=={self.version}"
        subprocess.run(
            [*pip, "download", "--no-deps", "--no-binary=:all:", f"--dest={FOLDER}", source],
            check=True,
        )
        with tarfile.open(next(FOLDER.glob(f"{self.name}-{self.version}*.tar.gz"))) as archive:
            archive.extractall(FOLDER, filter="data")
        needs = [*COMMON, *LIBRARIES[self.name]["needs"], source]
        subprocess.run([*pip, "install", *needs], check=True)
        stamp.touch()

    def run(self, loop, only=None):
        """{test: passed, skipped, failure or error} on that loop."""
        name = f"{self.name}-{loop}"
        report, log = FOLDER / f"{name}.xml", FOLDER / f"{name}.log"
        report.unlink(missing_ok=True)
        command = [
            self.python,
            "-m",
            "pytest",
            "--quiet",
            "-p",
            "no:cacheprovider",
            "--timeout=120",
        ]
        if loop == "yula":
            command += ["-p", "on_yula"]
        path = only.partition("[")[0] if only else self.options[0]
        ours = os.pathsep.join([str(HERE), str(ROOT)])
        with open(log, "w") as output:
            subprocess.run(
                [*command, f"--junitxml={report}", path, *self.options[1:]],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": ours},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if not report.exists():
            sys.exit(f"{name}: pytest could not run the tests, see {log}")
        return {
            self._id(case): outcome(case)
            for case in xml.etree.ElementTree.parse(report).iter("testcase")
        }

    def _id(self, case):
        """What pytest takes: the file, the class if there is one, the function."""
        parts, names = case.get("classname", "").split("."), []
        while parts and not (self.folder / "/".join(parts)).with_suffix(".py").exists():
            names.insert(0, parts.pop())
        return "::".join(["/".join(parts) + ".py", *names, case.get("name", "")])


def outcome(case):
    return next(
        (child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed"
    )


if __name__ == "__main__":
    sys.exit(main())
