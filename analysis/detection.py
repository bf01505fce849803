"""The sections of the shared estimates: what people noticed, from which ε on, and whether robots' law came back."""

from __future__ import annotations

from typing import Any

from analysis import figures, tables
from analysis.blocks import Block, Finding, Paragraph, Section
from analysis.estimates import REASONS
from analysis.wording import bracket, grey, level, number, p_value, percent

Row = dict[str, Any]
SCALE = {
    "yes-no": "Two answers to “from which ε on is it seen?”. ε at d′ = 1 does not depend on how readily people say "
    "yes; compare source models by it. ε₅₀ is the middle of the fitted curve, between its guess and lapse rates.",
    "2afc": "ε₅₀ is the middle of the fitted curve, between chance (one half) and its lapse rate. Nobody can gain by "
    "saying one answer more readily, so it compares source models.",
    "alternatives": "ε₅₀ is the middle of the fitted curve, between chance (one in so many alternatives) and its "
    "lapse rate.",
    "same-different": "ε₅₀ is the middle of the fitted curve, between the rate of “different” for equal pairs and the "
    "lapse rate; it depends on how readily people say “different”.",
}


def section(results: Row) -> Section:
    """Returns how often perturbations were noticed and the thresholds of the default estimators."""
    blocks: list[Block] = [figures.detection(results)]
    if any(model["threshold"]["eps50"]["not_estimable"] is None for model in results["source_models"].values()):
        blocks.append(Paragraph(text=SCALE[tables.words_of(results["data"])]))
    blocks += [tables.thresholds(results), *_other_task(results["data"]), *_shared(results["observers"])]
    return Section(
        name="detection", title="What people noticed, and from which ε on", results={}, blocks=tuple(blocks),
        findings=findings(results),
    )  # fmt: skip


def _other_task(data: Row) -> list[Block]:
    if data["task"] == "yes-no":
        return []
    return [Paragraph(text=f"ε at d′ = 1 is not estimable: {REASONS['other_task']}.", kind="refusal")]


def findings(results: Row) -> tuple[Finding, ...]:
    """Returns the outcomes that a plan can name here: ``threshold:<source model>``, ``sensitivity:<source model>``."""
    thresholds = [
        Finding(analysis=f"threshold:{name}", text=_threshold_words(results, name, model["threshold"]))
        for name, model in results["source_models"].items()
    ]
    sensitivities = [
        Finding(analysis=f"sensitivity:{name}", text=f"d′ of {name}: {_sensitivity_words(model['by_eps'])}.")
        for name, model in results["source_models"].items()
        if all(point["d_prime"] is not None for point in model["by_eps"])
    ]
    return (*thresholds, *sensitivities)


def _threshold_words(results: Row, name: str, threshold: Row) -> str:
    kinds = ("eps_dprime1", "eps50") if results["data"]["task"] == "yes-no" else ("eps50",)
    found = [f"{tables.THRESHOLDS[kind]} {_refused_or_bracket(threshold[kind])}" for kind in kinds]
    return f"Threshold of {name}{tables.unit_words(results['data'])}: {'; '.join(found)}."


def _refused_or_bracket(found: Row) -> str:
    refused = found["not_estimable"]
    return f"not estimable ({refused['message']})" if refused else f"= {bracket(found, grey)}"


def _sensitivity_words(points: list[Row]) -> str:
    return "; ".join(f"{bracket(point['d_prime'])} at ε = {level(point['eps'])}" for point in points)


def _shared(observers: Row) -> list[Block]:
    if observers["criterion"] is None or observers["lapse_rate"] is None:
        return []
    fit = observers["goodness_of_fit"]
    text = (
        f"Shared by all source models: criterion k = {bracket(observers['criterion'])} (in standard deviations of the "
        f"evidence), lapse rate {percent(observers['lapse_rate'])}"
    )
    if fit["df"] > 0:  # else there are as many parameters as cells, and nothing is left to judge the law by
        text += (
            f". Power law against one rate a cell: deviance {number(fit['deviance'], 1)} on {fit['df']} degrees of "
            f"freedom, p {p_value(fit['p_chi2'])} (χ² approximation; a small p speaks against the law)"
        )
    return [Paragraph(text=text + ".", kind="result")]


def recovery(results: Row, *, given: bool) -> Section | None:
    """Returns whether the law that robots obey was recovered; ``None`` where no law was ``given``."""
    title = "Was the robots’ law recovered?"
    if not given:
        return None
    if "recovery" not in results:
        text = (
            f"Not estimable: the law is compared with yes-no answers alone, and the task was {results['data']['task']}."
        )
        return Section(name="recovery", title=title, results={}, blocks=(Paragraph(text=text, kind="refusal"),))
    blocks: list[Block] = [
        Paragraph(
            text="The true values follow from the law that the robots obey. “True” is what the same estimator says of "
            "the whole population of observers with unlimited answers in this design; “median observer” is ε₁ as the "
            "law states it. The two differ a little because observers differ."
        ),
        *_verdict(results["recovery"]),
        tables.recovery(results),
    ]
    return Section(name="recovery", title=title, results={}, blocks=tuple(blocks))


def _verdict(joint: Row) -> list[Block]:
    if joint["consistent"] is None:
        return [Paragraph(text="Not estimable: no quantity has an interval to compare.", kind="refusal")]
    verdict = "Yes: the estimates agree with the law." if joint["consistent"] else "No: the estimates contradict it."
    text = (
        f"{verdict} {joint['covered']} of {joint['quantities']} intervals cover the truth (each misses one time in "
        f"twenty even when all is well); over all at once the largest deviation is "
        f"{number(joint['largest_deviation'])} standard errors, and up to {number(joint['limit'])} is what chance "
        "gives in 95 % of studies."
    )
    return [Paragraph(text=text, kind="result")]
