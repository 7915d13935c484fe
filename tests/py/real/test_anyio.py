"""AnyIO's asyncio backend with the loop as its loop_factory."""

import asyncio
import signal
import ssl
import sys
import threading

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from anyio.streams.tls import TLSListener, TLSStream


@pytest.fixture
def anyio_run(loop_class):
    """anyio_run(function, *args), on the loop under test."""

    def anyio_run(function, *args):
        async def checked(*args):
            assert type(asyncio.get_running_loop()) is loop_class
            return await function(*args)

        options = {"loop_factory": loop_class}
        return anyio.run(checked, *args, backend="asyncio", backend_options=options)

    return anyio_run


async def serve_echo(stream):
    async with stream:
        async for data in stream:
            await stream.send(data)


def test_a_task_group_cancels_its_other_tasks_when_one_raises(anyio_run):
    ended = []

    async def sleeper(number):
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(number)

    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with anyio.create_task_group() as group:
                for number in range(20):
                    group.start_soon(sleeper, number)
                await anyio.wait_all_tasks_blocked()
                raise LookupError("stop")
        assert isinstance(caught.value.exceptions[0], LookupError)
        assert sorted(ended) == list(range(20))

    anyio_run(main)


def test_scopes_time_out_and_shield(anyio_run):
    async def main():
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.05):
                await anyio.sleep_forever()
        with anyio.move_on_after(0.05) as outer:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.1)
                shielded = True
            await anyio.sleep_forever()
        assert outer.cancelled_caught and shielded

    anyio_run(main)


def test_tcp_streams_echo_and_end(anyio_run):
    async def talk(port, number):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            sent = bytes([number]) * 100_000

            async def send():
                await stream.send(sent)
                await stream.send_eof()

            received = bytearray()
            async with anyio.create_task_group() as group:
                group.start_soon(send)
                async for data in stream:
                    received += data
            assert received == sent

    async def main():
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            async with anyio.create_task_group() as serving:
                serving.start_soon(listener.serve, serve_echo)
                async with anyio.create_task_group() as group:
                    for number in range(30):
                        group.start_soon(talk, port, number)
                serving.cancel_scope.cancel()

    anyio_run(main)


def test_a_cancelled_receive_loses_no_byte(anyio_run):
    async def main():
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            async with anyio.create_task_group() as serving:
                serving.start_soon(listener.serve, serve_echo)
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    for number in range(50):
                        with anyio.CancelScope() as scope:
                            scope.cancel()
                            await stream.receive()
                        await stream.send(bytes([number]))
                        assert await stream.receive() == bytes([number])
                serving.cancel_scope.cancel()

    anyio_run(main)


def test_tls_streams_echo(anyio_run, certificates):
    async def main():
        plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with TLSListener(plain, certificates.server) as listener:
            port = plain.extra(anyio.abc.SocketAttribute.local_port)
            async with anyio.create_task_group() as serving:
                serving.start_soon(listener.serve, serve_echo)
                raw = await anyio.connect_tcp("127.0.0.1", port)
                async with await TLSStream.wrap(
                    raw, hostname="localhost", ssl_context=certificates.ca
                ) as stream:
                    for size in [1, 1000, 100_000]:
                        await stream.send(b"t" * size)
                        received = b""
                        while len(received) < size:
                            received += await stream.receive()
                        assert received == b"t" * size
                raw = await anyio.connect_tcp("127.0.0.1", port)
                with pytest.raises(ssl.SSLCertVerificationError):
                    await TLSStream.wrap(
                        raw, hostname="localhost", ssl_context=ssl.create_default_context()
                    )
                await raw.aclose()
                serving.cancel_scope.cancel()

    anyio_run(main)


def test_udp_and_unix_sockets_echo(anyio_run, tmp_path):
    async def main():
        async with (
            await anyio.create_udp_socket(local_host="127.0.0.1") as server,
            await anyio.create_udp_socket(local_host="127.0.0.1") as client,
        ):
            port = server.extra(anyio.abc.SocketAttribute.local_port)
            for number in range(20):
                await client.sendto(b"%d" % number, "127.0.0.1", port)
                data, (host, back) = await server.receive()
                await server.sendto(data[::-1], host, back)
                assert (await client.receive())[0] == (b"%d" % number)[::-1]
        path = tmp_path / "echo.sock"
        served = anyio.Event()

        async def serve_one(stream):
            await serve_echo(stream)
            served.set()

        async with await anyio.create_unix_listener(path) as listener:
            async with anyio.create_task_group() as serving:
                serving.start_soon(listener.serve, serve_one)
                async with await anyio.connect_unix(path) as stream:
                    await stream.send(b"unix")
                    assert await stream.receive() == b"unix"
                await served.wait()
                serving.cancel_scope.cancel()

    anyio_run(main)


def test_threads_are_called_and_call_back(anyio_run):
    async def double(number):
        await anyio.sleep(0)
        return 2 * number

    def in_thread(number):
        assert threading.current_thread() is not threading.main_thread()
        return anyio.from_thread.run(double, number)

    async def main():
        answers = {}

        async def ask(number):
            answers[number] = await anyio.to_thread.run_sync(in_thread, number)

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(ask, number)
        assert answers == {number: 2 * number for number in range(50)}

    anyio_run(main)


def test_a_portal_runs_the_loop_in_a_thread(loop_class):
    async def loop_type():
        return type(asyncio.get_running_loop())

    options = {"loop_factory": loop_class}
    with anyio.from_thread.start_blocking_portal("asyncio", options) as portal:
        assert portal.call(loop_type) is loop_class
        with pytest.raises(ZeroDivisionError):
            portal.call(lambda: 1 / 0)


def test_a_process_talks_through_its_pipes(anyio_run):
    program = "import sys; print(sys.stdin.read()[::-1], end=''); sys.exit(3)"

    async def main():
        async with await anyio.open_process([sys.executable, "-c", program]) as process:
            await process.stdin.send(b"abc")
            await process.stdin.aclose()
            assert await process.stdout.receive() == b"cba"
            assert await process.wait() == 3

    anyio_run(main)


def test_signals_are_received(anyio_run):
    async def main():
        with anyio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as signals:
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGUSR2)
            received = [await anext(aiter(signals)), await anext(aiter(signals))]
            assert received == [signal.SIGUSR1, signal.SIGUSR2]

    anyio_run(main)
