"""Every way in which a program asks for a loop gives yula's under `python -m yula`."""

import importlib.util
import re
import sys
import sysconfig
import venv
from importlib import metadata
from pathlib import Path

import pytest
from programs import TELL, YULA, execute, reports, told, without_uvloop

PROGRAM = TELL + "async def main(): print(tell())\n"
has_policies = pytest.mark.skipif(
    sys.version_info >= (3, 16), reason="Python 3.16 has no event loop policies"
)
has_uvloop = pytest.mark.skipif(
    importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed"
)
has_event_loop = pytest.mark.skipif(
    sys.version_info < (3, 13), reason="asyncio.EventLoop is new in Python 3.13"
)


def run(text, tmp_path, *options, before=(), env=None):
    script = tmp_path / "app.py"
    script.write_text(PROGRAM + text)
    done = execute(*before, *YULA, *options, script, cwd=tmp_path, env=env)
    assert done.code == 0, done.err
    return done


ASKING = {
    "asyncio.run": "asyncio.run(main())",
    "Runner": "with asyncio.Runner() as runner: runner.run(main())",
    "new_event_loop": """
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
""",
    "SelectorEventLoop": """
loop = asyncio.SelectorEventLoop()
loop.run_until_complete(main())
loop.close()
""",
    "SelectorEventLoop(None)": """
loop = asyncio.SelectorEventLoop(selector=None)
loop.run_until_complete(main())
loop.close()
""",
    "unix_events.SelectorEventLoop": """
from asyncio.unix_events import SelectorEventLoop
with asyncio.Runner(loop_factory=SelectorEventLoop) as runner: runner.run(main())
""",
    "a thread": """
import threading
thread = threading.Thread(target=lambda: asyncio.run(main()))
thread.start(); thread.join()
""",
    "asyncio imported by a thread": """
import sys, threading
for name in [name for name in sys.modules if name.split(".")[0] in ("asyncio", "yula")]:
    del sys.modules[name]
def work():
    global asyncio
    import asyncio
    asyncio.run(main())
thread = threading.Thread(target=work)
thread.start(); thread.join()
""",
    "yula itself": "import yula; yula.run(main())",
    "unittest": """
import unittest
class Test(unittest.IsolatedAsyncioTestCase):
    async def test(self): await main()
unittest.main(argv=["app"])
""",
}


@pytest.mark.parametrize("way", ASKING)
def test_a_program_gets_yula_s_loop_from(tmp_path, way):
    assert told(run(ASKING[way], tmp_path).out) == ["yula"]


@has_event_loop
def test_a_program_gets_yula_s_loop_from_asyncio_event_loop(tmp_path):
    text = """
print(asyncio.EventLoop is asyncio.SelectorEventLoop)
with asyncio.Runner(loop_factory=asyncio.EventLoop) as runner: runner.run(main())
"""
    done = run(text, tmp_path)
    assert done.out.startswith("True\n")
    assert told(done.out) == ["yula"]


@has_policies
@pytest.mark.parametrize(
    "policy",
    ["asyncio.DefaultEventLoopPolicy()", "type('P', (asyncio.DefaultEventLoopPolicy,), {})()"],
)
def test_asyncio_s_own_policy_set_by_hand_makes_yula_s_loops(tmp_path, policy):
    text = f"""
import warnings; warnings.simplefilter("ignore")
asyncio.set_event_loop_policy({policy})
asyncio.run(main())
"""
    assert told(run(text, tmp_path).out) == ["yula"]


def test_asyncio_s_command_line_runs_on_yula(tmp_path):
    done = execute(
        *YULA, "-m", "asyncio", cwd=tmp_path, stdin="print(type(asyncio.get_running_loop()))\n"
    )
    assert "yula" in done.out


def test_a_program_that_imports_yula_first_is_served(tmp_path):
    (tmp_path / "first.py").write_text("import yula, asyncio\n" + PROGRAM + ASKING["Runner"])
    assert told(execute(*YULA, "first.py", cwd=tmp_path).out) == ["yula"]


def test_asyncio_is_not_imported_for_a_program_that_does_not_use_it(tmp_path):
    done = execute(*YULA, "-c", "import sys; print(*sys.modules)", cwd=tmp_path)
    assert done.code == 0
    assert {"asyncio", "yula", "_asyncio"} & set(done.out.split()) == set()


def test_nothing_is_warned_of_in_a_program_with_warnings_as_errors(tmp_path):
    done = run("import asyncio.unix_events\nasyncio.run(main())", tmp_path, before=("-W", "error"))
    assert done.err == ""


@pytest.mark.parametrize("order", ["import yula, asyncio\n", "import asyncio, yula\n", ""])
def test_a_program_that_hides_yula_is_told_that_it_runs_on_asyncio(tmp_path, order):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/yula.py").write_text("")
    (tmp_path / "folder/app.py").write_text(order + PROGRAM + "asyncio.run(main())")
    done = execute(*YULA, "folder/app.py", cwd=tmp_path)
    assert (done.code, told(done.out)) == (0, ["asyncio"])
    assert done.err.startswith("yula: this program runs on asyncio's own loops: ")
    assert done.err.count("\n") == 1


# --- classes -------------------------------------------------------------------------------------


def test_a_running_loop_is_an_instance_of_asyncio_s_names(tmp_path):
    text = """
async def check():
    loop = asyncio.get_running_loop()
    print(isinstance(loop, asyncio.SelectorEventLoop), isinstance(loop, asyncio.AbstractEventLoop))
    print(issubclass(type(loop), asyncio.SelectorEventLoop), isinstance(1, type(loop)))
    print(issubclass(int, asyncio.SelectorEventLoop))
    print(issubclass(asyncio.SelectorEventLoop, asyncio.AbstractEventLoop))
asyncio.run(check())
"""
    assert run(text, tmp_path).out == "True True\nTrue False\nFalse\nTrue\n"


def test_a_class_derived_from_asyncio_s_loop_stays_asyncio_s_and_works(tmp_path):
    text = """
class Counting(asyncio.SelectorEventLoop):
    turns = 0
    def __init__(self, selector=None, *, name="x"):
        super().__init__(selector)
        self.name = name
    def _run_once(self):
        self.turns += 1
        super()._run_once()
loop = Counting(name="mine")
loop.run_until_complete(main())
loop.close()
print(loop.turns > 1, loop.name, Counting.__name__, Counting.__module__)
print(isinstance(loop, asyncio.SelectorEventLoop), issubclass(Counting, asyncio.SelectorEventLoop))
"""
    out = run(text, tmp_path).out
    assert out.startswith("<__main__ Counting ")
    assert out.endswith("True mine Counting __main__\nTrue True\n")


def test_a_class_may_derive_from_asyncio_s_loop_and_others(tmp_path):
    text = """
class Mixin:
    def __init_subclass__(cls, word=None, **keywords):
        super().__init_subclass__(**keywords)
        cls.word = word
class Mixed(Mixin, asyncio.SelectorEventLoop, word="kept"): pass
class Again(Mixed): pass
with asyncio.Runner(loop_factory=Mixed) as runner: runner.run(main())
with asyncio.Runner(loop_factory=Again) as runner: runner.run(main())
print(Mixed.word)
"""
    out = run(text, tmp_path).out
    assert "<__main__ Mixed " in out and "<__main__ Again " in out
    assert out.endswith("kept\n")


def test_a_selector_of_the_program_s_own_is_used(tmp_path):
    text = """
import selectors
class Mine(selectors.DefaultSelector):
    asked = 0
    def select(self, timeout=None):
        self.asked += 1
        return super().select(timeout)
mine = Mine()
loop = asyncio.SelectorEventLoop(mine)
loop.run_until_complete(main())
loop.close()
print(mine.asked > 0, isinstance(loop, asyncio.SelectorEventLoop))
"""
    done = run(text, tmp_path)
    assert told(done.out) == ["asyncio"]
    assert done.out.endswith("True True\n")


def test_asyncio_s_names_can_be_pickled_and_annotated(tmp_path):
    text = """
import pickle
print(pickle.loads(pickle.dumps(asyncio.SelectorEventLoop)) is asyncio.SelectorEventLoop)
def f(loop: asyncio.SelectorEventLoop | None) -> type[asyncio.SelectorEventLoop]: ...
print(asyncio.SelectorEventLoop.__module__, asyncio.SelectorEventLoop.__name__)
"""
    assert run(text, tmp_path).out == "True\nasyncio SelectorEventLoop\n"


def test_a_loop_class_of_the_program_s_own_is_left_alone(tmp_path):
    text = """
class Own(asyncio.BaseEventLoop): pass
print(Own.__mro__[1] is asyncio.BaseEventLoop, isinstance(Own(), asyncio.SelectorEventLoop))
"""
    assert run(text, tmp_path).out == "True False\n"


# --- uvloop --------------------------------------------------------------------------------------

UVLOOP = {
    "uvloop.run": "import uvloop\nuvloop.run(main())",
    "uvloop.new_event_loop": """
import uvloop
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner: runner.run(main())
""",
    "uvloop.Loop": """
from uvloop import Loop
with asyncio.Runner(loop_factory=Loop) as runner: runner.run(main())
print(isinstance(Loop(), Loop))
""",
    "uvloop.install": """
import warnings; warnings.simplefilter("ignore")
import uvloop
uvloop.install()
asyncio.run(main())
""",
    "uvloop.EventLoopPolicy": """
import warnings; warnings.simplefilter("ignore")
import uvloop
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
asyncio.run(main())
""",
    "uvloop.install, with a child process": """
import sys, uvloop, warnings; warnings.simplefilter("ignore")
uvloop.install()
async def child():
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    assert await process.wait() == 0
    await main()
asyncio.run(child())
""",
}


@has_uvloop
@pytest.mark.parametrize("way", UVLOOP)
def test_a_program_gets_yula_s_loop_from_uvloop(tmp_path, way):
    if ("install" in way or "Policy" in way) and sys.version_info >= (3, 16):
        pytest.skip("Python 3.16 has no event loop policies")
    assert told(run(UVLOOP[way], tmp_path).out) == ["yula"]


@has_uvloop
def test_a_class_derived_from_uvloop_s_loop_stays_uvloop_s(tmp_path):
    text = """
import uvloop
class Mine(uvloop.Loop): pass
with asyncio.Runner(loop_factory=Mine) as runner: runner.run(main())
print(issubclass(Mine, uvloop.Loop), isinstance(asyncio.new_event_loop(), uvloop.Loop))
print(uvloop.__version__)
"""
    out = run(text, tmp_path).out
    assert out.startswith("<__main__ Mine ")
    assert out.endswith(f"True True\n{metadata.version('uvloop')}\n")


def test_a_program_that_falls_back_without_uvloop_gets_yula_s_loop(tmp_path):
    text = """
try: from uvloop import new_event_loop
except ImportError: new_event_loop = asyncio.SelectorEventLoop; print("no uvloop")
with asyncio.Runner(loop_factory=new_event_loop) as runner: runner.run(main())
"""
    done = run(text, tmp_path, env=without_uvloop(tmp_path))
    assert done.out.startswith("no uvloop\n")
    assert told(done.out) == ["yula"]


def test_another_module_of_the_name_uvloop_is_left_alone(tmp_path):
    (tmp_path / "uvloop.py").write_text("class Loop: pass\nname = __spec__.loader.__class__\n")
    text = "import uvloop; print(type(uvloop.Loop()).__module__, uvloop.name.__name__)"
    assert run(text, tmp_path).out == "uvloop SourceFileLoader\n"


# --- options -------------------------------------------------------------------------------------

KEPT = """
with asyncio.Runner() as runner: runner.run(main())
with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner: runner.run(main())
"""


@pytest.mark.parametrize(
    ("keep", "kinds"),
    [
        ([], ["yula", "yula"]),
        (["--keep", "default"], ["asyncio", "yula"]),
        (["--keep=selector"], ["yula", "asyncio"]),
        (["--keep=selector", "--keep", "default"], ["asyncio", "asyncio"]),
    ],
    ids=" ".join,
)
def test_a_kind_of_loop_can_be_kept(tmp_path, keep, kinds):
    assert told(run(KEPT, tmp_path, *keep).out) == kinds


@has_uvloop
def test_uvloop_s_loops_can_be_kept(tmp_path):
    text = KEPT + UVLOOP["uvloop.run"]
    assert told(run(text, tmp_path, "--keep", "uvloop").out) == ["yula", "yula", "uvloop"]


# --- the report ----------------------------------------------------------------------------------


def test_the_report_says_which_loops_ran(tmp_path):
    text = (
        KEPT
        + """
asyncio.new_event_loop().close()
import os; print(os.getpid())
loop = asyncio.new_event_loop()
loop.run_until_complete(main()); loop.run_until_complete(main())
loop.close()
"""
    )
    done = run(text, tmp_path, "--report", "--keep=selector")
    pid = int(done.out.split("\n")[2])
    asyncio_s = "1 x asyncio.unix_events._UnixSelectorEventLoop"
    assert reports(done.err) == {pid: f"{asyncio_s}, 2 x yula.Loop ran"}
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "asyncio was not imported"), ("import asyncio", "no event loop ran")],
)
def test_the_report_says_that_no_loop_ran(tmp_path, text, said):
    done = execute(*YULA, "--report", "-c", text, cwd=tmp_path)
    assert done.err.endswith(f": {said}\n")
    assert done.err.count("\n") == 1


@has_uvloop
def test_the_report_names_uvloop_s_loop_if_that_ran(tmp_path):
    done = run(UVLOOP["uvloop.run"], tmp_path, "--report", "--keep=uvloop")
    assert done.err.endswith(": 1 x uvloop.Loop ran\n")


@pytest.mark.parametrize("ending", ["sys.exit(3)", "1/0", "os.kill(os.getpid(), signal.SIGTERM)"])
def test_the_report_is_made_however_the_program_ends_and_changes_nothing(tmp_path, ending):
    script = tmp_path / "app.py"
    script.write_text(PROGRAM + f"import os, signal, sys\nasyncio.run(main())\n{ending}\n")
    plain = execute(*YULA, script, cwd=tmp_path)
    reported = execute(*YULA, "--report", script, cwd=tmp_path)
    assert reported.code == plain.code != 0
    assert reported.err.startswith(plain.err)
    assert [*reports(reported.err).values()] == ["1 x yula.Loop ran"]


def test_the_report_adds_up_the_turns_of_yula_s_loops(tmp_path):
    text = """
async def turn(times):
    for _ in range(times): await asyncio.sleep(0)
loop = asyncio.new_event_loop()
loop.run_until_complete(turn(100))
loop.run_until_complete(turn(200))
loop.close()
asyncio.run(turn(300))
"""
    said = re.search(r": 2 x yula.Loop \((\d+) turns\) ran\n", run(text, tmp_path, "--report").err)
    assert 600 < int(said[1]) < 700


def test_there_is_no_report_unless_it_was_asked_for(tmp_path):
    assert run("asyncio.run(main())", tmp_path).err == ""


def test_the_runner_works_where_a_pth_file_has_imported_asyncio(tmp_path):
    venv.create(tmp_path / "venv", symlinks=True, with_pip=False)
    inside = {"base": tmp_path / "venv", "platbase": tmp_path / "venv"}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=inside))
    ours = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (packages / "early.pth").write_text(ours + "import asyncio\n")
    (tmp_path / "app.py").write_text(PROGRAM + "asyncio.run(main())")
    python = tmp_path / "venv/bin/python"
    text = "import sys; print('asyncio' in sys.modules)"
    assert execute("-c", text, cwd=tmp_path, python=python).out == "True\n"
    done = execute(*YULA, "app.py", cwd=tmp_path, python=python)
    assert told(done.out) == ["yula"], done
