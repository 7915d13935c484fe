"""yula.install() and yula.EventLoopPolicy, where Python has policies; their absence elsewhere."""

import sys

import pytest
from programs import TELL, execute, told

POLICIES = sys.version_info < (3, 16)
DEPRECATED = sys.version_info >= (3, 14)
has_policies = pytest.mark.skipif(not POLICIES, reason="Python 3.16 has no event loop policies")


def run(text, tmp_path, *options):
    done = execute(*options, "-c", TELL + "async def main(): print(tell())\n" + text, cwd=tmp_path)
    assert done.code == 0, done.err
    return done


@has_policies
def test_install_makes_asyncio_run_use_yula(tmp_path):
    done = run("import yula; yula.install(); asyncio.run(main())", tmp_path)
    assert told(done.out) == ["yula"]


@has_policies
def test_install_does_not_change_asyncio_s_classes(tmp_path):
    text = """
own = asyncio.SelectorEventLoop
import yula; yula.install()
print(asyncio.SelectorEventLoop is own, yula.new_event_loop().close())
with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner: runner.run(main())
"""
    done = run(text, tmp_path)
    assert done.out.startswith("True None\n")
    assert told(done.out) == ["asyncio"]


@has_policies
def test_the_policy_can_be_set_by_hand(tmp_path):
    text = """
import warnings, yula
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    policy = yula.EventLoopPolicy()
    print(len(caught), "warnings")
    asyncio.set_event_loop_policy(policy)
asyncio.run(main())
"""
    done = run(text, tmp_path)
    assert done.out.startswith("0 warnings\n")
    assert told(done.out) == ["yula"]


@has_policies
def test_a_class_can_derive_from_the_policy(tmp_path):
    text = """
import yula
class Policy(yula.EventLoopPolicy):
    def new_event_loop(self):
        print("asked"); return super().new_event_loop()
if hasattr(asyncio.events, "_set_event_loop_policy"): asyncio.events._set_event_loop_policy(Policy())
else: asyncio.set_event_loop_policy(Policy())
asyncio.run(main())
"""
    done = run(text, tmp_path)
    assert done.out.startswith("asked\n")
    assert told(done.out) == ["yula"]


@has_policies
def test_a_subprocess_can_be_waited_for_under_the_policy(tmp_path):
    # Before Python 3.14 this goes through the policy's child watcher.
    text = """
import sys, yula
yula.install()
async def child():
    print(tell())
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "raise SystemExit(7)")
    print(await process.wait())
asyncio.run(child())
"""
    done = run(text, tmp_path)
    assert told(done.out) == ["yula"]
    assert done.out.endswith("\n7\n")


@has_policies
def test_the_main_thread_s_get_event_loop_is_that_of_this_python(tmp_path):
    text = """
import warnings; warnings.simplefilter("ignore")
def ask():
    try: loop = asyncio.get_event_loop()
    except RuntimeError as error: return str(error)
    loop.close(); return "made one"
expected = ask()
asyncio.events._event_loop_policy = None
import yula; yula.install()
print(ask() == expected)
"""
    assert run(text, tmp_path).out == "True\n"


@has_policies
def test_install_warns_where_policies_are_deprecated_and_names_the_caller(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import yula\n\nyula.install()\n")
    done = execute("-W", "always", script, cwd=tmp_path)
    assert done.code == 0
    if DEPRECATED:
        assert f"{script}:3: DeprecationWarning: yula.install()" in done.err
        assert done.err.count("Warning:") == 1
    else:
        assert done.err == ""


@pytest.mark.parametrize("name", ["install", "EventLoopPolicy"])
def test_without_policies_the_names_are_missing_and_the_error_says_what_to_use(tmp_path, name):
    text = f"""
import asyncio.unix_events
if hasattr(asyncio.unix_events, "_UnixDefaultEventLoopPolicy"):  # as from Python 3.16 on
    del asyncio.unix_events._UnixDefaultEventLoopPolicy
import yula
print(hasattr(yula, "{name}"))
try: yula.{name}
except AttributeError as error: print(error)
"""
    out = run(text, tmp_path).out
    assert out.startswith(f"False\nyula.{name} does not exist here: Python 3.")
    assert "use yula.run(main)" in out
