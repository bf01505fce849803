"""Participants and pictures resampled together: the sums are those of the single answers, and the intervals hold."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import crossed, intervals
from analysis.trials import Answers, Cells
from core import rng


def study(people: int, pictures: int, generator) -> tuple[Cells, Answers, np.ndarray]:
    """One model at one ε: every participant judges every picture once; both differ, and what fools is seen less."""
    fooled = (generator.random(pictures) < 0.6).astype(np.int8)
    seen = 0.6 * generator.standard_normal(people)[:, None] + 0.6 * generator.standard_normal(pictures)[None, :]
    yes = (seen - 0.5 * fooled + generator.standard_normal((people, pictures)) > 0).ravel()
    person, picture = (index.ravel() for index in np.indices((people, pictures)))
    count = people * pictures
    cells = Cells(
        models=("m",),
        participants=tuple(f"p{index}" for index in range(people)),
        eps=np.array([0.0, 4.0]),
        model=np.array([-1, 0]),
        yes=np.stack([np.zeros(people), yes.reshape(people, pictures).sum(axis=1)], axis=1).astype(float),
        trials=np.stack([np.zeros(people), np.full(people, pictures)], axis=1).astype(float),
    )
    names = tuple(f"i{index:03d}" for index in range(pictures))
    answers = Answers(
        participant=person.astype(np.int32), cell=np.ones(count, dtype=np.int16), picture=picture.astype(np.int32),
        stimulus=picture.astype(np.int32), yes=yes, rating=np.zeros(count, dtype=np.int8),
        rt_ms=np.zeros(count, dtype=np.float32), order=np.zeros(count, dtype=np.int32),
        side=np.zeros(count, dtype=np.int8), picked_left=np.zeros(count, dtype=bool), pictures=names, stimuli=names,
        fooled=fooled, margin=np.zeros(pictures, dtype=np.float32),
    )  # fmt: skip
    return cells, answers, fooled


def test_weighted_counts_are_sums_over_single_answers():
    generator = rng.numpy_generator(1, "crossed sums")
    cells, answers, fooled = study(5, 7, generator)
    sums = crossed.cross(cells, answers, fooled, ("another picture",))
    assert sums.pictures[0] == "another picture"
    people, pictures = generator.integers(0, 3, (4, 5)).astype(float), generator.integers(0, 3, (4, 8)).astype(float)
    found = crossed.counts(sums, people, pictures)
    weight = people[:, answers.participant] * pictures[:, 1 + answers.picture]
    unseen = (fooled[answers.stimulus] == 1) & ~answers.yes
    np.testing.assert_allclose(found.trials[:, 1], weight.sum(axis=1))
    np.testing.assert_allclose(found.yes[:, 1], weight @ answers.yes)
    np.testing.assert_allclose(found.fooled[:, 1], weight @ (fooled[answers.stimulus] == 1))
    np.testing.assert_allclose(found.undetected[:, 1], weight @ unseen)
    assert not found.trials[:, 0].any()


def test_the_dependence_between_fooling_and_being_seen_is_kept():
    cells, answers, fooled = study(6, 40, rng.numpy_generator(2, "dependence"))
    seen = fooled[answers.stimulus] == 1  # whatever fools is seen, and nothing else
    own = crossed.observed(crossed.cross(cells, _answering(answers, seen), fooled))
    assert own.undetected[0, 1] == 0
    assert own.fooled[0, 1] * (1 - own.yes[0, 1] / own.trials[0, 1]) > 10  # independence would have expected many


def _answering(answers: Answers, yes: np.ndarray) -> Answers:
    return Answers(**{**vars(answers), "yes": yes})


def test_the_same_seed_draws_the_same_weights_and_each_sums_to_its_number():
    first, second = (list(intervals.crossed_weights(4, 9, 300, 7, progress=False)) for _ in range(2))
    assert [part[0].shape for part in first] == [(250, 4), (50, 4)]
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
        assert (one[0].sum(axis=1) == 4).all()
        assert (one[1].sum(axis=1) == 9).all()


def test_draws_are_those_of_participants_pictures_and_pairs():
    cells, answers, fooled = study(5, 7, rng.numpy_generator(1, "crossed draws"))
    sums = crossed.cross(cells, answers, fooled)
    drawn = crossed.draw(sums, 300, 1, progress=False)
    assert drawn.counts.trials.shape == (1 + 3 * 300, 2)
    assert (drawn.counts.trials[:, 1] == 35).all()  # everybody saw everything: whoever is drawn, as many answers
    assert (drawn.pictures.sum(axis=1) == 7).all()
    np.testing.assert_allclose(drawn.counts.yes[0], crossed.observed(sums).yes[0])


@pytest.mark.parametrize(("sd_people", "sd_pictures"), [(0.3, 0.2), (0.0, 0.0)])
def test_the_variance_of_a_mean_is_that_of_a_two_way_layout(sd_people, sd_pictures):
    """Of y = a_i + b_j + e_ij it is σ²ₐ/P + σ²_b/I + σ²ₑ/PI; drawing both factors at once gives σ²ₑ/PI three times."""
    generator, people, pictures = rng.numpy_generator(1, "two-way layout"), 30, 50
    values = sd_people * generator.standard_normal((people, 1)) + sd_pictures * generator.standard_normal(pictures)
    values = values + generator.standard_normal((people, pictures))

    def means(of: np.ndarray) -> np.ndarray:
        return generator.multinomial(len(of), np.full(len(of), 1 / len(of)), size=2000) @ of / len(of)

    draws = [[values.mean()], means(values.mean(axis=1)), means(values.mean(axis=0)), means(values.ravel())]
    own = values.mean(axis=1).var(ddof=1) / people, values.mean(axis=0).var(ddof=1) / pictures
    found = crossed.error(np.concatenate(draws), crossed.Units(participants=people, pictures=pictures))
    assert found.standard**2 == pytest.approx(max(sum(own) - values.var() / values.size, *own), rel=0.12)
    assert min(people, pictures) - 1 <= found.df <= people + pictures - 2


def test_a_bound_is_left_open_where_a_tenth_of_the_draws_have_no_value():
    values = np.concatenate([[0.5], np.linspace(0, 1, 30)])
    units = crossed.Units(participants=4, pictures=9)
    assert crossed.interval(values, units, 0.05)["low"] is not None
    values[5:7] = np.nan
    assert crossed.interval(values, units, 0.05) == {"estimate": 0.5, "low": None, "high": None}


@pytest.mark.parametrize(("people", "pictures"), [(12, 20), (24, 12)])
def test_crossed_intervals_cover_the_undetected_rate_as_often_as_they_say(people, pictures):
    """400 studies, exact binomial band at α = 0.01."""
    generator = rng.numpy_generator(3, "crossed coverage")
    truth = np.mean([_rate(study(60, 200, generator)) for _ in range(60)])
    units, covered = crossed.Units(participants=people, pictures=pictures), 0
    for replicate in range(400):
        sums = crossed.cross(*study(people, pictures, generator))
        counts = crossed.draw(sums, 200, replicate, progress=False).counts
        found = crossed.interval(counts.undetected[:, 1] / counts.judged[:, 1], units, 0.05)
        covered += found["low"] <= truth <= found["high"]
    assert 0.92 * 400 <= covered <= 0.975 * 400


def _rate(simulated: tuple[Cells, Answers, np.ndarray]) -> float:
    _, answers, fooled = simulated
    return float(np.mean((fooled[answers.stimulus] == 1) & ~answers.yes))
