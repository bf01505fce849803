"""The last sections: what was run, and how the numbers were made, generated from what was really done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.blocks import Block, Column, Paragraph, Section, Table
from analysis.plan import Plan
from analysis.tables import unit_words
from analysis.wording import confidence, plural, thousands

Row = dict[str, Any]
METHOD_NAMES = {
    "detection_rate": "Rates", "d_prime": "d′ and c", "eps_dprime1": "ε at d′ = 1", "eps50": "ε₅₀",
    "curves": "Bands of curves", "accuracy": "Machine accuracy",
}  # fmt: skip


def section(results: Row, plan: Plan, sections: Sequence[Section], manifest: Row) -> Section:
    """Returns the methods paragraph, the estimators in a table, and what the report was made from."""
    pair = (
        Column(head="quantity", show=lambda row: row["quantity"], row_head=True),
        Column(head="estimator and interval", show=lambda row: row["method"]),
    )
    estimators = [
        {"quantity": METHOD_NAMES[name], "method": method} for name, method in results["settings"]["methods"].items()
    ]
    inputs = [{"file": name, "sha256": digest} for name, digest in manifest["inputs"].items()]
    blocks: tuple[Block, ...] = (
        *(Paragraph(text=text) for text in paragraphs(results, plan, sections, manifest)),
        Table(name="estimators", caption="The default estimators.", columns=pair, rows=estimators),
        Table(
            name="inputs", caption="SHA-256 of every file that the report was made from.",
            columns=(
                Column(head="file", show=lambda row: row["file"], row_head=True),
                Column(head="SHA-256", show=lambda row: row["sha256"]),
            ),
            rows=inputs,
        ),
    )  # fmt: skip
    return Section(name="methods", title="Methods", results={}, blocks=blocks)


def paragraphs(results: Row, plan: Plan, sections: Sequence[Section], manifest: Row) -> list[str]:
    """Returns the methods as whole sentences: participants, exclusions, each section's own, settings and versions."""
    own = [section.methods for section in sections if section.methods and section.name != "exclusions"]
    return [_participants(results), _planned(plan), *_machines(results), *own, _settings(results, manifest)]


def text(results: Row, plan: Plan, sections: Sequence[Section], manifest: Row) -> str:
    """Returns ``methods.txt``: the methods to paste into a paper."""
    return "\n\n".join(paragraphs(results, plan, sections, manifest)) + "\n"


def _participants(results: Row) -> str:
    data = results["data"]
    steps = [step for step in results["exclusions"] if step["trials_removed"] or step["participants_removed"]]
    left_out = "; ".join(
        f"{step['rule']} ({plural(step['trials_removed'], 'answer')}, "
        f"{plural(step['participants_removed'], 'participant')})"
        for step in steps
    )
    return (
        f"{plural(data['participants'], 'participant')} in {plural(data['sessions'], 'session')} gave "
        f"{plural(data['trials'], 'answer')} to {plural(data['stimuli'], 'stimulus', 'stimuli')} made from "
        f"{plural(data['pictures'], 'picture')} (task: {data['task']}; ε = "
        f"{', '.join(f'{eps:g}' for eps in data['eps'])}{_unit(data)}; source models: "
        f"{', '.join(data['source_models'])}). "
        + (f"Left out, in this order: {left_out}." if left_out else "Nothing was left out.")
    )


def _unit(data: Row) -> str:
    if not data["foreign"]:
        return " grey levels of 255"
    name = f"the {data['eps_name']}" if data["eps_name"] else "the levels of the table"
    return f", {name}{unit_words(data)}"


def _machines(results: Row) -> list[str]:
    judged = {name: model["machine"] for name, model in results["source_models"].items() if model["machine"]}
    return [" ".join(_machine(name, machine) for name, machine in judged.items())] if judged else []


def _machine(name: str, machine: Row) -> str:
    if (training := machine["training"]) is None:
        return f"Classifier {name} ({machine['method']}) was judged on {plural(machine['pictures'], 'picture')}."
    return (
        f"Classifier {name} was trained by {machine['method']} on {plural(training['train_pictures'], 'picture')} of "
        f"{training['dataset']} ({plural(training['classes'], 'class', 'classes')}, {training['width']} × "
        f"{training['height']} pixels) for {plural(training['epochs'], 'epoch')} with seed {training['seed']}, and "
        f"judged on {plural(machine['pictures'], 'picture')}."
    )


def _planned(plan: Plan) -> str:
    if plan.sha256 is None:
        return "No plan was registered before the analysis: every analysis is exploratory."
    named = ", ".join(plan.confirmatory) or "none"
    return (
        f"Confirmatory analyses, named in the plan with SHA-256 {plan.sha256}: {named}. All others are exploratory. "
        f"Tests were judged at α = {plan.alpha:g}, with {plan.margin_octaves:g} octaves as the margin of equivalence."
    )


def _settings(results: Row, manifest: Row) -> str:
    settings = results["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items() if version)
    return (
        f"Where nothing else is said, intervals are at {confidence(1 - settings['level'])} and rest on "
        f"{thousands(settings['bootstrap'])} bootstrap draws of whole participants (seed {settings['seed']}). The "
        f"psychometric function is P(yes) = γ + (1 − γ − λ) S(log₂ ε), where ε = 0 is exact: P(yes) = γ. "
        f"The power law is P(yes) = λ/2 + (1 − λ) Φ((ε/ε₁)ᵇ − k), with k and λ shared by the source models. "
        f"Software: {versions}."
    )
