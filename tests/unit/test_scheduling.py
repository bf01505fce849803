"""Laws of the plan: exact shares, every source once, cells and sources in equal numbers, the Latin square."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import StudyError
from study_app.scheduling import Cell, Design, plan, stream, yes_side

LAWS = settings(derandomize=True, deadline=None, max_examples=40)


def design(**changes) -> Design:
    values = {
        "sources": [f"source-{number}" for number in range(60)],
        "runs": ["standard", "pgd-at", "sip-at"],
        "eps": [1, 2, 4, 8, 16, 32],
        "trials": 40,
        "share": Fraction(1, 2),
        "block_trials": 20,
        "practice_trials": 8,
        "practice_eps": 32,
        "seed": 1,
    }
    return Design(**{**values, **changes})


@st.composite
def designs(draw) -> Design:
    share = draw(st.sampled_from([Fraction(1, 2), Fraction(1, 3), Fraction(2, 3), Fraction(3, 4), Fraction(2, 5)]))
    trials = share.denominator * draw(st.integers(1, 10))
    practice = draw(st.integers(0, 6))
    return design(
        sources=[f"s{number}" for number in range(trials + practice + draw(st.integers(0, 25)))],
        runs=[f"run-{number}" for number in range(draw(st.integers(1, 3)))],
        eps=[2**level for level in range(draw(st.integers(1, 6)))],
        trials=trials,
        share=share,
        block_trials=draw(st.integers(1, 20)),
        practice_trials=practice,
        practice_eps=1,
        seed=draw(st.integers(0, 2**31)),
    )


def main_trials(of: Design, number: int):
    return [trial for trial in plan(of, number) if trial.phase == "main"]


@LAWS
@given(designs(), st.integers(0, 500))
def test_the_share_of_perturbed_pictures_is_exact_for_each_participant(of, number):
    trials = main_trials(of, number)
    assert len(trials) == of.trials
    assert sum(trial.cell is not None for trial in trials) == of.trials * of.share


@LAWS
@given(designs(), st.integers(0, 500))
def test_nobody_sees_a_source_picture_twice_practice_included(of, number):
    sources = [trial.source_id for trial in plan(of, number)]
    assert len(sources) == len(set(sources)) == of.practice_trials + of.trials


@LAWS
@given(designs(), st.integers(1, 60))
def test_sources_are_shown_in_equal_numbers_as_nearly_as_possible(of, participants):
    shown = Counter(dict.fromkeys(of.pool, 0))
    shown.update(trial.source_id for number in range(participants) for trial in main_trials(of, number))
    assert set(shown) == set(of.pool)
    assert max(shown.values()) - min(shown.values()) <= 1


@LAWS
@given(designs(), st.integers(1, 60))
def test_cells_are_shown_in_equal_numbers_but_for_the_skips(of, participants):
    shown = Counter(dict.fromkeys(of.cells, 0))
    shown.update(trial.cell for number in range(participants) for trial in main_trials(of, number) if trial.cell)
    assert set(shown) == set(of.cells)
    assert max(shown.values()) - min(shown.values()) <= 1 + of.skip


@LAWS
@given(designs())
def test_after_a_full_cycle_every_source_has_met_every_cell_equally_often(of):
    dealt = Counter(stream(of, position) for position in range(of.cycle * len(of.pool)))
    perturbed = {key: count for key, count in dealt.items() if key[1] is not None}
    assert set(perturbed) == {(source, cell) for source in of.pool for cell in of.cells}
    assert set(perturbed.values()) == {of.share.numerator}
    references = {count for (_, cell), count in dealt.items() if cell is None}
    assert references == {(of.share.denominator - of.share.numerator) * len(of.cells)}


def test_the_demo_shows_each_participant_every_cell_but_for_one_skip():
    for number in range(100):
        shown = {trial.cell for trial in main_trials(design(), number)} - {None}
        assert len(shown) >= len(design().cells) - design().skip == 17


@LAWS
@given(designs(), st.integers(0, 100))
def test_blocks_have_their_length_and_practice_comes_first(of, number):
    trials = plan(of, number)
    assert [trial.phase for trial in trials] == ["practice"] * of.practice_trials + ["main"] * of.trials
    sizes = Counter(trial.block for trial in main_trials(of, number))
    assert list(sizes.values())[:-1] == [of.block_trials] * (len(sizes) - 1)
    assert [trial.block for trial in trials] == sorted(trial.block for trial in trials)


@LAWS
@given(st.integers(0, 200))
def test_practice_is_half_strong_and_half_unperturbed_on_sources_of_its_own(number):
    of = design()
    practice = [trial for trial in plan(of, number) if trial.phase == "practice"]
    assert Counter(trial.cell.eps if trial.cell else 0 for trial in practice) == {32: 4, 0: 4}
    assert not {trial.source_id for trial in practice} & set(of.pool)


def test_a_plan_is_the_same_each_time_and_differs_between_participants_and_seeds():
    assert plan(design(), 3) == plan(design(), 3)
    assert plan(design(), 3) != plan(design(), 4)
    assert plan(design(), 3) != plan(design(seed=2), 3)


def test_the_order_does_not_tell_what_is_perturbed():
    first_half = sum(trial.cell is not None for number in range(400) for trial in main_trials(design(), number)[:20])
    expected, spread = 400 * 10, (400 * 20 * 0.25 * 20 / 39) ** 0.5  # hypergeometric
    assert abs(first_half - expected) < 5 * spread


@given(st.integers(0, 2**31), st.integers(0, 10_000))
@LAWS
def test_of_two_neighbours_one_answers_yes_on_the_left(seed, pair):
    assert {yes_side(seed, 2 * pair), yes_side(seed, 2 * pair + 1)} == {"left", "right"}


def test_too_few_sources_are_refused_with_the_number_needed():
    with pytest.raises(StudyError, match="has 47 usable source pictures; expected at least 48"):
        design(sources=[str(number) for number in range(47)])


def test_a_design_without_cells_is_refused():
    with pytest.raises(StudyError, match="no perturbed pictures"):
        design(eps=[])


def test_neighbouring_cells_share_their_level():
    assert design().cells[:3] == (Cell("pgd-at", 1), Cell("sip-at", 1), Cell("standard", 1))
