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
from analysis.mixed_models import Random, fit
from analysis.mixed_models.fitting import make_layout
from analysis.mixed_models.laplace import find_mode, gradient
from analysis.mixed_models.links import lapse_slopes, terms
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


def test_complete_separation_is_flagged():
    x = np.tile(np.linspace(-1, 1, 10), 8)
    design = np.stack([np.ones(80), x], axis=1)
    found = fit(design, (x > 0) * 1.0, np.ones(80), [Random(name="person", group=np.repeat(np.arange(8), 10))])
    assert found.separated
    assert not found.converged


def test_the_package_names_what_it_offers():
    assert all(hasattr(mixed_models, name) for name in mixed_models.__all__)
