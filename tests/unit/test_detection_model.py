"""Signal detection as a mixed model: recovery, both thresholds, the lapse rate, large data, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import norm

from analysis import mixed_models
from analysis.intervals import t_quantile
from analysis.mixed_models import (
    DetectionModel,
    Random,
    Trials,
    conditional,
    detection,
    fit_detection,
    grouped,
    marginal,
    marginal_log2_eps,
    with_covariance,
)
from analysis.mixed_models.climbing import Moving, Objective
from analysis.mixed_models.fitting import make_layout
from analysis.population import mixed
from analysis.population.mixed import mixed_model, mixed_results
from analysis.power.simulated_studies import Design, simulated_study
from analysis.power.simulated_studies import Spread as Variation
from analysis.signal_detection import d_prime_at
from analysis.trials import Export
from benchmarks.coverage.mixed_model_studies import Crossed, answers
from benchmarks.coverage.people import People, law
from core import rng

EPS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
LAW = np.array([[2.3, 1.3], [1.6, 1.5]])


def study(seed: int, *, people=20, pictures=40, each=8, noise=40) -> Trials:
    generator = rng.numpy_generator(seed, "detection")
    eps, model = np.array([0.0] * noise + list(EPS) * 2 * each), np.array([-1] * noise + ([0] * 6 + [1] * 6) * each)
    person, eps, model = np.repeat(np.arange(people), len(eps)), np.tile(eps, people), np.tile(model, people)
    picture = generator.integers(0, pictures, len(eps))
    d = np.where(model >= 0, d_prime_at(eps, LAW[model, 0], LAW[model, 1]), 0.0)
    k, a = generator.normal(0.7, 0.3, people)[person], generator.normal(0, 0.2, people)[person]
    p = 0.01 + 0.98 * ndtr((1 + a) * d - k + generator.normal(0, 0.4, pictures)[picture])
    yes = generator.random(len(eps)) < p
    cells = np.where(model < 0, 0, 1 + model * 6 + np.searchsorted(EPS, eps))
    columns = np.array([0.0, *EPS * 2]), np.repeat([-1, 0, 1], [1, 6, 6])
    return grouped(person, picture, cells, yes, *columns)


@pytest.fixture(scope="module")
def fitted() -> DetectionModel:
    return fit_detection(study(1))


def test_answers_are_counted_by_participant_picture_and_cell():
    data = study(2)
    assert data.trials.sum() == 20 * (40 + 96)
    assert len(np.unique(np.stack([data.participant, data.picture, data.eps, data.model]), axis=1).T) == len(data.eps)
    assert (data.yes <= data.trials).all()


def test_the_law_of_a_population_is_recovered(fitted):
    errors = np.sqrt(np.diag(fitted.covariance))
    assert (np.abs(fitted.log2_eps_dprime1 - LAW[:, 0]) < 3 * errors).all()
    assert fitted.criterion == pytest.approx(0.7, abs=0.25)
    assert fitted.picture_sd == pytest.approx(0.4, abs=0.15)
    assert fitted.fit.converged


def test_the_marginal_curve_is_the_average_over_observers_and_pictures_and_flatter(fitted):
    generator = rng.numpy_generator(1, "average")
    grid = np.array([0.5, 2.0, 6.0])
    k, a = generator.multivariate_normal([0, 0], fitted.participant_covariance, 200_000).T
    v = generator.normal(0, fitted.picture_sd, 200_000)
    for index, eps in enumerate(grid):
        d = float(d_prime_at(np.array(eps), fitted.log2_eps_dprime1[0], fitted.exponent[0]))
        p = fitted.lapse / 2 + (1 - fitted.lapse) * ndtr(d - fitted.criterion + k + a * d + v)
        assert p.mean() == pytest.approx(marginal(fitted, 0, grid)[index], abs=4e-3)
    inner = np.ptp(conditional(fitted, 0, grid))
    assert np.ptp(marginal(fitted, 0, grid)) < inner


def test_the_marginal_threshold_is_where_the_averaged_sensitivity_is_1(fitted):
    log2_eps, covariance = marginal_log2_eps(fitted)
    for model in range(2):
        at = marginal(fitted, model, np.array([0.0, 2 ** log2_eps[model]]))
        rates = (at - fitted.lapse / 2) / (1 - fitted.lapse)
        assert np.diff(norm.ppf(rates))[0] == pytest.approx(1, abs=1e-6)
    assert (log2_eps > fitted.log2_eps_dprime1).all()
    assert np.sqrt(np.diag(covariance)) == pytest.approx(np.sqrt(np.diag(fitted.covariance)), rel=0.3)


def test_the_delta_method_gives_back_the_covariance_of_the_coefficients(fitted):
    value, covariance = with_covariance(fitted.fit, lambda theta, beta: beta[1:3] * 2 + theta[0] * 0)
    np.testing.assert_allclose(value, 2 * fitted.log2_eps_dprime1)
    np.testing.assert_allclose(covariance, 4 * fitted.covariance, rtol=1e-6, atol=1e-12)


def test_there_is_no_marginal_threshold_where_people_differ_too_much(fitted):
    wide = replace(fitted.fit, theta=np.array([0.3, 0.0, 30.0, 0.3]))
    assert np.isnan(marginal_log2_eps(replace(fitted, fit=wide))[0]).all()


def test_the_lapse_rate_is_estimated_with_the_rest_or_held(fitted):
    assert fitted.fit.names[-1] == "lapse"
    assert abs(fitted.lapse - 0.02) < 3 * fitted.fit.standard_errors[-1]
    held = fit_detection(study(1), lapse=0.02)
    assert held.lapse == 0.02
    assert "lapse" not in held.fit.names
    assert held.fit.log_likelihood < fitted.fit.log_likelihood + 0.1
    np.testing.assert_allclose(held.log2_eps_dprime1, fitted.log2_eps_dprime1, atol=0.1)


def test_the_gradient_of_the_detection_model_is_that_of_differences():
    """All parameters: spreads, criterion, thresholds, exponents (also in the participants' slopes), lapse rate."""
    data = study(3, people=6, pictures=10)
    start = np.array([0.7, 2.3, 1.6, 0.3, 0.4])
    design = detection._slope_of(start, *detection._fixed(start, data, 2))[0]
    random = [Random(name="participant", group=data.participant, design=np.stack([np.ones_like(design), design], 1)),
              Random(name="picture", group=data.picture, eliminated=True)]  # fmt: skip
    layout, unscale = make_layout("probit", data.yes, data.trials, random)
    moving = Moving(place=0, scale=unscale[0], covariate=detection._slope_of)
    objective = Objective(
        layout=layout, predictor=lambda beta: detection._fixed(beta, data, 2), sizes=4, lapse=None, moving=moving,
        prior=lambda beta: detection._prior(beta, 2, True),
    )  # fmt: skip
    at, step = np.array([0.5, 0.1, 0.4, 0.3, 0.6, 2.2, 1.7, 0.25, 0.35, 0.03]), 1e-5
    slope = objective(at)[1]
    for move in step * np.eye(len(at)):
        difference = (objective(at + move)[0] - objective(at - move)[0]) / (2 * step)
        assert slope @ move / step == pytest.approx(difference, rel=1e-4, abs=1e-3)


def test_criteria_that_are_alike_leave_one_parameter_for_the_slopes():
    """Without spread of the first of two effects the others' two parameters say the same: only one may be free."""
    design = Crossed(participants=8, pictures=40)
    found = fit_detection(answers(design, rng.numpy_generator(1, "coverage", design.name, 77)))
    assert found.fit.converged
    assert found.fit.singular
    np.testing.assert_allclose(found.fit.theta[[0, 2]], 0)
    assert np.sqrt(found.covariance[0, 0]) < 0.5


def test_a_participant_with_two_modes_is_fitted_at_the_higher():
    """Heavy tails: someone whose answers hardly follow ε can be explained by lapses, or by a flat slope."""
    design = Crossed(participants=20, pictures=40, wrong="heavy")
    found = fit_detection(answers(design, rng.numpy_generator(1, "coverage", design.name, 85)))
    assert found.fit.converged
    assert found.fit.log_likelihood > -1262.4  # from the last mode on, the search ends at −1310 without a maximum


def test_a_fit_that_starts_from_a_part_of_the_data_ends_at_the_same_place(monkeypatch, fitted):
    monkeypatch.setattr(detection, "PART", 900)
    found = fit_detection(study(1))
    assert found.fit.log_likelihood == pytest.approx(fitted.fit.log_likelihood, abs=1e-5)
    np.testing.assert_allclose(found.log2_eps_dprime1, fitted.log2_eps_dprime1, atol=1e-3)
    np.testing.assert_allclose(found.covariance, fitted.covariance, rtol=0.02, atol=1e-5)


def test_many_more_participants_than_pictures_change_only_which_block_is_eliminated(monkeypatch, fitted):
    monkeypatch.setattr(detection, "CHEAP", 1)
    few = study(4, people=30, pictures=12)
    wide = fit_detection(few)
    assert [spread.name for spread in wide.fit.random] == ["picture", "participant"]
    monkeypatch.setattr(detection, "CHEAP", 200)
    narrow = fit_detection(few)
    assert wide.fit.log_likelihood == pytest.approx(narrow.fit.log_likelihood, abs=1e-5)
    assert (wide.participants, wide.pictures) == (30, 12)
    assert wide.participant_sd == pytest.approx(narrow.participant_sd, abs=1e-3)
    assert (mixed_models.products(30, 12), mixed_models.products(200, 100)) == (60**2 * 72, 100**2 * 500)


@pytest.fixture(scope="module")
def export() -> Export:
    """8 participants, 6 pictures, two ε."""
    design = Design(task="yes-no", participants=8, models=("a",), eps=(4.0, 16.0), trials=12, noise=24, pictures=6)
    people = People(participants=8, trials=12, sd=0.3, models=1)
    made = simulated_study(design, law(people, 0.3), Variation(), rng.numpy_generator(1, "small study"), replicates=10)
    return made.export


def test_what_is_too_large_or_too_small_for_the_mixed_model_is_said(monkeypatch, export):
    assert mixed_model(export)[0] is not None
    assert mixed_model(replace(export, task="2afc")) == (None, "the mixed model is one of yes-no answers")
    for limit, message in (
        ("MOST_ROWS", "combinations of participant, picture and cell are more than 3"),
        ("MOST_PRODUCTS", "8 participants × 6 pictures would take minutes"),
        ("FEWEST_PICTURES", "fewer than 7 pictures were shown, so how pictures differ cannot be told"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(mixed, limit, 7 if limit == "FEWEST_PICTURES" else 3)
            found, reason = mixed_model(export)
        assert found is None
        assert message in reason


def test_answers_that_a_step_in_eps_explains_have_no_mixed_model(export):
    answers = replace(export.answers, yes=export.cells.eps[export.answers.cell] > 4)
    found, reason = mixed_model(replace(export, answers=answers))
    assert found is None
    assert reason == "the answers leave a parameter without a finite estimate (complete separation, say)"


def test_a_search_that_did_not_end_gives_no_estimate(monkeypatch, export):
    monkeypatch.setattr("analysis.mixed_models.climbing.GRADIENT_LIMIT", 0.0)
    found, reason = mixed_model(export)
    assert found is None
    assert reason == "the search for its parameters did not converge, so that no estimate can be trusted"


def test_intervals_are_those_of_t_and_both_thresholds_are_labelled(export):
    found, _ = mixed_model(export)
    results = mixed_results(found, export)
    half = t_quantile(8) * np.sqrt(found.covariance[0, 0])
    threshold = results["thresholds"]["a"]
    assert set(threshold) == {"exponent", "conditional", "marginal"}
    assert np.log2(threshold["conditional"]["estimate"]) == pytest.approx(found.log2_eps_dprime1[0])
    assert results["criterion"]["high"] - results["criterion"]["estimate"] == pytest.approx(
        t_quantile(8) * found.fit.standard_errors[0]
    )
    low = found.log2_eps_dprime1[0] - half
    assert threshold["conditional"]["low"] == (pytest.approx(2**low) if low >= 2 else None)
