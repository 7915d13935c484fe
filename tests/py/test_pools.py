"""Pools of processes and of interpreters beside a loop: what holds for both."""

import functools

import pytest
from pool_programs import needs_interpreters, run_with_pools

INTERPRETERS = pytest.param("interpreters", marks=needs_interpreters)


@pytest.fixture(params=["fork", INTERPRETERS])
def says(request, python_program, loop_name):
    """says(text, *args): run the program with each kind of pool, return what it printed."""
    return functools.partial(run_with_pools, python_program, loop_name, request.param)


@pytest.mark.parametrize("says", ["fork", "forkserver", "spawn", INTERPRETERS], indirect=True)
def test_a_worker_runs_a_loop_of_its_own_while_the_parents_loop_runs(says):
    text = """
messages = [str(n).encode() for n in range(20)]

async def main():
    ticks = 0
    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)
    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    with pool(2) as executor:
        jobs = [call(executor, pool_jobs.run_a_loop, LOOP, messages) for _ in range(4)]
        for module, answers, total in await asyncio.gather(*jobs):
            assert module.startswith(LOOP), module
            assert answers == messages and total == 3
        before = ticks
        while ticks < before + 3:      # the parent's timers go on
            await asyncio.sleep(0)
    ticking.cancel()
    print("all")
run(main())
"""
    assert says(text) == "all\n"


def test_a_cancelled_job_that_runs_goes_on_and_its_result_is_dropped(says, fifo, tmp_path):
    text = """
fifo, began = sys.argv[1:]
async def main():
    with pool() as executor:
        job = call(executor, pool_jobs.wait_for, fifo, began)
        await started(began)
        job.cancel()
        try:
            await job
        except asyncio.CancelledError:
            print("cancelled")
        let_go(fifo)        # it still stands there: else this would hang
        print(await call(executor, pool_jobs.square, 2))
run(main())
"""
    assert says(text, fifo, tmp_path / "began") == "cancelled\n4\n"


def test_the_loop_serves_connections_while_a_worker_computes(says, fifo):
    text = """
async def echo(reader, writer):
    while data := await reader.readline():
        writer.write(data)
    writer.close()

async def main():
    with pool() as executor:
        job = call(executor, pool_jobs.wait_for, sys.argv[1])
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for n in range(100):
                writer.write(b"%d\\n" % n)
                assert await reader.readline() == b"%d\\n" % n
            writer.close()
            await writer.wait_closed()
        assert not job.done()
        let_go(sys.argv[1], "computed")
        print(await job)
run(main())
"""
    assert says(text, fifo) == "computed\n"


def test_a_job_that_outlives_the_loop_does_no_harm(says, fifo, tmp_path):
    text = """
fifo, began = sys.argv[1:]
executor = pool()
async def main():
    call(executor, pool_jobs.wait_for, fifo, began)
    await started(began)
run(main())                      # the loop is closed, the job runs
let_go(fifo, "nobody listens")
executor.shutdown()
async def again():
    with pool() as executor:
        return await call(executor, pool_jobs.square, 3)
print(run(again()))
"""
    assert says(text, fifo, tmp_path / "began") == "9\n"


def test_two_loops_in_two_threads_share_a_pool(says):
    text = """
async def main(executor, base, found):
    jobs = [call(executor, pool_jobs.square, base + n) for n in range(50)]
    found[base] = await asyncio.gather(*jobs)

found = {}
with pool(2) as executor:
    executor.submit(pool_jobs.square, 1).result()   # a fork before the threads
    threads = [threading.Thread(target=run, args=(main(executor, base, found),))
               for base in (0, 1000)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
print(all(found[base] == [(base + n) ** 2 for n in range(50)] for base in (0, 1000)))
"""
    assert says(text) == "True\n"
