"""bench/gil.py: what it makes of its figures, and every kind of run for a moment; nothing timed."""

import argparse
import sys
import xml.etree.ElementTree

import pytest
from bench_harness import MOMENT, PATIENCE_S, c_tools
from contention import beside, chart, frontier, quiet, runs, trace
from harness import process
from limits import SLOWDOWN

pytestmark = [pytest.mark.timeout(PATIENCE_S + 60), pytest.mark.yula_only]
starts_servers = pytest.mark.skipif(SLOWDOWN > 1, reason="not under sanitizers")
has_gil = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="nothing waits for no lock"
)

CURVE = [(0.9, 100.0), (0.5, 500.0), (0.6, 400.0), (0.55, 300.0), (0.4, 450.0)]


# --- the curve -----------------------------------------------------------------------------------


def test_the_front_has_no_point_that_another_beats_in_both():
    assert frontier.front(CURVE) == [(0.5, 500.0), (0.6, 400.0), (0.9, 100.0)]


@pytest.mark.parametrize(
    ("share", "rate"),
    [(0.1, 500.0), (0.5, 500.0), (0.55, 450.0), (0.6, 400.0), (0.75, 250.0), (0.9, 100.0)],
)
def test_between_two_settings_the_curve_is_straight(share, rate):
    assert frontier.rate_at(CURVE, share) == pytest.approx(rate)


def test_beyond_the_last_setting_the_curve_says_nothing():
    assert frontier.rate_at(CURVE, 0.91) is None
    assert frontier.rate_at([], 0.5) is None


def rounds_of(points, number=2):
    """Rounds in which every label did exactly that, in one case for 100 connections."""
    done = {
        label: [
            {"round": n, "seconds": 1.0, "computed": share, "alone": 1.0, "rate": rate}
            for n in range(number)
        ]
        for label, (share, rate) in points.items()
    }
    return runs.Rounds({"100 connections": done}, {})


def test_a_loop_above_the_curve_and_one_below_are_told_apart():
    found = rounds_of({"yula": (0.5, 500.0), "yula 0.1": (0.9, 100.0),
                       "talyn": (0.7, 200.0), "rloop": (0.7, 400.0)})  # fmt: skip
    head, *lines = frontier.above_all(found, "100 connections")
    assert "NO" in head
    assert [line.split()[:2] for line in lines] == [["above", "talyn:"], ["BELOW", "rloop:"]]
    assert frontier.at_talyns_share(found, "100 connections").startswith("yes")  # 300 to 200


def test_the_default_is_compared_with_those_that_leave_as_much():
    found = rounds_of({"yula": (0.5, 500.0), "greedy": (0.2, 900.0), "asyncio": (0.9, 240.0)})
    keeps, factor = frontier.at_default(found, "100 connections")
    assert keeps.startswith("yes") and factor.startswith("yes")
    assert "2.08 times the best of those that leave as much, asyncio" in factor


# --- shares --------------------------------------------------------------------------------------


def result(speed=1.0, cpu=1.0, solo_cpu=1.0):
    """Two threads that keep half. speed: the CPU's in the window; cpu: what the server had of it."""
    alone = [100.0 * solo_cpu, 100.0 * solo_cpu, 300.0, 3000.0]
    return {
        "progress": [50.0 * speed * cpu, 50.0 * speed * cpu, 300.0, 3000.0 / speed],
        "solo_before": alone,
        "solo_after": alone,
        "solo_cpu": [solo_cpu, solo_cpu],
        "cpu": cpu,
    }


@pytest.mark.parametrize("where", [{}, {"speed": 0.6}, {"cpu": 0.9}, {"solo_cpu": 0.5}])
def test_a_share_does_not_move_with_the_cpu(where):
    found = result(**where)
    runs.add_shares(found, runs.Load(compute=2))
    assert found["share"] == pytest.approx(0.5)
    assert found["shares"] == pytest.approx([0.5, 0.5])


def test_a_run_without_its_cpu_is_repeated_twice_at_most():
    for bad, wanted in (([], 1), ([0.5], 2), ([0.5, 0.5, 0.5], 3)):
        left = [*bad, 1.0, 1.0, 1.0]
        asked = []

        def job(subject, left=left, asked=asked):
            asked.append(subject)
            return {"full": True, "cpu": left.pop(0)}

        runs.undisturbed(job, None)
        assert len(asked) == wanted


# --- the drawing ---------------------------------------------------------------------------------


def test_the_chart_names_every_loop_also_where_all_are_at_one_place():
    same = {f"loop{n}": (0.5, 100.0) for n in range(60)} | {"yula": (0.5, 100.0)}
    drawn = xml.etree.ElementTree.fromstring(chart.draw({"1 connection": same}, "a < b"))
    texts = {element.text for element in drawn.iter() if element.text}
    assert {*same, "1 connection", "a < b"} <= texts


# --- servers -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def options():
    found = argparse.Namespace(
        python=[sys.executable], style="protocol", size=1024, env=[], seconds=2 * MOMENT,
        warmup=MOMENT, solo=2 * MOMENT, pace=100, idle_seconds=MOMENT,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "BUILD", c_tools())
        with runs.Counters(found.python) as found.counters:
            yield found


SUBJECTS = [runs.Subject("asyncio", "asyncio"), runs.Subject("yula", "yula")]
each_loop = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.label)


@starts_servers
@each_loop
@pytest.mark.parametrize("name", [*beside.THREADS, "apart"])
def test_every_kind_of_neighbour_computes_while_the_server_serves(name, subject, options):
    load = beside.THREADS.get(name, runs.Load(apart=True))
    found = runs.measure(subject, beside.at(load, 4), options)
    assert found["loop"].startswith(subject.loop)
    assert found["unanswered"] == 0
    assert len(found["shares"]) == load.compute
    assert found["computed"] > 0
    assert len(found.get("port_rates", [])) == (2 if "2 loops" in name else 0)


@starts_servers
def test_a_paced_load_is_answered_and_the_loop_says_what_it_spun(options):
    load = runs.Load(2, paced=200, stats=True)
    found = runs.measure(SUBJECTS[1], load, options)
    assert found["requests"] > 0
    assert quiet.spun(found) >= 0


@starts_servers
def test_an_idle_server_is_watched_while_its_connections_are_open(options):
    found = quiet.watch_idle(SUBJECTS[1], runs.Load(2), options)
    assert found["returns"] >= 0 and found["idle_cpu_ms"] >= 0


@starts_servers
@has_gil
@each_loop
def test_the_trace_sees_the_waits_of_a_loop_beside_a_thread(subject, options):
    found = trace.traced(subject, 4, options)
    seen = found["trace"]
    assert seen["own_waits"] + seen["inside_waits"] > 0
    assert seen["own_waited_ns"] >= seen["own_longest_ns"]
    if subject.loop == "yula":
        assert quiet.gil_stats(found)["waits"] > 0
