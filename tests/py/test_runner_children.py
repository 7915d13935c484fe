"""Under `python -m yula` a program's Python children run on yula too; no other child notices."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from programs import TELL, YULA, execute, first_in_path, reports, told

CHILD = TELL + "async def main(): print(tell(), flush=True)\n"

MULTIPROCESSING = (
    CHILD
    + """
import multiprocessing, sys

def work(queue):
    async def main():
        return tell()
    queue.put(asyncio.run(main()))

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    queue = context.Queue()
    process = context.Process(target=work, args=(queue,))
    process.start()
    print(queue.get())
    process.join()
    print(process.exitcode, process.pid != os.getpid())
"""
)


@pytest.fixture
def script(tmp_path):
    def script(text, name="app.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return script


def interpreters():
    """Other Pythons on this machine, of which none has yula."""
    names = [f"python3.{minor}" for minor in range(6, 20)] + ["python2.7", "python3"]
    paths = {os.path.realpath(path) for path in map(shutil.which, names) if path}
    paths |= {str(p) for p in Path.home().glob(".pyenv/versions/*/bin/python") if p.exists()}
    found = {}
    for path in sorted(paths):
        ask = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(ask, capture_output=True, text=True)
        if done.returncode == 0:
            found[done.stdout.strip()] = path
    found.pop("{}.{}".format(*sys.version_info), None)
    return found


OTHERS = interpreters()


# --- multiprocessing -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_multiprocessing_runs_a_function_of_the_script_on_yula(script, tmp_path, method):
    done = execute(*YULA, script(MULTIPROCESSING), method, cwd=tmp_path)
    assert told(done.out) == ["yula"], done
    assert done.out.endswith("\n0 True\n")


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_the_report_covers_multiprocessing_children(script, tmp_path, method):
    done = execute(*YULA, "--report", script(MULTIPROCESSING), method, cwd=tmp_path)
    pid = int(done.out.split(">")[0].split()[-1])
    assert reports(done.err)[pid] == "1 x yula.Loop ran"


def test_multiprocessing_without_handing_over_leaves_a_spawned_child_alone(script, tmp_path):
    path = script(MULTIPROCESSING)
    done = execute(*YULA, "--no-children", path, "spawn", cwd=tmp_path)
    assert told(done.out) == ["asyncio"]


def test_a_process_pool_runs_on_yula(script, tmp_path):
    text = (
        CHILD
        + """
import concurrent.futures, multiprocessing
def work(_):
    async def main(): return tell()
    return asyncio.run(main())
async def main():
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        print(tell(), await asyncio.get_running_loop().run_in_executor(pool, work, 1))
if __name__ == "__main__":
    asyncio.run(main())
"""
    )
    assert told(execute(*YULA, script(text), cwd=tmp_path).out) == ["yula", "yula"]


# --- other children ------------------------------------------------------------------------------

SUBPROCESS = """
import subprocess, sys
code = "import child, asyncio; asyncio.run(child.main())"
sys.exit(subprocess.run([sys.executable, "-c", code]).returncode)
"""


def test_a_python_child_runs_on_yula(script, tmp_path):
    script(CHILD, "child.py")
    done = execute(*YULA, script(SUBPROCESS), cwd=tmp_path)
    assert told(done.out) == ["yula"]


def test_a_python_child_of_a_child_that_is_not_python_runs_on_yula(script, tmp_path):
    child = script(CHILD + "asyncio.run(main())", "child.py")
    text = f"import os; os.system('{sys.executable} {child}; true')"
    assert told(execute(*YULA, script(text), cwd=tmp_path).out) == ["yula"]


def test_a_child_started_by_the_loop_runs_on_yula(script, tmp_path):
    child = script(CHILD + "asyncio.run(main())", "child.py")
    text = f"""
import sys
async def main():
    process = await asyncio.create_subprocess_exec(sys.executable, {str(child)!r})
    await process.wait()
    print(tell())
asyncio.run(main())
"""
    assert told(execute(*YULA, script(TELL + text), cwd=tmp_path).out) == ["yula", "yula"]


def test_children_get_the_options_of_the_runner(script, tmp_path):
    script(CHILD, "child.py")
    path = script(SUBPROCESS)
    done = execute(*YULA, "--report", "--keep", "default", path, cwd=tmp_path)
    assert told(done.out) == ["asyncio"]
    lines = done.err.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("1 x asyncio.unix_events._UnixSelectorEventLoop ran")
    assert lines[1].endswith("asyncio was not imported")


def test_children_are_left_alone_if_asked(script, tmp_path):
    script(CHILD, "child.py")
    text = "import child, asyncio; asyncio.run(child.main())\n" + SUBPROCESS
    done = execute(*YULA, "--no-children", script(text), cwd=tmp_path)
    assert told(done.out) == ["yula", "asyncio"]


def test_one_child_can_be_left_alone(script, tmp_path):
    script(CHILD, "child.py")
    text = "import os; os.environ['YULA_RUN'] = 'off'\n" + SUBPROCESS
    assert told(execute(*YULA, script(text), cwd=tmp_path).out) == ["asyncio"]


def test_the_runner_can_run_inside_the_runner(script, tmp_path):
    script(CHILD + "asyncio.run(main())", "child.py")
    text = SUBPROCESS.replace('"-c", code', '"-m", "yula", "--keep=default", "child.py"')
    done = execute(*YULA, script(text), cwd=tmp_path)
    assert told(done.out) == ["asyncio"], done


def test_a_child_in_isolated_mode_is_an_ordinary_python(script, tmp_path):
    child = script(CHILD + "asyncio.run(main())", "child.py")
    text = f"import subprocess, sys; subprocess.run([sys.executable, '-I', {str(child)!r}])"
    done = execute(*YULA, script(text), cwd=tmp_path)
    assert told(done.out) == ["asyncio"]
    assert done.err == ""


def test_a_child_s_path_is_that_of_a_direct_run(script, tmp_path):
    child = "import sys; print(sys.path)"
    path = script(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])")
    assert execute(*YULA, path, cwd=tmp_path) == execute(path, cwd=tmp_path)


# --- children of another environment -------------------------------------------------------------


def make_venv(folder):
    venv.create(folder, symlinks=True, with_pip=False)
    return folder / "bin/python"


def test_a_child_of_a_virtual_environment_without_yula_still_runs_on_it(script, tmp_path):
    # The same interpreter: the parent's yula fits, wherever it was found.
    if _editable():
        pytest.skip("an editable yula can be imported from its own environment only")
    python = make_venv(tmp_path / "venv")
    child = script(CHILD + "asyncio.run(main())", "child.py")
    text = f"import subprocess; subprocess.run([{str(python)!r}, {str(child)!r}])"
    done = execute(*YULA, script(text), cwd=tmp_path)
    assert told(done.out) == ["yula"], done
    assert done.err == ""


def _editable():
    return bool(list(Path(sysconfig.get_path("purelib")).glob("*yula*editable*")))


def test_a_child_where_yula_cannot_be_imported_is_an_ordinary_python(script, tmp_path):
    # A yula found first that does not work stands for one built for another Python.
    broken = script("raise ImportError('built for another Python')", "broken/yula/__init__.py")
    child = script(CHILD + "asyncio.run(main())", "child.py")
    text = f"""
import os, subprocess, sys
startup, rest = os.environ["PYTHONPATH"].split(os.pathsep)[0], {str(broken.parent.parent)!r}
moved = os.path.join({str(tmp_path)!r}, "a", "b", "c", "startup")
import shutil; shutil.copytree(startup, moved)  # far from any yula/
os.environ["PYTHONPATH"] = os.pathsep.join([moved, rest])
subprocess.run([sys.executable, {str(child)!r}])
"""
    done = execute(*YULA, script(text), cwd=tmp_path)
    assert told(done.out) == ["asyncio"], done
    assert done.err == ""


@pytest.mark.skipif(not OTHERS, reason="there is no other Python on this machine")
@pytest.mark.parametrize("version", OTHERS)
def test_a_child_of_another_python_runs_as_ever(script, tmp_path, version):
    script("SITE = 'mine'", "site/sitecustomize.py")
    child = script(
        "import sys, sitecustomize\nprint(sitecustomize.SITE, sys.path[1:3])\n"
        "try: import asyncio\nexcept ImportError: pass\n"
        "sys.exit(5)\n",
        "child.py",
    )
    text = (
        f"import subprocess, sys; sys.exit(subprocess.call([{OTHERS[version]!r}, {str(child)!r}]))"
    )
    path, env = script(text), first_in_path(tmp_path / "site")
    direct = execute(path, cwd=tmp_path, env=env)
    assert direct.code == 5, direct
    assert execute(*YULA, path, cwd=tmp_path, env=env) == direct
