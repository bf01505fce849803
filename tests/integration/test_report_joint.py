"""The sections on machines, on people and machines together, and on single pictures; and the checks before them."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from analysis import design_checks, exclusions, joint, picture_view, robustness, undetected
from analysis.blocks import Paragraph
from analysis.plan import USUAL, FalseAlarms, Plan
from analysis.study import Study, input_hashes, read_study
from analysis.trials import PARTICIPANTS_FILE, TRIALS_FILE, read_export
from core import files, rng
from core.errors import RunError
from core.evaluation_comparisons import mcnemar
from core.runs import RunRecord, write_record
from tests.simulated_export import EPS, LAWS, PICTURES, least_eps, write_evaluation, write_export, write_outcomes

QUICK = {"replicates": 100, "progress": False}


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_export(folder / "export", participants=48)
    for run in LAWS:
        write_outcomes(folder / "runs" / run, run)
    return folder


@pytest.fixture(scope="module")
def study(directory) -> Study:
    return read_study(directory / "export", evaluations=sorted((directory / "runs").iterdir()), **QUICK)


@pytest.fixture(scope="module")
def together(study):
    return joint.section(study)


def refusals(section) -> list[str]:
    return [block.text for block in section.blocks if isinstance(block, Paragraph) and block.kind == "refusal"]


def rows(export: Path, name: str = TRIALS_FILE) -> list[dict]:
    with (export / name).open() as file:
        return list(csv.DictReader(file))


def rewrite(export: Path, change, name: str = TRIALS_FILE) -> Path:
    found = change(rows(export, name))
    with (export / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    return export


# ---- people and machines together ----


def test_the_undetected_rate_is_a_share_of_single_answers(study, together):
    own = [r for r in rows(study.export.directory) if r["phase"] == "main" and r["session_id"] != "s048"]
    shown = [r for r in own if (r["run"], r["eps_asked"]) == ("standard", "4")]
    unseen = [r for r in shown if r["response"] == "no" and least_eps(int(r["source_id"][-3:]), "standard") <= 4]
    model = next(row for row in together.results["undetected"] if row["model"] == "standard")
    point = next(row for row in model["by_eps"] if row["eps"] == 4)
    assert (point["answers"], point["undetected"]) == (len(shown), len(unseen))
    assert point["rate"]["low"] < point["rate"]["estimate"] == len(unseen) / len(shown) < point["rate"]["high"]


def test_maximum_and_area_are_those_of_the_points(together):
    for model in together.results["undetected"]:
        rates = [row["rate"]["estimate"] for row in model["by_eps"]]
        assert model["maximum"]["estimate"] == max(rates)
        assert model["maximum"]["low"] <= max(rates) <= model["maximum"]["high"]
        assert model["maximum_at"] in model["maximum_may_be_at"]
        assert model["area"]["estimate"] == pytest.approx(np.trapezoid(rates, np.log2(EPS)))
        assert model["octaves"] == 5
        assert 0 <= model["area"]["low"] <= model["area"]["estimate"] <= model["area"]["high"] <= 5


def test_the_largest_rate_has_bounds_that_allow_for_having_been_picked(together):
    for model in together.results["undetected"]:
        assert model["maximum"]["low"] < max(row["rate"]["low"] for row in model["by_eps"])
        assert model["maximum"]["high"] == max(row["rate"]["high"] for row in model["by_eps"])


def test_a_smaller_alpha_gives_wider_intervals_and_says_so(study, together):
    strict = joint.section(dataclasses.replace(study, plan=Plan(alpha=0.01)))
    for name in ("maximum", "area"):
        one, other = (found.results["undetected"][0][name] for found in (strict, together))
        assert one["high"] - one["low"] > other["high"] - other["low"]
    captions = [block.caption for block in strict.blocks if hasattr(block, "caption")]
    captions += [block.table.caption for block in strict.blocks if hasattr(block, "svg")]
    assert not any("95 %" in caption for caption in captions)
    assert sum("99 % interval" in caption for caption in captions) >= 6


def test_accuracies_at_peoples_thresholds_are_compared_between_models(together):
    rows = {(row["model"], row["threshold"]): row["accuracy"] for row in together.results["at_threshold"]}
    found = together.results["at_threshold_contrasts"]
    assert len(found) == 6
    for row in found:
        one, two = (rows[row[key], row["threshold"]]["estimate"] for key in ("first", "second"))
        assert row["difference"]["estimate"] == pytest.approx(one - two)
        assert row["p"] <= row["p_holm"]
    names = {finding.analysis for finding in together.findings}
    assert {"robust-accuracy:sip-at/standard/pgd-20/eps50", "robust-accuracy:standard/sip-at/pgd-20/eps50"} <= names


def test_a_visible_model_is_less_dangerous_than_one_that_fools_unseen(together):
    row = next(
        r for r in together.results["contrasts"]
        if (r["first"], r["second"], r["quantity"]) == ("sip-at", "standard", "area")
    )  # fmt: skip
    assert row["difference"]["high"] < 0
    assert row["p"] <= row["p_holm"] < 0.001
    assert {f.analysis for f in together.findings} >= {"undetected:sip-at/standard", "undetected:standard/sip-at"}


def test_the_same_seed_draws_the_same(study):
    one, two = (undetected.areas(study, undetected.draw(study), 1) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def silent(study: Study) -> Study:
    """The same answers, none of them to a picture that fools."""
    answers = study.export.answers
    none = dataclasses.replace(answers, fooled=np.where(answers.fooled > 0, 0, answers.fooled).astype(np.int8))
    return dataclasses.replace(study, export=dataclasses.replace(study.export, answers=none))


def test_where_nothing_fools_the_rates_have_upper_bounds_and_no_difference_is_tested(study):
    found = joint.section(silent(study)).results
    model = found["undetected"][0]
    assert (model["maximum"]["estimate"], model["area"]["estimate"]) == (0, 0)
    assert 0 < model["maximum"]["high"] < 1
    assert 0 < model["area"]["high"] < 5
    assert model["maximum_may_be_at"] == list(EPS)
    assert found["contrasts"] == []


def test_accuracy_is_read_off_at_peoples_threshold(study, together):
    for row in together.results["at_threshold"]:
        robust = [(least_eps(picture, row["model"]) > np.array(EPS)).astype(float) for picture in range(PICTURES)]
        curve = np.mean(robust, axis=0)
        expected = np.interp(np.log2(row["eps"]), np.log2(EPS), curve)
        assert row["accuracy"]["estimate"] == pytest.approx(expected, abs=1e-9)
        assert row["accuracy"]["low"] <= expected < row["accuracy"]["high"]


def test_the_ratio_of_thresholds_is_that_of_the_law(together):
    ratios = {row["model"]: row for row in together.results["ratios"]}
    assert ratios["standard"]["eps50_machine"] == pytest.approx(2.0, rel=0.15)
    assert ratios["sip-at"]["eps50_machine"] == pytest.approx(7.0, rel=0.15)
    assert ratios["standard"]["ratio"]["low"] > 1 > ratios["sip-at"]["ratio"]["high"]


def test_everything_in_the_results_is_json_and_every_figure_has_its_table(study, together):
    for section in (together, robustness.section(study), picture_view.section(study), design_checks.section(study)):
        json.dumps(section.results, allow_nan=False)
        for block in section.blocks:
            if hasattr(block, "svg"):
                assert block.svg.count("<svg") == 1
                assert block.description in block.svg
                assert len(block.table.rows) > 0


def test_pictures_that_were_chosen_because_they_fool_are_named(study):
    chosen = dataclasses.replace(study, export=dataclasses.replace(study.export, selected_on=("fooled",)))
    assert any("kept because they fool" in b.text for b in joint.section(chosen).blocks if isinstance(b, Paragraph))
    assert any(row["check"] == "choice of pictures" for row in design_checks.section(chosen).results["checks"])


def without_manifest(study: Study, outcomes) -> Study:
    answers = study.export.answers
    unknown = dataclasses.replace(answers, fooled=np.full_like(answers.fooled, -1))
    return dataclasses.replace(study, export=dataclasses.replace(study.export, answers=unknown), outcomes=outcomes)


def test_outcomes_of_the_evaluation_stand_in_where_the_manifest_is_silent(study):
    known, answers = undetected.known_outcomes(without_manifest(study, study.outcomes)), study.export.answers
    np.testing.assert_array_equal(known, answers.fooled)


def test_without_any_outcome_nothing_is_said_of_the_undetected_rate(study):
    section = joint.section(without_manifest(study, {}))
    assert all(row["not_estimable"]["reason"] == "no_outcomes" for row in section.results["undetected"])
    assert any("of none of its pictures is it known" in text for text in refusals(section))
    assert "is it known whether it fools" in refusals(picture_view.section(without_manifest(study, {})))[0]


def test_without_evaluations_the_machine_is_not_spoken_of(directory):
    study = read_study(directory / "export", **QUICK)
    assert robustness.section(study).results["not_estimable"]["reason"] == "no_evaluation"
    section = joint.section(study)
    assert any("no evaluation was given" in text for text in refusals(section))
    assert section.results["at_threshold"] == []
    assert section.results["undetected"][0]["by_eps"]  # the manifest knows what fools


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"participants": 1}, "too_few"), ({"participants": 12, "eps": (8,)}, "one_level")],
)
def test_what_the_data_do_not_hold_is_refused(tmp_path, options, reason):
    study = read_study(write_export(tmp_path / "export", **options), **QUICK)
    results = joint.section(study).results
    found = results.get("not_estimable") or results["undetected"][0]["not_estimable"]
    assert found["reason"] == reason
    design_checks.section(study)


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_one_and_the_same_answer_gives_no_threshold(tmp_path, answer):
    def change(rows):
        return [
            row | {"response": answer, "correct": str((answer == "yes") == bool(row["run"])).lower()} for row in rows
        ]

    export = rewrite(write_export(tmp_path / "export", participants=6), change)
    runs = [write_outcomes(tmp_path / "runs" / run, run) for run in LAWS]
    section = joint.section(read_study(export, evaluations=runs, **QUICK))
    assert all(row["accuracy"] is None for row in section.results["at_threshold"])
    assert all(row["ratio"] is None for row in section.results["ratios"])


def test_in_2afc_misses_are_not_counted_and_accuracy_is_read_off_at_eps50(tmp_path):
    export = write_export(tmp_path / "export", participants=24, task="2afc", noise=2)
    runs = [write_outcomes(tmp_path / "runs" / run, run) for run in LAWS]
    study = read_study(export, evaluations=runs, **QUICK)
    found = joint.section(study).results["at_threshold"]
    assert [row["threshold"] for row in found] == ["eps50"] * 3
    assert all(0 <= row["accuracy"]["low"] <= row["accuracy"]["high"] <= 1 for row in found)
    assert all(r["not_estimable"]["reason"] == "two_alternatives" for r in joint.section(study).results["undetected"])
    assert picture_view.section(study).results["not_estimable"]["reason"] == "two_alternatives"
    assert design_checks.section(study).results["false_alarms"]["rate"] is None


def test_without_unperturbed_pictures_misses_are_counted_and_no_threshold_is_given(tmp_path):
    export = write_export(tmp_path / "export", participants=12, noise=0)
    runs = [write_outcomes(tmp_path / "runs" / run, run) for run in LAWS]
    study = read_study(export, evaluations=runs, **QUICK)
    section = joint.section(study)
    assert all("area" in row for row in section.results["undetected"])
    assert all(row["accuracy"] is None for row in section.results["at_threshold"])
    assert any("no unperturbed picture was shown" in text for text in refusals(section))
    assert verdicts(study)["false alarms"] == "missing"


# ---- machines ----


def test_runs_are_compared_picture_by_picture(study):
    found = [r for r in robustness.section(study).results["comparisons"] if r["eps"] == 4]
    row = next(r for r in found if (r["first"], r["second"]) == ("pgd-at", "standard"))
    right = {run: np.array([least_eps(p, run) > 4 for p in range(PICTURES)]) for run in ("pgd-at", "standard")}
    lost = int((right["pgd-at"] & ~right["standard"]).sum())
    gained = int((right["standard"] & ~right["pgd-at"]).sum())
    assert (row["only_first"], row["only_second"], row["pictures"]) == (lost, gained, PICTURES)
    assert row["p"] == mcnemar(gained, lost) <= row["p_holm"]
    assert row["difference"]["estimate"] == (gained - lost) / PICTURES


def test_a_smaller_alpha_widens_what_is_said_of_machines_and_says_so(study):
    usual, strict = (robustness.section(dataclasses.replace(study, plan=Plan(alpha=alpha))) for alpha in (0.05, 0.01))
    for name, key in (("accuracy", "accuracy"), ("comparisons", "difference")):
        widths = [found.results[name][1][key]["high"] - found.results[name][1][key]["low"] for found in (usual, strict)]
        assert widths[0] < widths[1]
    captions = [block.caption for block in strict.blocks if hasattr(block, "caption")]
    assert sum("99 %" in caption for caption in captions) == 3
    assert not any("95 %" in caption for caption in captions)


def test_clean_accuracy_is_compared_once_however_many_attacks_there_were(study):
    curves = robustness.all_curves(study)
    other = [dataclasses.replace(curve, attack="autoattack") for curve in curves]
    rows = robustness.comparisons([*curves, *other], 0.95)
    assert sum(row["eps"] == 0 for row in rows) == 3
    assert len(rows) == 3 * (1 + 2 * len(EPS))


def test_attacks_are_never_pooled(directory, tmp_path):
    run = write_outcomes(tmp_path / "standard", "standard")
    table = json.loads((run / "evaluation.json").read_text())
    table["curve"] += [row | {"attack": "autoattack", "correct": row["correct"] // 2} for row in table["curve"][1:]]
    (run / "evaluation.json").write_text(json.dumps(table))
    found = robustness.section(read_study(directory / "export", evaluations=[run], **QUICK)).results
    assert [row["attack"] for row in found["psychometric"]] == ["autoattack", "pgd-20"]
    assert len(found["accuracy"]) == 2 * (1 + len(EPS))


def test_an_accuracy_that_never_halves_has_no_threshold(directory, tmp_path):
    run = write_evaluation(tmp_path / "standard", "standard", half=500.0)
    found = robustness.section(read_study(directory / "export", evaluations=[run], **QUICK))
    assert found.results["psychometric"][0]["not_estimable"]["reason"] == "above_range"
    assert any("does not fall half-way" in text for text in refusals(found))


def seeded(folder: Path, run: str, seed: int, half: float) -> Path:
    path = write_evaluation(folder / run, run, half=half)
    table = json.loads((path / "evaluation.json").read_text())
    (path / "evaluation.json").write_text(json.dumps({**table, "method": "pgd-at"}))
    record = RunRecord(
        schema_version=1, run=run, method="pgd-at", classes=("a", "b"), height=8, width=8, dataset="d",
        dataset_fingerprint="1" * 64, train_pictures=9, salience={}, seed=seed, epochs=1, seconds=1.0, commit="c",
        dirty=False, device="cpu", threads=1, versions={},
    )  # fmt: skip
    write_record(path / "record.json", record)
    (path / "config.toml").write_text(f'seed = {seed}\n[objective]\nmethod = "pgd-at"\n')
    return path


def test_runs_that_differ_in_the_seed_alone_are_one_method(directory, tmp_path):
    runs = [seeded(tmp_path, f"run-{seed}", seed, half) for seed, half in ((1, 4.0), (2, 5.0), (3, 6.0))]
    study = read_study(directory / "export", evaluations=runs, **QUICK)
    row = next(row for row in robustness.section(study).results["seeds"] if row["eps"] == 4)
    own = np.array([round(300 * 0.9 / (1 + (4 / half) ** 2)) / 300 for half in (4.0, 5.0, 6.0)])
    assert row["seeds"] == 3
    assert row["accuracy"]["estimate"] == pytest.approx(own.mean())
    assert row["sd"] == pytest.approx(own.std(ddof=1))
    assert row["accuracy"]["high"] - own.mean() == pytest.approx(4.302653 * own.std(ddof=1) / np.sqrt(3), rel=1e-5)


def test_runs_of_other_recipes_are_no_seeds_of_one_method(directory, tmp_path):
    runs = [seeded(tmp_path, f"run-{seed}", seed, 4.0) for seed in (1, 2)]
    (runs[1] / "config.toml").write_text('seed = 2\n[objective]\nmethod = "trades"\n')
    study = read_study(directory / "export", evaluations=runs, **QUICK)
    assert robustness.section(study).results["seeds"] == []


def test_outcomes_without_a_column_or_of_no_table_are_refused(directory, tmp_path):
    run = write_outcomes(tmp_path / "standard", "standard")
    (run / "outcomes.parquet").write_text("nothing")
    with pytest.raises(RunError, match="outcomes.parquet: expected a Parquet table, got"):
        read_study(directory / "export", evaluations=[run], **QUICK)
    frame = next(
        iter(read_study(directory / "export", evaluations=[directory / "runs/sip-at"], **QUICK).outcomes.values())
    )
    frame.drop(columns="margin").to_parquet(run / "outcomes.parquet")
    with pytest.raises(RunError, match=r"missing column 'margin'; make it again with python -m core\.evaluate"):
        read_study(directory / "export", evaluations=[run], **QUICK)


def test_every_input_is_hashed_under_a_name_without_machine_paths(study, directory):
    runs = sorted((directory / "runs").iterdir())
    found = input_hashes(study, evaluations=runs)
    assert found["sip-at/outcomes.parquet"] == files.sha256_file(directory / "runs/sip-at/outcomes.parquet")
    assert not any(name.startswith("/") or str(directory) in name for name in found)


# ---- pictures ----


def test_the_first_picture_is_one_that_fools_and_is_missed(study):
    ranked = picture_view.section(study).results["pictures"]
    first = ranked[0]
    own = [r for r in rows(study.export.directory) if r["phase"] == "main" and r["session_id"] != "s048"]
    shown = [r for r in own if (r["source_id"], r["run"]) == (first["source_id"], first["model"])]
    least = least_eps(int(first["source_id"][-3:]), first["model"])
    unseen = sum(r["response"] == "no" and float(r["eps_asked"]) >= least for r in shown)
    assert (first["answers"], first["undetected"]) == (len(shown), unseen)
    assert [row["rate"]["low"] for row in ranked] == sorted((row["rate"]["low"] for row in ranked), reverse=True)


def test_listed_pictures_have_intervals_that_allow_for_having_been_picked(study):
    section = picture_view.section(study)
    ranked, top = section.results["pictures"], section.results["listed"]
    assert [row["source_id"] for row in top] == [row["source_id"] for row in ranked[: picture_view.TOP]]
    for one, other in zip(top, ranked, strict=False):
        assert one["rate"]["low"] < other["rate"]["low"] <= other["rate"]["high"] < one["rate"]["high"]
    strict = picture_view.section(dataclasses.replace(study, plan=Plan(alpha=0.01)))
    assert strict.results["listed"][0]["rate"]["low"] < top[0]["rate"]["low"]
    assert any(
        "at least 99 % of those listed hold" in block.caption for block in strict.blocks if hasattr(block, "rows")
    )


# ---- checks and exclusions ----


def verdicts(study: Study) -> dict[str, str]:
    return {row["check"]: row["verdict"] for row in design_checks.section(study).results["checks"]}


def test_a_plain_study_lacks_catch_trials_and_has_its_ceiling(study):
    found = verdicts(study)
    assert found["catch trials"] == "missing"
    assert found["ceiling (lapse anchor)"] == "ok"
    assert found["pictures of sip-at"] == "ok"
    assert found["missing answers and ε"] == "ok"


def test_a_study_that_never_reaches_the_ceiling_has_no_lapse_anchor(tmp_path):
    export = write_export(tmp_path / "export", laws={"hidden": (40.0, 1.3, 0.1)}, participants=12)
    section = design_checks.section(read_study(export, **QUICK))
    assert section.results["ceiling"][0]["anchored"] is False
    assert any("the lapse rate from hidden" in text for text in refusals(section))


def test_pictures_of_one_level_each_are_nested(tmp_path):
    def nest(rows):
        """Each picture at one level: the level's own tenth of the pictures."""
        return [
            r for r in rows if not r["run"] or int(r["source_id"][-3:]) % len(EPS) == EPS.index(int(r["eps_asked"]))
        ]

    export = rewrite(write_export(tmp_path / "export", participants=24), nest)
    found = design_checks.section(read_study(export, **QUICK)).results["pictures"]
    assert {row["design"] for row in found} == {"nested"}


def replaced_at(export: Path, level: str) -> Path:
    """Says that in each session one trial at ``level`` stands in for one that was lost."""

    def name_last(rows):
        for person in {row["session_id"] for row in rows}:
            own = [r for r in rows if r["session_id"] == person and r["phase"] == "main"]
            fitting = [r for r in own if r["eps_asked"] == level]
            if fitting:
                fitting[int(person[1:]) % len(fitting)]["trial_index"] = "900"
        return rows

    rewrite(export, name_last)
    return rewrite(export, lambda rows: [row | {"aborted_trials": "1"} for row in rows], PARTICIPANTS_FILE)


def test_answers_that_are_lost_at_large_eps_are_noticed(tmp_path):
    found = design_checks.section(read_study(replaced_at(write_export(tmp_path / "e"), "32"), **QUICK)).results[
        "missing"
    ]
    assert found["replaced_by_eps"]["p"] < 0.001
    assert found["replaced_by_eps"]["z"] > 0


def test_answers_that_are_lost_anywhere_are_reported_as_often_as_alpha_says():
    generator = rng.numpy_generator(1, "lost anywhere")
    eps = np.repeat([0.0, 1.0, 4.0, 16.0], 50)
    person = np.arange(200) % 8
    p = [design_checks.trend(eps, generator.random(200) < 0.2, person)["p"] for _ in range(1000)]
    assert 0.03 < np.mean(np.array(p) < 0.05) < 0.07


def test_too_few_lost_answers_are_not_tested(study):
    found = design_checks.section(study).results["missing"]
    assert found["replaced_by_eps"] is None
    assert found["without_time_by_eps"] is None


def test_reason_codes_and_failed_checks_are_listed_by_participant(tmp_path):
    export = write_export(tmp_path / "export", participants=6)
    codes = {"p002": "told us"}
    rewrite(
        export, lambda rows: [r | {"excluded": codes.get(r["participant_id"], "")} for r in rows], PARTICIPANTS_FILE
    )
    found = design_checks.section(read_study(export, **QUICK)).results
    assert found["sessions"]["left_out"] == {"told us": 1}
    person = next(row for row in found["by_participant"] if row["participant"] == "p002")
    assert (person["reason_code"], person["in_analysis"], person["answers"]) == ("told us", 0, 40)


def test_key_results_stand_with_and_without_the_optional_rules(directory):
    plan = Plan(sha256="0" * 64, exclusion=(*USUAL, FalseAlarms(above=0.35)))
    study = read_study(directory / "export", **QUICK)
    planned = dataclasses.replace(study, plan=plan, export=read_export(directory / "export", plan))
    section = exclusions.section(planned)
    row = next(r for r in section.results["with_and_without"] if (r["model"], r["quantity"]) == ("sip-at", "eps50"))
    assert row["with"]["estimate"] != row["without"]["estimate"]
    assert section.results["steps"][-1]["optional"] is True
    assert "rules that the plan fixed in advance" in section.methods


def test_without_a_plan_the_usual_five_rules_are_named(study):
    section = exclusions.section(study)
    assert len(section.results["steps"]) == 5
    assert section.results["with_and_without"] == []
    assert section.blocks[0].text.startswith("No plan named rules")
