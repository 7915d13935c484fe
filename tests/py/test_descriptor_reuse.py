"""No event and no reply reaches a connection that got another one's number.

The stress program is descriptor_reuse.py. It is run on yula as it is, and on a yula built without
the check of generations, where it must fail: a check that nothing notices protects nobody.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent
CYCLES = 100_000


def stress(cycles, env=None):
    """Run the program; returns its exit status and its counts."""
    done = subprocess.run(
        [sys.executable, HERE / "descriptor_reuse.py", "--cycles", str(cycles)],
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, **(env or {})},
    )
    assert done.stdout, done.stderr
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.timeout(500)
def test_no_reply_reaches_the_wrong_connection():
    status, counts = stress(CYCLES)
    assert counts["wrong"] == 0
    assert counts["stray"] == 0
    assert status == 0
    assert counts["cycles"] == CYCLES
    # The trap was laid: numbers were reused, and the kernel did report for their old owners.
    assert counts["reused"] > CYCLES / 10
    assert counts["stale"] > CYCLES / 10
    assert counts["answered"] > CYCLES / 3


@pytest.fixture(scope="module")
def unchecked(tmp_path_factory):
    """A folder with yula built without the check of generations."""
    if importlib.util.find_spec("mesonbuild") is None:
        pytest.skip("builds yula: pip install -r tools/requirements-build.txt")
    build = tmp_path_factory.mktemp("build")
    site = tmp_path_factory.mktemp("unchecked")
    meson = [sys.executable, "-m", "mesonbuild.mesonmain"]
    options = [
        "-Dgeneration_check=false",
        "-Dpython=enabled",
        "-Dlibrary=false",
        "-Dtests=false",
        "-Doptimization=1",
    ]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in (["setup", build, SOURCE, *options], ["compile", "-C", build]):
        done = subprocess.run(
            meson + command, capture_output=True, text=True, env={**os.environ, "PATH": path}
        )
        assert done.returncode == 0, done.stdout + done.stderr
    package = site / "yula"
    package.mkdir()
    for source in (SOURCE / "yula").glob("*.py"):
        (package / source.name).symlink_to(source)
    (built,) = (build / "src" / "ext").glob("_core*.so")
    (package / built.name).symlink_to(built)
    return site


@pytest.mark.timeout(500)
def test_the_stress_fails_without_the_check_of_generations(unchecked):
    status, counts = stress(2000, {"PYTHONPATH": str(unchecked)})
    assert status == 1
    assert counts["stray"] > 0
