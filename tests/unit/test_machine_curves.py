"""Machines' curves: what is read off them, and the psychometric function that is fitted to them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from analysis import machine_curves
from analysis.machine_curves import MachineCurve
from core import rng

EPS = np.array([0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0])


def curve(accuracy, *, classes: int | None = None, pictures: int = 4000, right=None) -> MachineCurve:
    accuracy = np.asarray(accuracy, dtype=float)
    names = () if right is None else tuple(f"i{index}" for index in range(len(right)))
    return MachineCurve(
        model="m", run="m", attack="pgd-20", region="full", eps=EPS[: len(accuracy)],
        correct=np.round(accuracy * pictures), pictures=np.full(len(accuracy), float(pictures)), names=names,
        right=right, classes=classes,
    )  # fmt: skip


def law(eps50: float, slope: float, clean: float, floor: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return floor + (clean - floor) / (1 + np.exp(slope * (np.log2(EPS) - np.log2(eps50))))


@pytest.mark.parametrize(("clean", "floor", "classes"), [(0.9, 0.0, None), (0.8, 0.1, 10), (0.35, 0.1, 10)])
def test_the_law_of_a_machine_is_recovered(clean, floor, classes):
    own = curve(law(5.0, 2.0, clean, floor), classes=classes)
    found = machine_curves.fit(own, own.accuracy[None])
    assert found.floor == floor
    assert 2 ** found.log2_eps50[0] == pytest.approx(5.0, rel=0.03)
    assert found.clean[0] == pytest.approx(clean, abs=0.01)
    assert found.width[0] == pytest.approx(2 * np.log(19) / 2.0, rel=0.05)
    np.testing.assert_allclose(machine_curves.predicted(found, EPS[1:])[0], own.accuracy[1:], atol=0.01)


def test_the_fit_moves_with_its_derivatives():
    theta, x = np.array([[1.5, 0.7, 0.4]]), np.array([np.inf, 0.0, -1.0, -3.0])
    value, jacobian = machine_curves._curve(theta, x, 0.1)
    for index in range(3):
        moved = theta.copy()
        moved[0, index] += 1e-6
        numeric = (machine_curves._curve(moved, x, 0.1)[0] - value) / 1e-6
        np.testing.assert_allclose(jacobian[..., index], numeric, atol=1e-5)


def test_a_machine_below_chance_has_no_floor_at_chance():
    assert machine_curves.floor_of(curve(law(4.0, 3.0, 0.9, 0.0), classes=10)) == 0.0
    assert machine_curves.floor_of(curve(law(4.0, 3.0, 0.9, 0.1), classes=10)) == 0.1


def test_accuracy_is_read_off_in_octaves_between_levels_and_in_grey_levels_below_them():
    own = curve([1.0, 0.8, 0.6, 0.4, 0.2, 0.1, 0.0])
    at = machine_curves.accuracy_at(own, np.repeat(own.accuracy[None], 5, axis=0), np.array([0.5, 1.0, 2**1.5, 32, 33]))
    np.testing.assert_allclose(at[:4], [0.9, 0.8, 0.5, 0.0], atol=1e-12)
    assert np.isnan(at[4])


def test_pictures_are_resampled_whole_when_their_outcomes_are_known():
    right = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    own = dataclasses.replace(curve([2 / 3, 1 / 3, 0.0], right=right), pictures=np.full(3, 3.0))
    weights = np.array([[0.0, 2.0, 1.0, 0.0], [5.0, 0.0, 0.0, 3.0]])
    found = machine_curves.resampled(own, ("other", "i0", "i1", "i2"), weights, rng.numpy_generator(1, "unused"))
    np.testing.assert_allclose(found, [[1.0, 2 / 3, 0.0], [0.0, 0.0, 0.0]])


def test_counts_without_outcomes_are_drawn_anew():
    own = curve(law(4.0, 3.0, 0.9, 0.0), pictures=200)
    found = machine_curves.resampled(own, (), np.zeros((4000, 0)), rng.numpy_generator(1, "counts"))
    expected = np.sqrt(own.accuracy * (1 - own.accuracy) / 200)
    np.testing.assert_allclose(found.mean(axis=0), own.accuracy, atol=0.005)
    np.testing.assert_allclose(found.std(axis=0), expected, rtol=0.06)
    assert (np.diff(found, axis=1) <= 0).all()  # the same pictures at every ε: what has fallen stays so


def test_pictures_that_fall_at_one_eps_each_make_the_half_way_point_as_sure_as_their_outcomes_do():
    least = np.log2(4) + rng.numpy_generator(1, "least ε").logistic(size=300)
    right = (np.log2(np.maximum(EPS, 1e-9)) < least[:, None]).astype(float)
    known = curve(right.mean(axis=0), right=right, pictures=300)
    spread = []
    for own in (known, dataclasses.replace(known, right=None)):
        generator = rng.numpy_generator(2, "half-way point")
        weights = generator.multinomial(300, np.full(300, 1 / 300), size=400)
        drawn = machine_curves.resampled(own, known.names, weights.astype(float), generator)
        spread.append(machine_curves.fit(own, drawn).log2_eps50.std())
    assert spread[0] == pytest.approx(spread[1], rel=0.15)
