"""Laws of the plan: exact shares, every source once, cells, sides and sources in equal numbers, the Latin square."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import StudyError
from study_app.detection import ANSWERS
from study_app.scheduling import Cell, Design, plan, spares, stream, warm_up, yes_side

LAWS = settings(derandomize=True, deadline=None, max_examples=40)
SHARES = [Fraction(1, 2), Fraction(1, 3), Fraction(2, 3), Fraction(3, 4), Fraction(2, 5)]


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
def designs(draw, tasks=("yes-no", "2afc", "same-different"), least_catch=0) -> Design:
    task = draw(st.sampled_from(tasks))
    share = draw(st.sampled_from([Fraction(1), *SHARES] if task == "2afc" else SHARES))
    trials = share.denominator * draw(st.integers(-(-(4 + least_catch) // share.denominator), 12))
    after = draw(st.integers(0, 3))
    gross = draw(st.integers(least_catch, max(least_catch, min(4, trials - after))))
    instructed = draw(st.integers(0, min(4, trials - after - gross)))
    practice, warm_ups = draw(st.integers(0, 6)), draw(st.integers(0, 3))
    needed = trials + max(practice, warm_ups) + gross + instructed
    return design(
        sources=[f"s{number}" for number in range(needed + draw(st.integers(0, 25)))],
        runs=[f"run-{number}" for number in range(draw(st.integers(1, 3)))],
        eps=[2**level for level in range(draw(st.integers(1, 6)))],
        trials=trials,
        share=share,
        block_trials=share.denominator * draw(st.integers(1, 10)),
        practice_trials=practice,
        practice_eps=1,
        seed=draw(st.integers(0, 2**31)),
        task=task,
        gross=gross,
        instructed=instructed,
        catch_after=after,
        warm_up_trials=warm_ups,
    )


def main_trials(of: Design, place: int):
    """The main trials without the catch trials."""
    return [trial for trial in plan(of, place) if trial.phase == "main" and trial.catch is None]


def imbalance(trials) -> int:
    return abs(sum(1 if trial.side == "left" else -1 for trial in trials))


@LAWS
@given(designs(), st.integers(0, 500))
def test_the_share_of_perturbed_pictures_is_exact_in_each_block_of_each_participant(of, place):
    trials = main_trials(of, place)
    assert len(trials) == of.trials
    for block in {trial.block for trial in trials}:
        shown = [trial for trial in trials if trial.block == block]
        assert sum(trial.cell is not None for trial in shown) == len(shown) * of.share


@LAWS
@given(designs(), st.integers(0, 500))
def test_nobody_sees_a_source_picture_twice_practice_and_catch_trials_included(of, place):
    sources = [trial.source_id for trial in plan(of, place)]
    assert len(sources) == len(set(sources)) == of.practice_trials + of.trials + of.gross + of.instructed


@LAWS
@given(designs(), st.integers(1, 60))
def test_sources_are_shown_in_equal_numbers_as_nearly_as_possible(of, participants):
    shown = Counter(dict.fromkeys(of.pool, 0))
    shown.update(trial.source_id for place in range(participants) for trial in main_trials(of, place))
    assert set(shown) == set(of.pool)
    assert max(shown.values()) - min(shown.values()) <= 1


@LAWS
@given(designs(), st.integers(1, 60))
def test_cells_are_shown_in_equal_numbers_but_for_the_skips(of, participants):
    shown = Counter(dict.fromkeys(of.cells, 0))
    shown.update(trial.cell for place in range(participants) for trial in main_trials(of, place) if trial.cell)
    skips = participants * of.trials // len(of.pool) // of.share.denominator
    assert set(shown) == set(of.cells)
    assert max(shown.values()) - min(shown.values()) <= 1 + min(skips, 1) * of.skip


@LAWS
@given(designs())
def test_after_a_full_cycle_every_source_has_met_every_condition_equally_often(of):
    dealt = Counter(stream(of, position) for position in range(of.cycle * len(of.pool)))
    perturbed = {key: count for key, count in dealt.items() if key.cell is not None}
    assert set(perturbed) == {(source, *condition) for source in of.pool for condition in of.conditions}
    assert set(perturbed.values()) == {of.share.numerator}
    unperturbed = Counter()
    for key, count in dealt.items():
        unperturbed[key.source_id] += count if key.cell is None else 0
    assert set(unperturbed.values()) == {(of.share.denominator - of.share.numerator) * len(of.conditions)}


@given(designs(tasks=("2afc", "same-different")))
@LAWS
def test_the_conditions_are_every_cell_on_either_side_and_their_sides_alternate(of):
    assert len(of.conditions) == 2 * len(of.cells)
    assert set(of.conditions) == {(cell, side) for cell in of.cells for side in ("left", "right")}
    sides = [condition.side for condition in of.conditions]
    assert sides == ["left", "right"] * len(of.cells)


@given(designs(tasks=("2afc", "same-different")), st.integers(0, 500))
@LAWS
def test_each_participant_has_the_perturbed_picture_as_often_left_as_right(of, place):
    trials = main_trials(of, place)
    for group in ([trial for trial in trials if trial.cell], [trial for trial in trials if not trial.cell]):
        assert imbalance(group) == len(group) % 2


@given(designs(tasks=("2afc", "same-different")), st.integers(1, 80))
@LAWS
def test_over_participants_each_cell_is_as_often_left_as_right_but_for_the_skips(of, participants):
    shown = [trial for place in range(participants) for trial in main_trials(of, place) if trial.cell]
    skips = participants * of.trials // len(of.pool) // of.share.denominator
    for cell in of.cells:  # a skip may leave out one side, and turns a trial of the participant who straddles it
        assert imbalance([trial for trial in shown if trial.cell == cell]) <= 1 + 3 * skips


def test_in_2afc_each_cell_is_left_and_right_equally_often_over_a_hundred_participants():
    of = design(task="2afc", share=Fraction(1), practice_trials=4)
    shown = [trial for place in range(100) for trial in main_trials(of, place)]
    counts = Counter((trial.cell, trial.side) for trial in shown)
    assert len(counts) == 36
    assert max(counts.values()) - min(counts.values()) <= 4  # of 111 on average


def test_in_yes_no_there_are_no_sides():
    of = design(gross=2, instructed=2, warm_up_trials=2)
    assert {trial.side for trial in (*plan(of, 0), *warm_up(of, 0, 0))} == {None}


def test_the_demo_shows_each_participant_every_cell_but_for_one_skip():
    for place in range(100):
        shown = {trial.cell for trial in main_trials(design(), place)} - {None}
        assert len(shown) >= len(design().cells) - design().skip == 17


def test_each_level_is_spread_over_the_blocks():
    for place in range(50):
        trials = main_trials(design(), place)
        counts = Counter((trial.block, trial.cell.eps) for trial in trials if trial.cell)
        for eps in design().eps:
            assert abs(counts[1, eps] - counts[2, eps]) <= 1
            assert min(counts[1, eps], counts[2, eps]) >= 1


@LAWS
@given(designs(), st.integers(0, 100))
def test_blocks_have_their_length_and_practice_comes_first(of, place):
    trials = plan(of, place)
    assert [trial.phase for trial in trials] == ["practice"] * of.practice_trials + ["main"] * (
        of.trials + of.catch_trials
    )
    sizes = Counter(trial.block for trial in main_trials(of, place))
    assert tuple(sizes[block] for block in sorted(sizes)) == of.block_sizes
    assert list(of.block_sizes)[:-1] == [of.block_trials] * (len(of.block_sizes) - 1)
    assert [trial.block for trial in trials] == sorted(trial.block for trial in trials)


@LAWS
@given(designs(), st.integers(0, 500))
def test_catch_trials_come_after_the_first_trials_one_in_each_stretch_and_never_side_by_side(of, place):
    main = [trial for trial in plan(of, place) if trial.phase == "main"]
    befores = [index - number for number, index in enumerate(i for i, trial in enumerate(main) if trial.catch)]
    room = of.trials - of.catch_after
    assert len(befores) == of.catch_trials
    for number, before in enumerate(befores):
        first, end = (of.catch_after + edge * room // of.catch_trials for edge in (number, number + 1))
        assert first <= before < end
    assert len(set(befores)) == len(befores)


@LAWS
@given(designs(), st.integers(0, 500))
def test_catch_trials_are_as_many_as_asked_on_pictures_of_their_own(of, place):
    catches = [trial for trial in plan(of, place) if trial.catch]
    assert Counter(trial.catch for trial in catches) == Counter({"gross": of.gross, "instructed": of.instructed})
    assert not {trial.source_id for trial in catches} & {*of.pool, *of.shuffled[: of.practice_sources]}
    for trial in catches:
        assert trial.cell == (Cell(trial.cell.run, of.catch_eps) if trial.catch == "gross" else None)
        assert (trial.instructed in ANSWERS[of.task]) == (trial.catch == "instructed")


@LAWS
@given(designs(), st.integers(0, 500))
def test_the_two_kinds_of_catch_trials_are_mixed_evenly(of, place):
    kinds = [trial.catch for trial in plan(of, place) if trial.catch]
    for end in range(len(kinds) + 1):
        assert abs(kinds[:end].count("gross") - end * of.gross / max(len(kinds), 1)) <= 1


@LAWS
@given(designs(), st.integers(0, 200))
def test_instructed_trials_ask_for_either_answer_in_turn(of, place):
    asked = [trial.instructed for each in (place, place + 1) for trial in plan(of, each) if trial.instructed]
    signal, other = ANSWERS[of.task]
    assert abs(asked.count(signal) - asked.count(other)) <= 1 - of.instructed % 2


@LAWS
@given(designs(least_catch=1), st.integers(0, 20))
def test_gross_trials_go_through_the_source_models(of, first):
    seen = Counter(
        trial.cell.run
        for place in range(first, first + 3 * of.catch_trials * len(of.runs))
        for trial in plan(of, place)
        if trial.catch == "gross"
    )
    assert set(seen) == set(of.runs)


@LAWS
@given(st.integers(0, 200), st.sampled_from(["yes-no", "same-different"]))
def test_practice_is_half_strong_and_half_unperturbed_on_sources_of_its_own(place, task):
    of = design(task=task)
    practice = [trial for trial in plan(of, place) if trial.phase == "practice"]
    assert Counter(trial.cell.eps if trial.cell else 0 for trial in practice) == {32: 4, 0: 4}
    assert not {trial.source_id for trial in practice} & set(of.pool)


@LAWS
@given(st.integers(0, 200))
def test_practice_of_2afc_is_always_perturbed_as_often_left_as_right(place):
    practice = [trial for trial in plan(design(task="2afc"), place) if trial.phase == "practice"]
    assert [trial.cell.eps for trial in practice] == [32] * 8
    assert Counter(trial.side for trial in practice) == {"left": 4, "right": 4}


@LAWS
@given(designs(), st.integers(0, 50), st.integers(0, 6))
def test_warm_up_shows_pictures_of_the_practice_strong_and_unperturbed_in_turn(of, place, shown):
    trials = warm_up(of, place, shown)
    assert [trial.phase for trial in trials] == ["warm-up"] * of.warm_up_trials
    assert {trial.source_id for trial in trials} <= set(of.shuffled[: of.practice_sources])
    perturbed = sum(trial.cell is not None for trial in trials)
    if of.task == "2afc":
        assert perturbed == len(trials)
    else:
        assert abs(2 * perturbed - len(trials)) <= 1


@LAWS
@given(designs(), st.integers(0, 50))
def test_spares_are_the_main_sources_that_a_participant_does_not_see(of, place):
    used = {trial.source_id for trial in plan(of, place)}
    found = spares(of, place, used)
    assert len(found) == len(set(found)) == len(of.sources) - of.aside - of.trials
    assert not set(found) & {*used, *of.shuffled[: of.aside]}


def test_a_plan_is_the_same_each_time_and_differs_between_places_and_seeds():
    of = design(gross=2, instructed=2)
    assert plan(of, 3) == plan(design(gross=2, instructed=2), 3)
    assert plan(of, 3) != plan(of, 4)
    assert plan(of, 3) != plan(design(gross=2, instructed=2, seed=2), 3)


def test_the_order_does_not_tell_what_is_perturbed():
    by_position = [0] * 20
    for place in range(400):
        for position, trial in enumerate(main_trials(design(), place)[:20]):
            by_position[position] += trial.cell is not None
    spread = (400 * 0.25) ** 0.5
    assert all(abs(count - 200) < 5 * spread for count in by_position)


@given(st.integers(0, 2**31), st.integers(0, 10_000))
@LAWS
def test_of_two_neighbours_one_answers_yes_on_the_left(seed, pair):
    assert {yes_side(seed, 2 * pair), yes_side(seed, 2 * pair + 1)} == {"left", "right"}


def test_too_few_sources_are_refused_with_the_number_needed():
    with pytest.raises(StudyError, match="has 47 usable source pictures; expected at least 48"):
        design(sources=[str(number) for number in range(47)])
    with pytest.raises(StudyError, match=r"expected at least 65 \(20 practice, 5 catch and 40 main trials"):
        design(gross=3, instructed=2, warm_up_trials=20)


def test_a_design_without_cells_is_refused():
    with pytest.raises(StudyError, match="no perturbed pictures"):
        design(eps=[])


def test_more_catch_trials_than_there_is_room_for_are_refused():
    with pytest.raises(StudyError, match="3 catch trials do not fit among the 2 main trials after the first 38"):
        design(gross=3, catch_after=38)


def test_all_problems_of_a_design_are_said_at_once():
    with pytest.raises(StudyError, match=r"(?s)no perturbed pictures.*do not fit.*usable source pictures"):
        design(runs=[], gross=30, instructed=30, sources=["one"])


def test_neighbouring_cells_share_their_level():
    assert design().cells[:3] == (Cell("pgd-at", 1), Cell("sip-at", 1), Cell("standard", 1))
