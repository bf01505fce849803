"""Thresholds of people: censored normal distributions, two stages, and the three sections on simulated studies."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis import contrasts, population, sensitivity
from analysis.blocks import Figure, Paragraph, Section, Table
from analysis.estimates import estimate
from analysis.observers import simulate_cells
from analysis.plan import Plan
from analysis.population import fit_normal, participant_thresholds
from analysis.population.two_stage import own_intervals
from analysis.sensitivity.cells import rating_counts
from analysis.study import Study, read_study
from benchmarks.coverage import SCENARIOS, empty_study, law
from core import rng
from tests.simulated_export import write_export

INF = np.inf


def censored(values: np.ndarray, ceiling: float) -> tuple[np.ndarray, np.ndarray]:
    return np.minimum(values, ceiling), np.where(values > ceiling, INF, values)


def test_without_censoring_it_is_the_t_test():
    values = rng.numpy_generator(1, "values").normal(0.4, 1, 25)
    found, expected = fit_normal(values, values), stats.ttest_1samp(values, 0)
    assert (found.mean, found.sd) == pytest.approx((values.mean(), values.std(ddof=1)))
    assert (found.t, found.p, found.df) == pytest.approx((expected.statistic, expected.pvalue, 24))
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.effect_size == pytest.approx(values.mean() / values.std(ddof=1))


def test_censored_values_pull_the_mean_where_dropping_them_would_not():
    """500 samples of 20 with about 16 % above the range: bias, spread and coverage of the interval."""
    means, inside = [], 0
    for seed in range(500):
        values = rng.numpy_generator(seed, "censored").normal(1, 0.5, 20)
        found = fit_normal(*censored(values, 1.5))
        means.append(found.mean)
        inside += found.low <= 1 <= found.high
    assert np.mean(means) == pytest.approx(1.0, abs=0.025)
    assert 0.92 <= inside / 500 <= 0.98


def test_bounds_on_both_sides_and_unknown_values_are_counted():
    low, high = np.array([1.0, 1.5, 2.0, 2.5, 3.0, -INF, -INF]), np.array([1.0, 1.5, 2.0, 2.5, INF, 0.5, INF])
    found = fit_normal(low, high)
    assert (found.exact, found.above, found.below, found.unknown) == (4, 1, 1, 1)
    assert found.df == 5
    peer = minimum_of_grid(low, high)
    assert (found.mean, found.sd * np.sqrt(5 / 6)) == pytest.approx(peer, abs=0.01)


def minimum_of_grid(low, high):
    """The maximum of the likelihood over a fine grid."""
    mean, sd = np.meshgrid(np.arange(1, 3, 0.005), np.arange(0.5, 2.5, 0.005), indexing="ij")
    value = np.zeros_like(mean)
    for a, b in zip(low, high, strict=True):
        part = stats.norm.pdf(a, mean, sd) if a == b else stats.norm.cdf(b, mean, sd) - stats.norm.cdf(a, mean, sd)
        value += np.log(part)
    best = np.unravel_index(value.argmax(), value.shape)
    return mean[best], sd[best]


@pytest.mark.parametrize("values", [np.array([1.0, 2.0]), np.full(5, 1.0), np.zeros(0)])
def test_too_few_or_equal_values_have_no_distribution(values):
    assert fit_normal(values, values) is None


@pytest.fixture(scope="module")
def cells():
    empty = empty_study(30)
    empty = replace(empty, trials=empty.trials * 10)
    return replace(empty, yes=simulate_cells(law(SCENARIOS[0]), empty, rng.numpy_generator(1, "population")))


def test_the_mean_of_peoples_thresholds_and_differences_is_that_of_the_law(cells):
    found = participant_thresholds(cells, "yes-no")
    for name, eps in (("pgd-at", 5.0), ("sip-at", 3.0), ("standard", 9.0)):
        fitted = found.of(name)
        assert abs(fitted.mean - np.log2(eps)) < 3.5 * fitted.standard_error
        assert fitted.exact + fitted.above + fitted.below == 30
    difference = found.difference("sip-at", "standard")
    assert abs(difference.mean - np.log2(3 / 9)) < 3.5 * difference.standard_error
    assert difference.effect_size < -1
    known = found.low == found.high
    assert np.isfinite(found.error[known]).all()
    assert np.isnan(found.error[~known]).all()


def test_nobody_is_dropped_without_a_trace(cells):
    """One who never says yes, one who always does, one who saw too little and one without noise trials."""
    yes, trials = cells.yes.copy(), cells.trials.copy()
    yes[0], yes[1] = 0, trials[1]
    yes[2], trials[2] = yes[2] // 20, trials[2] // 20
    yes[3, 0], trials[3, 0] = 0, 0
    found = participant_thresholds(replace(cells, yes=yes, trials=trials), "yes-no")
    top = np.log2(32.0)
    assert (found.low[0] == top).all()
    assert np.isinf(found.high[0]).all()
    assert np.isinf(found.low[1]).all()
    assert np.isinf(found.high[1]).all()
    assert not found.answered[2].any()
    assert np.isnan(found.low[2]).all()
    assert np.isinf(found.high[3]).all()
    fitted = found.of("standard")
    assert fitted.above >= 1
    assert fitted.unknown == 2
    assert fitted.exact + fitted.above + fitted.below + fitted.unknown == 29


def test_two_alternatives_give_eps50_of_people(cells):
    signal = cells.model >= 0
    rate = 0.5 + 0.5 / (1 + (4 / np.maximum(cells.eps, 1e-9)) ** 3)
    answered = replace(cells, yes=np.round(cells.trials * rate) * signal, trials=cells.trials * signal)
    found = participant_thresholds(answered, "2afc")
    assert found.quantity == "eps50"
    assert found.of("standard").mean == pytest.approx(2.0, abs=0.3)
    known = found.low == found.high
    low, high = own_intervals(found, answered, "2afc")
    assert known.any()
    assert (low[known] < found.low[known]).all()
    assert (found.low[known] < high[known]).all()
    half = (high - low)[known] / 2
    assert np.median(half / found.error[known]) == pytest.approx(1.96, rel=0.25)


def test_an_effect_size_has_the_interval_of_the_noncentral_t():
    values = rng.numpy_generator(5, "effect").normal(-0.8, 1, 12)
    found, opposite = fit_normal(values, values), fit_normal(-values, -values)
    low, high = found.effect_interval()
    assert low < found.effect_size < high
    assert stats.nct.cdf(found.t, 11, low * np.sqrt(12)) == pytest.approx(0.975, abs=1e-6)
    assert stats.nct.cdf(found.t, 11, high * np.sqrt(12)) == pytest.approx(0.025, abs=1e-6)
    assert opposite.effect_interval() == pytest.approx((-high, -low))


# ---- sections ----


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    directory = write_export(tmp_path_factory.mktemp("export") / "e", participants=16, signal=90, noise=30)
    return read_study(directory, replicates=80, progress=False)


def checked(section: Section) -> dict:
    """The section's results, after a check that everything in it can be written and shown."""
    for block in section.blocks:
        if isinstance(block, Figure):
            assert block.description
            assert "<title" in block.svg
        table = block.table if isinstance(block, Figure) else block
        if isinstance(table, Table):
            json.dumps(list(table.rows), allow_nan=False)
            assert all(isinstance(column.show(row), str) for column in table.columns for row in table.rows)
    return json.loads(json.dumps(section.results, allow_nan=False))


def texts(section: Section, kind: str) -> list[str]:
    return [block.text for block in section.blocks if isinstance(block, Paragraph) and block.kind == kind]


def test_the_section_on_contrasts_speaks_of_planned_pairs_first(study):
    plan = Plan(sha256="0" * 64, confirmatory=("equivalence:standard/pgd-at", "contrast:sip-at/standard"))
    made = contrasts.section(replace(study, plan=plan))
    rows = checked(made)["contrasts"]
    assert [row["contrast"] for row in rows[:3]] == ["standard/pgd-at", "sip-at/standard", "pgd-at/sip-at"]
    assert [row["confirmatory"] for row in rows[:3]] == [True, True, False]
    found = {finding.analysis: finding.text for finding in made.findings}
    assert found["contrast:sip-at/standard"].startswith("Threshold ratio sip-at / standard (ε at d′ = 1) = 0.")
    assert "t(15) = −" in found["contrast:sip-at/standard"]
    assert "within ± 0.5 octaves: no (p = " in found["equivalence:standard/pgd-at"]
    assert texts(made, "result")[0].startswith("Planned. Threshold ratio standard / pgd-at")
    assert contrasts.planned_pairs(Plan(sha256="1", confirmatory=("contrast:a/full/b/full", "contrast:a"))) == [
        ("a/full", "b/full")
    ]


def test_the_section_on_the_population_counts_everybody_and_fits_the_mixed_model(study):
    made = population.section(study)
    results = checked(made)
    assert [row["participants"] for row in results["two_stage"]] == [16, 16, 16]
    assert all(row["fitted"] + row["too_few_answers"] == 16 for row in results["two_stage"])
    mixed = results["mixed_model"]
    assert mixed["converged"]
    assert set(mixed["curves"]["standard"]) == {"eps", "conditional", "marginal"}
    ratio = next(row for row in mixed["contrasts"] if row["contrast"] == "sip-at/standard")["ratio"]
    assert ratio["low"] < 3 / 9 < ratio["high"]


def test_the_section_on_sensitivity_keeps_criterion_and_sensitivity_apart(study):
    results = checked(sensitivity.section(study))
    assert results["task"] == "yes-no"
    last = [row for row in results["by_eps"] if row["eps"] == 32]
    assert all(row["d_prime"]["low"] > 1 for row in last)
    assert "ratings" not in results


def with_ratings(study: Study) -> Study:
    """Confidence from 1 to 3, higher where the answer is right more often."""
    answers, eps = study.export.answers, study.export.cells.eps
    sure = 1 + rng.numpy_generator(1, "confidence").binomial(2, np.where(eps[answers.cell] >= 8, 0.8, 0.4))
    rating = (np.where(answers.yes, 1, -1) * sure).astype(np.int8)
    return replace(study, export=replace(study.export, answers=replace(answers, rating=rating)))


def test_confidence_gives_roc_curves_that_contain_the_yes_no_rates(study):
    rated = with_ratings(study)
    results = checked(sensitivity.section(rated))
    cells = rated.export.cells
    row = results["ratings"][3]
    cell = int(np.flatnonzero((cells.eps == row["eps"]) & (cells.model == cells.models.index(row["source_model"])))[0])
    rate = cells.yes[:, cell].sum() / cells.trials[:, cell].sum()
    assert row["hit_rate"][3] == pytest.approx(rate)
    assert row["area"]["low"] < row["area"]["estimate"] < row["area"]["high"]
    assert rating_counts(rated.export).sum() == cells.trials.sum()


def in_pairs(study: Study, task: str) -> Study:
    """The same study as pairs: right answers follow the law, "left" is preferred a little."""
    export, generator = study.export, rng.numpy_generator(1, "pairs")
    answers, cells = export.answers, export.cells
    side = np.where(generator.random(len(answers.yes)) < 0.5, -1, 1).astype(np.int8)
    keep = cells.eps[answers.cell] > 0
    picked = np.where(answers.yes, side < 0, side > 0)
    changed = {
        name: value[keep] if task == "2afc" else value
        for name, value in {**vars(answers), "side": side, "picked_left": picked}.items()
        if isinstance(value, np.ndarray) and len(value) == len(keep)
    }
    if task == "2afc":
        signal = cells.model >= 0
        half = np.round((cells.yes + cells.trials) / 2)
        cells = replace(cells, yes=half * signal, trials=cells.trials * signal)
    return replace(study, export=replace(export, task=task, answers=replace(answers, **changed), cells=cells))


@pytest.mark.parametrize("task", ["2afc", "same-different"])
def test_pairs_have_their_own_sensitivity_and_thresholds(study, task):
    paired = in_pairs(study, task)
    results = checked(sensitivity.section(paired))
    fields = {"2afc": {"d_prime", "bias"}, "same-different": {"d_prime", "d_prime_independent"}}[task]
    assert fields <= set(results["by_eps"][0])
    if task == "same-different":
        assert all(0 <= row["d_prime"]["low"] <= row["d_prime"]["estimate"] for row in results["by_eps"])
    people = checked(population.section(paired))
    assert people["quantity"] == "eps50"
    assert people["mixed_model"] == {"not_estimable": "the mixed model is one of yes-no answers"}
    assert {row["quantity"] for row in checked(contrasts.section(paired))["contrasts"]} == {"eps50"}


def one_model(study: Study) -> Study:
    cells = study.export.cells
    own = cells.model <= 0
    return replace(
        study, export=replace(study.export, cells=replace(
            cells, models=cells.models[:1], eps=cells.eps[own], model=cells.model[own], yes=cells.yes[:, own],
            trials=cells.trials[:, own],
        )),
    )  # fmt: skip


def without_noise(study: Study) -> Study:
    cells = study.export.cells
    signal = cells.model >= 0
    return replace(
        study, export=replace(study.export, cells=replace(cells, yes=cells.yes * signal, trials=cells.trials * signal))
    )


def two_people(study: Study) -> Study:
    cells = study.export.cells
    few = replace(cells, participants=cells.participants[:2], yes=cells.yes[:2], trials=cells.trials[:2])
    return replace(study, export=replace(study.export, cells=few))


def test_what_the_data_do_not_hold_is_refused(study):
    assert "source model" in texts(contrasts.section(one_model(study)), "refusal")[0]
    for section in (contrasts.section, population.section, sensitivity.section):
        made = section(two_people(study))
        assert made.results["not_estimable"]["reason"] == "too_few_participants"
        assert texts(made, "refusal")
    assert sensitivity.section(without_noise(study)).results["not_estimable"]["reason"] == "no_noise_trials"
    made = contrasts.section(without_noise(study))
    assert all(row["ratio"] is None for row in checked(made)["contrasts"])
    people = population.section(without_noise(study))
    assert "no unperturbed picture was shown" in checked(people)["mixed_model"]["not_estimable"]


def test_a_study_with_few_answers_a_person_refuses_the_two_stages_only(tmp_path):
    thin = read_study(write_export(tmp_path / "e", participants=12), replicates=40, progress=False)
    made = population.section(thin)
    results = checked(made)
    assert all(row["geometric_mean"] is None and row["pooled"] for row in results["two_stage"])
    assert all(row["too_few_answers"] == 12 for row in results["two_stage"])
    assert "fewer than 3 participants gave 20 answers" in texts(made, "refusal")[0]
    assert all(row["d_z"] is None for row in checked(contrasts.section(thin))["contrasts"])


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_one_and_the_same_answer_throughout_gives_no_threshold(study, answer):
    cells = study.export.cells
    answers = replace(study.export.answers, yes=np.full_like(study.export.answers.yes, bool(answer)))
    same = replace(
        study, export=replace(study.export, answers=answers, cells=replace(cells, yes=cells.trials * answer))
    )
    assert all(row["ratio"] is None for row in checked(contrasts.section(same))["contrasts"])
    results = checked(population.section(same))
    assert all(row["geometric_mean"] is None and row["pooled"] is None for row in results["two_stage"])
    assert "not_estimable" in results["mixed_model"]
    checked(sensitivity.section(same))


def test_what_two_sections_say_of_one_quantity_is_the_same(study):
    found = estimate(study.export.cells, replicates=80, seed=study.seed, progress=False)
    own = checked(population.section(study))["two_stage"]
    for row, threshold in zip(own, found.eps_dprime1, strict=True):
        expected = (threshold.interval.estimate, threshold.interval.low, threshold.interval.high)
        assert tuple(row["pooled"].values()) == pytest.approx(expected)
    d_prime = checked(sensitivity.section(study))["by_eps"]
    for index, row in enumerate(d_prime):
        assert tuple(row["d_prime"].values()) == pytest.approx(tuple(float(part[index]) for part in found.d_prime))


def test_a_mean_of_people_beyond_the_tested_range_is_not_given(study):
    """Eleven of sixteen people notice nothing of any source model."""
    cells = study.export.cells
    yes = cells.yes.copy()
    yes[5:, 1:] = 0
    blind = replace(study, export=replace(study.export, cells=replace(cells, yes=yes)))
    rows = checked(population.section(blind))["two_stage"]
    assert {row["reason"] for row in rows} == {"the mean over participants lies above the tested range"}
    assert all(row["geometric_mean"] is None for row in rows)


def test_intervals_go_with_the_alpha_of_the_plan(study):
    strict = replace(study, plan=replace(study.plan, alpha=0.01))

    def width(bounds):
        return bounds["high"] - bounds["low"]

    for make, at in (
        (sensitivity.section, lambda results: results["by_eps"][1]["d_prime"]),
        (contrasts.section, lambda results: results["contrasts"][0]["log2_ratio"]),
        (contrasts.section, lambda results: results["contrasts"][0]["d_z"]),
        (population.section, lambda results: results["participants"][0]),
    ):
        usual, wider = make(study), make(strict)
        assert width(at(wider.results)) > 1.2 * width(at(usual.results))
        text = json.dumps([str(block) for block in wider.blocks])
        assert "99 %" in text
