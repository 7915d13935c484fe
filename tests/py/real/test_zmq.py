"""ZeroMQ through add_reader: its descriptor is an event counter that is read only now and then."""

import asyncio
import contextlib

import pytest
import zmq
import zmq.asyncio


@contextlib.contextmanager
def sockets(*kinds):
    with zmq.asyncio.Context() as context:
        made = [context.socket(kind) for kind in kinds]
        try:
            yield made
        finally:
            for sock in made:
                sock.close(linger=0)


def bind(sock, transport, name):
    if transport == "tcp":
        return f"tcp://127.0.0.1:{sock.bind_to_random_port('tcp://127.0.0.1')}"
    address = f"inproc://{name}"
    sock.bind(address)
    return address


@pytest.mark.parametrize("transport", ["tcp", "inproc"])
def test_requests_are_answered(run, transport):
    async def serve(replier):
        while (message := await replier.recv()) != b"stop":
            await replier.send(message[::-1])
        await replier.send(b"stopped")

    async def main():
        with sockets(zmq.REP, zmq.REQ) as (replier, requester):
            requester.connect(bind(replier, transport, "requests"))
            serving = asyncio.create_task(serve(replier))
            for number in range(500):
                await requester.send(b"%d" % number)
                assert await requester.recv() == (b"%d" % number)[::-1]
            await requester.send(b"stop")
            assert await requester.recv() == b"stopped"
            await serving

    run(main())


@pytest.mark.parametrize("transport", ["tcp", "inproc"])
def test_5000_pushed_messages_arrive_in_order(run, transport):
    async def push(pusher):
        for number in range(5000):
            await pusher.send(b"%d" % number)

    async def main():
        with sockets(zmq.PULL, zmq.PUSH) as (puller, pusher):
            pusher.connect(bind(puller, transport, "pushes"))
            pushing = asyncio.create_task(push(pusher))
            for number in range(5000):
                assert await puller.recv() == b"%d" % number
            await pushing

    run(main())


def test_a_cancelled_receive_loses_no_message(run):
    async def main():
        with sockets(zmq.PULL, zmq.PUSH) as (puller, pusher):
            pusher.connect(bind(puller, "tcp", ""))
            for number in range(50):
                receiving = asyncio.ensure_future(puller.recv())
                await asyncio.sleep(0)
                receiving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await receiving
                await pusher.send(b"%d" % number)
                assert await puller.recv() == b"%d" % number

    run(main())


def test_a_poller_waits_for_two_sockets(run):
    async def main():
        with sockets(zmq.PULL, zmq.PUSH, zmq.PULL, zmq.PUSH) as (pull1, push1, pull2, push2):
            push1.connect(bind(pull1, "tcp", ""))
            push2.connect(bind(pull2, "tcp", ""))
            poller = zmq.asyncio.Poller()
            poller.register(pull1, zmq.POLLIN)
            poller.register(pull2, zmq.POLLIN)
            for pusher, puller in [(push1, pull1), (push2, pull2)] * 10:
                await pusher.send(b"x")
                assert await poller.poll() == [(puller, zmq.POLLIN)]
                assert await puller.recv() == b"x"

    run(main())
