"""The interpreter lock: detecting that others want it, the switch interval, the settings, and
that nobody notices the difference but for the speed. Nothing is timed here: bench/gil.py does."""

import asyncio
import contextlib
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from computing import computing, until_contended

import yula

DEFAULT_INTERVAL = 0.005
AWAY_INTERVAL = 0.0001
BEHIND_INTERVAL = 0.001

pytestmark = pytest.mark.yula_only(reason="about yula's way with the lock")


def interval():
    return round(sys.getswitchinterval(), 6)


def run_program(text, **environ):
    """Run a program of its own; what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- noticing -----------------------------------------------------------------------------------


def test_a_loop_alone_is_not_contended_and_leaves_the_switch_interval_alone(loop, run):
    async def main():
        for _ in range(50):
            await asyncio.sleep(0.0001)
            assert sys.getswitchinterval() == DEFAULT_INTERVAL
        return asyncio.get_running_loop().stats()["gil"]

    gil = run(main())
    assert gil["spins"] == gil["yields"] == 0
    assert not gil["contended"]


def test_a_loop_notices_a_computing_thread_and_counts_what_it_waits(run):
    async def main():
        loop = asyncio.get_running_loop()
        with computing():
            await until_contended(loop)
            gil = loop.stats()["gil"]
        assert gil["waits"] >= 1
        assert 0 < gil["longest_wait_ns"] <= gil["waited_ns"]

    run(main())


def test_contention_ends_when_the_thread_has_ended(run):
    async def main():
        loop = asyncio.get_running_loop()
        with computing():
            await until_contended(loop)
        while loop.stats()["gil"]["contended"]:
            await asyncio.sleep(0.01)
        before = loop.stats()["gil"]["spins"]
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert loop.stats()["gil"]["spins"] == before

    run(main())


def test_contention_ends_while_the_loop_is_busy_all_the_time(run):
    async def main():
        loop = asyncio.get_running_loop()
        with computing():
            await until_contended(loop)
        while loop.stats()["gil"]["contended"]:
            await asyncio.sleep(0)

    run(main())


def test_an_idle_loop_beside_a_computing_thread_sleeps(run):
    async def main():
        loop = asyncio.get_running_loop()
        with computing():
            await until_contended(loop)
            await asyncio.sleep(1)  # long enough for the loop to have forgotten
            before = loop.stats()["turns"]
            await asyncio.sleep(1)
            assert loop.stats()["turns"] - before <= 3

    run(main())


def test_a_loop_that_polls_is_counted(run):
    async def main():
        loop = asyncio.get_running_loop()
        with computing():
            await until_contended(loop)
            for _ in range(20):
                await asyncio.sleep(0.001)
            gil = loop.stats()["gil"]
        assert gil["spins"] >= gil["spins_paid"]
        assert gil["spins"] > 0
        assert gil["spun_ns"] > 0

    run(main())


# --- others are served ---------------------------------------------------------------------------


def test_a_chain_of_callbacks_written_in_c_lets_other_threads_run(loop):
    # `list.append` never passes the eval breaker: without the loop's help the thread stands still.
    calls = []

    def again():
        for _ in range(300):
            loop.call_soon(calls.append, None)

    def watch(counters, first):
        if counters[0] >= first + 20:
            loop.stop()
        else:
            again()
            loop.call_soon(watch, counters, first)

    with computing() as counters:
        loop.call_soon(watch, counters, counters[0])
        loop.run_forever()


def test_every_one_of_four_threads_goes_on_beside_a_busy_loop(run):
    async def main():
        with computing(4) as counters:
            first = list(counters)
            while not all(now >= then + 5 for now, then in zip(counters, first, strict=True)):
                await asyncio.sleep(0)

    run(main())


def test_the_thread_goes_on_while_the_loop_is_kept_busy_by_timers(run):
    async def main():
        loop = asyncio.get_running_loop()
        with computing() as counters:
            await until_contended(loop)
            first = counters[0]
            while counters[0] < first + 20:
                await asyncio.sleep(0.0001)

    run(main())


# --- the switch interval --------------------------------------------------------------------------


def test_the_interval_is_lowest_while_a_contended_loop_is_away(run):
    seen = set()

    async def main():
        loop = asyncio.get_running_loop()
        with computing(sample=lambda: seen.add(interval())):
            await until_contended(loop)
            while AWAY_INTERVAL not in seen:
                await asyncio.sleep(0.005)
                # A loop that is behind keeps it somewhat lowered.
                assert interval() in (BEHIND_INTERVAL, DEFAULT_INTERVAL)
        assert seen <= {AWAY_INTERVAL, BEHIND_INTERVAL, DEFAULT_INTERVAL}

    run(main())
    assert sys.getswitchinterval() == DEFAULT_INTERVAL


def test_an_interval_of_the_users_is_left_alone(run):
    seen = set()

    async def main():
        loop = asyncio.get_running_loop()
        with computing(sample=lambda: seen.add(interval())):
            await until_contended(loop)
            for _ in range(30):
                await asyncio.sleep(0.002)
        assert loop.stats()["gil"]["user_switch_interval"] == pytest.approx(0.003)

    sys.setswitchinterval(0.003)
    try:
        run(main())
        assert sys.getswitchinterval() == pytest.approx(0.003)
    finally:
        sys.setswitchinterval(DEFAULT_INTERVAL)
    assert seen == {0.003}


def test_an_interval_that_the_user_sets_while_it_is_lowered_is_left_alone(run):
    changed = threading.Event()

    def change():
        if sys.getswitchinterval() < DEFAULT_INTERVAL and not changed.is_set():
            sys.setswitchinterval(0.002)
            changed.set()

    async def main():
        loop = asyncio.get_running_loop()
        with computing(sample=change):
            await until_contended(loop)
            while not changed.is_set():
                await asyncio.sleep(0.005)
            for _ in range(10):
                await asyncio.sleep(0.002)
                assert sys.getswitchinterval() == pytest.approx(0.002)

    try:
        run(main())
        assert sys.getswitchinterval() == pytest.approx(0.002)
    finally:
        sys.setswitchinterval(DEFAULT_INTERVAL)


def test_a_loop_that_loses_the_lock_inside_its_callbacks_lowers_the_interval_there_too(run):
    async def main():
        loop = asyncio.get_running_loop()
        with computing():
            while interval() != BEHIND_INTERVAL:
                await until_contended(loop)  # a machine that stood still makes it forget
                time.sleep(0.0002)  # as a slow system call: without the lock, which is then gone
                await asyncio.sleep(0)
        while interval() != DEFAULT_INTERVAL:
            await asyncio.sleep(0.001)

    run(main())


def test_a_run_that_ends_contended_restores_the_interval(loop):
    async def main():
        while interval() != BEHIND_INTERVAL:
            await until_contended(loop)
            time.sleep(0.0002)
            await asyncio.sleep(0)

    with computing():
        loop.run_until_complete(main())
        assert interval() == DEFAULT_INTERVAL


def test_with_two_loops_the_last_one_back_restores_the_interval(loop_factory):
    def serve(loop, started, stop):
        async def main():
            await until_contended(loop)
            started.set()
            while not stop.is_set():
                await asyncio.sleep(0.002)

        loop.run_until_complete(main())

    loops = [loop_factory() for _ in range(2)]
    stop = threading.Event()
    started = [threading.Event() for _ in loops]
    with computing():
        threads = [
            threading.Thread(target=serve, args=(loop, event, stop))
            for loop, event in zip(loops, started, strict=True)
        ]
        for thread in threads:
            thread.start()
        for event in started:
            event.wait()
        stop.set()
        for thread in threads:
            thread.join()
    for loop in loops:
        loop.close()
    assert sys.getswitchinterval() == DEFAULT_INTERVAL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_of_a_fork_made_while_the_loop_was_away_has_the_default_interval():
    # Forked by the computing thread, at a moment when it sees the interval lowered.
    out = run_program(
        """
        import asyncio, os, sys, threading, warnings, yula
        warnings.simplefilter("ignore")  # 3.12: fork() of a process with threads
        done = threading.Event()

        def compute():
            while not done.is_set():
                if sys.getswitchinterval() < 0.005:
                    pid = os.fork()
                    if pid == 0:
                        os._exit(0 if sys.getswitchinterval() == 0.005 else 1)
                    _, status = os.waitpid(pid, 0)
                    print("child", os.waitstatus_to_exitcode(status))
                    done.set()

        async def main():
            thread = threading.Thread(target=compute)
            thread.start()
            while not done.is_set():
                await asyncio.sleep(0.003)
            thread.join()

        yula.run(main())
        print(sys.getswitchinterval())
        """
    )
    assert out.split() == ["child", "0", "0.005"]


def test_a_program_that_ends_with_a_loop_in_a_daemon_thread_restores_the_interval():
    out = run_program(
        """
        import asyncio, atexit, sys, threading
        atexit.register(lambda: print(sys.getswitchinterval()))  # called after yula's
        import yula
        ready = threading.Event()

        async def main():
            loop = asyncio.get_running_loop()
            while True:
                await asyncio.sleep(0.002)
                if loop.stats()["gil"]["contended"]:
                    ready.set()

        threading.Thread(target=lambda: yula.run(main()), daemon=True).start()
        while not ready.is_set() or sys.getswitchinterval() == 0.005:
            pass
        """
    )
    assert out == "0.005"


# --- settings ------------------------------------------------------------------------------------


def test_the_defaults_can_be_read_and_changed(loop):
    assert loop.gil_spin == 0.0005
    assert loop.gil_share == 0.6
    loop.gil_spin = 0
    loop.gil_share = 1
    assert (loop.gil_spin, loop.gil_share) == (0.0, 1.0)


@pytest.mark.parametrize("value", [-0.001, 1.5, float("nan"), float("inf")])
def test_a_time_to_poll_that_makes_no_sense_is_refused(loop, value):
    with pytest.raises(ValueError, match="gil_spin must be from 0 to 1 second, not"):
        loop.gil_spin = value
    assert loop.gil_spin == 0.0005


@pytest.mark.parametrize("value", [0, -1, 1.01, float("nan")])
def test_a_share_that_makes_no_sense_is_refused(loop, value):
    with pytest.raises(ValueError, match="gil_share must be above 0 and at most 1, not"):
        loop.gil_share = value
    assert loop.gil_share == 0.6


@pytest.mark.parametrize("name", ["gil_spin", "gil_share"])
def test_a_setting_must_be_a_number_and_cannot_be_deleted(loop, name):
    with pytest.raises(TypeError, match=f"{name} must be a number, not str"):
        setattr(loop, name, "0.5")
    with pytest.raises(AttributeError, match=f"cannot delete {name}"):
        delattr(loop, name)


def test_the_settings_can_be_given_to_the_loop_the_factory_and_run():
    async def settings():
        loop = asyncio.get_running_loop()
        return loop.gil_spin, loop.gil_share

    assert yula.run(settings(), gil_spin=0.001, gil_share=0.25) == (0.001, 0.25)
    assert yula.run(settings(), gil_share=0.25) == (0.0005, 0.25)
    with contextlib.closing(yula.new_event_loop(gil_spin=0.0)) as loop:
        assert (loop.gil_spin, loop.gil_share) == (0.0, 0.6)
    with contextlib.closing(yula.Loop(gil_share=0.75)) as loop:
        assert loop.gil_share == 0.75


def test_a_loop_with_a_bad_setting_is_not_made_and_leaves_nothing_behind():
    with pytest.raises(ValueError, match="gil_share must be"):
        yula.Loop(gil_share=2)
    with pytest.raises(TypeError, match="gil_spin must be a number"):
        yula.new_event_loop(gil_spin="fast")


def test_settings_beside_a_loop_factory_of_the_users_are_refused():
    async def main():
        pass

    main = main()
    with pytest.raises(TypeError, match="settings of yula's loop"):
        yula.run(main, loop_factory=asyncio.SelectorEventLoop, gil_share=0.5)
    main.close()


def test_the_environment_gives_what_the_program_does_not():
    program = """
        import yula
        loop = yula.new_event_loop(gil_share=0.3)
        print(loop.gil_spin, loop.gil_share)
        loop.close()
        loop = yula.new_event_loop()
        print(loop.gil_spin, loop.gil_share)
        loop.close()
        """
    out = run_program(program, YULA_GIL_SPIN="0.002", YULA_GIL_SHARE="0.9")
    assert out.split() == ["0.002", "0.3", "0.002", "0.9"]
    out = run_program(program, YULA_GIL_SPIN="", YULA_GIL_SHARE="")
    assert out.split() == ["0.0005", "0.3", "0.0005", "0.6"]


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("YULA_GIL_SHARE", "much", "environment variable YULA_GIL_SHARE: could not convert"),
        ("YULA_GIL_SHARE", "2", "environment variable YULA_GIL_SHARE: gil_share must be"),
        ("YULA_GIL_SPIN", "-1", "environment variable YULA_GIL_SPIN: gil_spin must be"),
    ],
)
def test_nonsense_in_the_environment_is_an_error_that_names_the_variable(variable, value, message):
    out = run_program(
        """
        import yula
        try:
            yula.new_event_loop()
        except ValueError as error:
            print(error)
        """,
        **{variable: value},
    )
    assert out.startswith(message)
