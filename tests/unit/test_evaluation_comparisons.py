"""Paired comparisons against published numbers, an independent maximisation, and exact coverage."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import multinomial

from core import evaluation_comparisons as comparisons
from core import files
from core.errors import ConfigError, RunError

TABLES = st.integers(1, 60).flatmap(
    lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n)).filter(lambda t: t[0] + t[1] <= t[2])
)


@pytest.mark.parametrize(
    ("gained", "lost", "pictures", "low", "high", "p"),
    [
        (1, 7, 21, -0.517, -0.026, 0.070),  # airway hyper-responsiveness (Bentur et al. 2009)
        (6, 16, 161, -0.124, -0.005, 0.052),  # complete response (Cavo et al. 2012)
    ],
)
def test_published_intervals_and_p_values_are_met(gained, lost, pictures, low, high, p):
    """Fagerland, Lydersen & Laake 2014, Statistics in Medicine 33: Tango's interval and exact McNemar."""
    assert comparisons.tango(gained, lost, pictures) == pytest.approx((low, high), abs=5e-4)
    assert comparisons.mcnemar(gained, lost) == pytest.approx(p, abs=5e-4)


@given(TABLES)
def test_a_bound_is_where_the_score_test_just_refuses(table):
    """The nuisance share by numerical maximisation of the likelihood, not by the closed form that the code uses."""
    gained, lost, n = table
    for bound in comparisons.tango(gained, lost, n):
        if abs(bound) > 0.999:
            continue

        def loss(share, bound=bound):
            cells = ((gained, share + bound), (lost, share), (n - gained - lost, 1 - 2 * share - bound))
            return -sum(count * math.log(max(part, 1e-300)) for count, part in cells if count)

        limits = (max(0.0, -bound), (1 - bound) / 2)
        share = minimize_scalar(loss, bounds=limits, method="bounded", options={"xatol": 1e-12}).x
        statistic = (gained - lost - n * bound) / math.sqrt(n * (2 * share + bound - bound**2))
        assert abs(statistic) == pytest.approx(1.959964, abs=5e-3)


@given(TABLES)
def test_the_interval_holds_the_estimate_and_turns_with_the_runs(table):
    gained, lost, n = table
    low, high = comparisons.tango(gained, lost, n)
    assert -1 <= low <= (gained - lost) / n <= high <= 1
    assert comparisons.tango(lost, gained, n) == pytest.approx((-high, -low), abs=1e-7)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Exact: over every table of 40 pictures, weighted by its probability, for several true shares."""
    n = 40
    tables = [(b, c) for b, c in itertools.product(range(n + 1), repeat=2) if b + c <= n]
    intervals = {table: comparisons.tango(*table, n) for table in tables}
    covered = []
    for gain, loss in itertools.product((0.05, 0.1, 0.2, 0.3), repeat=2):
        law = multinomial(n, (gain, loss, 1 - gain - loss))
        inside = [t for t, (low, high) in intervals.items() if low <= gain - loss <= high]
        covered.append(sum(law.pmf((b, c, n - b - c)) for b, c in inside))
    assert min(covered) > 0.93
    assert 0.945 < sum(covered) / len(covered) < 0.965


def test_holm_corrects_step_by_step():
    assert comparisons.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert comparisons.holm([0.9, 0.8]) == [1.0, 1.0]
    assert comparisons.holm([]) == []


def test_runs_are_compared_picture_by_picture_and_read_back(tmp_path):
    key, other = ("pgd-20", "linf", "full", 8.0), ("fgsm", "linf", "full", 8.0)
    first = {key: [True, True, False, False, True], other: [True] * 5}
    second = {key: [True, False, False, True, False]}
    (found,) = comparisons.compare("one", first, [("two", second)])
    assert (found.both, found.only_reference, found.only_run, found.neither) == (1, 2, 1, 1)
    assert found.difference == pytest.approx(-0.2)
    assert (found.p, found.p_holm) == (1.0, 1.0)
    comparisons.write(tmp_path / "comparisons.json", [found])
    assert comparisons.read(tmp_path / "comparisons.json") == [found]
    text = "\n".join(comparisons.lines([found]))
    assert "compared with one on the same pictures" in text
    assert "-20.0 [" in text


def test_a_file_without_comparisons_is_refused(tmp_path):
    with pytest.raises(RunError, match="no such file; make it with python -m core.evaluate RUN RUN"):
        comparisons.read(tmp_path / "none.json")
    files.write_json(tmp_path / "other.json", {"curve": []})
    with pytest.raises(RunError, match="expected a list of comparisons, got none"):
        comparisons.read(tmp_path / "other.json")
    files.write_json(tmp_path / "bad.json", {"comparisons": [{"colour": "red"}]})
    with pytest.raises(ConfigError, match="unknown key 'colour'"):
        comparisons.read(tmp_path / "bad.json")
