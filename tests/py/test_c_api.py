"""The C API for extension modules (yula/python.h): C tasks beside Python, each way."""

import asyncio
import errno
import gc
import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
import weakref
from pathlib import Path

import pytest
from computing import computing
from extensions import compile_extension, load_extension

import yula

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def probe_path(tmp_path_factory):
    return compile_extension(HERE / "c_api_probe.c", tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="module")
def module(probe_path):
    return load_extension(probe_path)


@pytest.fixture
def probe(module):
    """The module; afterwards every job that was begun is finished."""
    yield module
    assert module.jobs() == 0


def run_program(probe_path, text, **env):
    """A program of its own that has the module as `probe`. What it printed."""
    start = (
        f"import sys; sys.path.insert(0, {str(probe_path.parent)!r}); import c_api_probe as probe\n"
    )
    path = os.pathsep.join(
        [str(Path(yula.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", start + textwrap.dedent(text)],
        capture_output=True, text=True, timeout=40, env={**os.environ, "PYTHONPATH": path, **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


# --- the header ---------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["whole", "limited"])
@pytest.mark.parametrize("compiler", ["cc -x c -std=c17", "c++ -x c++ -std=c++11"])
def test_a_module_may_be_c_or_cxx_and_keep_to_the_limited_api(compiler, api):
    command = compiler.split()
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]}")
    limits = ["-DPy_LIMITED_API=0x030b0000"] if api == "limited" else []
    folders = [f"-I{sysconfig.get_path('include')}", f"-I{HERE.parent.parent / 'include'}"]
    text = (
        "#include <Python.h>\n#include <yula/python.h>\nint (*used)(void) = yula_python_import;\n"
    )
    flags = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only", *limits, *folders]
    done = subprocess.run(
        [*command, *flags, "-"], input=text, capture_output=True, text=True, timeout=40
    )
    assert done.returncode == 0, done.stderr


# --- C tasks as futures -------------------------------------------------------------------------


def test_a_c_task_is_an_asyncio_future_with_its_result(probe):
    async def main():
        future = probe.spawn("return", code=42)
        assert type(future) is asyncio.get_running_loop().create_future().__class__
        return await future

    assert yula.run(main()) == 42


def test_without_a_finish_the_result_is_the_status_or_an_os_error(probe):
    async def main():
        assert await probe.spawn_plain(3) == 3
        with pytest.raises(FileNotFoundError):
            await probe.spawn_plain(-2)

    yula.run(main())


def test_c_tasks_run_on_one_other_thread(probe):
    async def main():
        return await asyncio.gather(*(probe.spawn("thread") for _ in range(3)))

    first, *others = yula.run(main())
    assert others == [first] * 2
    assert first != threading.get_native_id()


def test_c_tasks_go_on_while_python_holds_its_lock(probe):
    async def main():
        sleepers = [probe.spawn("sleep", seconds=0.01, code=n) for n in range(100)]
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            pass
        return await asyncio.gather(*sleepers)

    assert yula.run(main()) == list(range(100))


def test_cancelling_the_future_cancels_the_c_task(probe):
    async def main():
        future = probe.spawn("sleep", seconds=3600)
        await asyncio.sleep(0.01)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        while probe.jobs():
            await asyncio.sleep(0.001)

    yula.run(main())
    assert probe.last_status() == probe.YULA_ECANCELED


def test_a_c_task_cancelled_before_it_began_sees_it_at_its_first_wait(probe):
    async def main():
        probe.spawn("sleep", seconds=3600).cancel()
        while probe.jobs():
            await asyncio.sleep(0.001)

    yula.run(main())
    assert probe.last_status() == probe.YULA_ECANCELED


def test_a_c_task_that_says_it_was_cancelled_cancels_its_future(probe):
    async def main():
        with pytest.raises(asyncio.CancelledError):
            await probe.spawn("return", code=probe.YULA_ECANCELED)

    yula.run(main())


def test_a_timeout_around_a_c_task_cancels_it(probe):
    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(probe.spawn("sleep", seconds=3600), 0.01)
        while probe.jobs():
            await asyncio.sleep(0.001)

    yula.run(main())


# --- Python calls ---------------------------------------------------------------------------------


def test_a_c_task_calls_python_on_the_loops_thread(probe):
    async def main():
        assert await probe.spawn("call", threading.get_ident) == threading.get_ident()
        assert await probe.spawn("call", asyncio.get_running_loop) is asyncio.get_running_loop()

    yula.run(main())


def test_what_a_called_function_raises_can_be_kept(probe):
    async def main():
        with pytest.raises(ZeroDivisionError):
            await probe.spawn("call", lambda: 1 / 0)

    yula.run(main())


def test_an_exception_left_pending_goes_to_the_exception_handler(probe):
    async def main():
        told = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        assert await probe.spawn("call carelessly", lambda: 1 / 0) == 7
        return [type(context["exception"]) for context in told]

    assert yula.run(main()) == [ZeroDivisionError]


def test_system_exit_in_a_call_leaves_the_loop(probe):
    def leave():
        raise SystemExit(3)

    async def main():
        await probe.spawn("call carelessly", leave)

    with pytest.raises(SystemExit, match="3"):
        yula.run(main())


def test_ten_thousand_calls_of_many_tasks_are_all_made(probe):
    called = []

    async def main():
        await asyncio.gather(
            *(probe.spawn("call", lambda n=n: called.append(n), repeat=100) for n in range(100))
        )

    yula.run(main())
    assert sorted(called) == [n for n in range(100) for _ in range(100)]


def test_calls_are_answered_while_a_thread_computes(probe):
    async def main():
        for _ in range(20):
            assert await probe.spawn("call", lambda: 5) == 5

    with computing():
        yula.run(main())


def test_work_is_posted_to_one_loop_and_from_there_to_the_other(probe):
    async def main():
        future = asyncio.get_running_loop().create_future()
        probe.post(lambda: future.set_result(threading.get_ident()))
        return await future

    assert yula.run(main()) == threading.get_ident()


# --- Python awaitables ------------------------------------------------------------------------------


def test_a_c_task_awaits_a_coroutine(probe):
    async def python():
        await asyncio.sleep(0.001)
        return "from Python"

    async def main():
        return await probe.spawn("await", python)

    assert yula.run(main()) == "from Python"


def test_a_c_task_awaits_futures_and_other_awaitables(probe):
    class Awaitable:
        def __await__(self):
            yield
            return "awaited"

    async def main():
        loop = asyncio.get_running_loop()
        done, later = loop.create_future(), loop.create_future()
        done.set_result("done")
        loop.call_later(0.01, later.set_result, "later")
        return await asyncio.gather(
            probe.spawn("await", lambda: done),
            probe.spawn("await", lambda: later),
            probe.spawn("await", Awaitable),
        )

    assert yula.run(main()) == ["done", "later", "awaited"]


def test_what_an_awaitable_raises_reaches_the_c_task(probe):
    async def python():
        raise ValueError("from Python")

    def no_coroutine():
        raise LookupError("not even begun")

    async def main():
        with pytest.raises(ValueError, match="from Python"):
            await probe.spawn("await", python)
        with pytest.raises(LookupError, match="not even begun"):
            await probe.spawn("await", no_coroutine)
        with pytest.raises(TypeError, match="await"):
            await probe.spawn("await", lambda: "no awaitable")

    yula.run(main())


def test_without_an_end_a_failure_is_an_error_code_and_told_to_the_loop(probe):
    async def python():
        raise ValueError("from Python")

    async def cancelled():
        raise asyncio.CancelledError

    async def main():
        told = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        assert await probe.spawn("await by default", python) == 5
        assert [str(context["exception"]) for context in told] == ["from Python"]
        with pytest.raises(asyncio.CancelledError):
            await probe.spawn("await by default", cancelled)
        assert len(told) == 1

    yula.run(main())


def test_cancelling_goes_through_c_into_the_coroutine_it_awaits(probe):
    events = []

    async def python():
        try:
            events.append("began")
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            events.append("cleaned up")
            raise

    async def main():
        future = probe.spawn("await", python)
        while not events:
            await asyncio.sleep(0.001)
        future.cancel()
        while probe.jobs():
            await asyncio.sleep(0.001)
        return list(events)

    assert yula.run(main()) == ["began", "cleaned up"]
    assert probe.last_status() == probe.YULA_ECANCELED


def test_a_coroutine_that_refuses_to_be_cancelled_gives_its_result(probe):
    began = []

    async def python():
        try:
            began.append(1)
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "all the same"

    async def main():
        future = probe.spawn("await", python)
        while not began:
            await asyncio.sleep(0.001)
        future.cancel()
        while probe.jobs():
            await asyncio.sleep(0.001)

    yula.run(main())
    assert probe.last_status() == 0


def test_a_deadline_in_c_cancels_the_coroutine(probe):
    ended = []

    async def python():
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(1)

    async def main():
        return await probe.spawn("await limited", python, seconds=0.02)

    assert yula.run(main()) == -errno.ETIMEDOUT
    assert ended == [1]


def test_a_thousand_awaits_cancelled_at_once_all_end(probe):
    async def main():
        futures = [probe.spawn("await", lambda: asyncio.sleep(3600)) for _ in range(1000)]
        await asyncio.sleep(0.01)
        for future in futures:
            future.cancel()
        while probe.jobs():
            await asyncio.sleep(0.001)

    yula.run(main())


# --- references ---------------------------------------------------------------------------------------


def test_nothing_is_kept_of_what_went_through(probe):
    class Thing:
        pass

    things = weakref.WeakSet()

    def make():
        thing = Thing()
        things.add(thing)
        return thing

    async def make_later():
        await asyncio.sleep(0)
        return make()

    async def main():
        for _ in range(50):
            assert isinstance(await probe.spawn("call", make), Thing)
            assert isinstance(await probe.spawn("await", make_later), Thing)

    yula.run(main())
    gc.collect()
    assert not things


def test_a_loop_dropped_open_with_c_tasks_is_collected(probe):
    async def begin():
        probe.spawn("sleep", seconds=3600)
        probe.spawn("await", lambda: asyncio.get_running_loop().create_future())
        await asyncio.sleep(0.01)

    loop = yula.Loop()
    loop.run_until_complete(begin())
    watched = weakref.ref(loop)
    with pytest.warns(ResourceWarning):  # that it was not closed
        del loop
        gc.collect()
    assert watched() is None


# --- the end ------------------------------------------------------------------------------------------


def test_closing_the_loop_ends_c_tasks_that_run(probe):
    async def main():
        for _ in range(10):
            probe.spawn("sleep", seconds=3600)
        await asyncio.sleep(0.01)
        assert probe.jobs() == 10

    yula.run(main())
    assert probe.jobs() == 0


def test_closing_the_loop_answers_what_c_waits_for(probe):
    loop = yula.Loop()

    async def begin():
        probe.spawn("await", loop.create_future)
        await asyncio.sleep(0.01)

    loop.run_until_complete(begin())
    loop.close()
    assert probe.last_status() == probe.YULA_ECLOSED


def test_a_c_task_that_asks_python_while_the_loop_closes_is_refused(probe):
    loop = yula.Loop()
    asked = asyncio.Event()

    def make():
        asked.set()
        return loop.create_future()

    async def begin():
        probe.spawn("await twice", make)
        await asked.wait()

    loop.run_until_complete(begin())
    loop.close()
    # It is cancelled, too: which of its two calls is told that is up to the threads.
    assert probe.last_status() in (probe.YULA_ECLOSED, probe.YULA_ECANCELED)


def test_a_loop_closed_before_a_request_was_looked_at_answers_it(probe):
    loop = yula.Loop()

    async def begin():
        for _ in range(50):
            probe.spawn("call", lambda: 1)

    loop.run_until_complete(begin())
    loop.close()
    assert probe.jobs() == 0


def test_a_bridge_may_outlive_its_loop(probe):
    async def main():
        probe.keep()

    yula.run(main())
    assert probe.use_kept()


def test_only_a_loop_of_yulas_has_c_tasks(probe):
    loop = yula.Loop()
    assert probe.open(loop)
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        probe.open(loop)
    other = asyncio.SelectorEventLoop()
    with pytest.raises(TypeError, match=r"a yula\.Loop is needed"):
        probe.open(other)
    other.close()
    with pytest.raises(TypeError, match="not int"):
        probe.open(3)
    with pytest.raises(RuntimeError, match="no running event loop"):
        probe.open(None)


def test_a_subclass_of_the_loop_has_c_tasks_too(probe):
    class Mine(yula.Loop):
        pass

    loop = Mine()
    assert probe.open(loop)
    loop.close()


def test_many_loops_one_after_the_other_leave_no_thread(probe):
    async def main():
        return await probe.spawn("return", code=1)

    before = threading.active_count(), len(os.listdir("/proc/self/task"))
    for _ in range(20):
        assert yula.run(main()) == 1
    # Linux wakes who joins a thread a moment before it takes it off the list.
    while len(os.listdir("/proc/self/task")) > before[1]:
        time.sleep(0.001)
    assert (threading.active_count(), len(os.listdir("/proc/self/task"))) == before


def test_a_loop_in_each_of_two_threads_has_c_tasks(probe):
    async def main():
        for n in range(50):
            assert await probe.spawn("call", lambda n=n: n) == n
        return await probe.spawn("thread")

    found = []
    threads = [threading.Thread(target=lambda: found.append(yula.run(main()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2


def test_the_interpreter_may_end_with_c_tasks_running(probe_path):
    out, _ = run_program(
        probe_path,
        """
        import asyncio, yula
        loop = yula.Loop()
        async def begin():
            for _ in range(10):
                loop.kept = [probe.spawn("sleep", seconds=3600), probe.spawn("await", loop.create_future)]
            loop.kept.append(probe.spawn("call", lambda: 1, repeat=1_000_000_000))
            await asyncio.sleep(0.05)
        loop.run_until_complete(begin())
        import warnings; warnings.simplefilter("ignore")
        print("the end")
        """,
    )
    assert out == "the end\n"


def test_the_interpreter_may_end_while_a_loop_runs_in_a_daemon_thread(probe_path):
    out, _ = run_program(
        probe_path,
        """
        import asyncio, threading, yula
        ready = threading.Event()
        async def main():
            future = probe.spawn("call", lambda: 1, repeat=1_000_000_000)
            await asyncio.sleep(0.05)
            ready.set()
            await future
        threading.Thread(target=yula.run, args=(main(),), daemon=True).start()
        ready.wait()
        print("the end")
        """,
    )
    assert out == "the end\n"


def test_a_forked_child_has_no_c_tasks_and_ends_in_order(probe_path):
    out, _ = run_program(
        probe_path,
        """
        import asyncio, gc, os, sys, warnings, yula
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads
        async def main():
            loop = asyncio.get_running_loop()
            sleeper = probe.spawn("sleep", seconds=3600)
            waiting = probe.spawn("await", loop.create_future)
            busy = probe.spawn("call", lambda: 1, repeat=1_000_000_000)
            await asyncio.sleep(0.02)
            pid = os.fork()
            if pid == 0:
                try:
                    probe.open(loop)
                except RuntimeError as error:
                    print(error, flush=True)
                    gc.collect()
                    os._exit(7)
                os._exit(8)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
            assert await probe.spawn("call", lambda: "the parent goes on") == "the parent goes on"
        yula.run(main())
        assert probe.jobs() == 0

        async def begin():
            probe.spawn("sleep", seconds=3600)
            probe.spawn("await", lambda: asyncio.get_running_loop().create_future())
            await asyncio.sleep(0.02)
        loop = yula.Loop()
        loop.run_until_complete(begin())
        pid = os.fork()
        if pid == 0:
            del loop
            gc.collect()
            sys.exit(9)  # through the interpreter's finalisation
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
        loop.close()
        assert probe.jobs() == 0
        print("the end")
        """,
    )
    assert out.splitlines() == ["Event loop is closed", "the end"]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="concurrent.interpreters came with 3.14")
def test_two_interpreters_each_have_c_tasks(probe_path):
    out, _ = run_program(
        probe_path,
        """
        import textwrap, threading
        from concurrent import interpreters
        code = textwrap.dedent('''
            import asyncio, sys, yula
            sys.path.insert(0, FOLDER)
            import c_api_probe as probe
            async def main():
                async def python():
                    await asyncio.sleep(0)
                    return interpreter
                interpreter = object()
                for _ in range(100):
                    assert await probe.spawn("await", python) is interpreter
                probe.spawn("sleep", seconds=3600)
            yula.run(main())
            loop = yula.Loop()  # and one that is never closed
            probe.open(loop)
        ''').replace("FOLDER", repr(sys.path[0]))
        failed = []
        def one():
            interpreter = interpreters.create()
            try:
                interpreter.exec(code)
            except BaseException as error:
                failed.append(error)
            finally:
                interpreter.close()
        threads = [threading.Thread(target=one) for _ in range(2)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert not failed, failed
        assert probe.jobs() == 0
        print("the end")
        """,
    )
    assert out == "the end\n"
