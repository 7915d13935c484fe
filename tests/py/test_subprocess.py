"""Child processes: their exit, their pipes, and who waits for them. asyncio is the control."""

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import warnings

import pytest
from peers import turns, until

PATTERN = bytes(range(256)) * 4096
before_3_14 = pytest.mark.skipif(sys.version_info >= (3, 14), reason="has no child watchers")


class Records(asyncio.SubprocessProtocol):
    """Writes down every call of its transport, in order; consecutive data is joined."""

    def __init__(self):
        self.calls = []
        self.data = {1: b"", 2: b""}
        self.lost = asyncio.get_running_loop().create_future()

    def note(self, call):
        if self.calls[-1:] != [call]:
            self.calls.append(call)

    def connection_made(self, transport):
        self.note("made")

    def pipe_data_received(self, fd, data):
        self.data[fd] += data
        self.note(f"data {fd}")

    def pipe_connection_lost(self, fd, exc):
        self.note(f"pipe {fd} lost")

    def process_exited(self):
        self.note("exited")

    def connection_lost(self, exc):
        self.note("lost")
        self.lost.set_result(exc)


@pytest.fixture
def no_watcher():
    """No child watcher has been made so far, as in a fresh process."""

    def forget():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            asyncio.set_child_watcher(None)

    forget()
    yield
    forget()


def test_a_child_reads_and_writes_more_than_its_pipes_hold(loop):
    async def main():
        child = await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            "tee /dev/stderr",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert await child.communicate(PATTERN) == (PATTERN, PATTERN)
        assert await child.wait() == 0

    loop.run_until_complete(main())


def test_a_protocol_is_told_of_the_data_the_pipes_and_the_exit(loop):
    async def main():
        transport, protocol = await loop.subprocess_exec(
            Records, "sh", "-c", "printf out; exit 3", stdin=None, stderr=None
        )
        assert await protocol.lost is None
        assert protocol.data[1] == b"out"
        assert protocol.calls[0] == "made"
        assert sorted(protocol.calls[1:4]) == ["data 1", "exited", "pipe 1 lost"]
        assert protocol.calls.index("data 1") < protocol.calls.index("pipe 1 lost")
        assert protocol.calls[4:] == ["lost"]
        assert transport.get_returncode() == 3
        assert isinstance(transport.get_extra_info("subprocess"), subprocess.Popen)
        transport.close()

    loop.run_until_complete(main())


def test_a_grandchild_that_holds_the_pipe_does_not_hold_the_exit_back(loop):
    async def main():
        transport, protocol = await loop.subprocess_exec(
            Records, "sh", "-c", "sleep 3600 & echo $!", stdin=None, stderr=None
        )
        await until(lambda: "exited" in protocol.calls and protocol.data[1].endswith(b"\n"))
        assert transport.get_returncode() == 0
        assert not protocol.lost.done()
        os.kill(int(protocol.data[1]), signal.SIGKILL)
        await protocol.lost
        transport.close()

    loop.run_until_complete(main())


def test_writing_to_a_child_that_does_not_read_ends_in_a_broken_pipe(loop):
    async def main():
        child = await asyncio.create_subprocess_exec("true", stdin=subprocess.PIPE)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while True:
                child.stdin.write(PATTERN)
                await child.stdin.drain()
        assert await child.wait() == 0
        # The first releases of 3.11 log what nobody asks for.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await child.stdin.wait_closed()

    loop.run_until_complete(main())


def test_a_closed_transport_kills_its_child(loop):
    async def main():
        transport, protocol = await loop.subprocess_exec(Records, "sleep", "3600")
        transport.close()
        await protocol.lost
        assert transport.get_returncode() == -signal.SIGKILL

    loop.run_until_complete(main())


def test_standard_streams_can_be_opened_by_name(loop):
    """They are pipes: a socket could not be opened through /dev/stdin."""

    async def main():
        child = await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            "cat /dev/stdin > /dev/stdout",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert await child.communicate(b"by name") == (b"by name", None)

    loop.run_until_complete(main())


def test_a_program_that_does_not_exist_is_an_error_and_leaves_nothing(loop):
    async def main():
        with pytest.raises(FileNotFoundError):
            await asyncio.create_subprocess_exec("/no/such/program", stdout=subprocess.PIPE)

    loop.run_until_complete(main())


def test_a_child_that_somebody_else_waited_for_gives_255(loop, caplog, request):
    async def main():
        child = await asyncio.create_subprocess_exec("sh", "-c", "read line", stdin=subprocess.PIPE)
        # Stopped, so that it ends and is reaped in one step of ours.
        os.kill(child.pid, signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        return await child.wait()

    if sys.version_info < (3, 14):
        if type(loop) is asyncio.SelectorEventLoop:
            pytest.skip("a thread of asyncio's reaps it first")
        request.getfixturevalue("no_watcher")
    assert loop.run_until_complete(main()) == 255
    assert "exit status already read" in caplog.text


@pytest.mark.yula_only(reason="before 3.14 asyncio starts a thread for each child")
def test_no_thread_waits_for_a_child(loop, request):
    if sys.version_info < (3, 14):
        request.getfixturevalue("no_watcher")

    async def main():
        before = threading.active_count()
        child = await asyncio.create_subprocess_exec("sleep", "3600")
        assert threading.active_count() == before
        child.kill()
        assert await child.wait() == -signal.SIGKILL

    loop.run_until_complete(main())


@before_3_14
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_watcher_that_the_program_chose_is_used(loop, no_watcher):
    class Chosen(asyncio.ThreadedChildWatcher):
        def add_child_handler(self, pid, callback, *args):
            children.append(pid)
            super().add_child_handler(pid, callback, *args)

    children = []
    asyncio.set_child_watcher(Chosen())

    async def main():
        child = await asyncio.create_subprocess_exec("sh", "-c", "exit 5")
        assert await child.wait() == 5
        assert children == [child.pid]

    loop.run_until_complete(main())


@before_3_14
@pytest.mark.yula_only(reason="about yula's own way of waiting")
def test_without_pidfds_asyncios_watcher_is_used(loop, no_watcher, monkeypatch):
    from yula import child

    monkeypatch.setattr(child, "_can_use_pidfd", lambda: False)

    async def main():
        one = await asyncio.create_subprocess_exec("sh", "-c", "exit 5")
        assert await one.wait() == 5

    loop.run_until_complete(main())
    assert asyncio.get_event_loop_policy()._watcher is not None


@before_3_14
@pytest.mark.yula_only(reason="about yula's own way of waiting")
def test_a_loop_that_closes_forgets_its_children(loop_factory, no_watcher):
    loop = loop_factory()
    transport, _ = loop.run_until_complete(
        loop.subprocess_exec(Records, "sleep", "3600", stdin=None, stdout=None, stderr=None)
    )
    process = transport.get_extra_info("subprocess")
    loop.close()
    process.kill()
    process.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del transport
        gc.collect()


def test_a_spawn_that_is_cancelled_kills_and_reaps_the_child(loop):
    async def main():
        spawning = loop.create_task(
            asyncio.create_subprocess_exec("sleep", "3600", stdout=subprocess.PIPE)
        )
        await turns(1)
        spawning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await spawning
        await turns(5)

    loop.run_until_complete(main())


@pytest.mark.yula_only(reason="looks at classes of yula")
def test_the_streams_of_a_child_are_served_in_c_once_data_came(loop):
    async def main():
        child = await asyncio.create_subprocess_exec(
            "sh", "-c", "while read line; do echo $line; echo $line >&2; done",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )  # fmt: skip
        for _ in range(2):
            child.stdin.write(b"line\n")
            assert await child.stdout.readline() == b"line\n"
            assert await child.stderr.readline() == b"line\n"
        for reader in (child.stdout, child.stderr):
            assert type(reader) is not asyncio.StreamReader
            assert isinstance(reader, asyncio.StreamReader)
        assert await child.communicate(b"") == (b"", b"")

    loop.run_until_complete(main())


def test_a_patched_reader_keeps_its_own_methods(loop, monkeypatch):
    fed = []
    feed_data = asyncio.StreamReader.feed_data

    def feed(reader, data):
        fed.append(bytes(data))
        feed_data(reader, data)

    monkeypatch.setattr(asyncio.StreamReader, "feed_data", feed)

    async def main():
        child = await asyncio.create_subprocess_exec(
            "sh", "-c", "echo one; read line; echo two", stdin=subprocess.PIPE,
            stdout=subprocess.PIPE
        )  # fmt: skip
        assert await child.stdout.readline() == b"one\n"
        child.stdin.write(b"\n")
        assert await child.stdout.read() == b"two\n"
        await child.wait()

    loop.run_until_complete(main())
    assert b"".join(fed) == b"one\ntwo\n"


def test_a_child_that_writes_more_than_the_limit_is_held_back(loop):
    async def main():
        child = await asyncio.create_subprocess_exec(
            "head", "-c", str(8 << 20), "/dev/zero", stdout=subprocess.PIPE, limit=1 << 16
        )
        await until(lambda: child.stdout._paused)
        assert len(child.stdout._buffer) < 1 << 20
        got = 0
        while data := await child.stdout.read(1 << 18):
            got += len(data)
        assert got == 8 << 20
        assert await child.wait() == 0

    loop.run_until_complete(main())
