"""The section on reaction times: trimmed by the plan, averaged over participants, silent where there are too few."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from analysis import reaction_times
from analysis.plan import Plan
from analysis.study import read_study
from tests.simulated_export import write_export


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    export = write_export(tmp_path_factory.mktemp("times") / "export", participants=24)
    return read_study(export, replicates=100, progress=False)


def results(study, **changes):
    return reaction_times.section(dataclasses.replace(study, **changes)).results


def test_every_answer_is_either_in_a_cell_or_trimmed(study):
    found = results(study)
    outside = found["trimmed"]["below"] + found["trimmed"]["above"] + found["trimmed"]["missing"]
    assert sum(row["answers"] for row in found["by_eps"]) + outside == len(study.export.answers.rt_ms)


def test_medians_are_the_mean_of_participants_own(study):
    answers, row = study.export.answers, results(study)["by_eps"][0]
    chosen = (answers.cell == 0) & (answers.yes == (row["answer"] == "yes"))
    own = [np.median(answers.rt_ms[chosen & (answers.participant == who)]) for who in set(answers.participant[chosen])]
    assert row["participants"] == len(own)
    assert row["median"]["estimate"] == pytest.approx(np.mean(own), rel=1e-6)
    assert row["median"]["low"] < row["median"]["estimate"] < row["median"]["high"]


def test_the_plans_limits_trim_and_are_counted(study):
    limit = float(np.median(study.export.answers.rt_ms))
    found = results(study, plan=Plan(rt_min_ms=limit))
    assert found["trimmed"]["below"] == int((study.export.answers.rt_ms < limit).sum()) > 0
    assert all(row["quantiles"]["10"] >= limit for row in found["by_eps"])


def test_who_answers_by_chance_is_right_half_of_the_time_whenever(study):
    """Shuffled answers: the accuracy of every fifth is that of guessing at the participants' rate of yes."""
    generator = np.random.default_rng(1)
    answers = dataclasses.replace(study.export.answers, yes=generator.random(len(study.export.answers.yes)) < 0.5)
    found = results(study, export=dataclasses.replace(study.export, answers=answers))["speed_accuracy"]
    assert {row["fifth"] for row in found} == {1, 2, 3, 4, 5}
    assert sum(row["right"]["low"] <= 0.5 <= row["right"]["high"] for row in found) >= len(found) - 1


def test_times_rise_from_the_fastest_fifth_to_the_slowest(study):
    for kind in ("perturbed", "unperturbed"):
        rows = [row["rt_ms"] for row in results(study)["speed_accuracy"] if row["pictures"] == kind]
        assert rows == sorted(rows)
        assert rows[0] < rows[-1]


def test_two_participants_are_too_few(study):
    answers = study.export.answers
    chosen = answers.participant < 2
    fields = {field.name: getattr(answers, field.name) for field in dataclasses.fields(answers)}
    few = {name: value[chosen] for name, value in fields.items() if np.shape(value) == chosen.shape}
    export = dataclasses.replace(study.export, answers=dataclasses.replace(answers, **few))
    section = reaction_times.section(dataclasses.replace(study, export=export))
    assert section.results["not_estimable"]["reason"] == "too_few_participants"
    assert [block.kind for block in section.blocks] == ["refusal"]


def test_figures_carry_their_numbers_as_text_and_a_table(study):
    section = reaction_times.section(study)
    figures = [block for block in section.blocks if hasattr(block, "svg")]
    assert [figure.name for figure in figures] == ["reaction-times", "speed-accuracy"]
    for figure in figures:
        assert figure.description in figure.svg.replace("&gt;", ">")
        assert figure.table.rows
    again = reaction_times.section(study)
    assert [block.svg for block in again.blocks if hasattr(block, "svg")] == [figure.svg for figure in figures]


def test_the_ex_gaussian_of_all_answers_is_fitted_to_each_participant(study):
    rows = {row["answer"]: row for row in results(study)["ex_gaussian"]}
    assert set(rows) == {"any", "yes", "no"}
    assert rows["any"]["participants"] + rows["any"]["not_converged"] == 24
    mean = rows["any"]["mu"]["estimate"] + rows["any"]["tau"]["estimate"]
    assert mean == pytest.approx(float(study.export.answers.rt_ms.mean()), rel=0.05)
