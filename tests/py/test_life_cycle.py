"""Closed loops, forks, interpreter exit, loops in threads, loops that nobody closed."""

import asyncio
import gc
import threading
import warnings

import pytest
from peers import Recorder, turns


def test_a_closed_loop_refuses_work_with_one_message(loop):
    loop.close()
    coro = turns(1)
    for call in (
        lambda: loop.call_soon(print),
        lambda: loop.call_soon_threadsafe(print),
        lambda: loop.call_later(1, print),
        lambda: loop.call_at(1, print),
        lambda: loop.run_forever(),
        lambda: loop.run_until_complete(coro),
        lambda: loop.create_task(coro),
        lambda: loop.run_in_executor(None, print),
        lambda: loop.add_reader(0, print),
        lambda: loop.add_writer(0, print),
    ):
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            call()
    coro.close()


def test_a_closed_loop_still_answers_what_needs_no_loop(loop):
    loop.close()
    loop.close()
    loop.stop()
    assert loop.is_closed()
    assert not loop.is_running()
    assert loop.time() > 0
    assert loop.create_future().get_loop() is loop
    assert loop.remove_reader(0) is False
    assert loop.remove_writer(0) is False
    assert "closed=True" in repr(loop)


def test_a_running_loop_cannot_be_closed(loop):
    async def main():
        with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
            loop.close()

    loop.run_until_complete(main())


def test_the_repr_tells_the_state(loop):
    assert "running=False closed=False debug=False" in repr(loop)

    async def main():
        return repr(loop)

    assert "running=True" in loop.run_until_complete(main())


def test_a_loop_dropped_unclosed_gives_a_resource_warning_and_frees_its_descriptors(loop_class):
    loop = loop_class()
    loop.run_until_complete(turns(1))
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop
        gc.collect()


def test_a_loop_dropped_with_work_queued_does_not_run_it(loop_class):
    ran = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        loop = loop_class()
        loop.call_soon(ran.append, 1)
        loop.call_later(0, ran.append, 2)
        loop.call_soon_threadsafe(ran.append, 3)
        del loop
        gc.collect()
    assert ran == []


def test_a_loop_closed_with_everything_open_closes_quietly(python_program):
    finished = python_program(
        """
import os, socket
async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    transport, _ = await loop.create_connection(
        asyncio.Protocol, *server.sockets[0].getsockname())
    transport.write(bytes(1 << 23))
    r, w = os.pipe()
    loop.add_reader(r, print)
    loop.call_later(60, print)
    loop.call_soon(print, "never printed")
    a, b = socket.socketpair()
    a.setblocking(False)
    loop.create_task(loop.sock_recv(a, 10))
    loop.run_in_executor(None, int)
    loop.add_signal_handler(10, print)
    loop.stop()
loop = new_event_loop()
loop.create_task(main())
loop.run_forever()
loop.close()
print("closed")
""",
        options=("-W", "ignore"),
    )
    assert finished.code == 0, finished.err
    assert finished.out.endswith("closed\n")
    assert "Fatal" not in finished.err and "Segmentation" not in finished.err


# --- fork ---------------------------------------------------------------------------------------


@pytest.mark.yula_only(reason="asyncio's child takes readers from the epoll set of its parent")
def test_a_child_forked_in_a_callback_has_no_running_loop_and_the_parent_goes_on(python_program):
    finished = python_program(
        """
import os, signal, socket
async def main():
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    a.setblocking(False)
    got = []
    loop.add_reader(a, lambda: got.append(a.recv(10)))
    loop.add_signal_handler(signal.SIGUSR1, print)
    pid = os.fork()
    if pid == 0:
        status = 0
        if asyncio._get_running_loop() is not None:
            status |= 1
        if signal.set_wakeup_fd(-1) != -1:
            status |= 2
        try:
            loop.remove_reader(a)   # must not take it from the parent's epoll set
        except Exception:
            pass
        try:
            loop.close()
        except RuntimeError:
            pass                    # asyncio: "Cannot close a running event loop"
        os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status
    b.send(b"parent")
    while not got:
        await asyncio.sleep(0)
    assert got == [b"parent"]
    loop.remove_signal_handler(signal.SIGUSR1)
    loop.remove_reader(a)
    a.close(); b.close()
    print("parent")
run(main())
""",
        options=("-W", "ignore::DeprecationWarning"),
    )
    assert finished == (0, "parent\n", "")


def test_a_child_forked_in_a_callback_can_run_a_loop_of_its_own(python_program):
    finished = python_program(
        """
import os, sys
async def child():
    await asyncio.sleep(0.001)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"child\\n")
    await writer.drain()
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return answer
async def serve(reader, writer):
    writer.write((await reader.readline()).upper())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
async def main():
    global host, port
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            loop = new_event_loop()
            code = 0 if loop.run_until_complete(child()) == b"CHILD\\n" else 2
            loop.close()
        finally:
            os._exit(code)
    while True:
        await asyncio.sleep(0.001)
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
    server.close()
    await server.wait_closed()
    print(os.waitstatus_to_exitcode(status))
run(main())
""",
        options=("-W", "ignore::DeprecationWarning"),
    )
    assert finished == (0, "0\n", "")


def test_a_child_that_forgets_the_loop_leaves_the_parents_registrations_alone(python_program):
    finished = python_program(
        """
import gc, os, socket
loop = new_event_loop()
pairs = [socket.socketpair() for _ in range(10)]
got = []
for a, b in pairs:
    loop.add_reader(a, lambda a=a: got.append(a.recv(10)))
pid = os.fork()
if pid == 0:
    del loop
    for a, b in pairs:
        a.close()
    gc.collect()
    os._exit(0)
os.waitpid(pid, 0)
for a, b in pairs:
    b.send(b"x")
while len(got) < 10:
    loop.stop()
    loop.run_forever()
for a, b in pairs:
    loop.remove_reader(a)
    a.close(); b.close()
loop.close()
print(len(got))
""",
        options=("-W", "ignore"),
    )
    assert finished == (0, "10\n", "")


def test_subprocesses_and_multiprocessing_fork_beside_a_running_loop(python_program):
    finished = python_program(
        """
import multiprocessing, subprocess, sys
async def main():
    assert subprocess.run(["true"]).returncode == 0
    context = multiprocessing.get_context("fork")
    child = context.Process(target=int)
    child.start()
    child.join()
    await asyncio.sleep(0.001)
    print(child.exitcode)
run(main())
""",
        options=("-W", "ignore::DeprecationWarning"),
    )
    assert finished == (0, "0\n", "")


# --- the interpreter ends ------------------------------------------------------------------------


def test_the_interpreter_may_exit_with_the_loop_open(python_program):
    finished = python_program(
        """
import socket
loop = new_event_loop()
a, b = socket.socketpair()
loop.add_reader(a, print)
loop.call_later(60, print)
loop.call_soon(print)
async def main():
    global server, transport
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    transport, _ = await loop.create_connection(
        asyncio.Protocol, *server.sockets[0].getsockname())
loop.run_until_complete(main())
""",
        options=("-W", "ignore"),
    )
    assert finished.code == 0, finished.err
    assert "Fatal" not in finished.err and "Exception" not in finished.err


def test_the_interpreter_may_exit_from_inside_the_loop(python_program):
    finished = python_program(
        """
import sys
loop = new_event_loop()
loop.call_soon(sys.exit, 7)
loop.run_forever()
""",
        options=("-W", "ignore"),
    )
    assert finished.code == 7
    assert finished.err == ""


@pytest.mark.parametrize("busy", [False, True])
def test_the_interpreter_may_end_while_a_daemon_thread_runs_a_loop(python_program, busy):
    finished = python_program(
        f"""
import threading, time
busy = {busy}
loop = new_event_loop()
started = threading.Event()
async def main():
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    started.set()
    while True:
        await asyncio.sleep(0 if busy else 0.001)
thread = threading.Thread(target=loop.run_until_complete, args=(main(),), daemon=True)
thread.start()
started.wait()
print("main ends")
""",
        options=("-W", "ignore"),
    )
    assert finished.code == 0, finished.err
    assert finished.out == "main ends\n"
    assert "Fatal" not in finished.err


def test_a_daemon_threads_sleeping_loop_does_not_hold_the_interpreter(python_program):
    finished = python_program(
        """
import threading
loop = new_event_loop()
started = threading.Event()
loop.call_soon(started.set)
threading.Thread(target=loop.run_forever, daemon=True).start()
started.wait()
for _ in range(1000):
    loop.call_soon_threadsafe(int)
print("main ends")
""",
        options=("-W", "ignore"),
    )
    assert (finished.code, finished.out) == (0, "main ends\n"), finished.err
    assert "Fatal" not in finished.err


def test_atexit_may_still_run_a_loop(python_program):
    finished = python_program(
        """
import atexit
@atexit.register
def last():
    print(run(asyncio.sleep(0.001, "at exit")))
"""
    )
    assert finished == (0, "at exit\n", "")


# --- threads -------------------------------------------------------------------------------------


def test_two_loops_run_in_two_threads_at_the_same_time(loop_factory):
    barrier = threading.Barrier(2)
    results = []

    def serve(name):
        async def main():
            barrier.wait()
            done = []

            class Echo(Recorder):
                def data_received(self, data):
                    self.transport.write(data)

                def connection_lost(self, exc):
                    super().connection_lost(exc)
                    done.append(1)

            server = await loop.create_server(Echo, "127.0.0.1", 0)
            for i in range(100):
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(b"%s-%d\n" % (name, i))
                assert await reader.readline() == b"%s-%d\n" % (name, i)
                writer.close()
                await writer.wait_closed()
            server.close()
            await server.wait_closed()
            while len(done) < 100:
                await asyncio.sleep(0)
            results.append(name)

        loop = loop_factory()
        loop.run_until_complete(main())
        loop.close()

    threads = [threading.Thread(target=serve, args=(name,)) for name in (b"one", b"two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [b"one", b"two"]


def test_a_loop_may_be_made_here_and_run_in_another_thread(loop):
    results = []
    thread = threading.Thread(
        target=lambda: results.append(loop.run_until_complete(asyncio.sleep(0.001, "there")))
    )
    thread.start()
    thread.join()
    assert results == ["there"]
    assert loop.run_until_complete(asyncio.sleep(0.001, "here")) == "here"


@pytest.mark.yula_only(reason="asyncio 3.13.0 cleans up after the run that it refused")
def test_a_loop_running_in_a_thread_refuses_to_run_here(loop):
    ready, release = threading.Event(), threading.Event()

    def other():
        loop.call_soon(lambda: (ready.set(), release.wait()))
        loop.stop()
        loop.run_forever()

    thread = threading.Thread(target=other)
    thread.start()
    ready.wait()
    try:
        assert loop.is_running()
        assert asyncio._get_running_loop() is None
        with pytest.raises(RuntimeError, match="already running"):
            loop.run_forever()
    finally:
        release.set()
        thread.join()


def test_a_hundred_loops_are_made_run_and_closed_in_threads(loop_factory):
    def life():
        loop = loop_factory()
        loop.run_until_complete(asyncio.sleep(0.001))
        loop.close()

    for _ in range(10):
        threads = [threading.Thread(target=life) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def test_a_loop_is_collected_by_another_thread(python_program):
    finished = python_program(
        """
import gc, threading
def make():
    loop = new_event_loop()
    loop.self = loop
    loop.call_later(60, print, loop)
gc.disable()
threading.Thread(target=make).start()
collector = threading.Thread(target=gc.collect)
collector.start()
collector.join()
print("collected")
""",
        options=("-W", "ignore"),
    )
    assert finished.out == "collected\n"
    assert finished.code == 0, finished.err
