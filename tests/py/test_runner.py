"""A program under `python -m yula` cannot tell that it is not run directly, and neither can a user.

Most tests run the same command twice, without and with `-m yula`, and compare everything.
"""

import os
import platform
import shutil
import signal
import sys
import zipfile

import pytest
from programs import TELL, YULA, Finished, execute, first_in_path, started, told

import yula

# What a program can see of how it was started.
SHOW = """\
import builtins, os, sys
main = sys.modules["__main__"]
print("name", __name__, "file", globals().get("__file__"), "package", __package__)
print("spec", __spec__ and (__spec__.name, __spec__.origin, type(__spec__.loader)))
print("loader", type(__loader__), "cached", globals().get("__cached__"), "doc", __doc__)
print("builtins", __builtins__ is builtins, "main", vars(main) is globals(), sorted(globals()))
print("argv", sys.argv, sys.orig_argv)
print("path", sys.path)
print("flags", sys.flags, sys.warnoptions, sys._xoptions)
print("executable", sys.executable, sys.prefix)
print("streams", sys.stdin.encoding, sys.stdin.errors, sys.stdout.encoding, sys.stdout.errors)
hidden = "PYTHONPATH", "YULA_RUN"
print("environment", sorted((k, v) for k, v in os.environ.items() if k not in hidden))
print("sitecustomize", "sitecustomize" in sys.modules, "asyncio", "asyncio" in sys.modules)
"""


def same(*command, cwd, before=(), **keywords):
    """Run directly and on yula, assert that nothing differs, return what both did."""
    direct = execute(*before, *command, cwd=cwd, **keywords)
    assert execute(*before, *YULA, *command, cwd=cwd, **keywords) == direct
    return direct


@pytest.fixture
def script(tmp_path):
    """script(text): writes app.py and returns its path."""

    def script(text, name="app.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return script


# --- what a program sees -------------------------------------------------------------------------


def test_a_script_sees_what_it_sees_directly(script, tmp_path):
    out = same(script(SHOW), "one", "--two", "-m", "yula", "", cwd=tmp_path).out
    assert "'one', '--two', '-m', 'yula', '']" in out
    assert "asyncio False" in out


def test_a_script_by_a_relative_path_sees_what_it_sees_directly(script, tmp_path):
    script(SHOW, "folder/app.py")
    same("folder/app.py", "argument", cwd=tmp_path)


def test_a_module_sees_what_it_sees_directly(script, tmp_path):
    script(SHOW, "package/module.py")
    assert "package package\n" in same("-m", "package.module", "argument", cwd=tmp_path).out


def test_a_package_sees_what_it_sees_directly(script, tmp_path):
    script("", "package/__init__.py")
    script(SHOW, "package/__main__.py")
    same("-mpackage", "argument", cwd=tmp_path)


@pytest.mark.parametrize("form", [["-c", SHOW], ["-c" + SHOW]], ids=["-c code", "-ccode"])
def test_code_sees_what_it_sees_directly(tmp_path, form):
    same(*form, "argument", cwd=tmp_path)


def test_a_program_on_stdin_sees_what_it_sees_directly(tmp_path):
    assert "argv ['-', 'argument']" in same("-", "argument", stdin=SHOW, cwd=tmp_path).out


def test_no_program_at_all_is_read_from_stdin_as_python_does(tmp_path):
    assert same(stdin=SHOW, cwd=tmp_path).out.startswith("name __main__")


def test_a_folder_sees_what_it_sees_directly(script, tmp_path):
    script(SHOW, "folder/__main__.py")
    same("folder", "argument", cwd=tmp_path)


def test_an_archive_sees_what_it_sees_directly(tmp_path):
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", SHOW)
    same("archive.zip", "argument", cwd=tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        ["-X", "dev", "-W", "error::UserWarning"],
        ["-Wdefault", "-Xutf8=0", "-O"],
        ["-P", "-s", "-B"],
        ["-q", "-bb"],
    ],
    ids=" ".join,
)
def test_python_s_own_options_reach_the_program(script, tmp_path, options):
    same(script(SHOW), cwd=tmp_path, before=options)


@pytest.mark.parametrize("joined", [["-myula"], ["-Bm", "yula"], ["-Bmyula"]], ids=" ".join)
def test_the_runner_may_be_joined_to_other_options(script, tmp_path, joined):
    path = script(SHOW)
    options = ["-B"] if "B" in joined[0] else []
    assert execute(*joined, path, "a", cwd=tmp_path) == execute(*options, path, "a", cwd=tmp_path)


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"},
        {"PYTHONDEVMODE": "1", "PYTHONHASHSEED": "7"},
        {"PYTHONSAFEPATH": "1", "PYTHONPATH": None},
        {"LC_ALL": None, "LANG": None, "LC_CTYPE": None},
        {"LC_ALL": None, "LANG": None, "LC_CTYPE": "C"},
        {"LC_ALL": None, "LANG": None, "LC_CTYPE": "C.UTF-8"},
        {"LC_ALL": "C", "PYTHONIOENCODING": "latin-1"},
    ],
    ids=lambda variables: " ".join(f"{name}={value}" for name, value in variables.items()),
)
def test_python_s_variables_reach_the_program(script, tmp_path, variables):
    # Without PYTHONPATH yula must be installed, or found in the current folder: make it so.
    link = tmp_path / "yula"
    if "PYTHONPATH" in variables:
        link.symlink_to(os.path.dirname(yula.__file__))
        del variables["PYTHONSAFEPATH"]
    same(script(SHOW), cwd=tmp_path, env=variables)


def test_pythonpath_is_all_that_differs_in_the_environment(script, tmp_path):
    path = script("import os\nprint(*sorted(os.environ.items()), sep='\\n')\n")
    env = first_in_path(tmp_path)
    direct = set(execute(path, cwd=tmp_path, env=env).out.splitlines())
    ours = set(execute(*YULA, path, cwd=tmp_path, env=env).out.splitlines())
    assert {eval(line)[0] for line in direct ^ ours} == {"PYTHONPATH", "YULA_RUN"}


def test_nothing_differs_in_the_environment_if_children_are_left_alone(script, tmp_path):
    path = script("import os\nprint(*sorted(os.environ.items()), sep='\\n')\n")
    direct = execute(path, cwd=tmp_path)
    assert execute(*YULA, "--no-children", path, cwd=tmp_path) == direct


def test_the_user_s_own_sitecustomize_is_run(script, tmp_path):
    script("print('mine', __name__, __file__)", "site/sitecustomize.py")
    env = first_in_path(tmp_path / "site")
    path = script(SHOW)
    direct, ours = execute(path, cwd=tmp_path, env=env), execute(*YULA, path, cwd=tmp_path, env=env)
    said = f"mine sitecustomize {tmp_path / 'site' / 'sitecustomize.py'}\n"
    assert direct.out.count(said) == 1
    # Once more, by the interpreter that started the program's.
    assert ours == direct._replace(out=said + direct.out)


def test_an_error_in_the_user_s_own_sitecustomize_is_told_as_usual(script, tmp_path):
    script("1/0", "site/sitecustomize.py")
    env = first_in_path(tmp_path / "site")
    direct = execute("-c", "print('on')", cwd=tmp_path, env=env)
    ours = execute(*YULA, "-c", "print('on')", cwd=tmp_path, env=env)
    assert "ZeroDivisionError" in direct.err
    assert ours.out == direct.out
    assert "ZeroDivisionError" in ours.err


def test_objects_of_the_script_can_be_pickled(script, tmp_path):
    text = "import pickle\ndef f(): pass\nclass C: pass\n"
    text += (
        "print(pickle.loads(pickle.dumps(f)) is f, type(pickle.loads(pickle.dumps(C()))) is C)\n"
    )
    assert same(script(text), cwd=tmp_path).out == "True True\n"


def test_python_stays_interactive_after_the_program_with_its_option_i(script, tmp_path):
    done = same(script("x = 42"), cwd=tmp_path, before=["-i", "-q"], stdin="print(x)\n")
    assert "42" in done.out


def test_warnings_name_the_program_s_line(script, tmp_path):
    text = "import warnings\n\nwarnings.warn('old', DeprecationWarning)\n"
    assert ":3: DeprecationWarning: old" in same(script(text), cwd=tmp_path).err


# --- how a program ends --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("pass", 0),
        ("sys.exit()", 0),
        ("sys.exit(None)", 0),
        ("sys.exit(5)", 5),
        ("sys.exit(True)", 1),
        ("sys.exit(256)", 0),
        ("sys.exit(-1)", 255),
        ("sys.exit('a message')", 1),
        ("sys.exit(3.5)", 1),
        ("raise SystemExit(9)", 9),
        ("os._exit(4)", 4),
        ("os.abort()", -signal.SIGABRT),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -signal.SIGINT),
        ("1/0", 1),
        ("raise type('Odd', (BaseException,), {})('odd')", 1),
        ("atexit.register(print, 'bye'); 1/0", 1),
    ],
)
def test_a_program_ends_as_it_ends_directly(script, tmp_path, ending, code):
    path = script(f"import atexit, os, signal, sys, time\ndef end():\n    {ending}\nend()\n")
    assert same(path, cwd=tmp_path).code == code


def test_a_program_ends_as_it_ends_directly_from_its_loop(script, tmp_path):
    path = script("import asyncio, sys\nasync def main(): sys.exit(6)\nasyncio.run(main())\n")
    direct, ours = execute(path, cwd=tmp_path), execute(*YULA, path, cwd=tmp_path)
    assert ours == direct == (6, "", "")


@pytest.mark.parametrize(
    "text",
    ["x = (", "import missing_module", "raise ValueError('caused') from KeyError('cause')"],
)
@pytest.mark.parametrize("form", ["script", "module", "code", "stdin"])
def test_a_traceback_is_the_one_of_a_direct_run(script, tmp_path, text, form):
    path = script(text)
    command = {"script": [path], "module": ["-m", "app"], "code": ["-c", text], "stdin": ["-"]}
    done = same(*command[form], cwd=tmp_path, stdin=text if form == "stdin" else "")
    assert done.code == 1
    assert "Error" in done.err


def test_a_traceback_out_of_a_coroutine_has_no_frame_of_the_runner(script, tmp_path):
    text = "import asyncio\nasync def main():\n    1/0\nasyncio.run(main())\n"
    done = execute(*YULA, script(text), cwd=tmp_path)
    assert done.code == 1
    assert done.err.count('app.py", line') == 2
    assert "yula/cli" not in done.err
    assert "runpy" not in done.err


@pytest.mark.parametrize("command", [["missing.py"], ["-m", "missing_module"], ["."]], ids=str)
def test_a_program_that_is_not_there_is_reported_as_usual(tmp_path, command):
    assert same(*command, cwd=tmp_path).code != 0


WAITING = {
    "loop": """
async def main():
    print("ready", tell())
    await asyncio.get_running_loop().create_future()
asyncio.run(main())
""",
    "no loop": """
import time
while True: print("ready"); time.sleep(60)
""",
}


@pytest.mark.parametrize("waits_in", WAITING)
def test_ctrl_c_ends_a_waiting_program_as_it_ends_it_directly(script, tmp_path, waits_in):
    path = script(TELL + WAITING[waits_in])
    ends = []
    for runner in ((), YULA):
        with started(*runner, path, cwd=tmp_path) as program:
            program.read_until("ready")
            program.stop(signal.SIGINT)
        own = [line for line in program.text.splitlines() if "app.py" in line]
        ends.append((program.code, own, program.text.splitlines()[-1]))
        kinds = told(program.text)
    assert ends[0] == ends[1]
    assert ends[1][0] == -signal.SIGINT
    assert ends[1][2] == "KeyboardInterrupt"
    assert kinds == (["yula"] if waits_in == "loop" else [])


def test_ctrl_c_that_the_program_catches_is_its_own(script, tmp_path):
    text = """
async def main():
    try:
        print("ready", tell())
        await asyncio.get_running_loop().create_future()
    finally:
        print("cleaned up")
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("caught"); raise SystemExit(11)
"""
    with started(*YULA, script(TELL + text), cwd=tmp_path) as program:
        program.read_until("ready")
        program.stop(signal.SIGINT)
    assert program.code == 11
    assert program.text.endswith("cleaned up\ncaught\n")


def test_an_ignored_ctrl_c_stays_ignored(script, tmp_path):
    # As under nohup, or after `&` in a script.
    path = script("import signal\nprint(signal.getsignal(signal.SIGINT))\n")
    shell = f"trap '' INT; {sys.executable} -m yula {path}"
    done = execute("-c", f"import os; os.execl('/bin/sh', 'sh', '-c', {shell!r})", cwd=tmp_path)
    assert done.out.strip() in ("1", "Handlers.SIG_IGN"), done


# --- the runner's own command line ---------------------------------------------------------------


def test_help_lists_the_options(tmp_path):
    done = execute(*YULA, "--help", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    for option in ("--report", "--no-children", "--keep", "--version"):
        assert option in done.out
    assert execute(*YULA, "-h", cwd=tmp_path) == done


def test_version_names_yula_s_and_python_s(tmp_path):
    expected = f"yula {yula.__version__}, Python {platform.python_version()}\n"
    assert execute(*YULA, "--version", cwd=tmp_path) == Finished(0, expected, "")


@pytest.mark.parametrize("option", ["--nonsense", "-X", "-i", "--keep=everything", "--keep"])
def test_an_option_it_does_not_know_is_refused(tmp_path, option):
    done = execute(*YULA, option, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert option.split("=")[0] in done.err


def test_options_after_the_program_are_the_program_s(script, tmp_path):
    path = script("import sys; print(sys.argv[1:])")
    done = execute(*YULA, path, "--help", "--report", cwd=tmp_path)
    assert done == Finished(0, "['--help', '--report']\n", "")


@pytest.mark.parametrize("option", ["-I", "-E", "-S"])
def test_options_under_which_it_cannot_work_are_refused_with_the_reason(tmp_path, option):
    # -I and -E hide PYTHONPATH from this test as well: say where yula is by other means.
    root = os.path.dirname(os.path.dirname(yula.__file__))
    text = (
        f"import sys, runpy; sys.path[:0] = {[root, *sys.path]!r}; sys.argv = ['yula', 'app.py']; "
    )
    text += "runpy.run_module('yula', run_name='__main__')"
    done = execute(option, "-c", text, cwd=tmp_path)
    assert done.code == 2
    assert f"with {option} Python does not read" in done.err


@pytest.mark.parametrize("tool", ["cProfile", "pdb"])
def test_another_wrapper_before_the_runner_wraps_the_program(script, tmp_path, tool):
    path = script(TELL + "async def main(): print(tell())\nasyncio.run(main())\n")
    options = {"cProfile": [], "pdb": ["-c", "continue"]}[tool]
    done = execute("-m", tool, *options, *YULA, path, cwd=tmp_path, stdin="quit\n")
    assert told(done.out) == ["yula"], done


def test_a_program_can_be_wrapped_by_the_runner_and_then_another(script, tmp_path):
    path = script(TELL + "async def main(): print(tell())\nasyncio.run(main())\n")
    done = execute(*YULA, "-m", "cProfile", path, cwd=tmp_path)
    assert told(done.out) == ["yula"]
    assert "function calls" in done.out


@pytest.mark.skipif(not shutil.which("script"), reason="needs a terminal: util-linux's `script`")
def test_no_program_on_a_terminal_is_an_error(tmp_path):
    command = f"{sys.executable} -m yula"
    done = execute(
        "-c",
        f"import os; os.execlp('script', 'script', '-qec', {command!r}, '/dev/null')",
        cwd=tmp_path,
    )
    assert done.code == 2
    assert "no program to run" in done.out
