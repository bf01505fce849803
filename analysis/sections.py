"""The report's sections in their order, and how they become parts of one document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
SHOWN_IN: Mapping[str, tuple[str, ...]] = {  # figures and tables that show what a plan can name
    "contrast": ("contrasts",), "equivalence": ("contrasts", "equivalence"), "threshold": ("thresholds", "detection"),
    "sensitivity": ("d-prime-criterion",),
    "undetected": ("undetected", "undetected-summary", "undetected-contrasts"),
    "robust-accuracy": ("accuracy-at-threshold",), "machine": ("machine-comparisons", "robust-accuracy"),
}  # fmt: skip
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
    noticed = detection.section(results)
    shown, told = [noticed, *analyses], [*sections, noticed]
    if (recovered := detection.recovery(results, given="observers.toml" in manifest["inputs"])) is not None:
        shown.append(recovered)
    data = results["data"]
    return Document(
        title="What people see, what machines lose",
        lead=_lead(data),
        parts=(
            Part(heading="", introduction=(), sections=(summary.section(results, plan, told), *checks)),
            *_confirmatory(plan, told),
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
    blocks = tuple(paragraph for name in plan.confirmatory for paragraph in outcomes(name, sections))
    section = Section(name="confirmatory", title="What the plan asked", results={}, blocks=blocks)
    text = (
        f"{plan.title + ': ' if plan.title else ''}{thousands(len(plan.confirmatory))} analyses were named before the "
        f"data were seen, in the plan with SHA-256 {plan.sha256}; α = {plan.alpha:g}, margin of equivalence ± "
        f"{plan.margin_octaves:g} octaves. Each outcome refers to the figures and tables that show it."
    )
    yield Part(heading="Confirmatory analyses", introduction=(Paragraph(text=text),), sections=(section,))


def outcomes(name: str, sections: Sequence[Section]) -> list[Paragraph]:
    """Returns what was found for a planned analysis: the finding of that name, or all whose names go on from it."""
    see = SHOWN_IN[name.partition(":")[0]]
    told = [(finding, section.name) for section in sections for finding in section.findings]
    found = [each for each in told if each[0].analysis == name]
    found = found or [each for each in told if each[0].analysis.startswith(tuple(f"{own}/" for own in _names(name)))]
    if not found:
        text = f"{name} — not estimable: no section of this report gives an outcome for it"
        return [Paragraph(text=text, kind="refusal", see=see)]
    texts = [f"{finding.analysis} — {finding.text}" for finding, _ in found]
    last = Paragraph(text=texts[-1], kind="result", see=(*see, f"section:{found[-1][1]}"))
    return [*(Paragraph(text=text, kind="result") for text in texts[:-1]), last]


def _names(name: str) -> tuple[str, ...]:
    """The name of a planned analysis, and that of the same comparison the other way round; a finding says which."""
    kind, _, what = name.partition(":")
    parts = what.split("/")
    return (name,) if len(parts) < 2 else (name, f"{kind}:{'/'.join([parts[1], parts[0], *parts[2:]])}")
