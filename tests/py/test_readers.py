"""add_reader and add_writer: level-triggered, honest about what was registered."""

import os
import select
import socket

import pytest
from peers import fill, pair, turns, until


@pytest.fixture
def ends():
    a, b = pair()
    with a, b:
        yield a, b


def test_a_reader_that_does_not_drain_is_called_again(loop, ends):
    a, b = ends
    got = []

    async def main():
        b.send(b"abcdef")
        loop.add_reader(a, lambda: got.append(a.recv(1)))
        await until(lambda: len(got) == 6)
        await turns(5)
        assert b"".join(got) == b"abcdef"
        loop.remove_reader(a)

    loop.run_until_complete(main())


def test_a_reader_that_reads_nothing_is_called_every_turn(loop, ends):
    a, b = ends
    calls = []

    async def main():
        b.send(b"x")
        loop.add_reader(a, calls.append, 1)
        await until(lambda: len(calls) == 20)
        loop.remove_reader(a)
        count = len(calls)
        await turns(5)
        assert len(calls) == count

    loop.run_until_complete(main())


def test_a_writer_is_called_as_long_as_there_is_room(loop, ends):
    a, b = ends
    calls = []

    async def main():
        loop.add_writer(a, calls.append, 1)
        await until(lambda: len(calls) == 10)
        fill(a)
        await turns(3)
        count = len(calls)
        await turns(10)
        assert len(calls) <= count + 1
        while True:
            try:
                b.recv(1 << 20)
            except BlockingIOError:
                break
        await until(lambda: len(calls) > count + 1)
        loop.remove_writer(a)

    loop.run_until_complete(main())


def test_reader_and_writer_of_one_descriptor_are_independent(loop, ends):
    a, b = ends
    order = []

    async def main():
        loop.add_reader(a, lambda: order.append(("r", a.recv(10))))
        loop.add_writer(a, lambda: (order.append(("w", None)), loop.remove_writer(a)))
        b.send(b"x")
        await until(lambda: len(order) == 2)
        assert sorted(order) == [("r", b"x"), ("w", None)]
        assert loop.remove_writer(a) is False
        b.send(b"y")
        await until(lambda: order[-1] == ("r", b"y"))
        assert loop.remove_reader(a) is True

    loop.run_until_complete(main())


def test_the_reader_runs_before_the_writer_of_the_same_event(loop, ends):
    a, b = ends
    order = []

    async def main():
        loop.add_writer(a, lambda: (order.append("w"), loop.remove_writer(a)))
        loop.add_reader(a, lambda: (order.append("r"), loop.remove_reader(a)))
        b.send(b"x")
        await until(lambda: len(order) == 2)
        assert order == ["r", "w"]

    loop.run_until_complete(main())


def test_add_returns_none_and_remove_tells_whether_there_was_one(loop, ends):
    a, _ = ends
    assert loop.remove_reader(a) is False
    assert loop.remove_writer(a) is False
    # asyncio returns the handle from its private method only.
    assert loop.add_reader(a, print) is None
    assert loop.add_writer(a, print) is None
    assert loop.remove_reader(a) is True
    assert loop.remove_reader(a) is False
    assert loop.remove_writer(a) is True
    assert loop.remove_writer(a) is False


def test_adding_again_replaces_the_callback(loop, ends):
    a, b = ends
    got = []

    async def main():
        loop.add_reader(a, got.append, "old")
        loop.add_reader(a, lambda: (got.append("new"), a.recv(10)))
        b.send(b"x")
        await until(lambda: got)
        assert got == ["new"]
        assert loop.remove_reader(a) is True
        assert loop.remove_reader(a) is False

    loop.run_until_complete(main())


def test_a_replaced_callback_that_was_already_due_does_not_run(loop, ends):
    a, b = ends
    got = []
    c, d = pair()

    async def main():
        # Both descriptors are readable in one poll; whichever runs first replaces the other.
        def replace(mine, other):
            loop.remove_reader(mine)
            loop.add_reader(other, lambda: (got.append("new"), loop.remove_reader(other)))

        loop.add_reader(a, replace, a, c)
        loop.add_reader(c, replace, c, a)
        b.send(b"x")
        d.send(b"x")
        await until(lambda: got)
        await turns(3)
        assert got == ["new"]

    with c, d:
        loop.run_until_complete(main())


def test_a_reader_removed_by_an_earlier_callback_of_the_batch_does_not_run(loop, ends):
    a, b = ends
    c, d = pair()
    got = []

    async def main():
        def only_one(other):
            got.append(other)
            loop.remove_reader(other)

        loop.add_reader(a, only_one, c)
        loop.add_reader(c, only_one, a)
        b.send(b"x")
        d.send(b"x")
        await until(lambda: got)
        loop.remove_reader(a)
        loop.remove_reader(c)
        assert len(set(got)) == 1

    with c, d:
        loop.run_until_complete(main())


def test_descriptors_are_given_as_numbers_or_objects(loop, ends):
    a, b = ends
    got = []

    class HasFileno:
        def fileno(self):
            return a.fileno()

    async def main():
        for form in (a, a.fileno(), HasFileno()):
            loop.add_reader(form, lambda: got.append(a.recv(10)))
            b.send(b"x")
            await until(lambda: got)
            got.clear()
            assert loop.remove_reader(a.fileno()) is True

    loop.run_until_complete(main())


@pytest.mark.parametrize(
    "wrong, error", [(-1, ValueError), ("x", ValueError), (None, ValueError), (10**6, OSError)]
)
def test_what_is_no_open_descriptor_is_refused(loop, wrong, error):
    with pytest.raises(error):
        loop.add_reader(wrong, print)
    with pytest.raises(error):
        loop.add_writer(wrong, print)


@pytest.mark.parametrize("side", ["reader", "writer"])
def test_what_was_added_for_an_object_is_removed_by_it_after_it_was_closed(loop, ends, side):
    left, _ = ends  # AnyIO removes its readers in a callback, after the socket's close()
    add, remove = getattr(loop, f"add_{side}"), getattr(loop, f"remove_{side}")
    add(left, print)
    left.close()
    assert remove(left) is True
    with pytest.raises(ValueError):
        remove(left)


def test_a_regular_file_is_refused_as_the_kernel_does(loop, tmp_path):
    with open(tmp_path / "file", "w+") as file:
        with pytest.raises(PermissionError):
            loop.add_reader(file, print)
        assert loop.remove_reader(file) is False


def test_descriptors_of_a_transport_are_refused(loop):
    import asyncio

    async def main():
        a, b = pair()
        with b:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=a)
            number = transport.get_extra_info("socket").fileno()
            for method in (loop.add_reader, loop.add_writer):
                with pytest.raises(RuntimeError, match="is used by transport"):
                    method(number, print)
            for method in (loop.remove_reader, loop.remove_writer):
                with pytest.raises(RuntimeError, match="is used by transport"):
                    method(number)
            transport.abort()
            await turns(2)

    loop.run_until_complete(main())


def test_the_end_of_the_peer_is_readable(loop, ends):
    a, b = ends
    got = []

    async def main():
        loop.add_reader(a, lambda: got.append(a.recv(10)))
        b.close()
        await until(lambda: len(got) >= 2)
        assert set(got) == {b""}
        loop.remove_reader(a)

    loop.run_until_complete(main())


def test_a_hang_up_wakes_a_writer_without_a_reader(loop):
    got = []
    r, w = os.pipe()

    async def main():
        os.set_blocking(w, False)
        while select.select([], [w], [], 0)[1]:
            os.write(w, bytes(65536))
        loop.add_writer(w, got.append, 1)
        await turns(3)
        assert got == []
        os.close(r)
        await until(lambda: got)
        loop.remove_writer(w)
        os.close(w)

    loop.run_until_complete(main())


@pytest.mark.parametrize("what", ["pipe", "datagram", "eventfd", "seqpacket"])
def test_any_pollable_descriptor_can_be_read(loop, what):
    got = []
    closing = []

    if what == "pipe":
        r, w = os.pipe()
        closing += [r, w]
        send, recv = (lambda: os.write(w, b"x")), (lambda: os.read(r, 10))
    elif what == "eventfd":
        if not hasattr(os, "eventfd"):
            pytest.skip("os.eventfd needs Linux and glibc 2.8")
        r = os.eventfd(0)
        closing += [r]
        send, recv = (lambda: os.eventfd_write(r, 1)), (lambda: os.eventfd_read(r))
    else:
        kind = socket.SOCK_DGRAM if what == "datagram" else socket.SOCK_SEQPACKET
        a, b = socket.socketpair(socket.AF_UNIX, kind)
        r = a.detach()
        w = b.detach()
        closing += [r, w]
        send, recv = (lambda: os.write(w, b"x")), (lambda: os.read(r, 10))

    async def main():
        loop.add_reader(r, lambda: got.append(recv()))
        for count in range(1, 4):
            send()
            await until(lambda count=count: len(got) == count)
        loop.remove_reader(r)

    loop.run_until_complete(main())
    for fd in closing:
        os.close(fd)
    assert len(got) == 3


def test_a_number_reused_after_remove_and_close_reaches_its_new_owner(loop):
    got = []

    async def main():
        for round_ in range(50):
            a, b = pair()
            loop.add_reader(a, lambda a=a, round_=round_: got.append((round_, a.recv(10))))
            b.send(b"%d" % round_)
            await until(lambda round_=round_: len(got) == round_ + 1)
            loop.remove_reader(a)
            a.close()
            b.close()

    loop.run_until_complete(main())
    assert got == [(i, b"%d" % i) for i in range(50)]


@pytest.mark.yula_only(reason="asyncio's selector believes the old registration and never fires")
def test_a_number_closed_while_registered_and_reused_works_when_added_again(loop):
    got = []

    async def main():
        a, b = pair()
        number = a.fileno()
        loop.add_reader(a, got.append, "stale")
        a.close()
        b.close()
        c, d = pair()
        moved = c
        if c.fileno() != number:
            os.dup2(c.fileno(), number)
            moved = socket.socket(fileno=number)
        with c, d:
            loop.add_reader(number, lambda: got.append(moved.recv(10)))
            d.send(b"fresh")
            await until(lambda: got)
            assert got == [b"fresh"]
            assert loop.remove_reader(number) is True
            if moved is not c:
                moved.close()

    loop.run_until_complete(main())


def test_a_descriptor_closed_while_registered_does_not_disturb_the_others(loop, ends):
    a, b = ends
    got = []

    async def main():
        c, d = pair()
        loop.add_reader(c, got.append, "closed")
        loop.add_reader(a, lambda: got.append(a.recv(10)))
        number = c.fileno()
        c.close()
        d.close()
        b.send(b"x")
        await until(lambda: got)
        assert got == [b"x"]
        loop.remove_reader(a)
        loop.remove_reader(number)

    loop.run_until_complete(main())


def test_an_exception_in_a_reader_is_reported_and_it_stays_registered(loop, ends):
    a, b = ends
    reports = []
    loop.set_exception_handler(lambda _, context: reports.append(context["exception"]))

    def fails():
        raise LookupError(a.recv(1))

    async def main():
        loop.add_reader(a, fails)
        b.send(b"12")
        await until(lambda: len(reports) == 2)
        assert loop.remove_reader(a) is True

    loop.run_until_complete(main())
    assert [type(exc) for exc in reports] == [LookupError, LookupError]


def test_readers_left_at_close_do_no_harm(loop, ends):
    a, b = ends
    loop.add_reader(a, print)
    loop.add_writer(b, print)
    loop.close()


def test_two_hundred_readers_are_all_served_in_one_turn(loop):
    pairs = [pair("unix") for _ in range(200)]
    got = []

    async def main():
        for index, (a, b) in enumerate(pairs):
            loop.add_reader(a, lambda a=a, index=index: (got.append(index), a.recv(1)))
            b.send(b"x")
        await until(lambda: len(got) == 200)
        assert sorted(got) == list(range(200))
        for a, b in pairs:
            loop.remove_reader(a)
            a.close()
            b.close()

    loop.run_until_complete(main())
