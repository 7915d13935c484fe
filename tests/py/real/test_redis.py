"""redis-py's asyncio client with a real Redis: over TCP, a Unix socket and TLS."""

import asyncio
import contextlib
import os

import pytest
import redis.asyncio
import redis.exceptions

MIB = 1024 * 1024


@pytest.fixture(params=["tcp", "unix", "tls"])
def how(request):
    return request.param


@pytest.fixture
def client(redis_server, certificates):
    """client(how, ...): a client as an async context, which finds and leaves an empty database."""

    @contextlib.asynccontextmanager
    async def client(how="tcp", *, flush=True, **options):
        if how == "unix":
            options["unix_socket_path"] = str(redis_server.socket_path)
        elif how == "tls":
            options |= {"host": "localhost", "port": redis_server.tls_port}
            options |= {"ssl": True, "ssl_ca_certs": certificates.ca_pem}
        else:
            options |= {"host": redis_server.host, "port": redis_server.port}
        made = redis.asyncio.Redis(**options)
        try:
            yield made
            if flush:
                await made.flushall()
        finally:
            await made.aclose()

    return client


async def blocked_clients(db):
    return (await db.info("clients"))["blocked_clients"]


async def until(check):
    while not await check():
        await asyncio.sleep(0.01)


def test_values_come_back(run, client, how):
    async def main():
        async with client(how) as db:
            assert await db.ping() is True
            await db.set("key", "юла")
            assert (await db.get("key")).decode() == "юла"
            assert await db.get("none") is None
            with pytest.raises(redis.exceptions.ResponseError):
                await db.incr("key")

    run(main())


def test_a_pipeline_of_10000_commands_answers_in_order(run, client, how):
    async def main():
        async with client(how) as db:
            pipe = db.pipeline(transaction=False)
            for number in range(10_000):
                pipe.incrby("sum", number)
            answers = await pipe.execute()
            total, expected = 0, []
            for number in range(10_000):
                total += number
                expected.append(total)
            assert answers == expected

    run(main())


def test_a_transaction_notices_a_watched_key_that_changed(run, client):
    async def main():
        async with client() as db, client(flush=False) as other:
            await db.set("watched", 1)
            async with db.pipeline() as pipe:
                await pipe.watch("watched")
                await other.set("watched", 2)
                pipe.multi()
                pipe.set("watched", 3)
                with pytest.raises(redis.exceptions.WatchError):
                    await pipe.execute()
            assert await db.get("watched") == b"2"

    run(main())


def test_a_value_of_48_mib_comes_back_whole(run, client, how):
    value = os.urandom(MIB) * 48

    async def main():
        async with client(how) as db:
            await db.set("large", value)
            assert await db.get("large") == value

    run(main())


def test_published_messages_arrive_in_order(run, client, how):
    async def main():
        async with client(how) as db, db.pubsub() as subscription:
            await subscription.subscribe("news")
            assert (await subscription.get_message(timeout=10))["type"] == "subscribe"
            for number in range(500):
                await db.publish("news", number)
            for number in range(500):
                message = await subscription.get_message(timeout=10)
                assert (message["type"], int(message["data"])) == ("message", number)

    run(main())


def test_a_subscription_without_news_returns_none_at_its_timeout(run, client):
    async def main():
        async with client() as db, db.pubsub() as subscription:
            await subscription.subscribe("quiet")
            assert (await subscription.get_message(timeout=10))["type"] == "subscribe"
            assert await subscription.get_message(timeout=0.05) is None
            await db.publish("quiet", "after all")
            assert (await subscription.get_message(timeout=10))["data"] == b"after all"

    run(main())


def test_a_blocking_pop_is_woken_by_a_push(run, client, how):
    async def main():
        async with client(how) as db, client(how, flush=False) as other:

            async def is_blocked():
                return await blocked_clients(other) == 1

            popping = asyncio.create_task(db.blpop("queue", timeout=0))
            await until(is_blocked)
            await other.rpush("queue", "one")
            assert await popping == (b"queue", b"one")

    run(main())


def test_a_cancelled_blocking_pop_takes_nothing_and_the_client_answers_right(run, client, how):
    """The reply of a cancelled command must never be taken for the reply of the next."""

    async def main():
        async with client(how) as db, client(how, flush=False) as other:

            async def is_blocked():
                return await blocked_clients(other) == 1

            async def is_free():
                return await blocked_clients(other) == 0

            for number in range(10):
                popping = asyncio.create_task(db.blpop("queue", timeout=0))
                await until(is_blocked)
                popping.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await popping
                await until(is_free)
                await other.rpush("queue", number)
                assert await db.echo(f"{number}") == str(number).encode()
                assert await db.lpop("queue") == str(number).encode()

    run(main())


def test_commands_cancelled_at_any_moment_never_mix_up_replies(run, client):
    async def ask(db, number):
        return await db.echo(str(number))

    async def main():
        async with client(max_connections=20) as db:
            for round_ in range(5):
                limit = asyncio.Semaphore(20)

                async def limited(number, limit=limit):
                    async with limit:
                        return await ask(db, number)

                tasks = [asyncio.create_task(limited(number)) for number in range(100)]
                for turn, task in enumerate(tasks):
                    if turn % 3 == round_ % 3:
                        await asyncio.sleep(0)
                        task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                for number, result in enumerate(results):
                    if not isinstance(result, asyncio.CancelledError):
                        assert result == str(number).encode()

    run(main())


def test_a_client_times_out_on_a_server_that_does_not_answer(run, client):
    async def main():
        async with client(socket_timeout=0.1, retry=None) as db:
            with pytest.raises(redis.exceptions.TimeoutError):
                await db.execute_command("BLPOP", "nothing", 0)
            assert await db.ping() is True

    run(main())


def test_many_tasks_on_one_client_each_count_once(run, client, how):
    async def count(db):
        for _ in range(10):
            await db.incr("counter")

    tasks = 8 if how == "tls" else 100  # each opens a connection, and TLS handshakes are slow

    async def main():
        async with client(how) as db:
            await asyncio.gather(*(count(db) for _ in range(tasks)))
            assert int(await db.get("counter")) == tasks * 10

    run(main())


def test_a_client_whose_connection_was_killed_connects_again(run, client):
    async def main():
        async with client() as db, client(flush=False) as other:
            victim = await db.client_id()
            await other.client_kill_filter(_id=victim)
            assert await db.ping() is True
            assert await db.client_id() != victim

    run(main())


def test_a_stream_delivers_its_entries_to_a_blocked_reader(run, client):
    async def main():
        async with client(protocol=2) as db, client(flush=False) as other:

            async def is_blocked():
                return await blocked_clients(other) == 1

            last = "$"
            for number in range(20):
                reading = asyncio.create_task(db.xread({"log": last}, block=0))
                await until(is_blocked)
                added = await other.xadd("log", {"n": number})
                assert await reading == [[b"log", [(added, {b"n": str(number).encode()})]]]
                last = added

    run(main())
