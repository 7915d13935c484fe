"""Work in threads: run_in_executor, to_thread, and how the executor ends."""

import asyncio
import concurrent.futures
import contextvars
import functools
import sys
import threading

import pytest
from peers import turns

var = contextvars.ContextVar("var", default="unset")


def test_the_default_executor_runs_in_another_thread_and_brings_the_result(loop):
    async def main():
        return await loop.run_in_executor(None, lambda a, b: (threading.get_ident(), a + b), 1, 2)

    ident, total = loop.run_until_complete(main())
    assert ident != threading.get_ident()
    assert total == 3


def test_an_exception_comes_back_as_it_was_raised(loop):
    error = LookupError("from the thread")

    def fails():
        raise error

    async def main():
        with pytest.raises(LookupError) as caught:
            await loop.run_in_executor(None, fails)
        assert caught.value is error

    loop.run_until_complete(main())


def test_an_executor_of_the_users_own(loop):
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine") as pool:
        name = loop.run_until_complete(
            loop.run_in_executor(pool, lambda: threading.current_thread().name)
        )
    assert name.startswith("mine")


def test_the_default_executor_can_be_set_to_a_thread_pool_and_to_nothing_else(loop):
    pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="default")
    loop.set_default_executor(pool)
    name = loop.run_until_complete(
        loop.run_in_executor(None, lambda: threading.current_thread().name)
    )
    assert name.startswith("default")
    with pytest.raises(TypeError, match="ThreadPoolExecutor"):
        loop.set_default_executor(object())
    loop.run_until_complete(loop.shutdown_default_executor())


def test_after_shutdown_the_default_executor_is_refused(loop):
    async def main():
        await loop.run_in_executor(None, int)
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
            loop.run_in_executor(None, int)

    loop.run_until_complete(main())


def test_shutdown_waits_for_what_runs(loop):
    release, finished = threading.Event(), []

    async def main():
        future = loop.run_in_executor(None, lambda: (release.wait(), finished.append(1)))
        shutting = asyncio.ensure_future(loop.shutdown_default_executor())
        await turns(3)
        assert not shutting.done()
        release.set()
        await shutting
        assert finished == [1]
        await future

    loop.run_until_complete(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the timeout is new in 3.12")
def test_shutdown_with_a_timeout_warns_of_a_thread_that_goes_on(loop):
    release = threading.Event()

    async def main():
        future = loop.run_in_executor(None, release.wait)
        with pytest.warns(RuntimeWarning, match="The executor did not finishing joining"):
            await loop.shutdown_default_executor(timeout=0.01)
        release.set()
        await future

    loop.run_until_complete(main())


def test_closing_the_loop_does_not_wait_for_a_thread(loop):
    release = threading.Event()
    loop.run_in_executor(None, release.wait)
    loop.close()  # would hang here
    release.set()


def test_many_jobs_finish_and_none_is_lost(loop):
    async def main():
        jobs = [loop.run_in_executor(None, functools.partial(pow, n, 2)) for n in range(500)]
        assert await asyncio.gather(*jobs) == [n * n for n in range(500)]

    loop.run_until_complete(main())


def test_a_cancelled_job_is_forgotten_and_its_thread_ends(loop):
    release = threading.Event()

    async def main():
        job = loop.run_in_executor(None, release.wait)
        await turns(2)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        release.set()

    loop.run_until_complete(main())


def test_to_thread_takes_the_context_along(loop):
    async def main():
        var.set("of the task")
        return await asyncio.to_thread(var.get)

    assert loop.run_until_complete(main()) == "of the task"


def test_a_job_that_outlives_the_loop_does_no_harm(loop_factory):
    loop = loop_factory()
    started, release = threading.Event(), threading.Event()

    def job():
        started.set()
        release.wait()

    pool = concurrent.futures.ThreadPoolExecutor(1)
    future = loop.run_in_executor(pool, job)
    started.wait()
    future.cancel()
    loop.run_until_complete(turns(2))
    loop.close()
    release.set()
    pool.shutdown()


def test_a_process_pool_works_where_threads_are_not_enough(python_program):
    finished = python_program(
        """
import concurrent.futures, multiprocessing
def main_():
    context = multiprocessing.get_context("fork")
    async def main():
        loop = asyncio.get_running_loop()
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            jobs = [loop.run_in_executor(pool, pow, n, 2) for n in range(20)]
            return await asyncio.gather(*jobs)
    print(run(main()) == [n * n for n in range(20)])
main_()
""",
        options=("-W", "ignore::DeprecationWarning"),
    )
    assert finished == (0, "True\n", "")
