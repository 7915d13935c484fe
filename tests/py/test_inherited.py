"""What yula inherits from asyncio: pipes, children, sendfile. One working test each."""

import asyncio
import os
import subprocess
import sys

import pytest
from peers import Recorder, receive, turns, until, wired

PATTERN = bytes(range(256)) * 8192


def test_a_pipe_is_read_and_written(loop):
    async def main():
        r, w = os.pipe()
        reading, reader = await loop.connect_read_pipe(Recorder, os.fdopen(r, "rb"))
        writing, writer = await loop.connect_write_pipe(Recorder, os.fdopen(w, "wb"))
        for _ in range(4):
            writing.write(PATTERN)
        await until(lambda: len(reader.data) == 4 * len(PATTERN))
        assert reader.data == PATTERN * 4
        reading.pause_reading()
        writing.write(b"later")
        await turns(5)
        assert len(reader.data) == 4 * len(PATTERN)
        reading.resume_reading()
        await until(lambda: reader.data.endswith(b"later"))
        writing.close()
        assert await reader.lost is None
        assert await writer.lost is None
        assert reader.calls == ["made", "data", "eof", "lost"]

    loop.run_until_complete(main())


def test_two_transports_may_write_to_one_pipe(loop):
    async def main():
        r, w = os.pipe()
        with os.fdopen(r, "rb", 0) as reading:
            os.set_blocking(r, False)
            second = os.dup(w)
            one, first = await loop.connect_write_pipe(Recorder, os.fdopen(w, "wb"))
            two, other = await loop.connect_write_pipe(Recorder, os.fdopen(second, "wb"))
            one.write(b"one")
            two.write(b"two")
            assert reading.read(100) == b"onetwo"
            one.close()
            two.close()
            await asyncio.gather(first.lost, other.lost)

    loop.run_until_complete(main())


def test_a_pipe_that_cannot_be_adopted_stays_the_callers(loop):
    async def main():
        r, w = os.pipe()
        with os.fdopen(r, "rb") as reading, os.fdopen(w, "wb") as writing:

            def factory():
                raise LookupError

            with pytest.raises(LookupError):
                await loop.connect_read_pipe(factory, reading)
            with pytest.raises(LookupError):
                await loop.connect_write_pipe(factory, writing)
            assert not reading.closed
            assert not writing.closed

    loop.run_until_complete(main())


def test_a_regular_file_is_no_pipe(loop, tmp_path):
    async def main():
        with open(tmp_path / "file", "wb+") as file:
            with pytest.raises(ValueError, match="for pipes/sockets"):
                await loop.connect_read_pipe(Recorder, file)

    loop.run_until_complete(main())


def test_a_child_is_written_to_read_from_and_waited_for(loop):
    async def main():
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data[::-1]);"
            "sys.stderr.write('done'); sys.exit(3)",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await child.communicate(PATTERN)
        assert out == PATTERN[::-1]
        assert err == b"done"
        assert child.returncode == 3
        assert await child.wait() == 3

    loop.run_until_complete(main())
    loop.run_until_complete(turns(5))


def test_a_child_can_be_signalled(loop):
    async def main():
        child = await asyncio.create_subprocess_exec("sleep", "3600")
        child.terminate()
        assert await child.wait() == -15

    loop.run_until_complete(main())


def test_a_shell_command_runs(loop):
    async def main():
        child = await asyncio.create_subprocess_shell(
            "echo $((6 * 7)); exit 5", stdout=subprocess.PIPE
        )
        assert (await child.communicate())[0] == b"42\n"
        assert child.returncode == 5

    loop.run_until_complete(main())


def test_twenty_children_at_once_are_all_reaped(loop):
    async def one(n):
        child = await asyncio.create_subprocess_exec("sh", "-c", f"exit {n}")
        return await child.wait()

    async def main():
        assert await asyncio.gather(*(one(n) for n in range(20))) == list(range(20))

    loop.run_until_complete(main())


def test_sendfile_sends_a_file_after_what_was_written(loop, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(PATTERN)

    async def main():
        protocol = Recorder()
        async with wired(protocol) as (transport, peer):
            transport.write(b"head ")
            with open(path, "rb") as file:
                sending = asyncio.ensure_future(loop.sendfile(transport, file, 100, 1_000_000))
                got = await receive(peer, 1_000_005)
                assert await sending == 1_000_000
            transport.write(b" tail")
            assert got == b"head " + PATTERN[100:1_000_100]
            assert await receive(peer, 5) == b" tail"

    loop.run_until_complete(main())


def test_sendfile_through_a_backlog_keeps_the_order(loop, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(PATTERN)

    async def main():
        protocol = Recorder()
        async with wired(protocol, buffer=1 << 16) as (transport, peer):
            transport.write(PATTERN)
            with open(path, "rb") as file:
                sending = asyncio.ensure_future(loop.sendfile(transport, file))
                got = await receive(peer, 2 * len(PATTERN))
                assert await sending == len(PATTERN)
            assert got == PATTERN * 2

    loop.run_until_complete(main())
