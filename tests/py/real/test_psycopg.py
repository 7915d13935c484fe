"""psycopg with a real PostgreSQL: libpq owns the socket, the loop only watches it.

It uses add_reader and add_writer and does not read until the socket is empty, so readiness has to
be reported for as long as it lasts.
"""

import asyncio
import contextlib
import signal

import psycopg
import pytest


@pytest.fixture
def connected(postgres):
    @contextlib.asynccontextmanager
    async def connected():
        db = await psycopg.AsyncConnection.connect(
            host=postgres.host,
            port=postgres.port,
            user=postgres.login,
            dbname=postgres.database,
            autocommit=True,
        )
        async with db:
            yield db

    return connected


async def fetch(db, query, *args):
    return await (await db.execute(query, args)).fetchall()


def test_queries_return_their_values(run, connected):
    async def main():
        async with connected() as db:
            rows = await fetch(db, "select n, repeat('x', n) from generate_series(1, 2000) n")
            assert all(row == (n, "x" * n) for n, row in enumerate(rows, 1))
            with pytest.raises(psycopg.errors.DivisionByZero):
                await fetch(db, "select 1 / 0")
            assert await fetch(db, "select %s::text", "юла") == [("юла",)]

    run(main())


def test_a_large_value_goes_both_ways(run, connected):
    value = bytes(range(256)) * 65536

    async def main():
        async with connected() as db:
            assert await fetch(db, "select %s::bytea", value) == [(value,)]

    run(main())


def test_a_pipeline_sends_many_queries_before_their_answers(run, connected):
    async def main():
        async with connected() as db, db.pipeline():
            cursors = [await db.execute("select %s::int", (number,)) for number in range(500)]
            for number, cursor in enumerate(cursors):
                assert await cursor.fetchone() == (number,)

    run(main())


def test_copy_moves_rows_in_and_out(run, connected):
    async def main():
        async with connected() as db, db.cursor() as cursor:
            await cursor.execute("create temporary table t (n int, text text)")
            async with cursor.copy("copy t from stdin") as copy:
                for number in range(20_000):
                    await copy.write_row((number, "y" * 100))
            total = 0
            async with cursor.copy("copy t to stdout") as copy:
                async for row in copy.rows():
                    total += int(row[0])
            assert total == 20_000 * 19_999 // 2

    run(main())


def test_notifications_arrive_in_order(run, connected):
    async def main():
        async with connected() as listening, connected() as speaking:
            await listening.execute("listen news")
            for number in range(200):
                await speaking.execute("select pg_notify('news', %s)", (str(number),))
            received = []
            async for notification in listening.notifies():
                received.append(int(notification.payload))
                if len(received) == 200:
                    break
            assert received == list(range(200))

    run(main())


def test_a_cancelled_query_ends_and_the_connection_lives_on(run, connected):
    running = "select count(*) from pg_stat_activity where query = 'select pg_sleep(99)'"

    async def main():
        async with connected() as db, connected() as observer:
            query = asyncio.create_task(fetch(db, "select pg_sleep(99)"))
            while await fetch(observer, running + " and state = 'active'") != [(1,)]:
                await asyncio.sleep(0.01)
            query.cancel()
            with pytest.raises(asyncio.CancelledError):
                await query
            assert await fetch(db, "select 5") == [(5,)]

    run(main())


def test_30_connections_work_side_by_side(run, connected):
    async def work(number):
        async with connected() as db:
            for turn in range(10):
                assert await fetch(db, "select %s::int, %s::int", number, turn) == [(number, turn)]

    async def main():
        await asyncio.gather(*(work(number) for number in range(30)))

    run(main())


def test_ctrl_c_ends_a_program_that_waits_for_an_answer(python_program, postgres):
    program = """
import os, psycopg, signal, threading
async def main():
    db = await psycopg.AsyncConnection.connect(DSN, autocommit=True)
    async with db:
        os.kill(os.getpid(), signal.SIGINT)
        await db.execute("select pg_sleep(99)")
run(main())
"""
    dsn = f"host={postgres.host} port={postgres.port} user={postgres.login} dbname=postgres"
    done = python_program(f"DSN = {dsn!r}\n" + program)
    assert "KeyboardInterrupt" in done.err.splitlines()[-1]
    assert done.code == -signal.SIGINT
