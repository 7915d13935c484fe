"""ProcessPoolExecutor beside a loop: for work that must not hold the loop's GIL.

What holds for pools of interpreters too is in test_pools.py. Where the way a worker is started
matters, a test runs with each of them; the others use `fork`, the quickest and the most
demanding for a loop: the child begins with a copy of all that the parent has open.
"""

import signal

import pytest
from pool_programs import run_with_pools

each_method = pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])


@pytest.fixture
def says(python_program, loop_name):
    """says(text, *args, method="fork"): run the program, return what it printed."""

    def says(text, *args, method="fork"):
        return run_with_pools(python_program, loop_name, method, text, *args)

    return says


@each_method
def test_results_come_back_from_other_processes(says, method):
    text = """
async def main():
    with pool(2) as executor:
        jobs = [call(executor, pool_jobs.pid_and_square, n) for n in range(200)]
        results = await asyncio.gather(*jobs)
    assert [square for _, square in results] == [n * n for n in range(200)]
    assert os.getpid() not in {pid for pid, _ in results}
    print("all")
run(main())
"""
    assert says(text, method=method) == "all\n"


@each_method
def test_a_worker_that_dies_breaks_the_pool_and_not_the_loop(says, method):
    text = """
async def main():
    with pool() as executor:
        assert await call(executor, pool_jobs.square, 3) == 9
        async def attempt(*job):  # the pool may be broken before the last is submitted
            return await call(executor, *job)
        jobs = [attempt(pool_jobs.die)] + [attempt(pool_jobs.square, 1) for _ in range(3)]
        results = await asyncio.gather(*jobs, return_exceptions=True)
        assert {type(result) for result in results[:1]} == {BrokenProcessPool}, results
        try:
            await call(executor, pool_jobs.square, 3)
        except BrokenProcessPool:
            print("broken")
    with pool() as executor:
        print(await call(executor, pool_jobs.square, 4))
run(main())
"""
    assert says(text, method=method) == "broken\n16\n"


@each_method
def test_a_loop_that_an_initializer_made_serves_job_after_job(says, method):
    text = """
async def main():
    with pool(2, initializer=pool_jobs.open_a_loop, initargs=(LOOP,)) as executor:
        print(await asyncio.gather(*[call(executor, pool_jobs.use_the_loop, n) for n in range(6)]))
run(main())
"""
    assert says(text, method=method) == "[0, 1, 4, 9, 16, 25]\n"


def test_an_exception_arrives_with_its_type_its_arguments_and_the_workers_traceback(says):
    text = """
async def main():
    with pool() as executor:
        try:
            await call(executor, pool_jobs.refuse, 7, "not today")
        except pool_jobs.Refused as error:
            print(error.code, error.reason, "in refuse" in str(error.__cause__))
run(main())
"""
    assert says(text) == "7 not today True\n"


def test_what_cannot_be_sent_fails_its_own_job_only(says):
    text = """
async def main():
    with pool() as executor:
        jobs = [call(executor, lambda: 1), call(executor, pool_jobs.unpicklable),
                call(executor, pool_jobs.square, 5)]
        there, back, good = await asyncio.gather(*jobs, return_exceptions=True)
        print(isinstance(there, Exception), isinstance(back, Exception), good)
run(main())
"""
    assert says(text) == "True True 25\n"


def test_a_pool_whose_workers_cannot_start_is_broken(says):
    text = """
import logging
logging.disable(logging.CRITICAL)   # the pool reports the initializer's traceback
async def main():
    with pool(initializer=pool_jobs.fail_to_start) as executor:
        try:
            await call(executor, pool_jobs.square, 3)
        except BrokenProcessPool:
            print("broken")
run(main())
"""
    assert says(text) == "broken\n"


def test_a_cancelled_job_that_waits_in_the_queue_never_runs(says, fifo, tmp_path):
    text = """
fifo, ran = sys.argv[1:]
async def main():
    with pool() as executor:
        busy = call(executor, pool_jobs.wait_for, fifo)
        # One more than the worker is handed in advance: those are on their way and cannot be recalled.
        others = [call(executor, pool_jobs.square, n) for n in range(3)]
        last = call(executor, pool_jobs.mark, ran)
        last.cancel()
        try:
            await last
        except asyncio.CancelledError:
            print("cancelled")
        await asyncio.sleep(0)      # the pool hears of it from a callback of the future
        let_go(fifo, "done")
        print(await busy, await asyncio.gather(*others))
    print(os.path.exists(ran))
run(main())
"""
    assert says(text, fifo, tmp_path / "ran") == "cancelled\ndone [0, 1, 4]\nFalse\n"


def test_a_timeout_around_a_job_leaves_the_pool_in_order(says, fifo):
    text = """
async def main():
    with pool() as executor:
        try:
            async with asyncio.timeout(0.01):
                await call(executor, pool_jobs.wait_for, sys.argv[1])
        except TimeoutError:
            print("timeout")
        let_go(sys.argv[1])
        print(await call(executor, pool_jobs.square, 2))
run(main())
"""
    assert says(text, fifo) == "timeout\n4\n"


def test_shutdown_that_cancels_what_waits_tells_who_awaits_it(says, fifo, tmp_path):
    text = """
fifo, began = sys.argv[1:]
async def main():
    executor = pool()
    busy = call(executor, pool_jobs.wait_for, fifo, began)
    waiting = [call(executor, pool_jobs.square, n) for n in range(10)]
    await started(began)
    executor.shutdown(wait=False, cancel_futures=True)
    let_go(fifo, "done")
    results = await asyncio.gather(*waiting, return_exceptions=True)
    print(await busy, isinstance(results[-1], asyncio.CancelledError))
    await asyncio.to_thread(executor.shutdown)
    try:
        call(executor, pool_jobs.square, 1)
    except RuntimeError as error:
        print(error)
run(main())
"""
    said = says(text, fifo, tmp_path / "began")
    assert said == "done True\ncannot schedule new futures after shutdown\n"


def test_a_future_of_the_pools_own_can_be_awaited(says):
    text = """
async def main():
    with pool() as executor:
        print(await asyncio.wrap_future(executor.submit(pool_jobs.square, 6)))
run(main())
"""
    assert says(text) == "36\n"


def test_context_variables_stay_at_home(says):
    text = """
async def main():
    with pool() as executor:
        await call(executor, pool_jobs.square, 1)    # the worker is there now
        pool_jobs.var.set("of the task")
        print(await call(executor, pool_jobs.value_of_var))
        print(await asyncio.to_thread(pool_jobs.value_of_var))
run(main())
"""
    assert says(text) == "unset\nof the task\n"


def test_a_process_pool_is_no_default_executor(says):
    text = """
async def main():
    with pool() as executor:
        try:
            asyncio.get_running_loop().set_default_executor(executor)
        except TypeError as error:
            print(error)
run(main())
"""
    assert says(text) == "executor must be ThreadPoolExecutor instance\n"


def test_workers_that_end_after_so_many_jobs_are_replaced(says):
    text = """
async def main():
    with pool(max_tasks_per_child=2) as executor:
        pids = [(await call(executor, pool_jobs.pid_and_square, n))[0] for n in range(6)]
    print(len(set(pids)))
run(main())
"""
    assert says(text, method="spawn") == "3\n"


@pytest.mark.yula_only(reason="asyncio's loop runs its handler for the child's signal")
def test_a_signal_to_a_forked_worker_is_not_the_parents(says):
    text = f"""
async def main():
    got = []
    loop = asyncio.get_running_loop()
    loop.add_signal_handler({int(signal.SIGUSR1)}, got.append, "of the parent")
    with pool() as executor:
        await call(executor, pool_jobs.send_signal_to_self, {int(signal.SIGUSR1)})
        await call(executor, pool_jobs.square, 1)   # the signal came before this sleep and its end
        await asyncio.sleep(0)
        print(got)
        os.kill(os.getpid(), {int(signal.SIGUSR1)})
        while not got:
            await asyncio.sleep(0.001)
    print(got)
run(main())
"""
    assert says(text) == "[]\n['of the parent']\n"
