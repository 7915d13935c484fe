"""How a transport writes: at once, in order, gathered, exact about what is left."""

import array
import asyncio
import contextlib
import logging
import random
import socket
import struct

import pytest
from peers import KINDS, Recorder, fill, receive, receive_all, turns, until, wired

SMALL = 1 << 16  # a kernel buffer that a few writes fill
PATTERN = bytes(random.Random(7).randbytes(1 << 21))


def clogged(transport):
    """Write until the kernel takes no more; returns everything written."""
    written = bytearray()
    while not transport.get_write_buffer_size():
        transport.write(PATTERN[: 1 << 16])
        written += PATTERN[: 1 << 16]
    return written


@KINDS
def test_a_small_write_reaches_the_peer_before_the_next_turn(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):
            seen = []

            def look():
                try:
                    seen.append(peer.recv(100))
                except BlockingIOError:
                    seen.append(None)

            loop.call_soon(transport.write, b"first")
            loop.call_soon(loop.call_soon, look)
            await turns(3)
            assert seen == [b"first"]

    loop.run_until_complete(main())


@KINDS
def test_a_write_of_the_last_turn_has_left_when_the_loop_has_stopped(loop, kind):
    peers = []

    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):
            loop.call_soon(transport.write, b"last words")
            loop.call_soon(loop.stop)
            peers.append(peer)
            await asyncio.sleep(3600)

    task = loop.create_task(main())
    loop.run_forever()
    assert peers[0].recv(100) == b"last words"
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(task)


@KINDS
def test_an_idle_transport_has_nothing_buffered_after_a_small_write(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):
            assert transport.get_write_buffer_size() == 0
            transport.write(b"x" * 100)
            assert transport.get_write_buffer_size() == 0
            transport.writelines([b"y" * 50, b"z" * 50])
            assert transport.get_write_buffer_size() == 0
            assert await receive(peer, 200) == b"x" * 100 + b"y" * 50 + b"z" * 50

    loop.run_until_complete(main())


@KINDS
def test_the_write_buffer_size_is_exact(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind, buffer=SMALL) as (transport, peer):
            written = clogged(transport)
            size = transport.get_write_buffer_size()
            assert 0 < size <= 1 << 16
            transport.write(b"a" * 1000)
            assert transport.get_write_buffer_size() == size + 1000
            transport.writelines([b"b" * 10, b"", b"c" * 5])
            assert transport.get_write_buffer_size() == size + 1015
            transport.write(b"")
            assert transport.get_write_buffer_size() == size + 1015
            written += b"a" * 1000 + b"b" * 10 + b"c" * 5
            got = bytearray()
            while len(got) < len(written):
                got += await receive(peer, min(777, len(written) - len(got)))
                in_kernel = len(written) - len(got) - transport.get_write_buffer_size()
                assert in_kernel >= 0
            assert got == written
            assert transport.get_write_buffer_size() == 0

    loop.run_until_complete(main())


@KINDS
@pytest.mark.parametrize("cls", [bytes, bytearray, memoryview])
def test_every_kind_of_bytes_is_written(loop, kind, cls):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind, buffer=SMALL) as (transport, peer):
            transport.write(cls(b"small"))
            transport.write(cls(PATTERN))
            transport.writelines([cls(b"a"), cls(PATTERN), cls(b"")])
            expected = b"small" + PATTERN + b"a" + PATTERN
            assert await receive(peer, len(expected)) == expected

    loop.run_until_complete(main())


@pytest.mark.yula_only(
    reason="asyncio from 3.12 on keeps the caller's object and sends its changes"
)
@KINDS
def test_what_was_written_is_a_snapshot_of_mutable_data(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind, buffer=SMALL) as (transport, peer):
            data = bytearray(PATTERN)
            transport.write(data)
            data[:] = bytes(len(data))
            data.clear()
            more = bytearray(PATTERN)
            transport.writelines([more, memoryview(more)[:1000]])
            more[:] = bytes(len(more))
            expected = PATTERN + PATTERN + PATTERN[:1000]
            assert await receive(peer, len(expected)) == expected

    loop.run_until_complete(main())


@KINDS
def test_a_small_mutable_write_may_be_changed_at_once(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):
            data = bytearray(b"original")
            transport.write(data)
            data[:] = b"modified"
            view = memoryview(bytearray(b"second"))
            transport.write(view)
            view[:] = b"_____!"
            assert await receive(peer, 14) == b"originalsecond"

    loop.run_until_complete(main())


@KINDS
def test_a_memoryview_of_wide_items_is_written_in_bytes(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):
            words = array.array("i", range(100))
            transport.write(memoryview(words))
            assert await receive(peer, 400) == words.tobytes()

    loop.run_until_complete(main())


@pytest.mark.yula_only(reason="asyncio slices a partly sent view by items and corrupts the stream")
@KINDS
def test_a_large_memoryview_of_wide_items_is_written_whole(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind, buffer=SMALL) as (transport, peer):
            words = array.array("q", range(300_000))
            transport.write(memoryview(words))
            transport.writelines([memoryview(words)])
            assert await receive(peer, 4_800_000) == words.tobytes() * 2

    loop.run_until_complete(main())


@pytest.mark.parametrize("wrong", [None, "text", 5, [b"x"], object()])
def test_writing_what_is_not_bytes_is_a_type_error(loop, wrong):
    async def main():
        protocol = Recorder()
        async with wired(protocol) as (transport, peer):
            with pytest.raises(TypeError):
                transport.write(wrong)
            if wrong is not None:  # which asyncio takes for an empty piece since 3.14
                with pytest.raises(TypeError):
                    transport.writelines([b"good", wrong])
            transport.write(b"usable")
            assert await receive(peer, 6) == b"usable"

    loop.run_until_complete(main())


@KINDS
def test_writelines_with_two_thousand_pieces_is_written_whole(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind, buffer=SMALL) as (transport, peer):
            pieces = [PATTERN[i * 100 : i * 100 + i % 300] for i in range(2000)]
            expected = b"".join(pieces)
            transport.writelines(pieces)
            transport.writelines(iter(pieces))
            transport.writelines(piece for piece in pieces)
            transport.writelines([])
            transport.writelines([b"", b""])
            assert await receive(peer, 3 * len(expected)) == 3 * expected
            assert transport.get_write_buffer_size() == 0

    loop.run_until_complete(main())


@KINDS
def test_writes_and_writelines_keep_their_order(loop, kind):
    async def main():
        rng = random.Random(3)
        protocol = Recorder()
        async with wired(protocol, kind, buffer=SMALL) as (transport, peer):
            expected = bytearray()
            for _ in range(300):
                piece = rng.randbytes(rng.choice([0, 1, 10, 1000, 40_000]))
                if rng.random() < 0.5:
                    transport.write(piece)
                else:
                    cut = rng.randint(0, len(piece))
                    transport.writelines([piece[:cut], bytearray(piece[cut:])])
                expected += piece
                if rng.random() < 0.1:
                    await turns()
            assert await receive(peer, len(expected)) == expected

    loop.run_until_complete(main())


@KINDS
def test_writing_pauses_above_the_high_water_mark_and_resumes_at_the_low_one(loop, kind):
    async def main():
        sizes = []

        class Resumes(Recorder):
            def resume_writing(self):
                sizes.append(self.transport.get_write_buffer_size())
                super().resume_writing()

        protocol = Resumes()
        async with wired(protocol, kind, buffer=SMALL) as (transport, peer):
            transport.set_write_buffer_limits(high=1 << 24)
            clogged(transport)
            base = transport.get_write_buffer_size()
            transport.set_write_buffer_limits(high=base + 1000, low=100)
            transport.write(b"x" * 1000)
            assert "pause" not in protocol.calls
            transport.write(b"x")
            assert protocol.calls == ["made", "pause"]
            transport.write(b"x" * 5000)
            assert protocol.calls == ["made", "pause"]
            while not sizes:
                await receive(peer, 1000)
            assert sizes[0] <= 100
            assert protocol.calls == ["made", "pause", "resume"]

    loop.run_until_complete(main())


def test_the_default_limits_are_asyncios(loop):
    async def main():
        protocol = Recorder()
        async with wired(protocol) as (transport, _):
            assert transport.get_write_buffer_limits() == (16384, 65536)
            transport.set_write_buffer_limits(high=1000)
            assert transport.get_write_buffer_limits() == (250, 1000)
            transport.set_write_buffer_limits(low=1000)
            assert transport.get_write_buffer_limits() == (1000, 4000)
            transport.set_write_buffer_limits(high=0)
            assert transport.get_write_buffer_limits() == (0, 0)
            transport.set_write_buffer_limits(high=7, low=7)
            assert transport.get_write_buffer_limits() == (7, 7)
            transport.set_write_buffer_limits()
            assert transport.get_write_buffer_limits() == (16384, 65536)
            with pytest.raises(ValueError):
                transport.set_write_buffer_limits(high=1, low=2)
            with pytest.raises(ValueError):
                transport.set_write_buffer_limits(high=-1)
            with pytest.raises(ValueError):
                transport.set_write_buffer_limits(low=-1)
            assert transport.get_write_buffer_limits() == (16384, 65536)

    loop.run_until_complete(main())


@KINDS
def test_lowering_the_limits_pauses_at_once(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind, buffer=SMALL) as (transport, _):
            transport.set_write_buffer_limits(high=1 << 24)
            clogged(transport)
            assert "pause" not in protocol.calls
            transport.set_write_buffer_limits(high=1)
            assert protocol.calls[-1] == "pause"

    loop.run_until_complete(main())


@KINDS
def test_with_a_high_limit_of_zero_every_backlog_pauses(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind, buffer=SMALL) as (transport, peer):
            transport.set_write_buffer_limits(high=0)
            transport.write(b"fits")
            assert protocol.calls == ["made"]
            written = 4 + len(clogged(transport))
            assert protocol.calls == ["made", "pause"]
            assert len(await receive(peer, written)) == written
            await until(lambda: protocol.calls == ["made", "pause", "resume"])
            assert transport.get_write_buffer_size() == 0

    loop.run_until_complete(main())


@KINDS
def test_pause_and_resume_writing_alternate(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind, buffer=SMALL) as (transport, peer):
            for _ in range(20):
                transport.write(PATTERN)
                assert await receive(peer, len(PATTERN)) == PATTERN
                await until(lambda: protocol.calls[-1] == "resume")
        calls = [call for call in protocol.calls if call in ("pause", "resume")]
        assert calls == ["pause", "resume"] * 20

    loop.run_until_complete(main())


@KINDS
def test_writing_inside_pause_and_resume_writing_keeps_the_order(loop, kind):
    async def main():
        class Talks(Recorder):
            def pause_writing(self):
                super().pause_writing()
                self.transport.write(b"<paused>")

            def resume_writing(self):
                super().resume_writing()
                self.transport.write(b"<resumed>")

        protocol = Talks()
        async with wired(protocol, kind, buffer=SMALL) as (transport, peer):
            transport.write(PATTERN)
            expected = PATTERN + b"<paused><resumed>"
            assert await receive(peer, len(expected)) == expected

    loop.run_until_complete(main())


@KINDS
def test_write_eof_follows_what_was_written_and_leaves_reading_open(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind, buffer=SMALL) as (transport, peer):
            assert transport.can_write_eof() is True
            transport.write(PATTERN)
            transport.write_eof()
            transport.write_eof()
            assert await receive_all(peer) == PATTERN
            peer.send(b"answer")
            await until(lambda: protocol.data == b"answer")
            assert not transport.is_closing()

    loop.run_until_complete(main())


@KINDS
def test_write_eof_on_an_idle_transport_is_seen_at_once(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):
            transport.write(b"bye")
            transport.write_eof()
            assert await receive_all(peer) == b"bye"

    loop.run_until_complete(main())


@KINDS
def test_writing_after_write_eof_is_a_runtime_error_also_while_closing(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, _):
            transport.write_eof()
            with pytest.raises(RuntimeError, match="write_eof"):
                transport.write(b"x")
            with pytest.raises(RuntimeError, match="write_eof"):
                transport.writelines([b"x"])
            transport.close()
            with pytest.raises(RuntimeError, match="write_eof"):
                transport.write(b"x")

    loop.run_until_complete(main())


@KINDS
@pytest.mark.parametrize("how", ["close", "abort"])
def test_writing_after_close_is_dropped_and_warned_of_after_five_times(loop, kind, how, caplog):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):
            getattr(transport, how)()
            with caplog.at_level(logging.WARNING, "asyncio"):
                for _ in range(4):
                    transport.write(b"dropped")
                assert caplog.records == []
                for _ in range(4):
                    transport.write(b"dropped")
            assert "socket.send() raised exception." in caplog.messages
            await protocol.lost
            transport.write(b"dropped")
            transport.write(b"")
            assert await receive_all(peer) == b""

    loop.run_until_complete(main())


@pytest.mark.yula_only(reason="asyncio 3.12 and 3.13.0 raise TypeError from it")
def test_writelines_after_close_is_dropped(loop):
    async def main():
        protocol = Recorder()
        async with wired(protocol) as (transport, peer):
            transport.close()
            transport.writelines([b"dropped", b"too"])
            await protocol.lost
            assert await receive_all(peer) == b""

    loop.run_until_complete(main())


def segments_out(sock):
    """Data segments this TCP socket has sent: tcpi_data_segs_out of struct tcp_info."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    if len(info) < 160:
        pytest.skip("this kernel does not count the segments of a connection (Linux before 4.6)")
    return struct.unpack_from("=I", info, 156)[0]


@pytest.mark.yula_only(reason="asyncio makes one system call, and one segment, of every write")
def test_the_writes_of_one_callback_leave_in_one_segment(loop):
    async def main():
        protocol = Recorder()
        async with wired(protocol) as (transport, peer):
            sock = transport.get_extra_info("socket")
            before = segments_out(sock)

            def respond():
                for i in range(50):
                    transport.write(b"%02d" % i)

            loop.call_soon(respond)
            expected = b"".join(b"%02d" % i for i in range(50))
            assert await receive(peer, 100) == expected
            # At most two: the first may leave alone.
            assert segments_out(sock) - before <= 2

    loop.run_until_complete(main())


@pytest.mark.yula_only(reason="asyncio makes one system call, and one segment, of every write")
def test_head_and_body_written_in_data_received_leave_together(loop):
    async def main():
        class Responder(Recorder):
            def data_received(self, data):
                super().data_received(data)
                self.transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
                self.transport.write(b"hello")

        protocol = Responder()
        async with wired(protocol) as (transport, peer):
            sock = transport.get_extra_info("socket")
            for _ in range(10):
                before = segments_out(sock)
                peer.send(b"GET")
                assert await receive(peer, 24) == b"HTTP/1.1 200 OK\r\n\r\nhello"
                assert segments_out(sock) - before == 1

    loop.run_until_complete(main())


@KINDS
def test_gathered_writes_are_flushed_before_the_socket_is_used_directly(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):

            def mixed():
                transport.write(b"1")
                transport.write(b"2")
                transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 17
                )
                transport.write_eof()

            loop.call_soon(mixed)
            assert await receive_all(peer) == b"12"

    loop.run_until_complete(main())


@KINDS
def test_gathered_writes_are_sent_when_the_callback_then_raises(loop, kind):
    async def main():
        loop.set_exception_handler(lambda *_: None)
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):

            def fails():
                transport.write(b"1")
                transport.write(b"2")
                raise ValueError

            loop.call_soon(fails)
            assert await receive(peer, 2) == b"12"

    loop.run_until_complete(main())


@pytest.mark.parametrize("leaving", [SystemExit, KeyboardInterrupt])
def test_gathered_writes_are_sent_when_the_callback_leaves_the_loop(loop, leaving):
    peers = []

    async def main():
        protocol = Recorder()
        async with wired(protocol) as (transport, peer):
            peers.append(peer)

            def leaves():
                transport.write(b"1")
                transport.write(b"2")
                raise leaving

            loop.call_soon(leaves)
            assert await receive(peer, 2) == b"12"

    task = loop.create_task(main())
    with pytest.raises(leaving):
        loop.run_forever()
    assert peers[0].recv(10, socket.MSG_PEEK) == b"12"
    loop.run_until_complete(task)


@KINDS
def test_the_last_words_before_stop_are_sent(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):

            def last():
                transport.write(b"last ")
                transport.write(b"words")
                loop.stop()

            loop.call_soon(last)
            await received
            assert peer.recv(100) == b"last words"

    received = loop.create_future()
    task = loop.create_task(main())
    loop.run_forever()
    received.set_result(None)
    loop.run_until_complete(task)


@KINDS
def test_a_write_from_outside_a_callback_is_sent_by_the_next_turn(loop, kind):
    state = {}

    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):
            state.update(transport=transport, peer=peer)
            await state["done"]

    state["done"] = loop.create_future()
    task = loop.create_task(main())
    loop.stop()
    loop.run_forever()
    while "transport" not in state:
        loop.stop()
        loop.run_forever()
    state["transport"].write(b"between ")
    state["transport"].write(b"runs")
    loop.stop()
    loop.run_forever()
    assert state["peer"].recv(100) == b"between runs"
    state["done"].set_result(None)
    loop.run_until_complete(task)


def test_a_peer_that_reads_slowly_gets_every_byte(loop):
    async def main():
        protocol = Recorder()
        async with wired(protocol, "unix", buffer=SMALL) as (transport, peer):
            for _ in range(5):
                transport.write(PATTERN)
            got = bytearray()
            while len(got) < 5 * len(PATTERN):
                got += await receive(peer, 4096)
                await turns(1)
            assert got == PATTERN * 5

    loop.run_until_complete(main())


def test_both_directions_full_at_once_do_not_disturb_each_other(loop):
    async def main():
        protocol = Recorder()
        async with wired(protocol, "unix", buffer=SMALL) as (transport, peer):
            backlog = fill(peer)
            transport.write(PATTERN)
            await until(lambda: len(protocol.data) == backlog)
            assert await receive(peer, len(PATTERN)) == PATTERN

    loop.run_until_complete(main())
