"""StreamReader and StreamWriter over a real connection: what asyncio's do, ours do.

Every test here runs on both loops. What makes yula's fast is in test_stream_patches.py.
"""

import asyncio
import contextlib
import gc
import inspect
import socket
import sys
import threading
import warnings
import weakref

import pytest

LIMIT = 4096


@contextlib.asynccontextmanager
async def connected(limit=LIMIT, cls=None):
    """(reader, writer, peer): streams of an accepted connection, and its peer's socket."""
    loop = asyncio.get_running_loop()
    accepted = loop.create_future()

    async def serve(reader, writer):
        accepted.set_result((reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=limit)
    peer = socket.create_connection(server.sockets[0].getsockname())
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader, writer = await accepted
    try:
        yield reader, writer, peer
    finally:
        peer.close()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        server.close()
        await server.wait_closed()


async def buffered(reader, size):
    """Until so much is in the reader's buffer."""
    while len(reader._buffer) < size:
        await asyncio.sleep(0)


async def received(peer, size):
    """So many bytes, or all until the end, as the peer gets them."""
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size and (piece := await loop.sock_recv(peer, size - len(data))):
        data += piece
    return data


async def waiting(coroutine):
    """A task that has come to its first wait."""
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


# --- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [True, False], ids=["data-first", "read-first"])
@pytest.mark.parametrize(
    ("call", "sent", "got", "left"),
    [
        (lambda r: r.read(3), b"abcdef", b"abc", b"def"),
        (lambda r: r.read(100), b"abcdef", b"abcdef", b""),
        (lambda r: r.readexactly(4), b"abcdef", b"abcd", b"ef"),
        (lambda r: r.readexactly(6), b"abcdef", b"abcdef", b""),
        (lambda r: r.readline(), b"ab\ncd\n", b"ab\n", b"cd\n"),
        (lambda r: r.readuntil(), b"ab\ncd\n", b"ab\n", b"cd\n"),
        (lambda r: r.readuntil(b"cd"), b"ab\ncd\n", b"ab\ncd", b"\n"),
        (lambda r: r.readuntil(separator=b"b"), b"ab\ncd\n", b"ab", b"\ncd\n"),
        (lambda r: r.read(n=2), b"abcdef", b"ab", b"cdef"),
        (lambda r: anext(r), b"ab\ncd\n", b"ab\n", b"cd\n"),
    ],
)
def test_each_way_of_reading_takes_its_part_and_leaves_the_rest(run, call, sent, got, left, before):
    async def main():
        async with connected() as (reader, _, peer):
            if before:
                peer.sendall(sent)
                await buffered(reader, len(sent))
                assert await call(reader) == got
            else:
                task = await waiting(_await(call(reader)))
                assert reader._waiter is not None
                peer.sendall(sent)
                assert await task == got
            assert reader._waiter is None
            assert bytes(reader._buffer) == left

    run(main())


async def _await(awaitable):
    return await awaitable


def test_reading_nothing_returns_at_once(run):
    async def main():
        async with connected() as (reader, _, _peer):
            assert await reader.read(0) == b""
            assert await reader.readexactly(0) == b""

    run(main())


def test_data_in_many_pieces_is_put_together(run):
    async def main():
        async with connected() as (reader, _, peer):
            exactly = await waiting(_await(reader.readexactly(12)))
            for piece in (b"abc", b"def", b"ghi", b"jkl\n12", b"3\n"):
                peer.sendall(piece)
                await asyncio.sleep(0.001)
            assert await exactly == b"abcdefghijkl"
            assert await reader.readline() == b"\n"
            until = await waiting(_await(reader.readuntil(b"--end--")))
            for piece in (b"--e", b"nd-", b"-", b"xyz"):
                peer.sendall(piece)
                await asyncio.sleep(0.001)
            assert await until == b"123\n--end--"
            assert await reader.read(10) == b"xyz"

    run(main())


@pytest.mark.parametrize("size", [100, 16 * 1024, 100_000, 1_000_000])
@pytest.mark.parametrize("ahead", [0, 10])
def test_large_amounts_arrive_whole(run, size, ahead):
    data = bytes(range(256)) * (size // 256 + 1)

    async def main():
        loop = asyncio.get_running_loop()
        async with connected() as (reader, _, peer):
            peer.setblocking(False)
            peer.send(data[:ahead])
            await buffered(reader, ahead)
            sending = loop.sock_sendall(peer, data[ahead:size] + b"rest")
            sending = asyncio.create_task(sending)
            assert await reader.readexactly(size) == data[:size]
            assert await reader.readexactly(4) == b"rest"
            await sending
            sending = asyncio.create_task(loop.sock_sendall(peer, data[:size]))
            got = bytearray()
            while len(got) < size:
                piece = await reader.read(70_000)
                assert 0 < len(piece) <= 70_000
                got += piece
            assert got == data[:size]
            await sending

    run(main())


def test_reading_to_the_end_and_after_it(run):
    async def main():
        async with connected() as (reader, _, peer):
            assert not reader.at_eof()
            peer.sendall(b"x" * 10_000)
            peer.shutdown(socket.SHUT_WR)
            assert await reader.read() == b"x" * 10_000
            assert reader.at_eof()
            assert await reader.read() == b""
            assert await reader.read(5) == b""
            assert await reader.readline() == b""
            assert [line async for line in reader] == []

    run(main())


def test_the_end_with_something_left(run):
    async def main():
        async with connected() as (reader, _, peer):
            peer.sendall(b"one\ntwo\nrest")
            peer.shutdown(socket.SHUT_WR)
            assert [line async for line in reader] == [b"one\n", b"two\n", b"rest"]
        async with connected() as (reader, _, peer):
            peer.sendall(b"abc")
            peer.shutdown(socket.SHUT_WR)
            with pytest.raises(asyncio.IncompleteReadError) as caught:
                await reader.readexactly(5)
            assert caught.value.partial == b"abc"
            assert caught.value.expected == 5
            assert reader._buffer == b""
            assert reader.at_eof()
        async with connected() as (reader, _, peer):
            peer.sendall(b"abc")
            peer.shutdown(socket.SHUT_WR)
            with pytest.raises(asyncio.IncompleteReadError) as caught:
                await reader.readuntil(b"x")
            assert caught.value.partial == b"abc"
            assert caught.value.expected is None

    run(main())


def test_the_end_of_a_large_read_that_is_waited_for(run):
    async def main():
        async with connected() as (reader, _, peer):
            task = await waiting(_await(reader.readexactly(100_000)))
            peer.sendall(b"a" * 30_000)
            await asyncio.sleep(0.01)
            peer.shutdown(socket.SHUT_WR)
            with pytest.raises(asyncio.IncompleteReadError) as caught:
                await task
            assert caught.value.partial == b"a" * 30_000

    run(main())


def test_wrong_arguments_are_refused_in_asyncios_words(run):
    async def main():
        async with connected() as (reader, _, _peer):
            with pytest.raises(ValueError, match="can not be less than zero"):
                await reader.readexactly(-1)
            with pytest.raises(ValueError, match="at least one-byte string"):
                await reader.readuntil(b"")
            with pytest.raises(TypeError):
                await reader.readexactly("5")
            with pytest.raises(TypeError):
                reader.readexactly()
            with pytest.raises(TypeError):
                reader.read(1, 2)

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="new in 3.13")
def test_of_several_separators_the_first_to_end_counts(run):
    async def main():
        async with connected() as (reader, _, peer):
            peer.sendall(b"ab;cd\r\n")
            assert await reader.readuntil((b"\r\n", b";")) == b"ab;"
            assert await reader.readuntil((b"\r\n", b";")) == b"cd\r\n"

    run(main())


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [True, False], ids=["data-first", "read-first"])
def test_a_separator_past_the_limit(run, before):
    async def main():
        async with connected(limit=16) as (reader, _, peer):
            task = None if before else await waiting(_await(reader.readuntil(b"!")))
            peer.sendall(b"x" * 20 + b"!" + b"yz")
            if before:
                await buffered(reader, 23)
            with pytest.raises(asyncio.LimitOverrunError) as caught:
                await (task or reader.readuntil(b"!"))
            assert caught.value.args[0] == "Separator is found, but chunk is longer than limit"
            assert caught.value.consumed == 20
            assert reader._buffer == b"x" * 20 + b"!yz"
            assert await reader.readexactly(21) == b"x" * 20 + b"!"

    run(main())


def test_no_separator_within_the_limit(run):
    async def main():
        async with connected(limit=16) as (reader, _, peer):
            peer.sendall(b"x" * 30)
            await buffered(reader, 30)
            with pytest.raises(asyncio.LimitOverrunError) as caught:
                await reader.readuntil(b"!!")
            assert caught.value.args[0] == "Separator is not found, and chunk exceed the limit"
            assert caught.value.consumed == 29
            assert len(reader._buffer) == 30

    run(main())


def test_a_line_past_the_limit_is_dropped(run):
    async def main():
        async with connected(limit=16) as (reader, _, peer):
            peer.sendall(b"x" * 20 + b"\nnext\n")
            await buffered(reader, 26)
            with pytest.raises(ValueError, match="chunk is longer than limit"):
                await reader.readline()
            assert await reader.readline() == b"next\n"
            peer.sendall(b"y" * 20)
            await buffered(reader, 20)
            with pytest.raises(ValueError, match="chunk exceed the limit"):
                await reader.readline()
            assert reader._buffer == b""

    run(main())


def test_reading_is_paused_above_twice_the_limit_and_resumed_at_the_limit(run):
    async def main():
        async with connected(limit=1000) as (reader, writer, peer):
            peer.sendall(b"x" * 2000)
            await buffered(reader, 2000)
            await asyncio.sleep(0)
            assert not reader._paused
            peer.sendall(b"x")
            await buffered(reader, 2001)
            assert reader._paused
            assert not writer.transport.is_reading()
            assert len(await reader.read(1000)) == 1000
            assert reader._paused
            assert len(await reader.read(1)) == 1
            assert not reader._paused
            assert writer.transport.is_reading()

    run(main())


def test_a_large_exact_read_goes_on_while_paused(run):
    async def main():
        async with connected(limit=1000) as (reader, _, peer):
            peer.sendall(b"x" * 3000)
            await buffered(reader, 3000)
            assert reader._paused
            task = await waiting(_await(reader.readexactly(50_000)))
            assert not reader._paused
            peer.sendall(b"y" * 47_000)
            assert await task == b"x" * 3000 + b"y" * 47_000

    run(main())


# --- waiting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["read", "readexactly", "readuntil", "readline"])
def test_a_second_reader_is_refused(run, method):
    arguments = {"read": (5,), "readexactly": (5,)}.get(method, ())
    name = "readuntil" if method == "readline" else method

    async def main():
        async with connected() as (reader, _, peer):
            first = await waiting(_await(reader.read(10)))
            with pytest.raises(RuntimeError) as caught:
                await getattr(reader, method)(*arguments)
            assert str(caught.value) == (
                f"{name}() called while another coroutine is already waiting for incoming data"
            )
            peer.sendall(b"hello")
            assert await first == b"hello"

    run(main())


@pytest.mark.parametrize("size", [10, 50_000])
def test_a_cancelled_read_loses_nothing(run, size):
    async def main():
        async with connected(limit=100_000) as (reader, _, peer):
            task = await waiting(_await(reader.readexactly(size)))
            peer.sendall(b"a" * (size - 1))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert reader._waiter is None
            peer.sendall(b"b")
            await buffered(reader, size)
            assert await reader.readexactly(size) == b"a" * (size - 1) + b"b"

    run(main())


@pytest.mark.parametrize("size", [10, 50_000])
def test_a_read_cancelled_after_its_data_came_loses_nothing(run, size):
    async def main():
        async with connected(limit=100_000) as (reader, _, peer):
            task = await waiting(_await(reader.readexactly(size)))
            peer.sendall(b"a" * size)
            while reader._waiter is not None:  # woken, but its task has not run yet
                await asyncio.sleep(0)
                if reader._waiter is None:
                    task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                assert await task == b"a" * size
                return
            assert await reader.readexactly(size) == b"a" * size

    run(main())


async def woken(reader):
    """Until a task that waits for the reader was woken and has not run yet."""
    while reader._waiter is not None:
        await asyncio.sleep(0)


def _pause_and_close(reader, writer, task):
    writer.transport.pause_reading()
    writer.close()


def _another_protocol(reader, writer, task):
    before = writer.transport.get_protocol()
    writer.transport.set_protocol(asyncio.Protocol())
    asyncio.get_running_loop().call_soon(writer.transport.set_protocol, before)


LOOKS = {
    "buffer": lambda reader, writer, task: bytes(reader._buffer),
    "at_eof": lambda reader, writer, task: reader.at_eof(),
    "repr": lambda reader, writer, task: repr(reader).partition("bytes")[0].rpartition("<")[2],
    "pause": lambda reader, writer, task: writer.transport.pause_reading(),
    "close": lambda reader, writer, task: writer.close(),
    "abort": lambda reader, writer, task: writer.transport.abort(),
    "pause_and_close": _pause_and_close,
    "another_protocol": _another_protocol,
    "feed_data": lambda reader, writer, task: reader.feed_data(b"more"),
    "feed_eof": lambda reader, writer, task: reader.feed_eof(),
    "own_read": lambda reader, writer, task: setattr(reader, "mine", 1),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_data_is_there_as_soon_as_its_reader_was_woken(run, look):
    sent = b"0123456789" * 20

    async def main():
        async with connected() as (reader, writer, peer):
            task = await waiting(_await(reader.read(100)))
            peer.sendall(sent)
            await woken(reader)
            assert not task.done()
            found = look(reader, writer, task)
            assert found in (None, sent, False, "StreamReader 200 ")
            assert await task == sent[:100]
            assert (await reader.read(1000)).startswith(sent[100:])

    run(main())


def test_a_second_read_takes_the_data_that_woke_the_first(run):
    async def main():
        async with connected() as (reader, _, peer):
            first = await waiting(_await(reader.read(100)))
            peer.sendall(b"abcdef")
            await woken(reader)
            assert await reader.readexactly(2) == b"ab"
            assert await reader.read(2) == b"cd"
            assert await first == b"ef"

    run(main())


@pytest.mark.parametrize("size", [10, 50_000])
def test_a_read_cancelled_when_it_was_woken_loses_nothing(run, size):
    async def main():
        async with connected(limit=100_000) as (reader, _, peer):
            task = await waiting(_await(reader.read(size)))
            peer.sendall(b"a" * size)
            await woken(reader)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await reader.readexactly(size) == b"a" * size

    run(main())


def test_the_end_and_a_reset_behind_data_come_after_it(run):
    async def main():
        async with connected() as (reader, _, peer):
            task = await waiting(_await(reader.read(100)))
            peer.sendall(b"abc")
            await woken(reader)
            peer.shutdown(socket.SHUT_WR)
            assert await task == b"abc"
            assert await reader.read(100) == b""
        async with connected() as (reader, _, peer):
            task = await waiting(_await(reader.read(100)))
            peer.sendall(b"abc")
            await woken(reader)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
            assert await task == b"abc"
            with pytest.raises(ConnectionResetError):
                await reader.read(100)

    run(main())


def test_what_was_read_stays_as_it_was_whatever_is_read_later(run):
    """Large results may be memory that is used again; never while somebody has it."""
    sizes = [100_000, 100_000, 10, 60_000, 99_999, 100_000, 1, 2, 50_001, 40_000] * 3

    async def main():
        async with connected(limit=1 << 20) as (reader, _, peer):
            peer.setblocking(False)
            kept, hashes = [], []
            for number, size in enumerate(sizes):
                sent = bytes([number]) * size
                task = asyncio.create_task(_whole(reader, size))
                await asyncio.get_running_loop().sock_sendall(peer, sent)
                pieces = await task
                assert b"".join(pieces) == sent
                if number % 3:
                    kept.append((number, pieces))
                if number % 4 == 0:
                    hashes.append(dict.fromkeys(pieces, number))
            for number, pieces in kept:
                for piece in pieces:
                    assert piece == bytes([number]) * len(piece)
                    assert piece + b"!" == bytes([number]) * len(piece) + b"!"
                    assert sys.getsizeof(piece) == sys.getsizeof(b"") + len(piece)
            assert all(found[piece] == number for found, number in
                       zip(hashes, range(0, len(sizes), 4), strict=True) for piece in found)  # fmt: skip

    async def _whole(reader, size):
        pieces = []
        while size > 0:
            pieces.append(await reader.read(100_000))
            size -= len(pieces[-1])
        return pieces

    run(main())


def test_a_timeout_leaves_the_reader_usable(run):
    async def main():
        async with connected() as (reader, _, peer):
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(reader.readline(), 0.001)
            peer.sendall(b"late\n")
            assert await asyncio.wait_for(reader.readline(), 30) == b"late\n"

    run(main())


def test_reads_can_be_made_tasks_and_gathered(run):
    async def main():
        async with connected() as (reader, _, peer), connected() as (other, _, other_peer):
            one = reader.read(3)
            assert asyncio.iscoroutine(one)
            first = asyncio.create_task(one)
            second = asyncio.ensure_future(other.readline())
            await asyncio.sleep(0)
            peer.sendall(b"abc")
            other_peer.sendall(b"line\n")
            assert await asyncio.gather(first, second) == [b"abc", b"line\n"]

    run(main())


def test_a_read_starts_when_it_is_awaited(run):
    async def main():
        async with connected() as (reader, _, peer):
            later = reader.read(10)
            peer.sendall(b"abcdef")
            assert await reader.readexactly(3) == b"abc"
            assert await later == b"def"
            with pytest.raises(RuntimeError, match="cannot reuse already awaited"):
                await later

    run(main())


@pytest.mark.parametrize("which", ["read", "drain"])
def test_what_is_never_awaited_is_warned_about(run, which):
    async def main():
        async with connected() as (reader, writer, peer):
            writer.write(b"x")
            await writer.drain()
            call = {"read": lambda: reader.read(1), "drain": writer.drain}[which]
            with pytest.warns(RuntimeWarning, match=rf"{which}' was never awaited"):
                call()
                gc.collect()
            closed = reader.read(1)
            closed.close()
            assert await received(peer, 1) == b"x"

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        run(main())


def test_a_waiting_reader_shows_in_its_task(run):
    async def main():
        async with connected() as (reader, _, peer):
            task = await waiting(_await(reader.readline()))
            inner = task.get_coro().cr_await
            assert inner.__qualname__ == "StreamReader.readline"
            assert inner.cr_await is not None
            assert "readline" in repr(inner)
            assert isinstance(task._fut_waiter, asyncio.Future)
            if sys.version_info >= (3, 14):
                assert "_await" in asyncio.format_call_graph(task)
            peer.sendall(b"\n")
            await task

    run(main())


def test_a_coroutine_can_be_driven_by_hand(run):
    async def main():
        async with connected() as (reader, _, peer):
            peer.sendall(b"abc")
            await buffered(reader, 3)
            with pytest.raises(StopIteration) as stop:
                reader.read(2).send(None)
            assert stop.value.value == b"ab"
            with pytest.raises(StopIteration) as stop:
                next(iter(reader.read(2).__await__()))
            assert stop.value.value == b"c"
            del stop
            peer.sendall(b"d")
            assert await reader.read(2) == b"d"
            op = reader.read(2)
            future = op.send(None)
            assert future is reader._waiter
            with pytest.raises(LookupError):
                op.throw(LookupError())
            assert reader._waiter is None

    run(main())


def test_a_reader_of_a_loop_in_another_thread_is_refused_and_not_waited_for(loop, loop_factory):
    """Its future belongs to that loop: a task of this one is told so."""
    ready, leave = threading.Event(), threading.Event()
    readers = []

    async def lend():
        async with connected() as (reader, _, _):
            readers.append(reader)
            ready.set()
            while not leave.is_set():
                await asyncio.sleep(0.001)

    async def borrow():
        with pytest.raises(RuntimeError, match="attached to a different loop"):
            await readers[0].read(1)

    def serve():
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(lend())

    thread = threading.Thread(target=serve)
    thread.start()
    ready.wait()
    try:
        loop.run_until_complete(borrow())
    finally:
        leave.set()
        thread.join()


# --- errors --------------------------------------------------------------------------------------


def test_a_reset_reaches_who_waits_and_who_comes_later(run):
    async def main():
        async with connected() as (reader, writer, peer):
            task = await waiting(_await(reader.read(10)))
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
            with pytest.raises(ConnectionResetError):
                await task
            with pytest.raises(ConnectionResetError):
                await reader.readline()
            assert isinstance(reader.exception(), ConnectionResetError)
            with pytest.raises(ConnectionResetError):
                await writer.drain()

    run(main())


def test_an_exception_set_by_hand(run):
    async def main():
        async with connected() as (reader, _, _peer):
            task = await waiting(_await(reader.readexactly(3)))
            reader.set_exception(LookupError("mine"))
            with pytest.raises(LookupError, match="mine"):
                await task
            with pytest.raises(LookupError, match="mine"):
                await reader.read(1)
            reader._exception = None
            reader.feed_data(b"abc")
            assert await reader.read(10) == b"abc"

    run(main())


def test_the_private_names_work_together(run):
    async def main():
        async with connected() as (reader, writer, peer):
            assert reader._transport is writer.transport
            assert reader._limit == LIMIT
            assert reader._loop is asyncio.get_running_loop()
            assert (reader._eof, reader._paused) == (False, False)
            assert (reader._waiter, reader._exception) == (None, None)
            assert isinstance(reader._buffer, bytearray)
            view = reader._buffer
            peer.sendall(b"abc")
            await buffered(reader, 3)
            assert view is reader._buffer
            del view[:1]
            assert await reader.read(5) == b"bc"
            reader._buffer.extend(b"xyz")
            assert await reader.readexactly(2) == b"xy"
            reader._buffer = bytearray(b"other")
            assert await reader.read(5) == b"other"
            reader._limit = 2
            reader.feed_data(b"12345")
            assert reader._paused
            reader._limit = 10
            assert await reader.read(1) == b"1"
            assert not reader._paused
            waiter = await waiting(reader._wait_for_data("test"))
            assert reader._waiter is not None
            reader.feed_data(b"more")
            await waiter
            reader.feed_eof()
            assert reader._eof
            with pytest.raises(AssertionError, match="feed_data after feed_eof"):
                reader.feed_data(b"x")
            assert await reader.read() == b"2345more"
            assert reader.at_eof()
            assert "eof" in repr(reader)
            reader._eof = False

    run(main())


def test_data_fed_from_any_kind_of_buffer(run):
    async def main():
        async with connected() as (reader, _, _peer):
            reader.feed_data(b"")
            reader.feed_data(bytearray(b"ab"))
            reader.feed_data(memoryview(b"cd"))
            reader.feed_data(b"ef")
            assert await reader.read(100) == b"abcdef"
            task = await waiting(_await(reader.readexactly(4)))
            reader.feed_data(b"12")
            reader.feed_data(bytearray(b"345"))
            assert await task == b"1234"
            assert reader._buffer == b"5"

    run(main())


# --- writing -------------------------------------------------------------------------------------


def test_writing_in_all_ways(run):
    async def main():
        async with connected() as (_, writer, peer):
            for _ in range(3):
                writer.write(b"one ")
                writer.write(bytearray(b"two "))
                writer.writelines([b"three ", memoryview(b"four")])
                await writer.drain()
                assert await received(peer, 18) == b"one two three four"
            with pytest.raises(TypeError):
                writer.write("text")
            assert writer.can_write_eof()
            assert not writer.is_closing()
            writer.write_eof()
            assert await received(peer, 1) == b""
            with pytest.raises(RuntimeError):
                writer.write(b"more")
            assert writer.get_extra_info("peername") == peer.getsockname()

    run(main())


def test_drain_waits_for_the_peer(run):
    async def main():
        async with connected() as (_, writer, peer):
            total = 0
            while writer.transport.get_write_buffer_size() == 0:
                writer.write(b"x" * 500_000)
                total += 500_000
            task = await waiting(_await(writer.drain()))
            assert not task.done()
            cancelled = await waiting(_await(writer.drain()))
            cancelled.cancel()
            peer.settimeout(30)
            loop = asyncio.get_running_loop()
            got = 0
            while got < total:
                got += len(await loop.run_in_executor(None, peer.recv, 1 << 20))
            await task
            await writer.drain()
            assert cancelled.cancelled()

    run(main())


def test_drain_on_a_closing_transport_yields_and_then_raises(run):
    async def main():
        async with connected() as (_, writer, _peer):
            writer.write(b"x")
            await writer.drain()
            writer.close()
            assert writer.is_closing()
            turns = []
            asyncio.get_running_loop().call_soon(turns.append, 1)
            with pytest.raises(ConnectionResetError, match="Connection lost"):
                await writer.drain()
            assert turns  # it gave the loop a turn, in which connection_lost() was called
            await writer.wait_closed()
            await writer.wait_closed()

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="asyncio warns since 3.13")
@pytest.mark.parametrize("used", [False, True])
def test_an_unclosed_writer_warns_and_closes(run, used):
    async def serve(reader, writer):
        await reader.read()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(2 * used):
            writer.write(b"x")
            await writer.drain()
        alive = weakref.ref(writer), weakref.ref(reader)
        with pytest.warns(ResourceWarning, match="unclosed <StreamWriter"):
            del reader, writer
        assert alive[0]() is None
        assert alive[1]() is None
        server.close()
        await server.wait_closed()

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        run(main())


def test_a_method_kept_apart_keeps_the_stream_alive(run):
    async def main():
        async with connected() as (_, _, _peer):
            pass

        async def serve(reader, writer):
            while data := await reader.read(100):
                writer.write(data)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            write, read, close = writer.write, reader.read, writer.close
            wait_closed = writer.wait_closed
            del reader, writer
            gc.collect()
            for number in range(3):
                write(b"%d" % number)
                assert await read(10) == b"%d" % number
            close()
            await wait_closed()

    run(main())


def test_both_ends_as_streams(run):
    async def serve(reader, writer):
        async for line in reader:
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def client(address, number):
        reader, writer = await asyncio.open_connection(*address)
        for turn in range(20):
            line = b"line %d of %d\n" % (turn, number)
            writer.write(line)
            await writer.drain()
            assert await reader.readline() == line.upper()
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        await asyncio.gather(*(client(address, number) for number in range(20)))
        server.close()
        await server.wait_closed()

    run(main())


def test_streams_in_debug_mode(run):
    async def main():
        async with connected() as (reader, writer, peer):
            peer.sendall(b"one\ntwo\n")
            assert await reader.readline() == b"one\n"
            assert await reader.readline() == b"two\n"
            task = await waiting(_await(reader.readline()))
            peer.sendall(b"three\n")
            assert await task == b"three\n"
            writer.write(b"back")
            await writer.drain()
            assert await received(peer, 4) == b"back"
            assert reader._source_traceback

    run(main(), debug=True)


def test_the_methods_are_described(run):
    async def main():
        async with connected() as (reader, writer, peer):
            writer.write(b"x")
            await writer.drain()
            assert isinstance(reader, asyncio.StreamReader)
            assert isinstance(writer, asyncio.StreamWriter)
            assert type(reader).__name__ == "StreamReader"
            assert repr(writer).startswith("<StreamWriter transport=<")
            assert list(inspect.signature(reader.readexactly).parameters) == ["n"]
            assert await received(peer, 1) == b"x"

    run(main())
