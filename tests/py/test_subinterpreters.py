"""A loop in each of several interpreters of one process, each with a GIL of its own."""

from __future__ import annotations

import sys
import textwrap
import threading

import pytest

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="concurrent.interpreters came with Python 3.14"
)

ECHO = textwrap.dedent(
    """
    import asyncio
    import yula

    async def main():
        async def echo(reader, writer):
            writer.write(await reader.readexactly(1000))
            writer.close()

        loop = asyncio.get_running_loop()
        assert type(loop) is yula.Loop
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            address = server.sockets[0].getsockname()
            for number in range(50):
                message = number.to_bytes(2, "big") * 500
                reader, writer = await asyncio.open_connection(*address)
                writer.write(message)
                assert await reader.read(-1) == message
                writer.close()
                await writer.wait_closed()
        await asyncio.sleep(0.001)
        assert await loop.run_in_executor(None, sum, [1, 2]) == 3

    yula.run(main())
    """
)


def run_in_interpreters(count: int, code: str) -> list[BaseException]:
    from concurrent import interpreters

    failures: list[BaseException] = []

    def one() -> None:
        interpreter = interpreters.create()
        try:
            interpreter.exec(code)
        except BaseException as error:
            failures.append(error)
        finally:
            interpreter.close()

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_two_interpreters_each_run_a_loop_at_the_same_time() -> None:
    assert run_in_interpreters(2, ECHO) == []


def test_an_interpreter_may_end_with_its_loop_open() -> None:
    assert run_in_interpreters(2, "import yula\nloop = yula.new_event_loop()\nloop.time()") == []


def test_interpreters_come_and_go_while_the_main_one_keeps_its_loop() -> None:
    import asyncio

    import yula

    async def main() -> list[BaseException]:
        work = asyncio.to_thread(run_in_interpreters, 1, ECHO)
        waited = asyncio.create_task(work)
        while not waited.done():
            await asyncio.sleep(0.001)
        return await waited

    assert yula.run(main()) == []
