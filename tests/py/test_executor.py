"""The loop's own executor: real threads, one future a call, a ThreadPoolExecutor to others."""

import asyncio
import concurrent.futures
import functools
import gc
import os
import signal
import socket
import sys
import threading
import warnings
import weakref
from concurrent.futures import thread

import pytest
from peers import turns


def end(loop):
    loop.run_until_complete(loop.shutdown_default_executor())


async def in_another_thread(loop, function):
    done = loop.create_future()
    helper = threading.Thread(
        target=lambda: (function(), loop.call_soon_threadsafe(done.set_result, None))
    )
    helper.start()
    await done
    helper.join()


# --- what a worker is ----------------------------------------------------------------------------


def test_workers_are_threads_as_asyncio_names_them(loop):
    async def main():
        assert await loop.run_in_executor(None, threading.current_thread) in threading.enumerate()
        names = await asyncio.gather(
            *[loop.run_in_executor(None, lambda: threading.current_thread().name) for _ in range(9)]
        )
        assert set(names) <= {f"asyncio_{n}" for n in range(loop._default_executor._max_workers)}
        worker = await loop.run_in_executor(None, threading.current_thread)
        assert type(worker) is threading.Thread
        assert not worker.daemon
        assert worker in loop._default_executor._threads

    loop.run_until_complete(main())


@pytest.mark.yula_only(reason="asyncio starts another when the first has not yet come to rest")
def test_calls_one_after_the_other_need_one_thread(loop):
    async def main():
        # asyncio may start a second one: a worker reports its result before it is idle.
        limit = 1 if type(loop).__module__.startswith("yula") else 2
        for _ in range(200):
            await loop.run_in_executor(None, int)
        assert len(loop._default_executor._threads) <= limit

    loop.run_until_complete(main())


def test_there_are_as_many_threads_as_in_a_thread_pool_and_no_more(loop):
    async def main():
        gate = threading.Event()
        most = concurrent.futures.ThreadPoolExecutor()._max_workers
        running = threading.Semaphore(0)

        def wait():
            running.release()
            gate.wait()

        calls = [loop.run_in_executor(None, wait) for _ in range(most + 2)]
        for _ in range(most):
            await in_another_thread(loop, running.acquire)
        assert not running.acquire(blocking=False)
        assert loop._default_executor._max_workers == most
        assert len(loop._default_executor._threads) == most
        gate.set()
        await asyncio.gather(*calls)

    loop.run_until_complete(main())


def test_a_trace_function_of_threading_sees_what_workers_run(loop):
    def traced():
        return 1

    calls = []
    threading.settrace(lambda frame, event, arg: calls.append(frame.f_code))
    threading.setprofile(lambda frame, event, arg: calls.append(frame.f_code))
    try:
        loop.run_until_complete(loop.run_in_executor(None, traced))
    finally:
        threading.settrace(None)
        threading.setprofile(None)
    assert calls.count(traced.__code__) >= 2


# --- a job never waits while it could run --------------------------------------------------------


def test_short_calls_do_not_wait_behind_a_long_one(loop):
    async def main():
        gate = threading.Event()
        for _ in range(3):  # with threads to be started, with idle ones, with dozing ones
            blocked = loop.run_in_executor(None, gate.wait)
            quick = [loop.run_in_executor(None, pow, n, 2) for n in range(50)]
            assert await asyncio.gather(*quick) == [n * n for n in range(50)]
            for n in range(20):
                assert await loop.run_in_executor(None, pow, n, 2) == n * n
            assert not blocked.done()
            gate.set()
            await blocked
            gate.clear()

    loop.run_until_complete(main())


def test_a_callback_that_blocks_until_the_call_has_run_does_not_hang(loop):
    async def main():
        for _ in range(20):
            called = threading.Event()
            future = loop.run_in_executor(None, called.set)
            called.wait()
            await future

    loop.run_until_complete(main())


def test_a_call_made_before_the_loop_runs_is_run(loop):
    called = threading.Event()
    future = loop.run_in_executor(None, called.set)
    called.wait()
    loop.run_until_complete(future)


def test_calls_from_other_threads_come_back_on_the_loop(loop):
    async def main():
        futures = []
        helper = threading.Thread(
            target=lambda: futures.extend(loop.run_in_executor(None, pow, n, 2) for n in range(100))
        )
        helper.start()
        while len(futures) < 100:
            await asyncio.sleep(0)
        helper.join()
        assert await asyncio.gather(*futures) == [n * n for n in range(100)]

    loop.run_until_complete(main())


# --- outcomes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_reaches_who_waits(loop, kind):
    def leave():
        raise kind("from a worker")

    async def main():
        with pytest.raises(kind, match="from a worker"):
            await loop.run_in_executor(None, leave)

    loop.run_until_complete(main())


def test_a_stop_iteration_becomes_a_runtime_error(loop):
    async def main():
        future = loop.run_in_executor(None, next, iter(()))
        with pytest.raises(RuntimeError, match="StopIteration interacts badly") as caught:
            await asyncio.wait_for(future, 10)
        assert isinstance(caught.value.__cause__, StopIteration)

    if sys.version_info < (3, 12) and type(loop).__module__.startswith("asyncio"):
        pytest.skip("waits without end")
    loop.run_until_complete(main())


def test_a_cancellation_of_concurrent_futures_becomes_asyncios(loop):
    def cancelled():
        raise concurrent.futures.CancelledError

    async def main():
        with pytest.raises(asyncio.CancelledError):
            await loop.run_in_executor(None, cancelled)

    loop.run_until_complete(main())


def test_an_exception_nobody_asked_for_is_reported(loop, asyncio_errors):
    async def main():
        future = loop.run_in_executor(None, lambda: 1 / 0)
        await asyncio.wait([future])
        del future

    loop.run_until_complete(main())
    gc.collect()
    [record] = asyncio_errors
    assert "Future exception was never retrieved" in record.getMessage()
    asyncio_errors.clear()


def test_a_traceback_leads_to_the_line_that_raised(loop):
    def fails():
        raise LookupError

    async def main():
        with pytest.raises(LookupError) as caught:
            await loop.run_in_executor(None, fails)
        assert caught.traceback[-1].name == "fails"

    loop.run_until_complete(main())


@pytest.mark.yula_only(reason="asyncio's worker lets go of them when it has set the result")
def test_the_function_and_its_arguments_are_let_go_before_the_result_arrives(loop):
    class Argument:
        pass

    async def main():
        argument = Argument()
        seen = weakref.ref(argument)
        future = loop.run_in_executor(None, lambda given: None, argument)
        del argument
        await future
        assert seen() is None

    loop.run_until_complete(main())


def test_an_outcome_makes_no_cycle(loop):
    class Failure(Exception):
        pass

    def fails():
        raise Failure

    async def main():
        future = loop.run_in_executor(None, fails)
        await asyncio.wait([future])
        seen = weakref.ref(future.exception())
        del future
        await turns(3)
        return seen

    gc.disable()
    try:
        seen = loop.run_until_complete(main())
        end(loop)
        assert seen() is None
    finally:
        gc.enable()


# --- cancellation --------------------------------------------------------------------------------


def test_a_call_cancelled_before_its_turn_never_runs(loop):
    async def main():
        gate = threading.Event()
        ran = []
        most = concurrent.futures.ThreadPoolExecutor()._max_workers
        blocking = [loop.run_in_executor(None, gate.wait) for _ in range(most)]
        waiting = loop.run_in_executor(None, ran.append, 1)
        waiting.cancel()
        await turns(3)
        gate.set()
        await asyncio.gather(*blocking)
        await loop.run_in_executor(None, int)
        assert waiting.cancelled()
        assert not ran

    loop.run_until_complete(main())


def test_the_result_of_a_call_cancelled_while_it_ran_is_dropped(loop):
    async def main():
        gate, started = threading.Event(), threading.Event()
        future = loop.run_in_executor(None, lambda: (started.set(), gate.wait()))
        started.wait()
        future.cancel()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await future
        await loop.run_in_executor(None, int)

    loop.run_until_complete(main())


# --- an Executor to everybody else ---------------------------------------------------------------


def test_the_default_executor_is_a_thread_pool_to_others(loop):
    async def main():
        await loop.run_in_executor(None, int)
        executor = loop._default_executor
        assert isinstance(executor, concurrent.futures.ThreadPoolExecutor)
        future = executor.submit(pow, 2, exp=10)
        assert isinstance(future, concurrent.futures.Future)
        assert await asyncio.wrap_future(future) == 1024
        assert await loop.run_in_executor(executor, pow, 2, 11) == 2048
        failed = executor.submit(lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wrap_future(failed)

    loop.run_until_complete(main())
    executor = loop._default_executor
    assert list(executor.map(pow, range(20), [2] * 20)) == [n * n for n in range(20)]
    assert executor._work_queue.qsize() == 0


def test_a_pool_set_by_the_user_is_used_and_the_own_one_forgotten(loop):
    async def main():
        await loop.run_in_executor(None, int)
        own = loop._default_executor
        pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine")
        loop.set_default_executor(pool)
        assert (await asyncio.to_thread(threading.current_thread)).name == "mine_0"
        own.shutdown()

    loop.run_until_complete(main())


def test_an_executor_shut_down_and_taken_away_is_replaced(loop):
    async def main():
        await loop.run_in_executor(None, int)
        first = loop._default_executor
        first.shutdown()
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            loop.run_in_executor(None, int)
        loop._default_executor = None
        assert await loop.run_in_executor(None, pow, 2, 2) == 4
        assert loop._default_executor is not first

    loop.run_until_complete(main())


def test_shutdown_can_cancel_what_waits(loop):
    async def main():
        gate = threading.Event()
        most = concurrent.futures.ThreadPoolExecutor()._max_workers
        begun = threading.Semaphore(0)

        def wait():
            begun.release()
            gate.wait()

        running = [loop.run_in_executor(None, wait) for _ in range(most)]
        for _ in range(most):
            begun.acquire()
        executor = loop._default_executor
        waiting = [loop.run_in_executor(None, int) for _ in range(3)]
        submitted = executor.submit(int)
        executor.shutdown(wait=False, cancel_futures=True)
        done, _ = await asyncio.wait(waiting)
        assert all(future.cancelled() for future in done)
        assert submitted.cancelled()
        gate.set()
        await asyncio.gather(*running)

    loop.run_until_complete(main())


def test_a_submit_that_a_tracer_has_replaced_is_called(loop, monkeypatch):
    calls = []
    original = concurrent.futures.ThreadPoolExecutor.submit

    @functools.wraps(original)
    def submit(self, function, /, *args, **kwargs):
        calls.append(function)
        return original(self, function, *args, **kwargs)

    async def main():
        await loop.run_in_executor(None, int)
        monkeypatch.setattr(concurrent.futures.ThreadPoolExecutor, "submit", submit)
        assert await loop.run_in_executor(None, pow, 2, 3) == 8
        assert calls == [pow]
        monkeypatch.undo()
        assert await loop.run_in_executor(None, pow, 2, 3) == 8
        assert calls == [pow]

    loop.run_until_complete(main())


def test_keywords_are_taken_as_asyncio_takes_them(loop):
    async def main():
        assert await loop.run_in_executor(executor=None, func=int) == 0
        assert await loop.run_in_executor(None, func=int) == 0
        with pytest.raises(TypeError):
            loop.run_in_executor(None, int, base=10)
        with pytest.raises(TypeError):
            loop.run_in_executor(None)

    loop.run_until_complete(main())


def test_debug_mode_refuses_a_coroutine_function(loop):
    async def coroutine():
        pass

    loop.set_debug(True)
    with pytest.raises(TypeError, match="coroutines cannot be used"):
        loop.run_in_executor(None, coroutine)
    loop.set_debug(False)


def test_an_own_create_future_is_called(loop_class):
    made = []

    class Loop(loop_class):
        def create_future(self):
            made.append(super().create_future())
            return made[-1]

    loop = Loop()
    future = loop.run_in_executor(None, int)
    assert future in made
    loop.run_until_complete(future)
    end(loop)
    loop.close()


# --- the end -------------------------------------------------------------------------------------


def test_what_waits_when_the_loop_closes_is_still_run(loop):
    gate, ran = threading.Event(), []
    most = concurrent.futures.ThreadPoolExecutor()._max_workers
    for _ in range(most):
        loop.run_in_executor(None, gate.wait)
    for n in range(5):
        loop.run_in_executor(None, ran.append, n)
    threads = list(loop._default_executor._threads)
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.run_in_executor(None, int)
    gate.set()
    for worker in threads:
        worker.join()
    assert sorted(ran) == list(range(5))


def test_a_closed_loop_with_running_calls_can_be_collected(loop_factory):
    loop = loop_factory()
    gate, started = threading.Event(), threading.Event()
    loop.run_in_executor(None, lambda: (started.set(), gate.wait()))
    started.wait()
    threads = list(loop._default_executor._threads)
    loop.close()
    gate.set()
    for worker in threads:
        worker.join()


@pytest.mark.yula_only(reason="asyncio looks names up on its executor, and cannot after shutdown")
def test_names_are_looked_up_by_the_same_threads_even_after_shutdown(loop):
    async def main():
        await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
        executor = loop._default_executor
        assert [worker.name for worker in executor._threads] == ["asyncio_0"]
        await loop.shutdown_default_executor()
        assert not any(worker.is_alive() for worker in executor._threads)
        assert await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)

    loop.run_until_complete(main())


@pytest.mark.yula_only(reason="asyncio leaves a refused call in its queue")
def test_without_a_thread_a_call_is_refused_and_with_one_it_waits(loop, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    async def main():
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                loop.run_in_executor(None, int)
        assert await loop.run_in_executor(None, int) == 0
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            assert await asyncio.gather(*[loop.run_in_executor(None, int) for _ in range(9)])
        assert len(loop._default_executor._threads) == 1

    loop.run_until_complete(main())


def test_a_child_of_fork_ends_without_the_workers(loop):
    async def main():
        await loop.run_in_executor(None, int)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                loop._default_executor._work_queue.put(None)  # what its exit does
                code = 0
            finally:
                os._exit(code)
        return pid

    if not type(loop).__module__.startswith("yula"):
        pytest.skip("asyncio's executor has no part in this")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        pid = loop.run_until_complete(main())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# What the program does, and what it prints, in any order.
ENDINGS = {
    "waits_for_what_runs": (
        """
loop = new_event_loop()
loop.run_in_executor(None, lambda: (time.sleep(0.1), print("ran")))
print("end")
""",
        ["end", "ran"],
    ),
    "runs_what_still_waits": (
        """
loop = new_event_loop()
for n in range(40):
    loop.run_in_executor(None, time.sleep, 0.01)
loop.run_in_executor(None, print, "ran")
print("end")
""",
        ["end", "ran"],
    ),
    "refuses_calls_after_that": (
        """
import atexit
def late():
    try:
        loop.run_in_executor(None, int)
    except RuntimeError as error:
        print(str(error)[:33])
atexit.register(late)
loop = new_event_loop()
loop.run_until_complete(loop.run_in_executor(None, print, "ran"))
""",
        ["cannot schedule new futures after", "ran"],
    ),
    "leaves_a_loop_in_a_daemon_thread_behind": (
        """
import threading
started = threading.Event()
def serve():
    async def main():
        loop = asyncio.get_running_loop()
        while True:
            await loop.run_in_executor(None, started.set)
            await asyncio.sleep(0.001)
    try:
        run(main())
    except RuntimeError:
        time.sleep(60)  # no calls after the end: tested above
threading.Thread(target=serve, daemon=True).start()
started.wait()
print("end")
""",
        ["end"],
    ),
}


@pytest.mark.parametrize("case", list(ENDINGS))
def test_the_interpreter_ends_and(case, python_program):
    program, printed = ENDINGS[case]
    finished = python_program("import time\n" + program, options=("-W", "ignore::ResourceWarning"))
    assert (finished.code, sorted(finished.out.splitlines())) == (0, printed), finished


def test_ctrl_c_while_a_call_runs_ends_the_program_as_on_asyncio(loop):
    gate = threading.Event()

    async def main():
        future = loop.run_in_executor(None, gate.wait)
        loop.call_soon(signal.raise_signal, signal.SIGINT)
        await future

    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(main())
    gate.set()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(turns(3))


def test_concurrent_futures_is_what_we_build_upon():
    """Private names of concurrent.futures.thread that yula/executor.py uses."""
    pool = thread.ThreadPoolExecutor(1)
    assert pool.submit(int).result() == 0
    for name in ("_work_queue", "_threads", "_max_workers", "_thread_name_prefix", "_shutdown"):
        assert hasattr(pool, name)
    assert thread._threads_queues[next(iter(pool._threads))] is pool._work_queue
    assert thread._shutdown is False
    pool.shutdown()
