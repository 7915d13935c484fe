"""connect_read_pipe and connect_write_pipe: FIFOs, terminals, devices, sockets. asyncio is the control."""

import asyncio
import contextlib
import contextvars
import errno
import fcntl
import gc
import logging
import os
import pty
import socket
import warnings
from asyncio import unix_events

import pytest
from peers import Recorder, catch_reports, turns, until

PATTERN = bytes(range(256)) * 2048
MUCH = 1 << 20  # more than a pipe holds
pauses_as_later_versions = pytest.mark.yula_only(
    unix_events._UnixReadPipeTransport.is_reading is asyncio.ReadTransport.is_reading,
    reason="the first releases of 3.11 read on, and do not say whether they do",
)


@contextlib.contextmanager
def pipe_files():
    """A pipe's two ends as unbuffered files; what is open at the end is closed."""
    r, w = os.pipe()
    with os.fdopen(r, "rb", 0) as reading, os.fdopen(w, "wb", 0) as writing:
        yield reading, writing


# --- reading --------------------------------------------------------------------------------------


def test_a_reader_receives_everything_and_then_the_end(loop):
    async def main():
        with pipe_files() as (reading, writing):
            transport, protocol = await loop.connect_read_pipe(Recorder, reading)
            os.set_blocking(writing.fileno(), False)
            left = PATTERN * 4
            while left:
                with contextlib.suppress(BlockingIOError):
                    left = left[os.write(writing.fileno(), left) :]
                await turns(1)
            writing.close()
            assert await protocol.lost is None
            assert protocol.data == PATTERN * 4
            assert protocol.calls == ["made", "data", "eof", "lost"]
            assert reading.closed
            assert transport.is_closing()
            assert "closed" in repr(transport)

    loop.run_until_complete(main())


def test_what_was_received_stays_as_it_was(loop):
    """Full pipes, half full ones and trickles in turn, with every object kept."""

    class Keeps(Recorder):
        def __init__(self):
            super().__init__()
            self.kept = []

        def data_received(self, data):
            self.kept.append(data)

    async def main():
        with pipe_files() as (reading, writing):
            _, protocol = await loop.connect_read_pipe(Keeps, reading)
            sent = b""
            for size in (65536, 65536, 40000, 65536, 10, 65536, 65535, 32768, 1, 65536, 65536):
                piece = PATTERN[len(sent) % 251 :][:size]
                writing.write(piece)
                sent += piece
                await until(lambda: sum(map(len, protocol.kept)) == len(sent))  # noqa: B023
            writing.close()
            await protocol.lost
            assert b"".join(protocol.kept) == sent
            assert {type(data) for data in protocol.kept} == {bytes}

    loop.run_until_complete(main())


@pauses_as_later_versions
def test_a_reader_can_be_paused_and_resumed_at_any_time(loop):
    class PausedAtOnce(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.pause_reading()

    async def main():
        with pipe_files() as (reading, writing):
            transport, protocol = await loop.connect_read_pipe(PausedAtOnce, reading)
            writing.write(b"one")
            await turns(5)
            assert protocol.data == b""
            assert not transport.is_reading()
            transport.pause_reading()
            transport.resume_reading()
            transport.resume_reading()
            assert transport.is_reading()
            await until(lambda: protocol.data == b"one")
            transport.pause_reading()
            writing.write(b"two")
            writing.close()
            await turns(5)
            assert protocol.data == b"one"
            transport.resume_reading()
            await protocol.lost
            assert protocol.data == b"onetwo"
            transport.resume_reading()

    loop.run_until_complete(main())


@pauses_as_later_versions
def test_a_paused_reader_that_is_closed_loses_its_connection(loop):
    async def main():
        with pipe_files() as (reading, writing):
            transport, protocol = await loop.connect_read_pipe(Recorder, reading)
            transport.pause_reading()
            transport.close()
            transport.close()
            assert transport.is_closing()
            assert not transport.is_reading()
            writing.write(b"x")
            assert await protocol.lost is None
            assert protocol.calls == ["made", "lost"]
            assert reading.closed

    loop.run_until_complete(main())


def test_data_received_may_close_the_reader(loop):
    class Closes(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.close()

    async def main():
        with pipe_files() as (reading, writing):
            _, protocol = await loop.connect_read_pipe(Closes, reading)
            writing.write(b"x")
            await protocol.lost
            assert protocol.calls == ["made", "data", "lost"]

    loop.run_until_complete(main())


def test_a_failing_data_received_is_reported_and_the_reader_goes_on(loop, asyncio_errors):
    class Fails(Recorder):
        def data_received(self, data):
            super().data_received(data)
            raise LookupError("in data_received")

    reports = catch_reports(loop)

    async def main():
        with pipe_files() as (reading, writing):
            transport, protocol = await loop.connect_read_pipe(Fails, reading)
            writing.write(b"one")
            await until(lambda: reports)
            assert isinstance(reports[0]["exception"], LookupError)
            assert not transport.is_closing()
            writing.write(b"two")
            await until(lambda: protocol.data == b"onetwo")
            transport.close()
            await protocol.lost

    loop.run_until_complete(main())


def test_a_terminal_can_be_read_and_written_by_two_transports(loop):
    async def main():
        master, slave = pty.openpty()
        with os.fdopen(slave, "rb", 0):
            fd = os.dup(master)
            reading = os.fdopen(master, "rb", 0)
            writing = os.fdopen(fd, "wb", 0)
            reader, got = await loop.connect_read_pipe(Recorder, reading)
            writer, sent = await loop.connect_write_pipe(Recorder, writing)
            writer.write(b"echoed\n")
            await until(lambda: b"echoed" in got.data)
            writer.close()
            reader.close()
            await asyncio.gather(got.lost, sent.lost)

    loop.run_until_complete(main())


@pytest.mark.yula_only  # asyncio reads and writes it, but only the last watches
def test_a_full_socket_with_a_transport_for_each_way_is_read_and_written(loop):
    async def main():
        ours, peer = socket.socketpair()
        with ours, peer:
            peer.setblocking(False)
            same = os.fdopen(ours.fileno(), "wb", 0, closefd=False)
            reader, got = await loop.connect_read_pipe(Recorder, ours)
            writer, sent = await loop.connect_write_pipe(Recorder, same)
            writer.write(bytes(MUCH))
            assert writer.get_write_buffer_size() > 0
            received = 0
            while received < MUCH:
                await turns(1)
                with contextlib.suppress(BlockingIOError):
                    received += len(peer.recv(MUCH))
            assert writer.get_write_buffer_size() == 0
            writer.close()
            await sent.lost
            peer.send(b"and back")
            await until(lambda: got.data == b"and back")
            reader.close()
            await got.lost

    loop.run_until_complete(main())


def test_a_terminal_that_hangs_up_ends_the_reader_without_a_report(loop):
    async def main():
        master, slave = pty.openpty()
        os.close(slave)
        _, protocol = await loop.connect_read_pipe(Recorder, os.fdopen(master, "rb", 0))
        assert (await protocol.lost).errno == errno.EIO
        assert protocol.calls == ["made", "lost"]

    loop.run_until_complete(main())


def test_a_device_that_cannot_be_waited_for_is_reported(loop):
    reports = catch_reports(loop)

    async def main():
        with open("/dev/null", "rb", 0) as file:
            transport, protocol = await loop.connect_read_pipe(Recorder, file)
            await until(lambda: reports)
            assert isinstance(reports[0]["exception"], PermissionError)
            transport.close()
            await protocol.lost

    loop.run_until_complete(main())


def test_a_stream_reader_reads_lines_from_a_pipe(loop):
    async def main():
        with pipe_files() as (reading, writing):
            reader = asyncio.StreamReader()
            transport, _ = await loop.connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), reading
            )
            writing.write(b"one\ntwo\nthr")
            assert await reader.readline() == b"one\n"
            writing.write(b"ee\n")
            writing.close()
            assert [line async for line in reader] == [b"two\n", b"three\n"]
            assert await reader.read() == b""
            transport.close()
            await turns(3)

    loop.run_until_complete(main())


def test_a_stream_reader_holds_a_fast_writer_back(loop):
    async def main():
        with pipe_files() as (reading, writing):
            reader = asyncio.StreamReader(limit=1000)
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), reading)
            os.set_blocking(writing.fileno(), False)
            sent = 0
            for _ in range(50):
                with contextlib.suppress(BlockingIOError):
                    sent += os.write(writing.fileno(), bytes(4096))
                await turns(2)
            assert sent < 50 * 4096
            writing.close()
            assert len(await reader.read()) == sent

    loop.run_until_complete(main())


# --- writing --------------------------------------------------------------------------------------


def test_what_is_written_is_in_the_pipe_when_write_returns(loop):
    async def main():
        with pipe_files() as (reading, writing):
            transport, protocol = await loop.connect_write_pipe(Recorder, writing)
            transport.write(b"one")
            transport.write(bytearray(b"two"))
            transport.write(memoryview(b"three"))
            transport.writelines([b"four", b"five"])
            transport.write(b"")
            assert reading.read(100) == b"onetwothreefourfive"
            assert transport.get_write_buffer_size() == 0
            assert transport.can_write_eof()
            transport.write_eof()
            assert transport.is_closing()
            assert await protocol.lost is None
            assert reading.read(100) == b""
            assert writing.closed

    loop.run_until_complete(main())


def test_what_the_pipe_does_not_take_follows_and_the_protocol_is_paused(loop):
    async def main():
        with pipe_files() as (reading, writing):
            transport, protocol = await loop.connect_write_pipe(Recorder, writing)
            os.set_blocking(reading.fileno(), False)
            transport.set_write_buffer_limits(high=100_000)
            assert transport.get_write_buffer_limits() == (25_000, 100_000)
            block = bytearray(PATTERN)
            transport.write(block)
            block[:] = bytes(len(block))  # the transport has a copy
            assert protocol.calls == ["made", "pause"]
            transport.write(PATTERN)
            for byte in range(256):
                transport.write(bytes([byte]) * 10)
            assert transport.get_write_buffer_size() > 100_000
            expected = PATTERN * 2 + b"".join(bytes([byte]) * 10 for byte in range(256))
            transport.close()
            assert transport.is_closing()
            got = b""
            while len(got) < len(expected):
                await turns(1)
                with contextlib.suppress(BlockingIOError):
                    got += os.read(reading.fileno(), MUCH)
            assert got == expected
            assert await protocol.lost is None
            assert protocol.calls == ["made", "pause", "resume", "lost"]

    loop.run_until_complete(main())


def test_wrong_limits_are_refused(loop):
    async def main():
        with pipe_files() as (_, writing):
            transport, protocol = await loop.connect_write_pipe(Recorder, writing)
            with pytest.raises(ValueError):
                transport.set_write_buffer_limits(high=1, low=2)
            transport.close()
            await protocol.lost

    loop.run_until_complete(main())


def test_what_is_no_bytes_is_refused(loop):
    async def main():
        with pipe_files() as (_, writing):
            transport, protocol = await loop.connect_write_pipe(Recorder, writing)
            with pytest.raises(AssertionError):
                transport.write("text")
            transport.close()
            await protocol.lost

    loop.run_until_complete(main())


def test_a_writer_hears_that_its_reader_closed(loop):
    async def main():
        with pipe_files() as (reading, writing):
            transport, protocol = await loop.connect_write_pipe(Recorder, writing)
            transport.write(b"x")
            await turns(3)
            assert not protocol.lost.done()
            reading.close()
            assert await protocol.lost is None
            assert transport.is_closing()

    loop.run_until_complete(main())


def test_a_reader_that_closes_with_data_queued_is_a_broken_pipe(loop):
    async def main():
        with pipe_files() as (reading, writing):
            transport, protocol = await loop.connect_write_pipe(Recorder, writing)
            transport.write(bytes(MUCH))
            reading.close()
            assert isinstance(await protocol.lost, BrokenPipeError)
            assert transport.get_write_buffer_size() == 0

    loop.run_until_complete(main())


def test_writing_to_a_pipe_that_nobody_reads_is_a_broken_pipe(loop, caplog):
    async def main():
        with pipe_files() as (reading, writing):
            transport, protocol = await loop.connect_write_pipe(Recorder, writing)
            reading.close()
            transport.write(b"x")
            assert transport.is_closing()
            for _ in range(6):
                transport.write(b"more")
            assert isinstance(await protocol.lost, BrokenPipeError)
            assert protocol.calls == ["made", "lost"]

    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.run_until_complete(main())
    assert "pipe closed by peer or os.write(pipe, data) raised exception." in caplog.text


def test_abort_drops_what_is_queued(loop):
    async def main():
        with pipe_files() as (reading, writing):
            transport, protocol = await loop.connect_write_pipe(Recorder, writing)
            transport.write(bytes(MUCH))
            transport.abort()
            assert transport.get_write_buffer_size() == 0
            assert await protocol.lost is None
            assert len(reading.read(MUCH)) < MUCH

    loop.run_until_complete(main())


def test_a_device_without_another_end_can_be_written(loop):
    async def main():
        with open("/dev/null", "wb", 0) as file:
            transport, protocol = await loop.connect_write_pipe(Recorder, file)
            transport.write(PATTERN)
            transport.close()
            assert await protocol.lost is None

    loop.run_until_complete(main())


def test_a_writer_of_a_socket_hears_of_its_end(loop):
    async def main():
        ours, peer = socket.socketpair()
        with ours, peer:
            transport, protocol = await loop.connect_write_pipe(Recorder, ours)
            transport.write(b"x")
            assert peer.recv(10) == b"x"
            peer.close()
            assert await protocol.lost is None
            assert ours.fileno() == -1

    loop.run_until_complete(main())


def test_a_failing_pause_writing_is_reported_and_the_data_is_written(loop):
    class Fails(Recorder):
        def pause_writing(self):
            raise LookupError("in pause_writing")

    reports = catch_reports(loop)

    async def main():
        with pipe_files() as (_, writing):
            transport, protocol = await loop.connect_write_pipe(Fails, writing)
            transport.write(bytes(MUCH))
            assert [type(report["exception"]) for report in reports] == [LookupError]
            assert transport.get_write_buffer_size() > 0
            transport.abort()
            await protocol.lost

    loop.run_until_complete(main())


def test_pause_writing_may_abort_the_transport(loop):
    class Aborts(Recorder):
        def pause_writing(self):
            self.transport.abort()

    async def main():
        with pipe_files() as (_, writing):
            transport, protocol = await loop.connect_write_pipe(Aborts, writing)
            transport.write(bytes(MUCH))
            transport.write(b"more")
            assert await protocol.lost is None

    loop.run_until_complete(main())


# --- both -----------------------------------------------------------------------------------------


def test_only_pipes_sockets_and_devices_are_taken(loop, tmp_path):
    async def main():
        with open(tmp_path / "file", "wb+") as file:
            with pytest.raises(ValueError, match="Pipe transport is for pipes/sockets only"):
                await loop.connect_read_pipe(Recorder, file)
            with pytest.raises(ValueError, match="Pipe transport is only for pipes, sockets and"):
                await loop.connect_write_pipe(Recorder, file)
            assert not file.closed

    loop.run_until_complete(main())


def test_a_transport_knows_its_pipe_protocol_and_kind(loop):
    async def main():
        with pipe_files() as (reading, writing):
            reader, got = await loop.connect_read_pipe(Recorder, reading)
            writer, sent = await loop.connect_write_pipe(Recorder, writing)
            assert isinstance(reader, asyncio.ReadTransport)
            assert not isinstance(reader, asyncio.WriteTransport)
            assert isinstance(writer, asyncio.WriteTransport)
            for transport, pipe, protocol in ((reader, reading, got), (writer, writing, sent)):
                assert transport.get_extra_info("pipe") is pipe
                assert transport.get_extra_info("socket", "none") == "none"
                assert transport.get_protocol() is protocol
                assert transport._pipe is pipe
                assert transport._fileno == pipe.fileno()
                assert transport._loop is loop
                assert f"fd={pipe.fileno()}" in repr(transport)
                other = Recorder()
                transport.set_protocol(other)
                assert transport.get_protocol() is other
                transport.set_protocol(protocol)
                transport.attribute = 1
                assert vars(transport)["attribute"] == 1
            assert "polling" in repr(reader)
            assert "idle" in repr(writer)
            assert "bufsize=0" in repr(writer)
            reader.pause_reading()
            assert "idle" in repr(reader)
            writer.close()
            reader.close()
            assert "closing" in repr(reader)
            await asyncio.gather(got.lost, sent.lost)
            assert reader.get_protocol() is None
            assert writer.get_extra_info("pipe") is writing

    loop.run_until_complete(main())


def test_the_descriptor_is_made_non_blocking(loop):
    async def main():
        with pipe_files() as (reading, writing):
            _, got = await loop.connect_read_pipe(Recorder, reading)
            writer, sent = await loop.connect_write_pipe(Recorder, writing)
            for file in (reading, writing):
                assert fcntl.fcntl(file, fcntl.F_GETFL) & os.O_NONBLOCK
            writer.close()
            await asyncio.gather(got.lost, sent.lost)

    loop.run_until_complete(main())


def test_the_protocol_is_called_in_the_context_of_the_connecting_task(loop):
    variable = contextvars.ContextVar("variable", default=None)

    class Looks(Recorder):
        def __init__(self):
            super().__init__()
            self.seen = []

        def connection_made(self, transport):
            self.seen.append(variable.get())
            super().connection_made(transport)

        def data_received(self, data):
            self.seen.append(variable.get())

        def eof_received(self):
            self.seen.append(variable.get())

        def connection_lost(self, exc):
            self.seen.append(variable.get())
            super().connection_lost(exc)

    async def connect(reading):
        variable.set("connecting")
        return await loop.connect_read_pipe(Looks, reading)

    async def main():
        with pipe_files() as (reading, writing):
            _, protocol = await loop.create_task(connect(reading))
            writing.write(b"x")
            await until(lambda: len(protocol.seen) == 2)
            writing.close()
            await protocol.lost
            assert protocol.seen == ["connecting"] * 4

    loop.run_until_complete(main())


def test_transports_left_open_by_a_closed_loop_are_warned_of(loop_factory):
    async def connect(loop, reading, writing):
        reader, _ = await loop.connect_read_pipe(asyncio.Protocol, reading)
        writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, writing)
        return reader, writer

    with pipe_files() as (reading, writing):
        loop = loop_factory()
        transports = loop.run_until_complete(connect(loop, reading, writing))
        loop.close()
        assert all("open" in repr(transport) for transport in transports)
        for transport in transports:
            with pytest.raises(RuntimeError, match="closed"):
                transport.close()
        del transport
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del transports
            gc.collect()
        texts = [str(one.message) for one in caught if one.category is ResourceWarning]
        assert len([text for text in texts if "unclosed transport" in text]) == 2
        assert reading.closed
        assert writing.closed


def test_a_connection_that_is_cancelled_closes_the_pipe(loop):
    async def main():
        with pipe_files() as (reading, _):
            connecting = loop.create_task(loop.connect_read_pipe(Recorder, reading))
            await asyncio.sleep(0)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            await until(lambda: reading.closed)

    loop.run_until_complete(main())


def test_debug_mode_says_that_the_other_end_closed(loop, caplog):
    loop.set_debug(True)

    async def main():
        with pipe_files() as (reading, writing):
            _, protocol = await loop.connect_read_pipe(Recorder, reading)
            writing.close()
            await protocol.lost

    with caplog.at_level(logging.INFO, "asyncio"):
        loop.run_until_complete(main())
    assert "was closed by peer" in caplog.text
    caplog.clear()  # the record holds the transport


@pytest.mark.yula_only  # asyncio warns of a transport that it never made
def test_a_file_that_is_closed_is_refused(loop):
    async def main():
        with pipe_files() as (reading, writing):
            reading.close()
            writing.close()
            with pytest.raises(ValueError):
                await loop.connect_read_pipe(Recorder, reading)
            with socket.socket() as sock:
                sock.close()
                with pytest.raises(OSError, match="Bad file descriptor"):
                    await loop.connect_read_pipe(Recorder, sock)

    loop.run_until_complete(main())
