"""How the benchmarks judge: pairs of rounds, void cases, loops that fail, clients that check."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from html.parser import HTMLParser

import pytest
from bench_harness import c_tools, settings
from harness import child, command, machine, page, results, rounds
from harness.case import FULL, QUICK, Case, choose
from limits import SLOWDOWN

import yula

pytestmark = pytest.mark.yula_only


# --- rounds --------------------------------------------------------------------------------------


class Scripted(Case):
    """A case whose figures are written down: {loop: one for each round}; an exception is raised."""

    name, about = "scripted/case", "figures that were written down"

    def __init__(self, figures, bare=()):
        self.figures = {name: list(values) for name, values in figures.items()}
        self.bare = list(bare)
        self.asked = []

    def references(self, settings):
        return self.bare

    def measure(self, name, settings):
        self.asked.append(name)
        value = self.figures[name].pop(0)
        if isinstance(value, Exception):
            raise value
        return {"cpu_us": value, "rate": 1e6 / value}


def run_scripted(figures, bare=(), number=None):
    case = Scripted(figures, bare)
    loops = [name for name in figures if name not in bare]
    count = number or max(map(len, figures.values()))
    return case, rounds.run_case(case, loops, settings(), count)


def test_the_order_is_reversed_from_one_round_to_the_next():
    case, _ = run_scripted({"C": [1, 1, 1], "asyncio": [1, 1, 1], "yula": [1, 1, 1]}, ["C"])
    order = ["C", "asyncio", "yula"]
    assert case.asked == order + order[::-1] + order


def test_a_loop_that_fails_is_reported_and_the_others_go_on():
    broken = child.ServerFailed("rloop: ended\n  rloop --style x\n  | NotImplementedError")
    figures = {"asyncio": [3, 3, 3], "rloop": [2, broken, broken], "yula": [1, 1, 1]}
    case, found = run_scripted(figures)
    assert list(found.rounds) == ["asyncio", "yula"]
    assert found.failed == {"rloop": str(broken)} and not found.repeated
    assert case.asked.count("rloop") == 3  # tried twice in the second round, not asked in the third
    summary = results.summarise(found)
    assert summary["failed"] == found.failed
    assert "fails" in results.matrix([summary], ["asyncio", "rloop", "yula"], False)
    assert results.short(str(broken), "rloop") == "rloop: ended; NotImplementedError"


def test_a_measurement_that_fails_once_is_repeated_and_said_to_be():
    lost = child.ServerFailed("yula: the server answered nothing")
    _, found = run_scripted({"asyncio": [3, 3], "yula": [lost, 1, 1]}, number=2)
    assert [one["cpu_us"] for one in found.rounds["yula"]] == [1, 1]
    assert results.summarise(found)["repeated"] == {"yula": [str(lost)]}
    assert not found.failed


def test_a_ratio_compares_within_each_round():
    # The machine got twice as slow in the second round: the ratio did not.
    _, found = run_scripted({"asyncio": [10, 20], "uvloop": [8, 16], "yula": [4, 8]})
    summary = results.summarise(found)
    ours = summary["loops"]["yula"]
    assert ours["to_best_other"]["mean"] == pytest.approx(0.5)
    assert ours["to_asyncio"]["mean"] == pytest.approx(0.4)
    assert summary["best_other"] == "uvloop"


def test_a_ratio_of_five_rounds_has_an_interval():
    values = [1.0, 1.1, 0.9, 1.05, 0.95]
    _, found = run_scripted({"asyncio": [1.0] * 5, "yula": values})
    ratio = results.summarise(found)["loops"]["yula"]["to_asyncio"]
    assert ratio["low"] < 1 < ratio["high"]
    assert re.fullmatch(r"1\.00 \[0\.\d\d, 1\.\d\d\]", results.ratio_text(ratio))


def test_a_case_is_void_when_the_control_moved_more_than_the_limit():
    figures = {"asyncio": [10, 10, 13], "uvloop": [5, 5, 5], "yula": [1, 1, 1]}
    _, found = run_scripted(figures)
    assert results.summarise(found, 0.25)["void"]
    assert not results.summarise(found, 0.35)["void"]
    assert results.verdict(results.summarise(found, 0.25)) == "void (0.20) uvloop"


def test_what_is_under_test_may_move():
    _, found = run_scripted({"asyncio": [10, 10], "yula": [1, 5]})
    assert not results.summarise(found)["void"]


def test_without_asyncio_the_fastest_bare_server_is_the_control():
    figures = {"C slow": [3, 3], "C fast": [1, 2], "yula": [4, 4]}
    _, found = run_scripted(figures, ["C slow", "C fast"])
    summary = results.summarise(found)
    assert (summary["control"], summary["limit"], summary["void"]) == ("C fast", "C fast", True)


# --- choosing ------------------------------------------------------------------------------------


def names(*patterns, level=QUICK):
    return [case.name for case in choose(command.CASES, patterns, level)]


def test_a_case_is_chosen_by_its_name_by_a_group_or_by_a_pattern():
    assert names("echo/streams/1k/100") == ["echo/streams/1k/100"]
    assert len(names("echo/streams")) > 20
    assert set(names("echo/*/1k/100")) == {
        f"echo/{style}/1k/100" for style in ("protocol", "buffered", "streams", "sock")
    }
    assert names("no/such/case") == []


def test_every_case_has_a_name_of_its_own_and_a_longer_run_has_all_of_a_shorter_one():
    everything = [case.name for case in command.CASES]
    assert len(set(everything)) == len(everything)
    assert set(names()) < set(names(level=FULL)) < set(everything)


# --- the page ------------------------------------------------------------------------------------


class WellFormed(HTMLParser):
    """Fails where an element is closed that is not open, and notes what is fetched."""

    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.fetched += [value for name, value in attributes if name == "src"]
        if tag not in ("meta", "link", "line", "rect", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.fetched += [value for name, value in attributes if name == "src"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        self.text += data


def saved_run(summaries):
    interpreter = {"python": "3.14.1", "gil": True, "versions": {"asyncio": "3.14.1"}}
    return {
        "machine": machine.describe(),
        "settings_text": "2 rounds",
        "void_spread": 0.25,
        "runs": [
            {
                "interpreter": interpreter,
                "loops": ["asyncio", "rloop", "yula"],
                "skipped": {"tls/x": "not installed: openssl"},
                "cases": summaries,
            }
        ],
    }


def test_the_page_is_one_well_formed_file_made_from_what_was_saved():
    broken = child.ServerFailed("rloop: <ended> & gone")
    figures = {"C": [1, 1], "asyncio": [10, 20], "rloop": [broken, broken], "yula": [2, 2]}
    _, found = run_scripted(figures, ["C"])
    saved = json.loads(json.dumps(saved_run([results.summarise(found)])))
    parser = WellFormed()
    text = page.page(saved)
    parser.feed(text)
    assert parser.open == [] and parser.fetched == []
    assert "http" not in text.replace("http-equiv", "")
    for wanted in ("scripted/case", "rloop: <ended> & gone", "Void: asyncio", "2.00 µs",
                   "tls/x", "not installed: openssl"):  # fmt: skip
        assert wanted in parser.text, wanted


# --- the clients ---------------------------------------------------------------------------------


@pytest.fixture(params=["python", "c"])
def load(request):
    return settings().load if request.param == "python" else [str(c_tools() / "load")]


def as_it_is(messages):
    return messages[-1]


def with_a_bit_changed(messages):
    changed = bytearray(messages[-1])
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


def the_first_one_again(messages):
    return messages[0]


def too_long(messages):
    return messages[-1] + b"x"


def answer(listener, size, answer_to):
    """One connection of an echo server that is not quite one."""
    with listener.accept()[0] as connection:
        messages = []
        while True:
            message = b""
            while len(message) < size:
                data = connection.recv(size - len(message))
                if not data:
                    return
                message += data
            messages.append(message)
            try:
                connection.sendall(answer_to(messages))
            except ConnectionError:
                return


def run_load(load, size, answer_to, *until):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer, args=(listener, size, answer_to))
        server.start()
        port = listener.getsockname()[1]
        ran = subprocess.run(
            [*load, "--port", str(port), "--connections", "1", "--size", str(size),
             "--warmup-ms", "0", *(until or ("--requests", "5"))],
            capture_output=True, text=True, timeout=50 * SLOWDOWN,
        )  # fmt: skip
        server.join()
    return ran


@pytest.mark.parametrize("size", [1, 15, 16, 1024, 100_000])
def test_a_load_client_accepts_an_echo(load, size):
    ran = run_load(load, size, as_it_is)
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert result["requests"] == 5
    assert 0 < result["p50_us"] <= result["p99_us"] <= result["max_us"]


@pytest.mark.parametrize("wrong", [with_a_bit_changed, the_first_one_again, too_long])
def test_a_load_client_refuses_what_is_no_echo(load, wrong):
    ran = run_load(load, 1024, wrong)
    assert ran.returncode == 1
    assert "wrong bytes" in ran.stderr or "more than it was sent" in ran.stderr


def test_a_load_client_gives_up_on_a_server_that_is_silent(load):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        ran = subprocess.run(
            [*load, "--port", port, "--connections", "2", "--silence-ms", "100"],
            capture_output=True, text=True, timeout=50 * SLOWDOWN,
        )  # fmt: skip
    assert ran.returncode == 1
    assert "answered nobody for 0.1 seconds" in ran.stderr


def test_a_load_client_measures_until_there_is_an_answer(load):
    def late(messages):
        threading.Event().wait(0.05)  # longer than the millisecond that is measured
        return messages[-1]

    ran = run_load(load, 64, late, "--measure-ms", "1")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["requests"] >= 1


# --- the command ---------------------------------------------------------------------------------


def bench(tmp_path, *options):
    return subprocess.run(
        [sys.executable, "-m", "yula", "bench", *options],
        cwd=tmp_path, capture_output=True, text=True, timeout=50 * SLOWDOWN,
    )  # fmt: skip


def test_python_m_yula_bench_compares_loops_and_writes_a_page_and_all_figures(tmp_path):
    options = ["--quick", "--rounds", "2", "--seconds", "0.05", "--loops", "asyncio,yula"]
    ran = bench(tmp_path, *options, "--void-spread", "9", "--html", "a.html", "--json", "a.json")
    assert ran.returncode == 0, ran.stderr + ran.stdout
    saved = json.loads((tmp_path / "a.json").read_text())
    (run,) = saved["runs"]
    assert run["loops"] == ["asyncio", "yula"]
    assert [one["name"] for one in run["cases"]] == names()
    for one in run["cases"]:
        assert one["name"] in ran.stdout
        assert not one["void"] and not one["failed"]
        assert all(len(one["loops"][name]["rounds"]) == 2 for name in run["loops"])
    assert saved["machine"]["cpu"] in ran.stdout
    assert run["interpreter"]["versions"]["yula"] in ("unknown", yula.__version__)
    assert "echo/protocol/1k/100" in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_run_that_is_interrupted_reports_what_it_has(tmp_path, wait_until, number):
    options = [
        "operation",
        "--rounds",
        "1",
        "--seconds",
        "0.1",
        "--loops",
        "yula",
        "--json",
        "a.json",
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "yula", "bench", *options],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as running:  # fmt: skip
        wait_until((tmp_path / "a.json").exists)  # the first case is done
        running.send_signal(number)
        said, _ = running.communicate(timeout=50 * SLOWDOWN)
    assert running.returncode == 0
    assert "interrupted" in said and "Traceback" not in said
    (run,) = json.loads((tmp_path / "a.json").read_text())["runs"]
    assert [one["name"] for one in run["cases"]] == names("operation")[: len(run["cases"])]
    assert 1 <= len(run["cases"]) < len(names("operation"))


def test_the_command_names_what_it_does_not_know(tmp_path):
    for options, complaint in (
        (["--loops", "asyncio,nosuchloop"], "unknown loops: nosuchloop"),
        (["no/such/case"], "no case matches no/such/case"),
    ):
        ran = bench(tmp_path, *options)
        assert ran.returncode == 2
        assert complaint in ran.stderr


def test_the_list_of_cases_is_short_unless_all_are_asked_for(tmp_path):
    usual = bench(tmp_path, "--list").stdout.splitlines()
    echoes = bench(tmp_path, "--list", "echo").stdout.splitlines()
    assert any(line.startswith("operation/call_soon ") for line in usual)
    assert not any(line.startswith("echo/sock/10k/10 ") for line in usual)
    assert any(line.startswith("echo/sock/10k/10 ") for line in echoes)
