"""The report's sections in their order, and how they become parts of one document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tqdm import tqdm

from analysis import (
    contrasts,
    curves,
    design_checks,
    detection,
    exclusions,
    joint,
    methods,
    picture_view,
    population,
    reaction_times,
    robustness,
    salient_regions,
    sensitivity,
    summary,
)
from analysis.blocks import Paragraph, Section
from analysis.document import Document, Part
from analysis.plan import Plan
from analysis.study import Study
from analysis.wording import plural, thousands

Row = dict[str, Any]
CHECKS: tuple[Callable[[Study], Section], ...] = (design_checks.section, exclusions.section)  # before any result
ANALYSES: tuple[Callable[[Study], Section], ...] = (
    curves.section,
    sensitivity.section,
    population.section,
    contrasts.section,
    robustness.section,
    joint.section,
    picture_view.section,
    reaction_times.section,
)
KEYS = {"exclusions": "exclusion_rules"}  # under which a section's results stand, where not under its own name


def collect(study: Study) -> list[Section]:
    """Returns the checks and the analyses of a study in order, with a bar on stderr."""
    makers = (*CHECKS, *ANALYSES, *((_salient_regions,) if study.annotations else ()))
    return [make(study) for make in tqdm(makers, desc="sections", unit="section", disable=not study.progress)]


def _salient_regions(study: Study) -> Section:
    return salient_regions.section(study, study.annotations, study.evaluation_paths)


def results_of(sections: Sequence[Section]) -> Row:
    """Returns what the sections add to results.json."""
    return {KEYS.get(each.name, each.name): each.results for each in sections if each.results}


def compose(results: Row, plan: Plan, sections: Sequence[Section], manifest: Row) -> Document:
    """Returns the whole report: summary, checks, confirmatory analyses, exploratory ones, methods."""
    checks, analyses = list(sections[: len(CHECKS)]), list(sections[len(CHECKS) :])
    shown = [detection.section(results), *analyses]
    if (recovered := detection.recovery(results, given="observers.toml" in manifest["inputs"])) is not None:
        shown.append(recovered)
    data = results["data"]
    return Document(
        title="What people see, what machines lose",
        lead=_lead(data),
        parts=(
            Part(heading="", introduction=(), sections=(summary.section(results, plan, sections), *checks)),
            *_confirmatory(plan, sections),
            Part(heading=_heading(plan), introduction=_introduction(plan), sections=tuple(shown)),
            Part(
                heading="How it was done",
                introduction=(),
                sections=(methods.section(results, plan, sections, manifest),),
            ),
        ),
    )


def _lead(data: Row) -> str:
    robots = "robot " if data["robots"] == data["sessions"] else ""
    people, answers = plural(data["participants"], f"{robots}participant"), plural(data["trials"], "answer")
    pictures, models = plural(data["pictures"], "picture"), plural(len(data["source_models"]), "source model")
    return f"{people} · {answers} · {pictures} · {models}"


def _heading(plan: Plan) -> str:
    return "Analyses" if plan.sha256 is None else "Exploratory analyses"


def _introduction(plan: Plan) -> tuple[Paragraph, ...]:
    if plan.sha256 is None:
        return (Paragraph(text="No plan was given: everything below is exploratory.", kind="note"),)
    text = "What the plan does not name. A small p here is a reason to plan a study, not a result."
    return (Paragraph(text=text, kind="note"),)


def _confirmatory(plan: Plan, sections: Sequence[Section]) -> Iterator[Part]:
    if plan.sha256 is None:
        return
    found = {finding.analysis: finding.text for section in sections for finding in section.findings}
    blocks = [Paragraph(text=_outcome(name, found), kind="result" if name in found else "refusal")
              for name in plan.confirmatory]  # fmt: skip
    section = Section(name="confirmatory", title="What the plan asked", results={}, blocks=tuple(blocks))
    text = (
        f"{plan.title + ': ' if plan.title else ''}{thousands(len(plan.confirmatory))} analyses were named before the "
        f"data were seen, in the plan with SHA-256 {plan.sha256}; α = {plan.alpha:g}, margin of equivalence ± "
        f"{plan.margin_octaves:g} octaves."
    )
    yield Part(heading="Confirmatory analyses", introduction=(Paragraph(text=text),), sections=(section,))


def _outcome(name: str, found: dict[str, str]) -> str:
    return f"{name} — {found.get(name, 'not estimable: no section of this report gives an outcome for it')}"
