"""InterpreterPoolExecutor beside a loop: interpreters of one process, each with a GIL of its own.

What holds for pools of processes too is in test_pools.py.
"""

import functools

import pytest
from pool_programs import needs_interpreters, run_with_pools

pytestmark = needs_interpreters


@pytest.fixture
def says(python_program, loop_name):
    """says(text, *args): run the program, return what it printed."""
    return functools.partial(run_with_pools, python_program, loop_name, "interpreters")


def test_results_come_back_from_other_interpreters_of_this_process(says):
    text = """
async def main():
    with pool(2) as executor:
        jobs = [call(executor, pool_jobs.interpreter_and_square, n) for n in range(200)]
        results = await asyncio.gather(*jobs)
        assert await call(executor, os.getpid) == os.getpid()
    assert [square for _, square in results] == [n * n for n in range(200)]
    assert interpreters.get_main().id not in {ident for ident, _ in results}
    print("all")
run(main())
"""
    assert says(text) == "all\n"


def test_a_loop_that_an_initializer_made_serves_job_after_job(says):
    text = """
async def main():
    with pool(initializer=pool_jobs.open_a_loop, initargs=(LOOP,)) as executor:
        squares = [call(executor, pool_jobs.use_the_loop, n) for n in range(6)]
        print(await asyncio.gather(*squares))
        await call(executor, pool_jobs.close_the_loop)
run(main())
"""
    assert says(text) == "[0, 1, 4, 9, 16, 25]\n"


def test_an_exception_arrives_with_its_type_and_arguments(says):
    text = """
async def main():
    with pool() as executor:
        try:
            await call(executor, pool_jobs.refuse, 7, "not today")
        except pool_jobs.Refused as error:
            print(error.code, error.reason)
run(main())
"""
    assert says(text) == "7 not today\n"


def test_what_cannot_be_sent_fails_its_own_job_only(says):
    text = """
async def main():
    with pool() as executor:
        jobs = [call(executor, pool_jobs.square, threading.Lock()),
                call(executor, pool_jobs.unpicklable), call(executor, pool_jobs.square, 5)]
        there, back, good = await asyncio.gather(*jobs, return_exceptions=True)
        print(isinstance(there, Exception), isinstance(back, Exception), good)
run(main())
"""
    assert says(text) == "True True 25\n"


def test_a_pool_whose_interpreters_cannot_start_is_broken_and_the_loop_goes_on(says):
    text = """
import logging
logging.disable(logging.CRITICAL)   # the pool reports the initializer's traceback
async def main():
    with pool(initializer=pool_jobs.fail_to_start) as executor:
        try:
            await call(executor, pool_jobs.square, 3)
        except BrokenInterpreterPool:
            print("broken")
    with pool() as executor:
        print(await call(executor, pool_jobs.square, 4))
run(main())
"""
    assert says(text) == "broken\n16\n"


def test_an_exit_in_a_job_ends_neither_the_process_nor_the_pool(says):
    text = """
async def main():
    with pool() as executor:
        try:
            await asyncio.wrap_future(executor.submit(sys.exit, 3))
        except BaseException as error:
            print(type(error).__name__, error)
        print(await call(executor, pool_jobs.square, 4))
run(main())
"""
    assert says(text).splitlines()[-1] == "16"


def test_a_cancelled_job_that_waits_in_the_queue_never_runs(says, fifo, tmp_path):
    text = """
fifo, began, ran = sys.argv[1:]
async def main():
    with pool() as executor:
        busy = call(executor, pool_jobs.wait_for, fifo, began)
        await started(began)
        last = call(executor, pool_jobs.mark, ran)
        last.cancel()
        try:
            await last
        except asyncio.CancelledError:
            print("cancelled")
        await asyncio.sleep(0)      # the pool hears of it from a callback of the future
        let_go(fifo, "done")
        print(await busy, await call(executor, pool_jobs.square, 2))
    print(os.path.exists(ran))
run(main())
"""
    said = says(text, fifo, tmp_path / "began", tmp_path / "ran")
    assert said == "cancelled\ndone 4\nFalse\n"


def test_an_interpreter_pool_can_be_the_default_executor(says):
    text = """
async def main():
    loop = asyncio.get_running_loop()
    executor = pool(2)
    loop.set_default_executor(executor)
    results = await asyncio.gather(
        *[call(None, pool_jobs.interpreter_and_square, n) for n in range(20)])
    assert interpreters.get_main().id not in {ident for ident, _ in results}
    print([square for _, square in results] == [n * n for n in range(20)])
    await loop.shutdown_default_executor()
    try:
        executor.submit(pool_jobs.square, 1)
    except RuntimeError as error:
        print(error)
run(main())
"""
    assert says(text) == "True\ncannot schedule new futures after shutdown\n"


def test_to_thread_cannot_use_an_interpreter_pool_as_its_default_executor(says):
    # It sends a bound method of the task's context, which belongs to this interpreter.
    text = """
async def main():
    asyncio.get_running_loop().set_default_executor(pool())
    try:
        await asyncio.to_thread(pool_jobs.square, 3)
    except Exception as error:
        print("refused")
    print(await call(None, pool_jobs.square, 3))
run(main())
"""
    assert says(text) == "refused\n9\n"


def test_context_variables_stay_at_home(says):
    text = """
async def main():
    pool_jobs.var.set("of the task")
    with pool() as executor:
        print(await call(executor, pool_jobs.value_of_var))
    print(await asyncio.to_thread(pool_jobs.value_of_var))
run(main())
"""
    assert says(text) == "unset\nof the task\n"


def test_shutdown_that_cancels_what_waits_tells_who_awaits_it(says, fifo, tmp_path):
    text = """
fifo, began = sys.argv[1:]
async def main():
    executor = pool()
    busy = call(executor, pool_jobs.wait_for, fifo, began)
    await started(began)
    waiting = [call(executor, pool_jobs.square, n) for n in range(10)]
    executor.shutdown(wait=False, cancel_futures=True)
    let_go(fifo, "done")
    results = await asyncio.gather(*waiting, return_exceptions=True)
    print(await busy, {type(result).__name__ for result in results})
    await asyncio.to_thread(executor.shutdown)
    try:
        call(executor, pool_jobs.square, 1)
    except RuntimeError as error:
        print(error)
run(main())
"""
    said = says(text, fifo, tmp_path / "began")
    assert said == "done {'CancelledError'}\ncannot schedule new futures after shutdown\n"


def test_a_process_may_end_with_a_pool_that_nobody_shut_down(says):
    text = """
executor = pool()
async def main():
    print(await call(executor, pool_jobs.square, 3))
run(main())
"""
    assert says(text) == "9\n"
