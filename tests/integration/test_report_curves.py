"""The section on psychometric functions: two kinds of intervals, their level, the same numbers for the same seed."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from analysis import curves
from analysis.blocks import Figure, Paragraph, Table
from analysis.curves.computing import curves_of
from analysis.study import read_study
from tests.simulated_export import write_export


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Ten participants whose thresholds differ by half an octave."""
    folder = tmp_path_factory.mktemp("curves") / "export"
    write_export(folder, participants=10, laws={"standard": (6.0, 1.3, 0.5)})
    return read_study(folder, replicates=60, progress=False)


@pytest.fixture(scope="module")
def found(study):
    return curves_of(study)["standard"]


def span(interval):
    return float(np.log(interval["high"] / interval["low"]))


def shown(section):
    """All that a reader sees: columns are functions, and only what they show can be compared."""
    figures = [block for block in section.blocks if isinstance(block, Figure)]
    tables = [*(block for block in section.blocks if isinstance(block, Table)), *(figure.table for figure in figures)]
    cells = [[column.show(row) for column in table.columns] for table in tables for row in table.rows]
    words = [block.text for block in section.blocks if isinstance(block, Paragraph)]
    return cells, words, [figure.svg for figure in figures]


@pytest.mark.parametrize(
    ("people", "profile"),
    [("eps50", "eps50_profile"), ("width_octaves", "width_profile"), ("slope_per_octave", "slope_profile")],
)
def test_threshold_width_and_slope_have_an_interval_over_people_and_one_over_answers(found, people, profile):
    own, answers = found["parameters"][people], found["parameters"][profile]
    assert own["estimate"] == answers["estimate"]
    for interval in (own, answers):
        assert interval["low"] < interval["estimate"] < interval["high"]
    assert own != answers


def test_a_threshold_is_less_certain_over_people_who_differ_than_over_their_answers(found):
    assert span(found["parameters"]["eps50"]) > 1.2 * span(found["parameters"]["eps50_profile"])


def test_the_same_seed_gives_the_same_numbers_and_words_and_another_seed_other_samples(study, found):
    again = dataclasses.replace(study)  # an equal study that shares nothing which is kept
    first, second = curves.section(study), curves.section(again)
    assert json.dumps(first.results, sort_keys=True) == json.dumps(second.results, sort_keys=True)
    assert shown(first) == shown(second)
    other = curves_of(dataclasses.replace(study, seed=study.seed + 1))["standard"]
    assert other["goodness_of_fit"]["deviance"] == found["goodness_of_fit"]["deviance"]
    assert [each["favoured_p"] for each in other["families"]] != [each["favoured_p"] for each in found["families"]]


def test_intervals_are_at_the_level_that_goes_with_the_plans_tests(study, found):
    plan = dataclasses.replace(study.plan, alpha=0.2)
    section = curves.section(dataclasses.replace(study, plan=plan))
    narrow = section.results["source_models"]["standard"]
    for name in ("eps50", "eps50_profile", "width_octaves", "width_profile", "slope_profile"):
        assert span(narrow["parameters"][name]) < span(found["parameters"][name])
    assert narrow["model_free"]["pava"]["high"] < found["model_free"]["pava"]["high"]
    assert span(narrow["overdispersion"]["eps50"]) < span(found["overdispersion"]["eps50"])
    assert any("80 % profile likelihood" in block.caption for block in section.blocks if isinstance(block, Table))
