"""asyncpg with a real PostgreSQL: over TCP, a Unix socket and TLS (which is start_tls in the loop)."""

import asyncio
import contextlib
import io

import asyncpg
import pytest

MIB = 1024 * 1024


@pytest.fixture(params=["tcp", "unix", "tls"])
def how(request):
    return request.param


@pytest.fixture
def options(postgres, certificates):
    """Options of asyncpg.connect for each way in."""

    def options(how="tcp"):
        host = str(postgres.socket_folder) if how == "unix" else "localhost"
        return {
            "host": host,
            "port": postgres.port,
            "user": postgres.login,
            "database": postgres.database,
            "ssl": certificates.ca if how == "tls" else False,
            "timeout": 30,
        }

    return options


@contextlib.asynccontextmanager
async def connected(options):
    connection = await asyncpg.connect(**options)
    try:
        yield connection
    finally:
        await connection.close()


async def until(check):
    """Wait for the other side to say so; the test's time limit bounds it."""
    while not await check():
        await asyncio.sleep(0.01)


def test_queries_return_their_values(run, options, how):
    async def main():
        async with connected(options(how)) as db:
            assert await db.fetchval("select $1::int + 1", 41) == 42
            assert await db.fetchval("select $1::text", "юла") == "юла"
            rows = await db.fetch("select n, n * n as square from generate_series(1, 1000) n")
            assert [row["square"] for row in rows] == [n * n for n in range(1, 1001)]
            encrypted = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
            assert await db.fetchval(encrypted) is (how == "tls")
            with pytest.raises(asyncpg.DivisionByZeroError):
                await db.fetchval("select 1 / 0")
            assert await db.fetchval("select 'still here'") == "still here"

    run(main())


def test_a_large_parameter_and_a_large_value_arrive_whole(run, options, how):
    sent = bytes(range(256)) * (16 * MIB // 256)

    async def main():
        async with connected(options(how)) as db:
            assert await db.fetchval("select $1::bytea", sent) == sent

    run(main())


def test_a_result_of_200000_rows_arrives_whole_and_in_order(run, options):
    async def main():
        async with connected(options()) as db:
            rows = await db.fetch(
                "select n, repeat('x', n % 100) as text from generate_series(1, 200000) n"
            )
            assert len(rows) == 200_000
            assert all(
                row["n"] == number and len(row["text"]) == number % 100
                for number, row in enumerate(rows, 1)
            )

    run(main())


def test_a_cursor_reads_a_result_bit_by_bit(run, options):
    async def main():
        async with connected(options()) as db, db.transaction():
            total = 0
            async for row in db.cursor("select n from generate_series(1, 5000) n", prefetch=7):
                total += row["n"]
            assert total == 5000 * 5001 // 2

    run(main())


def test_a_transaction_that_raises_is_rolled_back(run, options):
    async def main():
        async with connected(options()) as db:
            await db.execute("create temporary table t (n int)")
            with pytest.raises(ZeroDivisionError):
                async with db.transaction():
                    await db.execute("insert into t values (1)")
                    raise ZeroDivisionError
            assert await db.fetchval("select count(*) from t") == 0

    run(main())


def test_copy_moves_a_table_in_and_out(run, options, how):
    line = b"%d\t" + b"y" * 200 + b"\n"
    count = 50_000

    async def source():
        for start in range(0, count, 500):
            yield b"".join(line % number for number in range(start, start + 500))

    async def main():
        async with connected(options(how)) as db:
            await db.execute("create temporary table t (n int, text text)")
            done = await db.copy_to_table("t", source=source())
            assert done == f"COPY {count}"
            assert await db.fetchval("select sum(n) from t") == count * (count - 1) // 2
            out = io.BytesIO()

            async def sink(data):
                await asyncio.sleep(0)  # a consumer that is slower than the server
                out.write(data)

            await db.copy_from_query("select * from t order by n", output=sink)
            assert out.getvalue() == b"".join(line % number for number in range(count))

    run(main())


def test_copy_stops_when_its_source_raises_and_the_connection_lives_on(run, options):
    async def source():
        yield b"1\n"
        raise LookupError("no more")

    async def main():
        async with connected(options()) as db:
            await db.execute("create temporary table t (n int)")
            with pytest.raises(LookupError):
                await db.copy_to_table("t", source=source())
            assert await db.fetchval("select count(*) from t") == 0

    run(main())


def test_notifications_arrive_in_order(run, options, how):
    async def main():
        received = []
        all_here = asyncio.Event()

        def listener(connection, pid, channel, payload):
            received.append(int(payload))
            if len(received) == 500:
                all_here.set()

        async with connected(options(how)) as listening, connected(options(how)) as speaking:
            await listening.add_listener("news", listener)
            for number in range(500):
                await speaking.execute("select pg_notify('news', $1)", str(number))
            await all_here.wait()
            await listening.remove_listener("news", listener)
        assert received == list(range(500))

    run(main())


def test_a_cancelled_query_is_cancelled_in_the_server_and_the_connection_lives_on(
    run, options, how
):
    # The backends seen are those of this test only: the query carries its name.
    running = (
        "select count(*) from pg_stat_activity where state = 'active' and"
        " query like '%pg_sleep(100)%' and pid <> pg_backend_pid()"
    )

    async def main():
        async with connected(options(how)) as db, connected(options(how)) as observer:

            async def is_running():
                return await observer.fetchval(running) == 1

            async def is_over():
                return not await is_running()

            query = asyncio.create_task(db.fetchval("select pg_sleep(100)"))
            await until(is_running)
            query.cancel()
            with pytest.raises(asyncio.CancelledError):
                await query
            await until(is_over)
            assert await db.fetchval("select 7") == 7

    run(main())


def test_a_query_past_its_timeout_raises_and_the_connection_lives_on(run, options, how):
    async def main():
        async with connected(options(how)) as db:
            with pytest.raises(TimeoutError):
                await db.fetchval("select pg_sleep(100)", timeout=0.1)
            assert await db.fetchval("select 8") == 8

    run(main())


def test_a_pool_of_10_serves_300_tasks_with_their_own_answers(run, options, how):
    async def ask(pool, number):
        async with pool.acquire() as db:
            return await db.fetchval("select $1::int * 2", number)

    async def main():
        async with asyncpg.create_pool(min_size=2, max_size=10, **options(how)) as pool:
            answers = await asyncio.gather(*(ask(pool, number) for number in range(300)))
            assert answers == [number * 2 for number in range(300)]

    run(main())


def test_a_pool_replaces_a_connection_that_the_server_ended(run, options):
    async def main():
        async with (
            asyncpg.create_pool(min_size=1, max_size=2, **options()) as pool,
            connected(options()) as other,
        ):
            async with pool.acquire() as db:
                pid = await db.fetchval("select pg_backend_pid()")
                query = asyncio.create_task(db.fetchval("select pg_sleep(100)"))

                async def is_running():
                    state = "select state from pg_stat_activity where pid = $1"
                    return await other.fetchval(state, pid) == "active"

                await until(is_running)
                await other.execute("select pg_terminate_backend($1)", pid)
                with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError)):
                    await query
            assert await pool.fetchval("select 9") == 9

    run(main())


def test_tasks_cancelled_at_any_moment_leave_a_pool_that_answers_right(run, options):
    async def ask(pool, number):
        async with pool.acquire() as db:
            return await db.fetchval("select pg_sleep(0.001), $1::int", number, column=1)

    async def main():
        async with asyncpg.create_pool(min_size=5, max_size=5, **options()) as pool:
            tasks = [asyncio.create_task(ask(pool, number)) for number in range(200)]
            for number, task in enumerate(tasks):
                if number % 3 == 0:
                    await asyncio.sleep(0)
                    task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for number, result in enumerate(results):
                assert result == number or isinstance(result, asyncio.CancelledError)
            assert await asyncio.gather(*(ask(pool, number) for number in range(20))) == list(
                range(20)
            )

    run(main())


def test_a_server_that_is_not_there_is_reported(run, options, free_port):
    async def main():
        with pytest.raises(ConnectionRefusedError):
            await asyncpg.connect(**{**options(), "host": "127.0.0.1", "port": free_port()})

    run(main())
