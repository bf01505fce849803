"""The tables of the report's own sections, their rows at full precision, made from results.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from analysis.blocks import Column, Table
from analysis.wording import bracket, confidence, grey, level, number, plain_percent, thousands

Row = dict[str, Any]
Shown = Mapping[str, Any]
BOUNDS = ("estimate", "low", "high")


class TaskWords(NamedTuple):
    """What a "yes" of ``Cells`` is in the words of a task: what people did, axis, column, and what stands at ε = 0."""

    verb: str
    share: str
    answer: str
    at_zero: str


TASK_WORDS = {
    "yes-no": TaskWords(
        "called a picture perturbed", "answered “perturbed”", "“perturbed”",
        "At ε = 0, set apart by the break in the axis: false alarms, shared by all source models.",
    ),
    "2afc": TaskWords(
        "found the perturbed one of two pictures", "found the perturbed picture", "correct",
        "Half of the trials are right by chance alone.",
    ),
    "alternatives": TaskWords(
        "found the right answer", "right answers", "correct",
        "Chance alone finds the right one of the alternatives now and then.",
    ),
    "same-different": TaskWords(
        "called two pictures different", "answered “different”", "“different”",
        "At ε = 0, set apart by the break in the axis: pairs of the same picture, shared by all source models.",
    ),
}  # fmt: skip


def words_of(data: Row) -> str:
    """Returns the key of a task's words: the task, or ``alternatives`` where a forced choice had more than two."""
    return "alternatives" if (data["choices"] or 2) > 2 else str(data["task"])


def unit_words(data: Row) -> str:
    """Returns ``" in grey levels"``, or nothing where the unit of ε is not known."""
    return f" in {data['eps_unit']}" if data["eps_unit"] else ""


def level_of(results: Row) -> str:
    """Returns the level of the intervals: ``95 %``."""
    return confidence(1 - results["settings"]["level"])


def rates(results: Row) -> Table:
    """Returns the table of how often a perturbation was noticed in each cell."""
    words = TASK_WORDS[words_of(results["data"])]
    return Table(
        name="detection",
        caption=f"Answers by source model and ε; rates with {level_of(results)} intervals in brackets.",
        columns=(
            Column(head="source model", show=lambda row: row["source_model"] or "unperturbed", row_head=True),
            Column(head="ε", show=lambda row: level(row["eps"])),
            Column(head="answers", show=lambda row: thousands(row["trials"])),
            Column(head=words.answer, show=lambda row: thousands(row["yes"])),
            Column(head="rate in %", show=lambda row: bracket(_triple(row, "rate"), plain_percent)),
        ),
        rows=detection_rows(results),
    )  # fmt: skip


def thresholds(results: Row) -> Table:
    """Returns the table of both thresholds of each source model and the shape of the fitted curves."""
    return Table(
        name="thresholds",
        caption=f"Thresholds{unit_words(results['data'])} with {level_of(results)} intervals. Width (octaves, from 5 % "
        "to 95 % of the rise) and deviance belong to the psychometric function of ε₅₀"
        + (", the exponent b to the power law of d′." if results["data"]["task"] == "yes-no" else "."),
        columns=(
            Column(head="threshold", show=lambda row: THRESHOLDS[row["threshold"]], row_head=True),
            Column(head="source model", show=lambda row: row["source_model"]),
            Column(head="people", show=lambda row: thousands(row["n_participants"])),
            Column(head="answers", show=lambda row: thousands(row["n_trials"])),
            Column(head="ε", show=lambda row: row["message"] or bracket(_triple(row, "eps"), grey)),
            Column(head="shape", show=_shape),
            Column(head="deviance (df)", show=_deviance),
        ),
        rows=[row for row in threshold_rows(results) if row["reason"] != "other_task"],
    )  # fmt: skip


THRESHOLDS = {"eps_dprime1": "ε at d′ = 1", "eps50": "ε₅₀"}


def _shape(row: Shown) -> str:
    if row["exponent"] is not None:
        return f"b = {number(row['exponent'])}"
    return "" if row["width_octaves"] is None else f"width {number(row['width_octaves'])}"


def _deviance(row: Shown) -> str:
    return "" if row["deviance"] is None else f"{number(row['deviance'], 1)} ({row['df']})"


def _triple(row: Shown, prefix: str) -> Row:
    return {"estimate": row[prefix], "low": row[f"{prefix}_low"], "high": row[f"{prefix}_high"]}


def detection_rows(results: dict[str, Any]) -> list[Row]:
    """Returns a row a source model × ε, the trials without signal first (source model empty)."""
    rows: list[Row] = []
    if false_alarms := results["observers"]["false_alarms"]:
        rate = {"estimate": false_alarms["rate"], "low": false_alarms["low"], "high": false_alarms["high"]}
        rows.append(_detection_row("", 0.0, false_alarms["trials"], false_alarms["yes"], rate, None, None))
    for name, model in results["source_models"].items():
        rows += [
            _detection_row(name, p["eps"], p["trials"], p["hits"], p["hit_rate"], p["d_prime"], p["criterion"])
            for p in model["by_eps"]
        ]
    return rows


def _detection_row(
    name: str, eps: float, trials: int, yes: int, rate: Row, d_prime: Row | None, criterion: Row | None
) -> Row:
    return {
        "source_model": name, "eps": eps, "trials": trials, "yes": yes, **_bounds("rate", rate),
        **_bounds("d_prime", d_prime), **_bounds("criterion", criterion),
    }  # fmt: skip


def threshold_rows(results: dict[str, Any]) -> list[Row]:
    """Returns a row a source model × threshold; where there is no estimate, ``reason`` says why."""
    return [
        {
            "source_model": name, "threshold": kind, "n_participants": model["n_participants"],
            "n_trials": model["n_trials"], **_bounds("eps", model["threshold"][kind]),
            "reason": (model["threshold"][kind]["not_estimable"] or {}).get("reason", ""),
            "message": (model["threshold"][kind]["not_estimable"] or {}).get("message", ""),
            **_shape_of(model, kind),
        }
        for kind in THRESHOLDS
        for name, model in results["source_models"].items()
    ]  # fmt: skip


def _shape_of(model: Row, kind: str) -> Row:
    refused = model["threshold"][kind]["not_estimable"]
    law = model["power_law"] if kind == "eps_dprime1" else None
    curve = model["psychometric"] if kind == "eps50" and not refused else None
    return {
        "exponent": law and law["exponent"], "width_octaves": curve and curve["width_octaves"],
        "deviance": curve and curve["goodness_of_fit"]["deviance"], "df": curve and curve["goodness_of_fit"]["df"],
    }  # fmt: skip


def recovery_rows(results: dict[str, Any]) -> list[Row]:
    """Returns a row a quantity whose true value the observers' law gives."""
    rows = [
        {"source_model": name, "quantity": kind, **{key: model["recovery"][kind].get(key) for key in RECOVERED}}
        for kind in THRESHOLDS
        for name, model in results["source_models"].items()
        if model.get("recovery", {}).get(kind)
    ]
    shared = results["observers"].get("recovery", {})
    return rows + [
        {"source_model": "", "quantity": name, **{key: found.get(key) for key in RECOVERED}}
        for name, found in shared.items()
    ]


RECOVERED = ("true", *BOUNDS, "covered", "true_median_observer")
QUANTITIES = {**THRESHOLDS, "criterion": "criterion k", "false_alarm_rate": "false alarms in %"}


def recovery(results: Row) -> Table:
    """Returns the table of estimates beside what the robots' law says."""
    return Table(
        name="recovery", caption="Estimates against the law of the robots.",
        columns=(
            Column(head="quantity", show=lambda row: QUANTITIES[row["quantity"]], row_head=True),
            Column(head="source model", show=lambda row: row["source_model"] or "all"),
            Column(head="true", show=lambda row: _recovered(row)(row["true"])),
            Column(head="median observer", show=lambda row: grey(row["true_median_observer"])),
            Column(head="estimate", show=lambda row: bracket(row, _recovered(row))),
            Column(head="covered", show=lambda row: COVERED[row["covered"]]),
        ),
        rows=recovery_rows(results),
    )  # fmt: skip


COVERED = {None: "not estimable", True: "✓ yes", False: "✗ no"}


def _recovered(row: Shown) -> Callable[[float | None], str]:
    forms: dict[str, Callable[[float | None], str]] = {"criterion": number, "false_alarm_rate": plain_percent}
    return forms.get(row["quantity"], grey)


def _bounds(prefix: str, values: Row | None) -> Row:
    return {
        f"{prefix}_{key}" if key != "estimate" else prefix: None if values is None else values[key] for key in BOUNDS
    }
