"""Contrasts: the worked numbers, how often they err where there is nothing, and what they refuse to say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student
from statsmodels.stats.multitest import multipletests

from analysis.contrasts import Settings, all_pairs, compare, equivalence_p, families
from analysis.multiplicity import holm, step_down_max_t
from analysis.observers import simulate_cells
from analysis.threshold_draws import ThresholdDraws, threshold_draws
from benchmarks.coverage import SCENARIOS, empty_study, law
from core import rng

MODELS = ("pgd-at", "sip-at", "standard")
ALL = [("pgd-at", "sip-at"), ("pgd-at", "standard"), ("sip-at", "standard")]


def of_people(
    people: np.ndarray, *, replicates: int = 400, seed: int = 1, reasons=(None, None, None)
) -> ThresholdDraws:
    """Thresholds that are means over participants, [P, 3], with their bootstrap."""
    generator = rng.numpy_generator(seed, "draws")
    weights = generator.multinomial(len(people), np.full(len(people), 1 / len(people)), size=replicates) / len(people)
    return ThresholdDraws(
        quantity="eps_dprime1", models=MODELS, point=people.mean(axis=0), draws=weights @ people, reasons=reasons,
        saw=np.ones((len(people), 3), dtype=bool),
    )  # fmt: skip


def people(seed: int, *, participants: int = 24, shift=(0.0, 0.0, 0.0)) -> np.ndarray:
    generator = rng.numpy_generator(seed, "people")
    common = generator.normal(2, 0.5, (participants, 1))
    return common + generator.normal(shift, 0.4, (participants, 3))


def test_a_contrast_is_the_paired_t_test_of_its_participants():
    data = people(3, shift=(0.3, 0.0, 0.0))
    found = compare(of_people(data, replicates=20000), ALL, Settings())[0].found
    difference = data[:, 0] - data[:, 1]
    assert found.log2_ratio == pytest.approx(difference.mean())
    expected = difference.std(ddof=1) / np.sqrt(len(difference))
    assert found.standard_error == pytest.approx(expected, rel=0.04)
    assert found.df == 23
    assert found.t == pytest.approx(found.log2_ratio / found.standard_error)
    assert found.p == pytest.approx(2 * student.sf(abs(found.t), 23))


@pytest.mark.parametrize("shift", [0.0, 0.17, 0.4])
def test_p_and_interval_agree_on_what_is_different_and_what_is_equivalent(shift):
    for contrast in compare(of_people(people(4, shift=(shift, 0.0, -shift))), ALL, Settings(margin=0.3)):
        found = contrast.found
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
        inside = found.equivalence.low > -0.3 and found.equivalence.high < 0.3
        assert found.equivalence.equivalent == inside == (found.equivalence.p < 0.05)


def test_holm_agrees_with_statsmodels():
    p = np.array([0.011, 0.02, 0.3, 0.001, 0.02])
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


def test_max_t_of_one_contrast_is_the_t_test():
    draws = rng.numpy_generator(1, "one").normal(0.5, 0.25, (200000, 1))
    found = step_down_max_t(np.array([0.5]), draws, np.array([11]), seed=1)
    assert found[0] == pytest.approx(2 * student.sf(2.0 * np.sqrt(11 / 12), 11), abs=2e-3)


def test_max_t_uses_that_contrasts_hang_together_and_holm_does_not():
    one = rng.numpy_generator(1, "same").normal(0.5, 0.25, (20000, 1))
    same, estimate = np.repeat(one, 4, axis=1), np.full(4, 0.5)
    found = step_down_max_t(estimate, same, np.full(4, 60), seed=1)
    alone = 2 * student.sf(2.0 * np.sqrt(60 / 61), 60)
    np.testing.assert_allclose(found, alone, atol=5e-3)
    assert holm(np.full(4, alone)).min() == pytest.approx(4 * alone)


def test_errors_of_the_first_kind_stay_within_alpha():
    """400 studies of 12 participants: single tests, Holm and max-t under the null, equivalence at the margin."""
    studies, settings = 400, Settings(margin=0.2)
    wrong = np.zeros(4)
    for study in range(studies):
        null = compare(of_people(people(study, participants=12), replicates=1000, seed=study), ALL, settings)
        at_margin = compare(
            of_people(people(study, participants=12, shift=(0.2, 0.0, 0.0)), replicates=1000, seed=study), ALL[:1],
            settings,
        )  # fmt: skip
        wrong += [
            null[0].found.p < 0.05,
            min(contrast.found.p_holm for contrast in null) < 0.05,
            min(contrast.found.p_max_t for contrast in null) < 0.05,
            at_margin[0].found.equivalence.equivalent,
        ]
    assert (wrong / studies <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / studies)).all(), wrong / studies
    assert (wrong[:3] / studies > 0.015).all(), wrong / studies


def test_equivalence_at_the_margin_is_as_likely_as_its_p_says():
    assert equivalence_p(np.array(0.5), np.array(0.1), np.array(20), 0.5) == pytest.approx(0.5)
    assert equivalence_p(np.array(0.0), np.array(0.1), np.array(20), 0.5) < 1e-4


def test_planned_pairs_are_one_family_and_keep_their_direction():
    found = families([of_people(people(5))], [("standard", "pgd-at")], Settings())
    assert [(c.name, c.confirmatory) for c in found] == [
        ("standard/pgd-at", True), ("pgd-at/sip-at", False), ("sip-at/standard", False),
    ]  # fmt: skip
    assert found[0].found.p_holm == found[0].found.p
    assert [c.found.family for c in found] == [1, 2, 2]
    assert all_pairs(MODELS, [("absent", "standard"), ("standard", "standard")]) == ALL


def test_a_model_without_a_threshold_has_no_contrast():
    found = compare(of_people(people(6), reasons=(None, "above_range", None)), ALL, Settings())
    assert [contrast.found is None for contrast in found] == [True, False, True]
    assert found[0].reason == "sip-at has no threshold (above range)"
    assert found[1].found.family == 1
    few = of_people(people(6, participants=12))
    few = replace(few, saw=few.saw & (np.arange(12)[:, None] < 2))
    assert compare(few, ALL, Settings())[0].reason == "fewer than 3 participants saw both source models"


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="expected 0 < alpha < 0.5 and margin > 0, got 0.5 and 0.5"):
        Settings(alpha=0.5)


@pytest.fixture(scope="module")
def cells():
    empty = empty_study(24)
    return replace(empty, yes=simulate_cells(law(SCENARIOS[0]), empty, rng.numpy_generator(1, "contrasts")))


def test_contrasts_of_simulated_answers_cover_the_true_ratios(cells):
    thresholds = threshold_draws(cells, "yes-no", replicates=150, seed=1)
    assert [found.quantity for found in thresholds] == ["eps_dprime1", "eps50"]
    truth = {"pgd-at": 5.0, "sip-at": 3.0, "standard": 9.0}
    for contrast in compare(thresholds[0], ALL, Settings()):
        expected = np.log2(truth[contrast.first] / truth[contrast.second])
        assert abs(contrast.found.log2_ratio - expected) < 3.5 * contrast.found.standard_error


def test_two_alternatives_have_eps50_with_chance_fixed(cells):
    signal = cells.model >= 0
    rate = 0.5 + 0.5 / (1 + (4 / np.maximum(cells.eps, 1e-9)) ** 3)
    trials = cells.trials * 20 * signal
    answered = replace(cells, trials=trials, yes=np.round(trials * rate) * signal)
    (found,) = threshold_draws(answered, "2afc", replicates=20, seed=1)
    assert found.quantity == "eps50"
    np.testing.assert_allclose(found.point, 2.0, atol=0.1)
    assert found.reasons == (None, None, None)
    always = replace(answered, yes=answered.trials)
    assert threshold_draws(always, "2afc", replicates=5, seed=1)[0].reasons == ("below_range",) * 3
    chance = replace(answered, yes=np.round(answered.trials / 2))
    assert set(threshold_draws(chance, "2afc", replicates=5, seed=1)[0].reasons) == {"above_range"}
