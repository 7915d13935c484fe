"""Ctrl-C: in an idle loop, in a burst of C-only callbacks, beside a computing thread."""

import os
import signal
import subprocess
import sys

import pytest

# asyncio sleeps on when a signal comes between its last check and its sleep, until something wakes
# it. yula must not; the control gets a heartbeat.
PRELUDE = {
    "yula": "from yula import new_event_loop",
    "asyncio": """
def new_event_loop():
    loop = asyncio.SelectorEventLoop()
    def beat():
        loop.call_later(0.1, beat)
    beat()
    return loop
""",
}


@pytest.fixture
def interrupted(loop_name):
    """interrupted(program): run it, press Ctrl-C when it says so, return (status, out, err)."""

    def interrupted(program, presses=1):
        text = (
            "import asyncio, functools, threading, time\n"
            f"{PRELUDE[loop_name]}\n"
            "def ready(): print('ready', flush=True)\n" + program
        )
        child = subprocess.Popen(
            [sys.executable, "-c", text],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell starts background jobs with SIGINT ignored; this is a foreground one.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            for _ in range(presses):
                assert child.stdout.readline() == "ready\n", child.stderr.read()
                os.kill(child.pid, signal.SIGINT)
            out, err = child.communicate(timeout=40)
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
            child.stderr.close()
        return child.returncode, out, err

    return interrupted


IDLE = """
loop = new_event_loop()
loop.call_soon(ready)
try:
    loop.run_forever()
except KeyboardInterrupt:
    print("interrupted", loop.is_running())
loop.call_soon(loop.stop)
loop.run_forever()
loop.close()
"""


def test_an_idle_loop_is_interrupted_and_stays_usable(interrupted):
    assert interrupted(IDLE) == (0, "interrupted False\n", "")


def test_a_loop_asleep_until_a_timer_is_interrupted(interrupted):
    program = """
loop = new_event_loop()
loop.call_soon(ready)
loop.call_later(3600, print)
try:
    loop.run_forever()
except KeyboardInterrupt:
    print("interrupted")
loop.close()
"""
    assert interrupted(program) == (0, "interrupted\n", "")


def test_ctrl_c_cancels_the_main_task_of_a_runner(interrupted):
    program = """
async def main():
    ready()
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        print("cancelled")
        raise
try:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""
    assert interrupted(program) == (0, "cancelled\ninterrupted\n", "")


def test_a_second_ctrl_c_ends_a_main_task_that_refuses_to_be_cancelled(interrupted):
    program = """
async def main():
    while True:
        ready()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            ready()
            while True:
                await asyncio.sleep(0)
try:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""
    status, out, _ = interrupted(program, presses=2)
    assert (status, out) == (0, "interrupted\n")


def test_an_uncaught_ctrl_c_ends_the_program_as_a_shell_expects(interrupted):
    program = "loop = new_event_loop()\nloop.call_soon(ready)\nloop.run_forever()"
    status, _, err = interrupted(program)
    assert status == -signal.SIGINT
    assert "KeyboardInterrupt" in err


def test_an_endless_chain_of_callbacks_written_in_c_is_interrupted(interrupted):
    # Each call of the partial schedules the partial: no Python code runs, so only the loop looks.
    program = """
loop = new_event_loop()
chain = functools.partial(loop.call_soon)
chain.__setstate__((loop.call_soon, (chain,), {}, None))
loop.call_soon(ready)
for _ in range(10):
    loop.call_soon(chain)
try:
    loop.run_forever()
except KeyboardInterrupt:
    print("interrupted")
loop.close()
"""
    assert interrupted(program) == (0, "interrupted\n", "")


def test_one_long_batch_of_c_callbacks_is_interrupted_in_the_middle(interrupted):
    program = """
loop = new_event_loop()
done = []
loop.call_soon(ready)
for _ in range(300_000):
    loop.call_soon(sum, range(2000))
loop.call_soon(done.append, 1)
try:
    loop.run_forever()
except KeyboardInterrupt:
    print("interrupted", done)
loop.close()
"""
    assert interrupted(program) == (0, "interrupted []\n", "")


def test_a_loop_beside_a_computing_thread_is_interrupted(interrupted):
    program = """
loop = new_event_loop()
stop = False
def compute():
    while not stop:
        sum(i * i for i in range(1000))
thread = threading.Thread(target=compute)
thread.start()
loop.call_soon(ready)
try:
    loop.run_forever()
except KeyboardInterrupt:
    print("interrupted")
stop = True
thread.join()
loop.close()
"""
    assert interrupted(program) == (0, "interrupted\n", "")


def test_a_busy_task_is_interrupted(interrupted):
    program = """
async def main():
    ready()
    while True:
        await asyncio.sleep(0)
try:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""
    assert interrupted(program) == (0, "interrupted\n", "")


def test_a_serving_loop_is_interrupted_and_its_sockets_can_be_closed(interrupted):
    program = """
async def main():
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    ready()
    async with server:
        await server.serve_forever()
try:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""
    assert interrupted(program) == (0, "interrupted\n", "")


def test_a_loop_in_a_thread_leaves_ctrl_c_to_the_main_thread(interrupted):
    program = """
loop = new_event_loop()
thread = threading.Thread(target=loop.run_forever)
thread.start()
try:
    ready()
    while True:  # 3.14 can miss a signal that comes just before a long sleep, without any loop
        time.sleep(0.01)
except KeyboardInterrupt:
    print("interrupted")
loop.call_soon_threadsafe(loop.stop)
thread.join()
loop.close()
"""
    assert interrupted(program) == (0, "interrupted\n", "")


@pytest.mark.yula_only(reason="asyncio loses a SIGINT between its check and the poll")
def test_no_ctrl_c_is_lost_between_the_check_and_the_poll(run_python):
    # The signal is sent from a thread at random moments around the loop going to sleep.
    finished = run_python(
        """
import os, random, signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
rng = random.Random(3)
loop = new_event_loop()
caught = 0
for _ in range(300):
    go = threading.Event()
    def press():
        go.wait()
        for _ in range(rng.randrange(300)):
            pass
        os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=press)
    thread.start()
    loop.call_soon(go.set)
    try:
        try:
            loop.run_forever()
        finally:
            thread.join()
    except KeyboardInterrupt:
        caught += 1
loop.close()
print(caught)
""",
        loop="yula",
    )
    assert finished == (0, "300\n", "")
