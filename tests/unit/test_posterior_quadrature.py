"""Posteriors beside a much finer quadrature written otherwise, on random data sets that no setting was chosen by."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from analysis.psychometric.quadrature import Axis
from benchmarks.posterior_check import data_sets, ours, reference

SEED = 3
FAST = (0, 2, 4, 6, 8, 10, 12, 14, 9)  # 2AFC, 16AFC and yes-no without η; 2AFC with it


@pytest.mark.parametrize("index", FAST)
def test_means_and_bounds_are_within_2_percent_of_a_finer_quadratures_widths(index):
    data = next(itertools.islice(data_sets(index + 1, SEED), index, None))
    fine, moved = reference(data)
    assert moved < 0.01
    assert ours(data).differs(fine) < 0.02, data.name


@pytest.mark.parametrize(("rule", "size"), [("midpoint", 24), ("gauss", 16)])
def test_an_axis_integrates_a_narrow_density_with_its_quantiles(rule, size):
    axis = Axis(low=-30.0, high=40.0, size=size, centre=1.0, scale=3.0, rule=rule)
    mass = np.exp(-((axis.nodes - 1) ** 2) / 8 + axis.log_weights) / np.sqrt(8 * np.pi)
    assert mass.sum() == pytest.approx(1, abs=2e-3)
    np.testing.assert_allclose(axis.quantile(mass, np.array([0.025, 0.5, 0.975])), [-2.92, 1, 4.92], atol=0.03)


def test_nodes_lie_in_the_cells_they_stand_for():
    for rule in ("midpoint", "gauss"):
        axis = Axis(low=0.0, high=0.5, size=9, centre=0.02, scale=0.03, rule=rule)
        assert (axis.edges[:-1] < axis.nodes).all()
        assert (axis.nodes < axis.edges[1:]).all()
        assert (axis.edges[0], axis.edges[-1]) == pytest.approx((0, 0.5))
