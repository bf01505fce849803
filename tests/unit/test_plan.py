"""The plan of an analysis: what it may say, what it refuses, and its hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from analysis.plan import USUAL, Catch, FailedChecks, Phase, Plan, ReactionTime, is_optional, read_plan
from core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
BASICS = """
[[exclusion]]
kind = "phase"
[[exclusion]]
kind = "catch"
"""


def read(tmp_path, text: str) -> Plan:
    (tmp_path / "plan.toml").write_text(text)
    return read_plan(tmp_path / "plan.toml")


def test_without_a_file_there_is_no_hash_and_the_usual_five_rules():
    plan = read_plan(None)
    assert plan.sha256 is None
    assert plan.exclusion == USUAL
    assert not plan.is_confirmatory("contrast:a/b")


def test_a_plan_is_named_by_the_hash_of_its_bytes(tmp_path):
    text = 'confirmatory = ["contrast:sip-at/standard"]\nmargin_octaves = 0.25\n'
    plan = read(tmp_path, text)
    assert plan.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert plan.margin_octaves == 0.25
    assert plan.is_confirmatory("contrast:sip-at/standard")


def test_rules_keep_the_order_of_the_file(tmp_path):
    rules = '[[exclusion]]\nkind = "failed-checks"\nmax_failed_share = 0.2\n'
    plan = read(tmp_path, rules + BASICS)
    assert plan.exclusion == (FailedChecks(max_failed_share=0.2), Phase(), Catch())
    assert [is_optional(rule) for rule in plan.exclusion] == [True, False, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alpha = 0.7", "plan.toml: expected alpha between 0 and 0.5, got 0.7"),
        ("margin_octaves = 0", "expected margin_octaves > 0, got 0"),
        ("rt_min_ms = 500\nrt_max_ms = 100", "expected 0 <= rt_min_ms < rt_max_ms, got 500 and 100"),
        ("marginn = 1", "unknown key 'marginn'"),
        ('sha256 = "00"', "unknown key 'sha256'; the report computes it from the file, delete the line"),
        (
            'confirmatory = ["everything"]',
            "confirmatory: expected <analysis>:<what> with one of contrast, .* 'everything'",
        ),
        ('confirmatory = ["undetected:a", "undetected:a"]', "expected each confirmatory analysis once, got one twice"),
        ('[[exclusion]]\nkind = "catch"', "expected rules of kind 'phase' for practice and warm-up and one of kind"),
        ('[[exclusion]]\nkind = "mood"', r"exclusion\[0\]: kind: expected one of 'phase', .* got 'mood'"),
        (
            BASICS + '[[exclusion]]\nkind = "failed-checks"\nmax_failed_share = 1.5',
            "expected max_failed_share from 0 to below 1, got 1.5",
        ),
        (BASICS + '[[exclusion]]\nkind = "reaction-time"', "expected below_ms or above_ms, got neither"),
        (BASICS + '[[exclusion]]\nkind = "identical-answers"\nlongest = 0', "expected longest >= 1, got 0"),
        (BASICS + '[[exclusion]]\nkind = "lost-focus"\nmost = -1', "expected most >= 0, got -1"),
        (BASICS + '[[exclusion]]\nkind = "device"\nallowed = []', "expected allowed to name one way of answering"),
    ],
)
def test_what_a_plan_may_not_say_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


def test_a_rule_says_in_words_what_it_leaves_out():
    assert ReactionTime(below_ms=200).words == "trials answered in less than 200 ms"
    assert ReactionTime(below_ms=200, above_ms=5000).words.endswith("less than 200 ms or more than 5000 ms")


def test_the_plan_in_the_documentation_is_one(tmp_path):
    text = (ROOT / "docs/contracts.md").read_text()
    example = text[text.index("## Plan") :].split("```toml\n")[1].split("```")[0]
    plan = read(tmp_path, example)
    assert len({rule.kind for rule in plan.exclusion}) == 11
    assert plan.is_confirmatory("undetected:sip-at/standard")
