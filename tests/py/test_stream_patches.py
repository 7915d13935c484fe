"""When yula serves a StreamReader or StreamWriter in C, and when it leaves it to asyncio."""

import asyncio
import contextlib
import resource
import sys
from unittest import mock

import pytest

from yula import _core

pytestmark = pytest.mark.yula_only(reason="about what yula serves in C")


@contextlib.asynccontextmanager
async def pair():
    """(client's reader and writer, server's reader and writer), each having written once."""
    accepted = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        accepted.set_result((reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    other, answer = await accepted
    for one, two in ((writer, other), (answer, reader)):
        one.write(b"x")
        await one.drain()
        assert await two.read(1) == b"x"
    try:
        yield reader, writer, other, answer
    finally:
        for one in (writer, answer):
            one.close()
            with contextlib.suppress(ConnectionError):
                await one.wait_closed()
        server.close()
        await server.wait_closed()


def in_c(awaitable):
    """Whether it is one of ours, and not asyncio's coroutine; not awaited."""
    awaitable.close()
    return type(awaitable).__module__ == "yula._core"


@contextlib.contextmanager
def python_calls():
    """The functions of asyncio.streams that were called."""
    called = []

    def profile(frame, event, arg):
        if event == "call" and frame.f_globals.get("__name__") == "asyncio.streams":
            called.append(frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        yield called
    finally:
        sys.setprofile(None)


def test_the_usual_calls_run_no_python_of_asyncios(run):
    async def main():
        async with pair() as (reader, writer, other, answer):
            with python_calls() as called:
                for _ in range(3):
                    task = asyncio.ensure_future(other.readexactly(40_000))
                    writer.write(b"a" * 10_000)
                    writer.writelines([b"b" * 10_000, b"c" * 20_000])
                    await writer.drain()
                    assert len(await task) == 40_000
                    answer.write(b"one\ntwo\nthree;four")
                    await answer.drain()
                    assert await reader.readline() == b"one\n"
                    assert await anext(reader) == b"two\n"
                    assert await reader.readuntil(b";") == b"three;"
                    assert await reader.read(100) == b"four"
                    assert not reader.at_eof()
                    assert not writer.is_closing()
                    reader.feed_data(b"by hand")
                    assert await reader.read(100) == b"by hand"
                writer.close()
                await writer.wait_closed()
            assert set(called) <= {"connection_lost", "eof_received", "_stream_reader"}

    run(main())


def test_unix_connections_are_served_alike(run, tmp_path):
    async def main():
        async def serve(reader, writer):
            writer.write(await reader.readline())
            assert in_c(reader.read(1))
            assert in_c(writer.drain())
            writer.close()

        path = tmp_path / "socket"
        server = await asyncio.start_unix_server(serve, path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"line\n")
        assert in_c(writer.drain())
        assert await reader.read() == b"line\n"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())


# --- somebody's own methods ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["read", "readexactly", "feed_data", "_wait_for_data"])
def test_a_patch_of_the_class_counts_at_once_and_until_it_is_undone(run, name):
    async def main():
        async with pair() as (reader, _, _, answer):
            assert in_c(reader.read(1))
            original = getattr(asyncio.StreamReader, name)
            seen = []

            def patched(self, *args, **kwargs):
                seen.append((name, self is reader))
                return original(self, *args, **kwargs)

            with mock.patch.object(asyncio.StreamReader, name, patched):
                task = asyncio.ensure_future(reader.readexactly(5))
                await asyncio.sleep(0)
                answer.write(b"hello")
                assert await task == b"hello"
                answer.write(b"again")
                assert await reader.read(5) == b"again"
                assert (name, True) in seen
                assert not in_c(reader.read(1))
            assert in_c(reader.read(1))
            answer.write(b"more")
            assert await reader.read(5) == b"more"

    run(main())


def test_a_patch_of_the_class_reaches_a_reader_that_waits(run):
    async def main():
        async with pair() as (reader, _, _, answer):
            task = asyncio.ensure_future(reader.readexactly(50_000))
            await asyncio.sleep(0)
            answer.write(b"a" * 20_000)
            await asyncio.sleep(0.01)
            seen = []

            def feed_data(self, data):
                seen.append(len(data))
                return original(self, data.upper())

            original = asyncio.StreamReader.feed_data
            with mock.patch.object(asyncio.StreamReader, "feed_data", feed_data):
                answer.write(b"b" * 30_000)
                assert await task == b"a" * 20_000 + b"B" * 30_000
            assert sum(seen) == 30_000

    run(main())


def test_a_patched_protocol_gets_what_is_received(run):
    async def main():
        async with pair() as (reader, writer, _, answer):
            seen = []
            protocol = writer.transport.get_protocol()
            original = asyncio.StreamReaderProtocol.data_received

            def data_received(self, data):
                seen.append(data)
                original(self, data)

            with mock.patch.object(asyncio.StreamReaderProtocol, "data_received", data_received):
                answer.write(b"one")
                assert await reader.read(5) == b"one"
            answer.write(b"two")
            assert await reader.read(5) == b"two"
            protocol.data_received = lambda data: data_received(protocol, data)
            answer.write(b"three")
            assert await reader.read(5) == b"three"
            assert seen == [b"one", b"three"]

    run(main())


def test_an_instance_with_a_method_of_its_own(run):
    async def main():
        async with pair() as (reader, writer, _, answer):
            seen = []
            feed_data = reader.feed_data
            reader.feed_data = lambda data: (seen.append(data), feed_data(data))
            answer.write(b"one")
            assert await reader.read(5) == b"one"
            assert seen == [b"one"]
            del reader.feed_data
            reader.note = "an attribute of the user's own"
            assert in_c(reader.read(5))
            answer.write(b"two")
            assert await reader.read(5) == b"two"
            assert seen == [b"one"]
            with mock.patch.object(writer, "write") as write:
                writer.write(b"nobody gets this")
            write.assert_called_once()
            with mock.patch.object(writer.transport, "write") as write:
                writer.write(b"nor this")
            write.assert_called_once_with(b"nor this")

    run(main())


@pytest.mark.parametrize("name", ["write", "drain", "close"])
def test_a_patched_writer(run, name):
    async def main():
        async with pair() as (_, writer, _, _):
            patched = mock.Mock()
            with mock.patch.object(asyncio.StreamWriter, name, patched):
                getattr(writer, name)(*([b"x"] if name == "write" else []))
                patched.assert_called_once()
            assert in_c(writer.drain())

    run(main())


class MyReader(asyncio.StreamReader):
    def feed_data(self, data):
        super().feed_data(data.upper())


class MyProtocol(asyncio.StreamReaderProtocol):
    pass


@pytest.mark.parametrize("reader_class", [asyncio.StreamReader, MyReader])
@pytest.mark.parametrize("protocol_class", [asyncio.StreamReaderProtocol, MyProtocol])
def test_subclasses_are_left_as_they_are(run, reader_class, protocol_class):
    async def main():
        loop = asyncio.get_running_loop()
        async with pair() as (_, writer, _, _):
            pass

        async def serve(reader, writer):
            writer.write(await reader.readline())
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader = reader_class(loop=loop)
        protocol = protocol_class(reader, loop=loop)
        address = server.sockets[0].getsockname()
        transport, _ = await loop.create_connection(lambda: protocol, *address)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        exact = (reader_class, protocol_class) == (
            asyncio.StreamReader,
            asyncio.StreamReaderProtocol,
        )
        assert (type(reader) is reader_class) is not exact
        writer.write(b"line\n")
        await writer.drain()
        assert await reader.read() == (b"LINE\n" if reader_class is MyReader else b"line\n")
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())


def test_a_reader_without_a_transport_of_ours_is_asyncios(run):
    async def main():
        reader = asyncio.StreamReader()
        reader.feed_data(b"abc")
        reader.feed_eof()
        assert type(reader) is asyncio.StreamReader
        assert await reader.read() == b"abc"

    run(main())


def test_an_instance_made_of_our_class_works_as_asyncios(run):
    async def main():
        async with pair() as (reader, writer, _, _):
            other = type(reader)(limit=10)
            other.feed_data(b"abc\n")
            assert not in_c(other.read(1))
            assert await other.readline() == b"abc\n"
            other.feed_eof()
            assert other.at_eof()
            assert await other.read() == b""
            assert other.exception() is None
            del other._limit
            with pytest.raises(AttributeError):
                _ = other._limit
            assert issubclass(type(writer), asyncio.StreamWriter)

    run(main())


def test_attributes_that_asyncio_never_has_switch_to_its_methods(run):
    async def main():
        async with pair() as (reader, _, _, answer):
            reader._limit = 1000.5
            assert not in_c(reader.read(1))
            answer.write(b"abc\n")
            assert await reader.readline() == b"abc\n"
            reader._limit = 1000
            assert in_c(reader.read(1))
            task = asyncio.ensure_future(reader.read(10))
            await asyncio.sleep(0)
            reader._waiter.set_result(None)  # by somebody else: there is nothing to read
            await asyncio.sleep(0)
            answer.write(b"xyz")
            assert await task in (b"xyz", b"")

    run(main())


def test_the_protocol_can_be_exchanged(run):
    async def main():
        async with pair() as (reader, writer, _, answer):
            got = asyncio.get_running_loop().create_future()

            class Other(asyncio.Protocol):
                def data_received(self, data):
                    got.set_result(data)

            before = writer.transport.get_protocol()
            writer.transport.set_protocol(Other())
            answer.write(b"for the other")
            assert await got == b"for the other"
            assert reader._buffer == b""
            writer.transport.set_protocol(before)
            answer.write(b"for the reader")
            assert await reader.read(100) == b"for the reader"
            assert in_c(reader.read(1))

    run(main())


def test_what_a_large_read_did_not_ask_for_is_lost_with_a_stream_closed_at_once(run):
    async def main():
        async with pair() as (reader, writer, _, answer):

            async def read_and_close():
                got = await reader.read(20_000)
                writer.close()
                return got

            task = asyncio.create_task(read_and_close())
            await asyncio.sleep(0)
            answer.write(b"x" * 30_000)
            await answer.drain()
            assert len(await task) == 20_000
            assert await reader.read(100_000) == b""  # asyncio: the other 10,000

    run(main())


def test_large_reads_fault_no_pages(run):
    size, count = 200_000, 200

    def faults():
        return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt

    async def main():
        async with pair() as (reader, _, _other, answer):
            data = b"x" * size

            async def exchange(times):
                for _ in range(times):
                    answer.write(data)
                    left = size
                    while left > 0:
                        left -= len(await reader.read(size))

            await exchange(20)
            before = faults()
            await exchange(count)
            assert faults() - before < count  # 49 pages each, if they were fresh

    run(main())


def test_memory_of_streams_is_given_back(run):
    async def main():
        async with pair() as (reader, writer, _, answer):
            for size in (1, 1000, 100_000):
                for _ in range(10):
                    answer.write(b"x" * size)
                    assert len(await reader.readexactly(size)) == size
            assert sys.getsizeof(reader._buffer) < 100
            assert type(writer.transport) is _core.StreamTransport

    run(main())
