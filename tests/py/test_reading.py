"""How a transport reads: pausing, ends, and everything that a short read may hide."""

import array
import asyncio
import os
import socket
import sys

import pytest
from peers import KINDS, Recorder, fill, pair, receive, turns, until, wired

OURS = b"0123456789abcdef"


def patterned(count):
    return (OURS * (count // len(OURS) + 1))[:count]


async def send_all(peer, data):
    """Send from the raw socket as the kernel takes it."""
    view = memoryview(data)
    while view:
        try:
            view = view[peer.send(view[: 1 << 16]) :]
        except BlockingIOError:
            await turns()


@KINDS
def test_data_arrives_as_bytes(loop, kind):
    async def main():
        kinds = []

        class Kinds(Recorder):
            def data_received(self, data):
                kinds.append(type(data))
                super().data_received(data)

        protocol = Kinds()
        async with wired(protocol, kind) as (_, peer):
            peer.send(b"x")
            await until(lambda: protocol.data)
        assert kinds == [bytes]

    loop.run_until_complete(main())


@KINDS
def test_pause_reading_in_connection_made_holds(loop, kind):
    if type(loop) is asyncio.SelectorEventLoop and sys.version_info < (3, 11, 7):
        pytest.skip("asyncio forgot such a pause (seen in 3.11.2, mended by 3.11.7)")

    async def main():
        class Pauses(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                transport.pause_reading()

        protocol = Pauses()
        async with wired(protocol, kind) as (transport, peer):
            assert not transport.is_reading()
            peer.send(b"later")
            await turns(10)
            assert protocol.data == b""
            transport.resume_reading()
            assert transport.is_reading()
            await until(lambda: protocol.data == b"later")

    loop.run_until_complete(main())


@KINDS
def test_data_that_came_before_and_during_a_pause_is_delivered_after_it(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):
            peer.send(b"1")
            await until(lambda: protocol.data == b"1")
            peer.send(b"2")
            transport.pause_reading()
            await turns(5)
            peer.send(b"3")
            await turns(5)
            assert protocol.data == b"1"
            transport.resume_reading()
            await until(lambda: protocol.data == b"123")

    loop.run_until_complete(main())


@KINDS
def test_pausing_in_data_received_with_more_to_read_holds_and_loses_nothing(loop, kind):
    async def main():
        class OneByOne(Recorder):
            paused = False

            def data_received(self, data):
                assert not self.paused
                super().data_received(data)
                self.transport.pause_reading()
                self.paused = True
                loop.call_soon(loop.call_soon, self.resume)

            def resume(self):
                self.paused = False
                if not self.transport.is_closing():
                    self.transport.resume_reading()

        protocol = OneByOne()
        payload = patterned(3 << 20)
        async with wired(protocol, kind) as (_, peer):
            await send_all(peer, payload)
            peer.shutdown(socket.SHUT_WR)
            await protocol.lost
            assert protocol.data == payload
            await turns(3)

    loop.run_until_complete(main())


@KINDS
def test_pause_and_resume_are_idempotent_and_do_nothing_after_close(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):
            transport.resume_reading()
            transport.pause_reading()
            transport.pause_reading()
            assert not transport.is_reading()
            transport.resume_reading()
            transport.resume_reading()
            assert transport.is_reading()
            peer.send(b"x")
            await until(lambda: protocol.data == b"x")
            transport.close()
            transport.pause_reading()
            transport.resume_reading()
            assert not transport.is_reading()
            await protocol.lost
            transport.pause_reading()
            transport.resume_reading()
            assert not transport.is_reading()

    loop.run_until_complete(main())


@KINDS
def test_pause_and_resume_in_one_callback_do_not_lose_the_data_that_is_there(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):
            for i in range(100):
                peer.send(b"x")
                transport.pause_reading()
                transport.resume_reading()
                await until(lambda i=i: len(protocol.data) == i + 1)

    loop.run_until_complete(main())


@KINDS
def test_the_end_waits_for_resume_reading(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):
            transport.pause_reading()
            peer.send(b"last words")
            peer.shutdown(socket.SHUT_WR)
            await turns(10)
            assert protocol.calls == ["made"]
            transport.resume_reading()
            await protocol.lost
            assert protocol.calls == ["made", "data", "eof", "lost"]
            assert protocol.data == b"last words"

    loop.run_until_complete(main())


@KINDS
def test_a_paused_transport_whose_peer_closed_still_delivers_after_resume(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):
            transport.pause_reading()
            peer.send(patterned(50_000))
            peer.close()
            await turns(10)
            assert protocol.calls == ["made"]
            transport.resume_reading()
            await protocol.lost
            assert protocol.data == patterned(50_000)
            assert protocol.calls == ["made", "data", "eof", "lost"]

    loop.run_until_complete(main())


@KINDS
@pytest.mark.parametrize("size", [1, 100, 65535, 65536, 65537, 262143, 262144, 262145, 600_000])
def test_data_and_end_in_one_event_are_both_delivered(loop, kind, size):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind, buffer=1 << 20) as (transport, peer):
            transport.pause_reading()
            sent = 0
            while sent < size:
                try:
                    sent += peer.send(patterned(size)[sent:])
                except BlockingIOError:
                    break
            peer.shutdown(socket.SHUT_WR)
            await turns(5)
            transport.resume_reading()
            await protocol.lost
            assert protocol.data == patterned(sent)
            assert protocol.calls == ["made", "data", "eof", "lost"]

    loop.run_until_complete(main())


@KINDS
def test_data_and_end_sent_in_the_same_turn_are_both_delivered(loop, kind):
    async def main():
        for size in (1, 1000, 30_000):
            protocol = Recorder()
            async with wired(protocol, kind) as (_, peer):
                await turns(3)
                peer.send(patterned(size))
                peer.shutdown(socket.SHUT_WR)
                await protocol.lost
                assert protocol.data == patterned(size)

    loop.run_until_complete(main())


@KINDS
def test_an_end_after_which_the_user_keeps_writing(loop, kind):
    async def main():
        class Keeps(Recorder):
            def eof_received(self):
                super().eof_received()
                return True

        protocol = Keeps()
        async with wired(protocol, kind) as (transport, peer):
            peer.send(b"question")
            peer.shutdown(socket.SHUT_WR)
            await until(lambda: "eof" in protocol.calls)
            await turns(10)
            assert not transport.is_closing()
            assert protocol.calls == ["made", "data", "eof"]
            payload = patterned(1 << 20)
            transport.write(payload)
            assert await receive(peer, 1 << 20) == payload
            transport.close()
            assert await protocol.lost is None
            assert protocol.calls.count("eof") == 1

    loop.run_until_complete(main())


@KINDS
def test_an_end_with_unsent_data_is_lost_only_after_the_data_left(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind, buffer=1 << 16) as (transport, peer):
            payload = patterned(1 << 20)
            transport.write(payload)
            peer.shutdown(socket.SHUT_WR)
            await until(lambda: "eof" in protocol.calls)
            await turns(5)
            assert "lost" not in protocol.calls
            assert await receive(peer, 1 << 20) == payload
            assert await protocol.lost is None

    loop.run_until_complete(main())


def test_urgent_data_neither_stops_nor_enters_the_stream(loop):
    async def main():
        protocol = Recorder()
        async with wired(protocol) as (transport, peer):
            peer.send(b"before")
            peer.send(b"!", socket.MSG_OOB)
            peer.send(b"after")
            await until(lambda: len(protocol.data) >= 11)
            assert protocol.data == b"beforeafter"
            peer.send(b"?", socket.MSG_OOB)
            peer.send(b"more")
            await until(lambda: len(protocol.data) >= 15)
            assert protocol.data == b"beforeaftermore"
            transport.write(b"still writing")
            assert await receive(peer, 13) == b"still writing"

    loop.run_until_complete(main())


def test_urgent_data_does_not_hide_the_end_behind_it(loop):
    async def main():
        for pause in (False, True):
            protocol = Recorder()
            async with wired(protocol) as (transport, peer):
                if pause:
                    transport.pause_reading()
                peer.send(b"before")
                peer.send(b"!", socket.MSG_OOB)
                peer.send(b"after")
                peer.shutdown(socket.SHUT_WR)
                if pause:
                    await turns(3)
                    transport.resume_reading()
                await protocol.lost
                assert protocol.data == b"beforeafter"
                assert protocol.calls[-2:] == ["eof", "lost"]

    loop.run_until_complete(main())


def test_passed_descriptors_do_not_hide_the_data_behind_them(loop):
    # The kernel ends a read at each message that carries descriptors: a short read, more behind.
    async def main():
        for pause in (False, True):
            protocol = Recorder()
            async with wired(protocol, "unix") as (transport, peer):
                if pause:
                    transport.pause_reading()
                r, w = os.pipe()
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [r]))]
                for word in (b"one", b"two", b"three"):
                    peer.sendmsg([word], rights)
                os.close(r)
                os.close(w)
                peer.send(b"four")
                if pause:
                    await turns(3)
                    transport.resume_reading()
                await until(lambda protocol=protocol: len(protocol.data) == 15)
                assert protocol.data == b"onetwothreefour"
                peer.sendmsg([b"five"], [])
                peer.shutdown(socket.SHUT_WR)
                await protocol.lost
                assert protocol.data == b"onetwothreefourfive"

    loop.run_until_complete(main())


@KINDS
def test_a_peer_that_sends_byte_by_byte_is_heard_byte_by_byte(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (_, peer):
            for i in range(300):
                peer.send(OURS[i % 16 : i % 16 + 1])
                await until(lambda i=i: len(protocol.data) == i + 1)
            assert protocol.data == patterned(300)

    loop.run_until_complete(main())


@KINDS
def test_a_burst_larger_than_any_read_is_delivered_whole(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (_, peer):
            payload = patterned(20 << 20)
            await send_all(peer, payload)
            await until(lambda: len(protocol.data) == len(payload))
            assert protocol.data == payload

    loop.run_until_complete(main())


@KINDS
def test_a_transport_paused_by_another_callback_of_the_batch_stays_silent(loop, kind):
    async def main():
        class PausesTheOther(Recorder):
            other = None

            def data_received(self, data):
                super().data_received(data)
                self.other.transport.pause_reading()

        one, two = PausesTheOther(), PausesTheOther()
        one.other, two.other = two, one
        async with wired(one, kind) as (_, peer1), wired(two, kind) as (_, peer2):
            peer1.send(b"x")
            peer2.send(b"x")
            await until(lambda: one.data or two.data)
            await turns(5)
            assert sorted([one.data, two.data]) == [b"", b"x"]
            silent = two if one.data else one
            silent.transport.resume_reading()
            await until(lambda: silent.data == b"x")

    loop.run_until_complete(main())


@KINDS
def test_a_protocol_set_by_another_callback_of_the_batch_gets_the_data(loop, kind):
    async def main():
        class Replaces(Recorder):
            def __init__(self):
                super().__init__()
                self.successor = Recorder()
                self.successor.calls.append("installed")
                self.other = None

            def data_received(self, data):
                super().data_received(data)
                self.other.transport.set_protocol(self.other.successor)

        one, two = Replaces(), Replaces()
        one.other, two.other = two, one
        async with wired(one, kind) as (_, peer1), wired(two, kind) as (_, peer2):
            peer1.send(b"x")
            peer2.send(b"x")
            await until(lambda: one.successor.data or two.successor.data)
            await turns(5)
            assert sorted([one.data, two.data]) == [b"", b"x"]
            first = one if one.data else two
            assert first.other.successor.data == b"x"

    loop.run_until_complete(main())


@KINDS
def test_a_protocol_set_in_mid_callback_gets_the_rest(loop, kind):
    async def main():
        second = Recorder()
        second.calls.append("installed")

        class First(Recorder):
            def data_received(self, data):
                super().data_received(data)
                self.transport.set_protocol(second)

        first = First()
        payload = patterned(2 << 20)
        async with wired(first, kind) as (_, peer):
            await send_all(peer, payload)
            peer.shutdown(socket.SHUT_WR)
            await second.lost
            assert first.data + second.data == payload
            assert first.calls == ["made", "data"]
            assert second.calls == ["installed", "data", "eof", "lost"]

    loop.run_until_complete(main())


def test_a_reset_while_paused_is_reported_once_reading_resumes_or_at_once(loop):
    async def main():
        protocol = Recorder()
        async with wired(protocol) as (transport, peer):
            transport.pause_reading()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
            await turns(5)
            transport.resume_reading()
            assert isinstance(await protocol.lost, ConnectionResetError)

    loop.run_until_complete(main())


def test_two_hundred_transports_hear_their_own_peer(loop):
    async def main():
        pairs = [pair() for _ in range(200)]
        protocols = []
        for ours, _ in pairs:
            protocols.append((await loop.create_connection(Recorder, sock=ours))[1])
        for turn in range(5):
            for index, (_, peer) in enumerate(pairs):
                peer.send(f"<{index}:{turn}>".encode())
        expected = ["".join(f"<{i}:{t}>" for t in range(5)).encode() for i in range(200)]
        await until(
            lambda: all(len(p.data) == len(e) for p, e in zip(protocols, expected, strict=True))
        )
        assert [bytes(p.data) for p in protocols] == expected
        for protocol in protocols:
            protocol.transport.abort()
        await asyncio.gather(*(p.lost for p in protocols))
        for _, peer in pairs:
            peer.close()

    loop.run_until_complete(main())


def test_a_full_duplex_standstill_dissolves_when_one_side_reads(loop):
    async def main():
        protocol = Recorder()
        async with wired(protocol, buffer=1 << 17) as (transport, peer):
            transport.pause_reading()
            backlog = fill(peer)
            transport.write(patterned(1 << 20))
            await turns(10)
            transport.resume_reading()
            await until(lambda: len(protocol.data) == backlog)
            assert await receive(peer, 1 << 20) == patterned(1 << 20)

    loop.run_until_complete(main())
