"""The first section: what was asked, and the headline numbers of every other section in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.blocks import Block, Column, Paragraph, Section, Table
from analysis.plan import Plan
from analysis.tables import level_of, unit_words, words_of
from analysis.wording import bracket, grey, level, percent, plain_percent, thousands

Row = dict[str, Any]
MOST_FINDINGS = 10
COMMON_EPS = 8.0  # where machines are compared if it was evaluated: the field's usual budget
QUESTIONS = {
    "yes-no": "Participants looked at pictures, one at a time, and said of each whether it had been perturbed.",
    "2afc": "Participants looked at two versions of a picture side by side and said which had been perturbed.",
    "alternatives": "Participants named what they saw; one of several alternatives was right.",
    "same-different": "Participants looked at two versions of a picture side by side and said whether they differed.",
}


def section(results: Row, plan: Plan, sections: Sequence[Section]) -> Section:
    """Returns the summary of a report, given its numbers and its other sections."""
    blocks: list[Block] = [*_robots(results["data"]), _question(results), headline(results)]
    blocks += [Paragraph(text=text, kind="result") for text in _chosen(plan, sections)]
    return Section(name="summary", title="In short", results={}, blocks=tuple(blocks))


def _chosen(plan: Plan, sections: Sequence[Section]) -> list[str]:
    """The planned findings; without a plan those that compare thresholds of source models, and not too many."""
    found = [finding for section in sections for finding in section.findings]
    wanted = [
        finding.text
        for finding in found
        if plan.is_confirmatory(finding.analysis) or (plan.sha256 is None and finding.analysis.startswith("contrast:"))
    ]
    return list(dict.fromkeys(wanted))[:MOST_FINDINGS]


def _robots(data: Row) -> list[Block]:
    if not data["robots"]:
        return []
    if data["robots"] == data["sessions"]:
        played = f"Every session ({thousands(data['sessions'])}) was played by a robot, a program that answers"
    else:
        some, every = thousands(data["robots"]), thousands(data["sessions"])
        played = f"{some} of {every} sessions were played by robots, programs that answer"
    text = f"{played} by a stated law. These numbers test the method; they say nothing about people."
    return [Paragraph(text=text, kind="note")]


def _question(results: Row) -> Paragraph:
    data = results["data"]
    unit = unit_words(data) or ("" if data["eps_name"] else ", whatever its unit")
    meant = f"the {data['eps_name'] or 'level in its table'}{unit}"
    foreign = f"The trials come from another program: ε is {meant}."
    own = "A perturbation of budget ε changes every colour value by at most ε of 255 grey levels."
    text = f"{QUESTIONS[words_of(data)]} {foreign if data['foreign'] else own}"
    noise = results["observers"]["false_alarms"]
    if noise and results["data"]["task"] == "yes-no":
        text += (
            f" Of the pictures that were not perturbed they called {percent(noise['rate'])} perturbed (false alarms: "
            f"{thousands(noise['yes'])} of {thousands(noise['trials'])})."
        )
    return Paragraph(text=text)


def headline(results: Row) -> Table:
    """Returns the table of the headline numbers, a row a source model."""
    undetected = {row["model"]: row for row in results.get("joint", {}).get("undetected", []) if "maximum" in row}
    at = compared_eps(results)
    kind = "eps_dprime1" if results["data"]["task"] == "yes-no" else "eps50"
    label = "visible from ε (d′ = 1)" if kind == "eps_dprime1" else "visible from ε (ε₅₀)"
    columns = [
        Column(head="source model", show=lambda row: row["source_model"], row_head=True),
        Column(head=label, show=lambda row: row["message"] or bracket(row["threshold"], grey)),
    ]
    if at is not None:
        columns.append(Column(head="clean accuracy", show=lambda row: percent(row["clean_accuracy"])))
        columns.append(Column(head=f"accuracy at ε = {at:g}", show=lambda row: percent(row["robust_accuracy"])))
    if undetected:
        columns.append(Column(head="largest undetected attack rate U(ε)", show=_undetected))
    rows = [
        _headline(name, model, kind, at) | {"undetected": _largest(undetected.get(name))}
        for name, model in results["source_models"].items()
    ]
    caption = f"The headline numbers with {level_of(results)} intervals; each is explained in its section."
    return Table(name="summary", caption=caption, columns=tuple(columns), rows=rows)


def _headline(name: str, model: Row, kind: str, at: float | None) -> Row:
    threshold = model["threshold"][kind]
    clean, robust = machine_at(model, 0.0), None if at is None else machine_at(model, at)
    return {
        "source_model": name, "threshold": {key: threshold[key] for key in ("estimate", "low", "high")},
        "message": (threshold["not_estimable"] or {}).get("message", ""), "compared_eps": at,
        "clean_accuracy": clean and clean["accuracy"], "robust_accuracy": robust and robust["accuracy"],
    }  # fmt: skip


def _largest(found: Row | None) -> Row | None:
    return found and {"maximum": found["maximum"], "maximum_at": found["maximum_at"]}


def _undetected(row: Mapping[str, Any]) -> str:
    if (found := row["undetected"]) is None:
        return "–"
    return f"{bracket(found['maximum'], plain_percent)} % at ε = {level(found['maximum_at'])}"


def compared_eps(results: Row) -> float | None:
    """Returns the ε at which the summary compares machines: 8 if all have it, else the middle one they share."""
    models = [model for model in results["source_models"].values() if model["machine"] is not None]
    tested = sorted({row["eps"] for model in models for row in model["machine"]["robust_accuracy"]})
    shared = [eps for eps in tested if all(machine_at(model, eps) for model in models)]
    if not shared:
        return None
    return COMMON_EPS if COMMON_EPS in shared else shared[len(shared) // 2]


def machine_at(model: Row, eps: float) -> Row | None:
    """Returns the machine's lowest accuracy at ε over attacks on the full picture, or ``None`` if not measured."""
    machine = model["machine"]
    if machine is None:
        return None
    if eps == 0:
        return {"attack": "", **machine["clean_accuracy"]}
    rows = [row for row in machine["robust_accuracy"] if row["eps"] == eps]
    rows = [row for row in rows if row["region"] == "full"] or rows
    return min(rows, key=lambda row: row["accuracy"], default=None)
