"""Posteriors beside a much finer quadrature written otherwise, on random data sets that no setting was chosen by."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from analysis.psychometric import PsychometricModel, posterior, posterior_batch
from analysis.psychometric.quadrature import Axis
from benchmarks.posterior_check import data_sets, ours, reference
from core import rng

SEED = 3
FAST = (0, 2, 4, 6, 8, 10, 12, 14, 9)  # 2AFC, 16AFC and yes-no without η; 2AFC with it


@pytest.mark.parametrize("index", FAST)
def test_means_and_bounds_are_within_2_percent_of_a_finer_quadratures_widths(index):
    data = next(itertools.islice(data_sets(index + 1, SEED), index, None))
    fine, moved = reference(data, 0.009)
    assert moved < 0.009
    assert ours(data).differs(fine) < 0.02, data.name


def axis(low, high, size, centre, scale, rule):
    return Axis(
        low=np.array([low]),
        high=np.array([high]),
        size=size,
        centre=np.array([centre]),
        scale=np.array([scale]),
        rule=rule,
    )


@pytest.mark.parametrize(("rule", "size"), [("midpoint", 24), ("gauss", 14)])
def test_an_axis_integrates_a_narrow_density_with_its_quantiles(rule, size):
    wide = axis(-11.0, 17.0, size, 1.2, 2.5, rule)
    mass = np.exp(-((wide.nodes - 1) ** 2) / 8 + wide.log_weights) / np.sqrt(8 * np.pi)
    assert mass.sum() == pytest.approx(1, abs=2e-3)
    np.testing.assert_allclose(wide.quantiles(mass, np.array([0.025, 0.5, 0.975])), [[-2.92, 1, 4.92]], atol=0.03)


def test_nodes_lie_in_the_cells_they_stand_for():
    for rule in ("midpoint", "gauss"):
        rate = axis(0.0, 0.5, 9, 0.02, 0.03, rule)
        assert (rate.edges[:, :-1] < rate.nodes).all()
        assert (rate.nodes < rate.edges[:, 1:]).all()
        assert (rate.edges[0, 0], rate.edges[0, -1]) == pytest.approx((0, 0.5))


@pytest.mark.parametrize("overdispersed", [False, True])
def test_a_batch_gives_what_single_posteriors_give(overdispersed):
    generator = rng.numpy_generator(SEED, "batch of posteriors")
    levels, trials = np.array([-np.inf, -1.0, -0.3, 0.3, 1.0]), np.full((6, 5), 20.0)
    hits = generator.binomial(20, [0.05, 0.1, 0.3, 0.7, 0.95], size=(6, 5)).astype(float)
    model = PsychometricModel(family="normal", width_prior=(1.2, 1.0), overdispersed=overdispersed)
    every = posterior_batch(model, levels, hits, trials)
    for name in ("threshold", "width", "guess", "lapse", *(["eta"] if overdispersed else [])):
        low, high = every.intervals(name)
        for index in (0, 5):
            alone = posterior(model, levels, hits[index], trials[index])
            assert every.mean(name)[index] == pytest.approx(alone.mean(name), rel=1e-4)
            assert (low[index], high[index]) == pytest.approx(alone.interval(name), rel=1e-4)
