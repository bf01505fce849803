"""The dashboard's numbers against ones computed by hand or by another program, and the geometry of its figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from analysis import signal_detection
from study_app.admin import figures
from study_app.researchers import dashboard
from study_app.researchers.dashboard import Interval, Level, SessionTally, Stage, Tally


@st.composite
def shares(draw):
    trials = draw(st.integers(1, 2000))
    return draw(st.integers(0, trials)), trials


@given(shares())
def test_wilson_intervals_are_those_of_scipy(counts):
    successes, trials = counts
    ours = dashboard.wilson(successes, trials)
    theirs = binomtest(successes, trials).proportion_ci(method="wilson")
    assert ours.estimate == successes / trials
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_intervals_by_hand():
    # 8 of 10: (0.8 + 3.8415/20 ± 1.96 √(0.16/10 + 3.8415/400)) / 1.38415 = (0.9921 ± 0.3136) / 1.3841
    interval = dashboard.wilson(8, 10)
    assert (interval.low, interval.high) == pytest.approx((0.4902, 0.9433), abs=5e-5)
    assert dashboard.wilson(0, 10).low == pytest.approx(0.0, abs=1e-12)
    assert dashboard.wilson(0, 0) is None


@given(shares(), shares())
def test_d_prime_and_criterion_are_those_of_the_report(signal, noise):
    tallies = (Tally("m", 4, *signal), Tally(None, 0, *noise))
    arguments = (np.array([float(count)]) for count in (*signal, *noise))
    theirs = signal_detection.sensitivity(*arguments)
    ours = dashboard.d_prime(*tallies)
    assert ours.estimate == pytest.approx(theirs.d_prime[0], abs=1e-9)
    half = 1.959964 * math.sqrt(theirs.d_prime_variance[0])
    assert (ours.low, ours.high) == pytest.approx((ours.estimate - half, ours.estimate + half), rel=1e-6)
    assert dashboard.criterion(*tallies) == pytest.approx(theirs.criterion[0], abs=1e-9)


@pytest.mark.parametrize(("trials", "error"), [(20, 0.41), (40, 0.29), (80, 0.21), (160, 0.15), (320, 0.10)])
def test_the_error_of_d_prime_at_1_is_the_published_one(trials, error):
    hits = round(0.691 * trials)
    interval = dashboard.d_prime(Tally("m", 4, hits, trials), Tally(None, 0, trials - hits, trials))
    assert interval.estimate == pytest.approx(1.0, abs=0.06)
    assert (interval.high - interval.low) / 2 / 1.96 == pytest.approx(error, abs=0.011)


@pytest.mark.parametrize(("trials", "error"), [(40, 0.31), (53, 0.27), (80, 0.22), (160, 0.15)])
def test_d_prime_of_2afc_is_root_two_times_z(trials, error):
    interval = dashboard.d_prime_2afc(Tally("m", 4, round(0.76 * trials), trials))
    assert interval.estimate == pytest.approx(1.0, abs=0.08)
    assert (interval.high - interval.low) / 2 / 1.96 == pytest.approx(error, abs=0.011)


def test_extreme_counts_have_finite_numbers():
    interval = dashboard.d_prime(Tally("m", 4, 20, 20), Tally(None, 0, 0, 20))
    # z(20.5/21) − z(0.5/21) = 2 · 1.98075
    assert interval.estimate == pytest.approx(3.9615, abs=2e-4)
    assert math.isfinite(interval.high)
    assert dashboard.d_prime(Tally("m", 4, 0, 0), Tally(None, 0, 0, 20)) is None
    assert dashboard.d_prime(Tally("m", 4, 1, 2), Tally(None, 0, 0, 0)) is None
    assert dashboard.d_prime_2afc(Tally("m", 4, 0, 0)) is None


def test_rates_pool_the_noise_of_all_models_and_add_up_cells():
    tallies = [
        Tally("b", 8, 9, 10), Tally("a", 4, 3, 10), Tally("a", 4, 3, 10), Tally(None, 0, 2, 15), Tally(None, 0, 1, 15),
    ]  # fmt: skip
    rates = dashboard.rates("yes-no", tallies)
    assert (rates.noise.yes, rates.noise.trials) == (3, 30)
    assert rates.false_alarms.estimate == pytest.approx(0.1)
    assert [(level.run, level.eps, level.yes, level.trials) for level in rates.levels] == [
        ("a", 4, 6, 20),
        ("b", 8, 9, 10),
    ]
    # z(6.5/21) − z(3.5/31) = −0.4976 + 1.2114
    assert rates.levels[0].d_prime.estimate == pytest.approx(0.7138, abs=2e-3)


def test_2afc_has_no_false_alarms_and_no_criterion():
    rates = dashboard.rates("2afc", [Tally("a", 4, 30, 40), Tally(None, 0, 0, 40)])
    assert (rates.false_alarms, rates.criterion, rates.noise.trials) == (None, None, 0)
    assert rates.levels[0].d_prime == dashboard.d_prime_2afc(Tally("a", 4, 30, 40))


def session(**changes) -> SessionTally:
    facts = {"finished": False, "end_reason": None, "silent": False, "block": None, "steps": 0, "sessions": 1}
    return SessionTally(**{**facts, **changes})


def test_statuses_are_those_of_the_export():
    tallies = [
        session(finished=True, sessions=5), session(sessions=2), session(silent=True), session(end_reason="timed-out"),
        session(finished=True, end_reason="withdrawn"), session(finished=True, silent=True),
    ]  # fmt: skip
    assert dashboard.statuses(tallies) == {"finished": 6, "started": 2, "abandoned": 1, "timed-out": 1, "withdrawn": 1}
    assert set(dashboard.statuses(tallies)) <= set(dashboard.STATUSES)


def test_sessions_stand_where_their_last_answer_was():
    tallies = [
        session(steps=0), session(steps=1, end_reason="screened-out"), session(steps=2), session(steps=2, block=0),
        session(steps=2, block=2, silent=True, sessions=3), session(steps=2, block=2), session(finished=True, block=2),
    ]  # fmt: skip
    stages = dashboard.stages(tallies, ["about-you", "device"], 2, practice=True)
    assert stages == (
        Stage("about-you", 0, 1), Stage("device", 1, 0), Stage("instructions", 0, 1), Stage("practice", 0, 1),
        Stage("block 1", 0, 0), Stage("block 2", 3, 1),
    )  # fmt: skip
    without = dashboard.stages([session(block=0)], [], 2, practice=False)
    assert without == (Stage("instructions", 0, 0), Stage("block 1", 0, 1), Stage("block 2", 0, 0))


def test_the_aim_of_a_cell_is_its_share_of_all_signals():
    assert dashboard.aim_per_cell(40, 24, 18) == 53  # 960 / 18 = 53.3
    assert dashboard.aim_per_cell(0, 24, 18) == 0
    assert dashboard.aim_per_cell(40, 24, 0) == 0


def test_counts_are_filled_and_capped():
    assert dashboard.capped({0: 2, 3: 1, 9: 4, 5: 1}, 4) == [2, 0, 0, 1, 5]


def level(run: str, eps: int, low: float, high: float) -> Level:
    interval = Interval((low + high) / 2, low, high)
    return Level(run, eps, 5, 10, interval, interval)


def test_a_figure_has_a_mark_for_each_level_inside_its_frame():
    rates = dashboard.rates(
        "yes-no", [Tally(run, eps, 5, 10) for run in "abc" for eps in (1, 2, 4)] + [Tally(None, 0, 1, 10)]
    )
    curves = figures.hit_rates(rates, "unchanged")
    assert [series.name for series in curves.series] == ["unchanged", "a", "b", "c"]
    assert [len(series.marks) for series in curves.series] == [1, 3, 3, 3]
    assert [tick.label for tick in curves.x_ticks] == ["0", "1", "2", "4"]
    marks = [mark for series in curves.series for mark in series.marks]
    assert len({mark.x for mark in marks}) == len(marks)
    for mark in marks:
        assert figures.LEFT < mark.x < figures.WIDTH - figures.RIGHT
        assert figures.TOP - 1e-9 <= mark.high <= mark.y <= mark.low <= figures.HEIGHT - figures.BOTTOM + 1e-9
    assert curves.series[1].marks[0].label == "a, ε = 1: 50% (24% to 76%)"


def test_a_source_model_looks_the_same_in_both_figures():
    rates = dashboard.rates("yes-no", [Tally(run, 4, 5, 10) for run in "ab"] + [Tally(None, 0, 1, 10)])
    styles = [
        {series.name: series.style for series in curves.series if series.name != "unchanged"}
        for curves in (figures.hit_rates(rates, "unchanged"), figures.sensitivities(rates.levels))
    ]
    assert styles[0] == styles[1] == {"a": 0, "b": 1}


def test_the_axis_of_d_prime_holds_every_interval():
    curves = figures.sensitivities([level("a", 4, -1.2, 0.1), level("a", 8, 2.5, 5.6)])
    heights = [tick.at for tick in curves.y_ticks]
    assert (curves.y_ticks[0].label, curves.y_ticks[-1].label) == ("−2", "6")
    assert all(min(heights) <= mark.high <= mark.low <= max(heights) for mark in curves.series[0].marks)


def test_bars_are_as_high_as_their_counts():
    drawn = figures.bars([0, 1, 4], ["a", "b", "c"], ["", "", "last"])
    assert [bar.height for bar in drawn] == pytest.approx([0, drawn[2].height / 4, drawn[2].height])
    assert (drawn[1].label, drawn[2].tick) == ("b: 1", "last")
    assert figures.response_time_bars([1] * 31, 100)[-1].label == "3000 ms and more: 1"
    assert [bar.tick for bar in figures.minute_bars([0] * 60)][-1] == "now"


def test_stage_bars_share_one_scale():
    drawn = figures.stage_bars([Stage("a", 3, 1), Stage("b", 0, 2)])
    assert [(each.left, each.now) for each in drawn] == [(75, 25), (0, 50)]
