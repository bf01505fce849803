"""Mixed models: lme4's numbers, brute force, quadrature, and how often intervals cover."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from scipy.optimize import minimize
from scipy.special import expit, ndtr
from scipy.stats import norm

from analysis import mixed_models
from analysis.intervals import t_quantile
from analysis.mixed_models import (
    DetectionModel,
    Random,
    Trials,
    conditional,
    detection,
    fit,
    fit_detection,
    grouped,
    marginal,
    marginal_log2_eps,
    with_covariance,
)
from analysis.mixed_models.climbing import Moving, Objective
from analysis.mixed_models.fitting import make_layout
from analysis.mixed_models.laplace import find_mode, gradient
from analysis.mixed_models.links import lapse_slopes, terms
from analysis.population import mixed
from analysis.population.mixed import mixed_model, mixed_results
from analysis.power.simulated_studies import Design, simulated_study
from analysis.power.simulated_studies import Spread as Variation
from analysis.signal_detection import d_prime_at
from analysis.trials import Export
from benchmarks.coverage.people import People, law
from core import rng

# Contagious bovine pleuropneumonia in 15 herds over 4 periods (Lesnoff et al. 2004), the example of lme4's manual.
INCIDENCE = np.array(
    [2, 3, 4, 0, 3, 1, 1, 8, 2, 0, 2, 2, 0, 2, 0, 5, 0, 0, 1, 3, 0, 0, 1, 8, 1, 3, 0, 12, 2, 0, 0, 0, 1, 1, 0, 2, 0, 5,
     3, 1, 2, 1, 0, 0, 1, 2, 0, 0, 11, 0, 0, 0, 1, 1, 1, 0], dtype=float
)  # fmt: skip
SIZE = np.array(
    [14, 12, 9, 5, 22, 18, 21, 22, 16, 16, 20, 10, 10, 9, 6, 18, 25, 24, 4, 17, 17, 18, 20, 16, 10, 9, 5, 34, 9, 6, 8,
     6, 22, 22, 18, 22, 25, 27, 22, 22, 10, 8, 6, 5, 21, 24, 19, 23, 19, 2, 3, 2, 19, 15, 15, 15], dtype=float
)  # fmt: skip
PERIOD = np.array([1, 2, 3, 4, 1, 2, 3, *[1, 2, 3, 4] * 5, 1, *[1, 2, 3, 4] * 7])
HERD = np.repeat(np.arange(15), [4, 3, 4, 4, 4, 4, 4, 1, 4, 4, 4, 4, 4, 4, 4])
PERIODS = np.stack([np.ones(56), *((period == PERIOD).astype(float) for period in (2, 3, 4))], axis=1)
LME4 = (-1.39834, -0.99192, -1.12822, -1.57975)  # lme4 1.1-31


@pytest.mark.parametrize("eliminated", [False, True])
def test_lme4_finds_the_same_in_its_own_example(eliminated):
    found = fit(PERIODS, INCIDENCE, SIZE, [Random(name="herd", group=HERD, eliminated=eliminated)])
    np.testing.assert_allclose(found.coefficients, LME4, atol=1e-3)
    assert found.random[0].sd[0] == pytest.approx(0.6421, abs=1e-3)
    assert found.log_likelihood == pytest.approx(-92.0266, abs=1e-3)
    np.testing.assert_allclose(found.standard_errors, (0.2325, 0.3066, 0.3268, 0.4276), atol=2e-3)
    assert found.converged
    assert not found.singular


def crossed(seed: int, link: str = "probit", *, people=12, pictures=25, rows=700, slope_sd=0.4):
    generator = rng.numpy_generator(seed, "crossed")
    person, picture = generator.integers(0, people, rows), generator.integers(0, pictures, rows)
    x = generator.normal(3.0, 2.0, rows)
    eta = -1.0 + 0.5 * x + generator.normal(0, 0.5, people)[person] + generator.normal(0, 0.6, pictures)[picture]
    eta += generator.normal(0, slope_sd, people)[person] * (x - 3) / 2
    p = ndtr(eta) if link == "probit" else expit(eta)
    design = np.stack([np.ones(rows), x], axis=1)
    yes = (generator.random(rows) < p).astype(float)
    random = [
        Random(name="person", group=person, design=design),
        Random(name="picture", group=picture, eliminated=True),
    ]
    return design, yes, np.ones(rows), random


def dense(link, design, yes, trials, random):
    """Minus the Laplace likelihood with full matrices, on the raw scale; (sd, sd, correlation, sd; coefficients)."""
    person, picture = np.asarray(random[0].group), np.asarray(random[1].group)
    people, pictures = person.max() + 1, picture.max() + 1

    def value(theta):
        sd, rho = np.exp(theta[:2]), np.tanh(theta[2])
        triangle = np.array([[sd[0], 0], [rho * sd[1], np.sqrt(1 - rho**2) * sd[1]]])
        loading = np.zeros((len(yes), 2 * people + pictures))
        rows = np.arange(len(yes))
        for effect in range(2):
            loading[rows, 2 * person + effect] = design @ triangle[:, effect]
        loading[rows, 2 * people + picture] = np.exp(theta[3])
        u = np.zeros(loading.shape[1])
        for _ in range(60):
            row = terms(link, design @ theta[4:] + loading @ u, yes, trials)
            matrix = np.eye(len(u)) + loading.T @ (row.weight[:, None] * loading)
            u = u + np.linalg.solve(matrix, loading.T @ row.score - u)
        row = terms(link, design @ theta[4:] + loading @ u, yes, trials)
        matrix = np.eye(len(u)) + loading.T @ (row.weight[:, None] * loading)
        return -(row.log_likelihood.sum() - u @ u / 2 - np.linalg.slogdet(matrix)[1] / 2)

    return value


@pytest.mark.parametrize("link", ["probit", "logit"])
def test_brute_force_with_full_matrices_finds_the_same_maximum(link):
    data = crossed(7, link, people=10, pictures=12, rows=500, slope_sd=0.8)
    found = fit(*data, link=link)
    person, picture = found.random
    rho = person.covariance[0, 1] / np.prod(person.sd)
    at = np.array([*np.log(person.sd), np.arctanh(rho), np.log(picture.sd[0]), *found.coefficients])
    value = dense(link, *data)
    assert -value(at) == pytest.approx(found.log_likelihood, abs=1e-6)
    best = minimize(value, at, method="Nelder-Mead", options={"maxfev": 150, "xatol": 1e-5, "fatol": 1e-9})
    assert value(at) - best.fun < 1e-6


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(("link", "lapse"), [("probit", 0.0), ("logit", 0.0), ("probit", 0.04)])
def test_the_gradient_is_that_of_differences(link, lapse, wide):
    """``wide``: the participants' block, of two effects each, is the one that is eliminated."""
    design, yes, trials, random = crossed(2, link)
    if wide:
        random = [replace(random[1], eliminated=False), replace(random[0], eliminated=True)]
    layout, _ = make_layout(link, yes, trials, random)
    theta, fixed = np.array([0.6, 0.5, 0.1, 0.3] if wide else [0.5, 0.1, 0.3, 0.6]), design @ np.array([-0.9, 0.4])
    found = gradient(layout, find_mode(layout, fixed, theta, lapse=lapse))
    step = 1e-5
    for index in range(4):
        move = step * np.eye(4)[index]
        up, down = (find_mode(layout, fixed, theta + sign * move, lapse=lapse).value for sign in (1, -1))
        assert found.theta[index] == pytest.approx((up - down) / (2 * step), abs=1e-4)
    moves = (fixed + sign * step * design[:, 1] for sign in (1, -1))
    up, down = (find_mode(layout, moved, theta, lapse=lapse).value for moved in moves)
    assert found.fixed @ design[:, 1] == pytest.approx((up - down) / (2 * step), abs=1e-4)
    if lapse:
        up, down = (find_mode(layout, fixed, theta, lapse=lapse + sign * step).value for sign in (1, -1))
        assert found.lapse == pytest.approx((up - down) / (2 * step), abs=1e-3)


def test_it_does_not_matter_which_block_is_eliminated():
    design, yes, trials, random = crossed(9)
    narrow = fit(design, yes, trials, random, link="probit")
    other = [replace(random[1], eliminated=False), replace(random[0], eliminated=True)]
    wide = fit(design, yes, trials, other, link="probit")
    assert wide.log_likelihood == pytest.approx(narrow.log_likelihood, abs=1e-7)
    np.testing.assert_allclose(wide.coefficients, narrow.coefficients, atol=1e-5)
    np.testing.assert_allclose(wide.standard_errors, narrow.standard_errors, rtol=1e-3)
    np.testing.assert_allclose(wide.random[1].covariance, narrow.random[0].covariance, atol=1e-4)
    np.testing.assert_allclose(wide.random[1].modes, narrow.random[0].modes, atol=1e-4)


def test_terms_are_the_derivatives_that_they_say():
    eta, step = np.linspace(-4, 4, 17), 1e-5
    yes, trials = np.full(17, 3.0), np.full(17, 5.0)
    for link, lapse in (("probit", 0.0), ("probit", 0.03), ("logit", 0.0)):
        row, up, down = (terms(link, eta + move, yes, trials, lapse) for move in (0, step, -step))
        np.testing.assert_allclose(row.score, (up.log_likelihood - down.log_likelihood) / (2 * step), atol=1e-6)
        np.testing.assert_allclose(row.observed, (down.score - up.score) / (2 * step), atol=1e-6)
        np.testing.assert_allclose(row.weight_slope, (up.weight - down.weight) / (2 * step), atol=1e-6)
    found = lapse_slopes(terms("probit", eta, yes, trials, 0.03), yes, trials, 0.03)
    up, down = (terms("probit", eta, yes, trials, 0.03 + move) for move in (step, -step))
    for name in found._fields:
        difference = (getattr(up, name) - getattr(down, name)) / (2 * step)
        np.testing.assert_allclose(getattr(found, name), difference, rtol=1e-4, atol=1e-4)


def test_with_many_answers_a_group_laplace_is_as_good_as_quadrature():
    """One scalar effect: the integral over each group by 61-point adaptive Gauss-Hermite quadrature."""
    generator = rng.numpy_generator(3, "quadrature")
    group = np.repeat(np.arange(30), 4)
    x = np.tile([-1.5, -0.5, 0.5, 1.5], 30)
    trials = np.full(120, 40.0)
    yes = generator.binomial(40, ndtr(0.2 + 0.6 * x + generator.normal(0, 0.5, 30)[group])).astype(float)
    design = np.stack([np.ones(120), x], axis=1)
    found = fit(design, yes, trials, [Random(name="group", group=group)], link="probit")
    nodes, weights = hermegauss(61)

    def minus_log_likelihood(theta):
        sd = np.exp(theta[2])
        centre, width = found.random[0].modes[:, 0] / sd, 0.3
        u = centre[:, None] + width * nodes
        p = np.clip(ndtr((design @ theta[:2])[:, None] + sd * u[group]), 1e-300, 1 - 1e-16)
        rows = yes[:, None] * np.log(p) + (trials - yes)[:, None] * np.log1p(-p)
        inside = np.add.reduceat(rows, np.arange(0, 120, 4), axis=0) + norm.logpdf(u) + nodes**2 / 2
        return -np.log(np.exp(inside - inside.max(axis=1, keepdims=True)) @ weights).sum() - inside.max(axis=1).sum()

    at = np.array([*found.coefficients, np.log(found.random[0].sd[0])])
    exact = minimize(minus_log_likelihood, at, method="BFGS").x
    np.testing.assert_allclose(at, exact, atol=5e-3)


def test_shift_and_scale_of_a_covariate_change_nothing_but_its_units():
    design, yes, trials, random = crossed(4)
    other = design @ np.array([[1.0, 1000.0], [0.0, 50.0]])
    moved = [Random(name="person", group=random[0].group, design=other), random[1]]
    first, second = fit(design, yes, trials, random, link="probit"), fit(other, yes, trials, moved, link="probit")
    assert second.log_likelihood == pytest.approx(first.log_likelihood, abs=1e-6)
    assert second.coefficients[1] * 50 == pytest.approx(first.coefficients[1], rel=1e-4)
    assert second.random[0].sd[1] * 50 == pytest.approx(first.random[0].sd[1], rel=1e-3)
    assert second.random[0].modes.shape == (12, 2)


def test_a_spread_that_is_not_there_is_flagged_as_singular():
    generator = rng.numpy_generator(5, "no spread")
    group = np.repeat(np.arange(10), 20)
    yes = np.tile(np.array([1.0, 0.0]), 100)  # every group alike, more than chance allows
    design = np.stack([np.ones(200), generator.normal(size=200)], axis=1)
    found = fit(design, yes, np.ones(200), [Random(name="group", group=group)], link="probit")
    assert found.singular
    assert found.converged
    assert found.random[0].sd[0] < 1e-3


def test_intervals_of_fixed_effects_cover_as_often_as_they_say():
    """60 crossed studies of 20 participants and 30 pictures; the bound is exact at 0.5 % a side."""
    inside = np.zeros(2)
    for seed in range(60):
        design, yes, trials, random = crossed(seed, people=20, pictures=30, rows=900, slope_sd=0.3)
        centred = np.stack([np.ones(900), (design[:, 1] - 3) / 2], axis=1)
        random = [Random(name="person", group=random[0].group, design=centred), random[1]]
        found = fit(centred, yes, trials, random, link="probit")
        inside += np.abs(found.coefficients - np.array([0.5, 1.0])) < 1.96 * found.standard_errors
    assert (inside >= 51).all(), inside


def test_what_cannot_be_fitted_is_refused():
    design, yes, trials, random = crossed(6)
    with pytest.raises(ValueError, match=r"expected X \[N, P\] and counts \[N\], got \(699, 2\)"):
        fit(design[1:], yes, trials, random)
    with pytest.raises(ValueError, match="expected 0 <= yes <= trials in every row"):
        fit(design, yes + 1, trials, random)
    with pytest.raises(ValueError, match="expected columns of X that do not follow from each other, got rank 1"):
        fit(np.ones_like(design), yes, trials, random)
    with pytest.raises(ValueError, match="expected at most one eliminated term, the one with most effects"):
        fit(design, yes, trials, [replace(term, eliminated=True) for term in random])


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
    design = detection._slope_of(np.array([0.7, 2.3, 1.6, 0.3, 0.4]), data, 2)[0]
    random = [Random(name="participant", group=data.participant, design=np.stack([np.ones_like(design), design], 1)),
              Random(name="picture", group=data.picture, eliminated=True)]  # fmt: skip
    layout, unscale = make_layout("probit", data.yes, data.trials, random)
    moving = Moving(place=0, scale=unscale[0], covariate=lambda beta: detection._slope_of(beta, data, 2))
    objective = Objective(
        layout=layout, predictor=lambda beta: detection._fixed(beta, data, 2), sizes=4, lapse=None, moving=moving,
        prior=lambda beta: detection._prior(beta, 2, True),
    )  # fmt: skip
    at, step = np.array([0.5, 0.1, 0.4, 0.3, 0.6, 2.2, 1.7, 0.25, 0.35, 0.03]), 1e-5
    slope = objective(at)[1]
    for move in step * np.eye(len(at)):
        difference = (objective(at + move)[0] - objective(at - move)[0]) / (2 * step)
        assert slope @ move / step == pytest.approx(difference, rel=1e-4, abs=1e-3)


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
    assert (mixed_models.kept_effects(30, 12), mixed_models.kept_effects(200, 100)) == (60, 100)


def test_complete_separation_is_flagged():
    x = np.tile(np.linspace(-1, 1, 10), 8)
    design = np.stack([np.ones(80), x], axis=1)
    found = fit(design, (x > 0) * 1.0, np.ones(80), [Random(name="person", group=np.repeat(np.arange(8), 10))])
    assert found.separated
    assert not found.converged


def test_the_package_names_what_it_offers():
    assert all(hasattr(mixed_models, name) for name in mixed_models.__all__)


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
        ("MOST_EFFECTS", "for 8 participants and 6 pictures 16 effects stay after elimination, more than 3"),
        ("FEWEST_PICTURES", "fewer than 7 pictures were shown, so how pictures differ cannot be told"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(mixed, limit, 7 if limit == "FEWEST_PICTURES" else 3)
            found, reason = mixed_model(export)
        assert found is None
        assert message in reason


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
