"""Signal handlers, the wake-up descriptor, and exceptions that leave the loop."""

import asyncio
import os
import signal
import subprocess
import threading

import pytest
from peers import turns, until

senders = []


@pytest.fixture(autouse=True)
def _handlers_are_restored():
    kept = {sig: signal.getsignal(sig) for sig in (signal.SIGUSR1, signal.SIGUSR2)}
    yield
    while senders:  # a late signal would meet the default action, which is death
        senders.pop().join()
    for sig, handler in kept.items():
        signal.signal(sig, handler)


def me(sig):
    os.kill(os.getpid(), sig)


def soon(sig, delay=0.01):
    """Send this process the signal a little later, most likely when the loop sleeps."""
    senders.append(threading.Timer(delay, os.kill, (os.getpid(), sig)))
    senders[-1].start()


def wakeup_fd():
    """The current wake-up descriptor, left as it is."""
    fd = signal.set_wakeup_fd(-1)
    if fd >= 0:
        signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
    return fd


def test_a_signal_handler_runs_on_the_loop_with_its_arguments(loop):
    seen = []

    async def main():
        loop.add_signal_handler(signal.SIGUSR1, lambda *args: seen.append(args), 1, "two")
        me(signal.SIGUSR1)
        await until(lambda: seen)
        assert loop.remove_signal_handler(signal.SIGUSR1) is True
        assert loop.remove_signal_handler(signal.SIGUSR1) is False

    loop.run_until_complete(main())
    assert seen == [(1, "two")]


def test_a_signal_wakes_a_sleeping_loop(loop):
    async def main():
        woken = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR2, woken.set)
        soon(signal.SIGUSR2)
        await woken.wait()
        loop.remove_signal_handler(signal.SIGUSR2)

    loop.run_until_complete(main())


def test_a_signal_that_arrives_between_two_runs_is_delivered_in_the_next(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, 1)
    me(signal.SIGUSR1)
    assert seen == []
    loop.run_until_complete(turns(5))
    assert seen == [1]
    loop.remove_signal_handler(signal.SIGUSR1)


def test_a_signal_taken_by_another_thread_wakes_the_loop(loop):
    # The kernel may give a process's signal to any thread; this one is sent to the helper.
    async def main():
        woken = asyncio.Event()
        release = threading.Event()
        loop.add_signal_handler(signal.SIGUSR1, woken.set)
        helper = threading.Thread(target=release.wait)
        helper.start()
        loop.call_later(0.005, signal.pthread_kill, helper.ident, signal.SIGUSR1)
        await woken.wait()
        release.set()
        helper.join()
        loop.remove_signal_handler(signal.SIGUSR1)

    loop.run_until_complete(main())


def test_every_signal_of_a_burst_of_two_kinds_arrives(loop):
    seen = []

    async def main():
        loop.add_signal_handler(signal.SIGUSR1, seen.append, "one")
        loop.add_signal_handler(signal.SIGUSR2, seen.append, "two")
        for count in range(1, 101):
            me(signal.SIGUSR1)
            me(signal.SIGUSR2)
            await until(lambda count=count: len(seen) == 2 * count)
        loop.remove_signal_handler(signal.SIGUSR1)
        loop.remove_signal_handler(signal.SIGUSR2)

    loop.run_until_complete(main())
    assert seen.count("one") == seen.count("two") == 100


def test_a_handler_can_be_replaced(loop):
    seen = []

    async def main():
        loop.add_signal_handler(signal.SIGUSR1, seen.append, "old")
        loop.add_signal_handler(signal.SIGUSR1, seen.append, "new")
        me(signal.SIGUSR1)
        await until(lambda: seen)
        loop.remove_signal_handler(signal.SIGUSR1)

    loop.run_until_complete(main())
    assert seen == ["new"]


def test_removing_the_handler_restores_the_default_action(loop):
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.remove_signal_handler(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    before = signal.getsignal(signal.SIGINT)
    loop.add_signal_handler(signal.SIGINT, print)
    loop.remove_signal_handler(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_closing_the_loop_removes_its_handlers(loop):
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGUSR2, print)
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL


def test_the_wakeup_descriptor_is_given_back_with_the_last_handler_and_at_close(loop):
    assert wakeup_fd() == -1
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGUSR2, print)
    assert wakeup_fd() != -1
    loop.remove_signal_handler(signal.SIGUSR1)
    assert wakeup_fd() != -1
    loop.remove_signal_handler(signal.SIGUSR2)
    assert wakeup_fd() == -1
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.close()
    assert wakeup_fd() == -1


def test_a_run_leaves_the_wakeup_descriptor_as_it_was(loop):
    a, b = os.pipe()
    os.set_blocking(b, False)
    loop.run_until_complete(asyncio.sleep(0))
    assert wakeup_fd() == -1
    signal.set_wakeup_fd(b)
    try:
        loop.run_until_complete(asyncio.sleep(0))
        assert wakeup_fd() == b
    finally:
        signal.set_wakeup_fd(-1)
        os.close(a)
        os.close(b)


@pytest.mark.parametrize(
    "sig, error",
    [
        (0, ValueError),
        (signal.NSIG + 1, ValueError),
        ("SIGINT", TypeError),
        (signal.SIGKILL, RuntimeError),
        (signal.SIGSTOP, RuntimeError),
    ],
)
def test_signals_that_cannot_be_handled_are_refused(loop, sig, error):
    with pytest.raises(error):
        loop.add_signal_handler(sig, print)
    assert wakeup_fd() == -1
    if error is not RuntimeError:
        with pytest.raises(error):
            loop.remove_signal_handler(sig)


def test_a_coroutine_is_no_signal_handler(loop):
    async def handler():
        pass

    with pytest.raises(TypeError, match="coroutines cannot be used"):
        loop.add_signal_handler(signal.SIGUSR1, handler)


def test_off_the_main_thread_a_signal_handler_is_refused(loop):
    caught = []

    def add():
        try:
            loop.add_signal_handler(signal.SIGUSR1, print)
        except RuntimeError as exc:
            caught.append(exc)

    thread = threading.Thread(target=add)
    thread.start()
    thread.join()
    assert len(caught) == 1
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_a_handler_that_fails_is_reported(loop):
    reports = []
    loop.set_exception_handler(lambda _, context: reports.append(context["exception"]))

    async def main():
        loop.add_signal_handler(signal.SIGUSR1, lambda: 1 / 0)
        me(signal.SIGUSR1)
        await until(lambda: reports)
        loop.remove_signal_handler(signal.SIGUSR1)

    loop.run_until_complete(main())
    assert isinstance(reports[0], ZeroDivisionError)


def test_sigchld_may_be_handled(loop):
    seen = []

    async def main():
        loop.add_signal_handler(signal.SIGCHLD, seen.append, 1)
        child = subprocess.Popen(["true"])
        child.wait()
        await until(lambda: seen)
        loop.remove_signal_handler(signal.SIGCHLD)

    loop.run_until_complete(main())


class Alarm(Exception):
    pass


def raise_alarm(*_):
    raise Alarm


def test_an_exception_of_a_python_signal_handler_leaves_an_idle_loop(loop):
    signal.signal(signal.SIGUSR2, raise_alarm)
    with pytest.raises(Alarm):
        soon(signal.SIGUSR2)
        loop.run_forever()
    assert not loop.is_running()
    assert loop.run_until_complete(asyncio.sleep(0, "usable")) == "usable"


def test_an_exception_of_a_python_signal_handler_leaves_a_loop_with_a_timer(loop):
    signal.signal(signal.SIGUSR2, raise_alarm)
    handle = loop.call_later(3600, print)
    with pytest.raises(Alarm):
        soon(signal.SIGUSR2)
        loop.run_forever()
    handle.cancel()


@pytest.mark.yula_only(reason="asyncio goes back to sleep after the handler (PEP 475)")
def test_what_a_python_signal_handler_schedules_is_run_by_a_sleeping_loop(loop):
    seen = []
    signal.signal(signal.SIGUSR2, lambda *_: (seen.append(1), loop.call_soon(loop.stop)))
    soon(signal.SIGUSR2)
    loop.run_forever()
    assert seen == [1]


def test_a_python_signal_handler_that_posts_wakes_the_loop(loop):
    signal.signal(signal.SIGUSR2, lambda *_: loop.call_soon_threadsafe(loop.stop))
    for _ in range(20):
        soon(signal.SIGUSR2, 0.001)
        loop.run_forever()


def test_an_interrupted_wait_that_nobody_cares_about_goes_on_waiting(loop):
    seen = []
    signal.signal(signal.SIGUSR2, lambda *_: seen.append(1))

    async def main():
        start = loop.time()
        for i in range(10):
            soon(signal.SIGUSR2, 0.001 * i)
        await asyncio.sleep(0.02)
        return loop.time() - start

    assert loop.run_until_complete(main()) >= 0.02 - 1e-6
    assert seen


def test_an_exception_of_a_signal_handler_in_a_callback_goes_through_the_callback(loop):
    signal.signal(signal.SIGUSR1, raise_alarm)
    reports = []
    loop.set_exception_handler(lambda _, context: reports.append(context["exception"]))

    def callback():
        me(signal.SIGUSR1)
        for _ in range(1000):
            pass

    loop.call_soon(callback)
    loop.stop()
    try:
        loop.run_forever()
    except Alarm:
        pass  # the evaluation loop may take it just outside of the callback
    else:
        assert [type(exc) for exc in reports] == [Alarm]


def test_two_loops_take_turns_with_signals(loop_factory):
    one, two = loop_factory(), loop_factory()
    seen = []
    one.add_signal_handler(signal.SIGUSR1, seen.append, "one")
    me(signal.SIGUSR1)
    one.run_until_complete(turns(3))
    assert one.remove_signal_handler(signal.SIGUSR1)
    two.add_signal_handler(signal.SIGUSR1, seen.append, "two")
    me(signal.SIGUSR1)
    two.run_until_complete(turns(3))
    one.close()
    me(signal.SIGUSR1)
    two.run_until_complete(turns(3))
    two.close()
    assert seen == ["one", "two", "two"]


def test_a_loop_in_a_thread_leaves_the_signals_of_the_main_loop_alone(loop_factory):
    main_loop = loop_factory()
    seen = []

    def other():
        loop = loop_factory()
        loop.run_until_complete(turns(3))
        loop.close()

    async def main():
        main_loop.add_signal_handler(signal.SIGUSR1, seen.append, 1)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        me(signal.SIGUSR1)
        await until(lambda: seen)
        main_loop.remove_signal_handler(signal.SIGUSR1)

    main_loop.run_until_complete(main())
    main_loop.close()
