"""The section ``curves``: words, figures and tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from analysis import drawing, estimates, wording
from analysis.blocks import Block, Column, Figure, Paragraph, Row, Section, Table
from analysis.curves.computing import DRAWN_PEOPLE, curves_of, people_of
from analysis.psychometric import SIGMOIDS
from analysis.study import Study
from analysis.trials import Task
from analysis.wording import bracket, confidence, grey, number, p_value, percent

TITLE = "Psychometric functions"
ACROSS = 3
AGREE_OCTAVES = 0.25
JUDGED_SHAPE = ("deviance", "weight", "favoured_p")
SHORT: dict[Task, str] = {"yes-no": "answers “yes”", "2afc": "right answers", "same-different": "answers “different”"}


def section(study: Study) -> Section:
    """Returns the section ``curves``."""
    cells = study.export.cells
    if (reason := _refusal(study)) is not None:
        text = f"Not estimable: {estimates.REASONS[reason]}."
        return Section(
            name="curves", title=TITLE, results={"not_estimable": {"reason": reason, "message": text}},
            blocks=(Paragraph(text=text, kind="refusal"),),
        )  # fmt: skip
    found: dict[str, Row] = dict(curves_of(study))
    known = {name: row for name, row in found.items() if "parameters" in row}
    blocks: list[Block] = [Paragraph(text=_introduction())]
    blocks += [_outcomes(name, row) for name, row in found.items() if row["outcomes"]]
    blocks.append(_figure(study, found))
    if known:
        level = confidence(study.plan.alpha)
        blocks += [_parameters(known, level), _profiles(known, level), _goodness(known, level)]
        blocks += [*_family_blocks(known, level), _residuals(study, known)]
    results = {"family": estimates.model_of(study.export.task, cells.choices).family, "source_models": found}
    return Section(name="curves", title=TITLE, results=results, blocks=tuple(blocks), methods=_methods(known))


def _refusal(study: Study) -> str | None:
    cells = study.export.cells
    if len(cells.participants) < estimates.MIN_PARTICIPANTS:
        return "too_few_participants"
    return None if cells.models else "no_signal_trials"


def _introduction() -> str:
    return (
        "P(yes) = γ + (1 − γ − λ) S(log₂ ε) fitted to the pooled answers of all participants; at ε = 0 it is γ. "
        "Threshold, width and slope have two intervals. The first is about people: participants are drawn again. The "
        "profile likelihood is about these answers, as if one person had given them all, and so is usually narrower; "
        "it is no ground for a statement about people."
    )


def _outcomes(name: str, row: Row) -> Paragraph:
    words = "; ".join(each["message"] for each in row["outcomes"])
    if "separated_between" in row:
        low, high = row["separated_between"]
        words += f" (between ε = {low:g} and ε = {high:g})"
    refused = "not_estimable" in row
    return Paragraph(
        text=f"{name}: {'not estimable: ' if refused else ''}{words}.", kind="refusal" if refused else "note"
    )


def _methods(known: dict[str, Row]) -> str:
    if not known:
        return ""
    samples = next(iter(known.values()))["goodness_of_fit"]["samples"]
    return (
        "Psychometric functions of each source model were fitted by maximum a posteriori (γ and λ where estimated: "
        "Beta(1, 10) on 0 to 0.5; ln w: normal around 3 octaves, standard deviation 1). Intervals over participants: "
        "t(P − 1) × bootstrap error on the logarithm. Profile likelihood intervals compare with χ²(1), without the "
        "prior of γ and λ. Goodness of fit: deviance in excess of the rows that can contribute to it, against "
        f"{wording.thousands(samples)} refitted parametric bootstrap samples. Overdispersion η (beta-binomial, "
        "Beta(1, 10)): the posterior on a grid, with all other parameters integrated out. "
        f"{len(SIGMOIDS)} shapes were compared by AIC, and each with the report’s by refitted samples of the latter "
        "(Williams 1970); model-free thresholds are those of isotonic rates (PAVA) and of Spearman and Kärber, with "
        "binomial bootstrap intervals."
    )


# ---- curves ----


def _figure(study: Study, found: dict[str, Row]) -> Figure:
    title = "Psychometric functions by source model"
    people = people_of(study)
    with drawing.ink():
        figure, panels = _panels(len(found), 3.1)
        for index, (name, row) in enumerate(found.items()):
            _panel(panels[index], study, row, index)
            if people is not None:
                _thin(panels[index], row, people, index)
            panels[index].set_title(name)
            drawing.proportion_axis(panels[index], SHORT[study.export.task] if index % ACROSS == 0 else "")
        description = "; ".join(_words(name, row) for name, row in found.items())
        svg = drawing.svg(figure, "curves", title, description)
    level = confidence(study.plan.alpha)
    return Figure(
        name="curves", title=title, description=description, svg=svg, table=_point_table(found, level),
        caption=f"Points: pooled answers, their area growing with their number, with {level} intervals over "
        "participants. Line and band: fitted curve with its interval "
        "over participants; fine lines: γ and 1 − λ; bar: ε₅₀ with its interval over participants. "
        f"Thin grey: participants (at most {DRAWN_PEOPLE}), each with one γ and one λ "
        "for all source models; with few answers each they lean on the priors.",
    )  # fmt: skip


def _panels(number: int, height: float) -> tuple[Drawing, list[Axes]]:
    across = min(number, ACROSS)
    down = -(-number // across)
    figure = Drawing(figsize=(3.0 * across + 0.6, height * down), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).ravel())
    for axes in panels[number:]:
        axes.set_visible(False)
    return figure, panels


def _panel(axes: Axes, study: Study, row: Row, index: int) -> None:
    look = drawing.style(index)
    eps = [float(value) for value in study.export.cells.eps]
    smallest = drawing.epsilon_axis(axes, eps, unit=study.export.eps_unit, short=True)
    points = row["by_eps"]
    x = [drawing.position(each["eps"], smallest) for each in points]
    drawing.points(axes, x, [each["rate"] for each in points], [each["trials"] for each in points], look.colour,
                   look.marker)  # fmt: skip
    if "parameters" not in row:
        return
    drawing.band(axes, np.array(row["curve"]["eps"]), row["curve"], look.colour, look.dash)
    found = row["parameters"]
    for asymptote in (found["guess"], 1 - found["lapse"]):
        axes.axhline(asymptote, color=drawing.MACHINE, linewidth=0.6, linestyle=(0, (1, 2)))
    middle = (found["guess"] + 1 - found["lapse"]) / 2
    ends = [np.log2(found["eps50"][end] or found["eps50"]["estimate"]) for end in ("low", "high")]
    axes.plot(ends, [middle, middle], color=drawing.INK, linewidth=2.2, solid_capstyle="butt", zorder=5)
    axes.plot([np.log2(found["eps50"]["estimate"])], [middle], marker="|", color=drawing.INK, markersize=9, zorder=5)


def _thin(axes: Axes, row: Row, people: dict[str, Any], index: int) -> None:
    eps = [each["eps"] for each in row["by_eps"] if each["eps"] > 0]
    if len(eps) < 2:
        return
    fit, grid = people["fit"], np.linspace(np.log2(min(eps)), np.log2(max(eps)), 25)
    sigmoid = SIGMOIDS[fit.model.family]
    z = (grid - fit.threshold[:, [index]]) * sigmoid.width / fit.width[:, [index]] + sigmoid.quantile(0.5)
    curves = fit.guess[:, None] + (1 - fit.guess - fit.lapse)[:, None] * sigmoid.cdf(np.clip(z, -1e3, 1e3))
    axes.plot(grid, curves[people["saw"][:, index]].T, color=drawing.MACHINE, linewidth=0.4, alpha=0.35, zorder=0)


def _words(name: str, row: Row) -> str:
    if "parameters" not in row:
        return f"{name}: no threshold"
    found = row["parameters"]
    return (
        f"{name}: ε₅₀ {grey(found['eps50']['estimate'])}, "
        f"width {number(found['width_octaves']['estimate'])} octaves, "
        f"from {percent(found['guess'])} to {percent(1 - found['lapse'])}"
    )


def _point_table(found: dict[str, Row], level: str) -> Table:
    rows = [{"source_model": name, **each} for name, row in found.items() for each in row["by_eps"]]
    return Table(
        name="curve-points",
        caption=f"Pooled answers by source model and ε [{level} interval over participants].",
        columns=(
            Column(head="source model", show=lambda row: row["source_model"], row_head=True),
            Column(head="ε", show=lambda row: wording.level(row["eps"])),
            Column(head="answers", show=lambda row: wording.thousands(row["trials"])),
            Column(head="rate", show=lambda row: bracket(row["rate"], percent)),
        ),
        rows=rows,
    )


# ---- parameters and goodness of fit ----


def _parameters(known: dict[str, Row], level: str) -> Table:
    return Table(
        name="curve-parameters",
        caption=f"Parameters of the fitted curves [{level} interval over participants: about people]. Width: octaves "
        "from 5 % to 95 % of the rise; slope: at ε₅₀, per octave; γ and λ: estimates alone.",
        columns=(
            Column(head="source model", show=lambda row: row["source_model"], row_head=True),
            Column(head="ε₅₀", show=lambda row: bracket(row["eps50"], grey)),
            Column(head="width", show=lambda row: bracket(row["width_octaves"])),
            Column(head="slope", show=lambda row: bracket(row["slope_per_octave"])),
            Column(head="γ", show=lambda row: percent(row["guess"])),
            Column(head="λ", show=lambda row: percent(row["lapse"])),
        ),
        rows=[{"source_model": name, **row["parameters"]} for name, row in known.items()],
    )


def _profiles(known: dict[str, Row], level: str) -> Table:
    return Table(
        name="curve-profiles",
        caption=f"The same with {level} profile likelihood intervals: about these answers alone.",
        columns=(
            Column(head="source model", show=lambda row: row["source_model"], row_head=True),
            Column(head="ε₅₀", show=lambda row: bracket(row["eps50_profile"], grey)),
            Column(head="width", show=lambda row: bracket(row["width_profile"])),
            Column(head="slope", show=lambda row: bracket(row["slope_profile"])),
        ),
        rows=[{"source_model": name, **row["parameters"]} for name, row in known.items()],
    )


def _goodness(known: dict[str, Row], level: str) -> Table:
    rows = [
        {"source_model": name, **{k: v for k, v in row["goodness_of_fit"].items() if k != "residuals"},
         "eta": row["overdispersion"]["eta"], "eps50_overdispersed": row["overdispersion"]["eps50"]}
        for name, row in known.items()
    ]  # fmt: skip
    return Table(
        name="curve-fit",
        caption="Goodness of fit: deviance and Pearson’s X² with p from refitted bootstrap samples (rows less "
        "parameters: df); p trend: of the residuals over the prediction. η: overdispersion between levels, 0 to 1 "
        f"(mean of its posterior). ε₅₀ [{level} quasi-t interval, which allows for overdispersion].",
        columns=(
            Column(head="source model", show=lambda row: row["source_model"], row_head=True),
            Column(head="deviance", show=lambda row: number(row["deviance"])),
            Column(head="df", show=lambda row: str(row["degrees"])),
            Column(head="p", show=lambda row: p_value(row["p_value"])),
            Column(head="X²", show=lambda row: f"{number(row['pearson'])} (p {p_value(row['pearson_p'])})"),
            Column(head="p trend", show=lambda row: p_value(row["trend_p"])),
            Column(head="η", show=lambda row: number(row["eta"])),
            Column(head="ε₅₀ allowing for it", show=lambda row: bracket(row["eps50_overdispersed"], grey)),
        ),
        rows=rows,
    )


# ---- does the answer rest on the shape? ----


def _family_blocks(known: dict[str, Row], level: str) -> list[Block]:
    rows = []
    for name, row in known.items():
        rows += [{"source_model": name, "way": each["family"], **_of_family(each)} for each in row["families"]]
        rows += [
            {"source_model": name, "way": words, "eps50": row["model_free"][key], **dict.fromkeys(JUDGED_SHAPE)}
            for key, words in (("pava", "isotonic (PAVA)"), ("spearman_karber", "Spearman-Kärber"))
        ]
    table = Table(
        name="curve-families",
        caption=f"ε₅₀ under every shape of S [{level} profile likelihood] and without a shape [{level} refitted "
        "bootstrap]; weight: Akaike’s, over the shapes, all with as many parameters, so that BIC ranks them alike; p: "
        "how often this shape gains as much over the report’s where the report’s is true (refitted bootstrap samples). "
        "Spearman-Kärber is a mean, the others are medians. – where the rates do not run through the whole rise within "
        "the tested range, and for the report’s own shape.",
        columns=(
            Column(head="source model", show=lambda row: row["source_model"], row_head=True),
            Column(head="shape", show=lambda row: row["way"]),
            Column(head="ε₅₀", show=lambda row: bracket(row["eps50"], grey)),
            Column(head="deviance", show=lambda row: number(row["deviance"])),
            Column(head="weight", show=lambda row: number(row["weight"])),
            Column(head="p", show=lambda row: p_value(row["favoured_p"])),
        ),
        rows=rows,
    )
    return [Paragraph(text=" ".join(_agreement(name, row) for name, row in known.items()), kind="result"), table]


def _of_family(each: Row) -> Row:
    eps50 = {"estimate": each["threshold"], "low": each["threshold_low"], "high": each["threshold_high"]}
    return {"eps50": eps50, **{name: each[name] for name in JUDGED_SHAPE}}


def _agreement(name: str, row: Row) -> str:
    """Whether shapes that the data do not rule out agree on the threshold."""
    likely = [each["threshold"] for each in row["families"] if each["weight"] > 0.05 and each["threshold"] is not None]
    octaves = float(np.log2(max(likely) / min(likely)))
    verdict = "hardly depends" if octaves < AGREE_OCTAVES else "depends"
    return (
        f"{name}: ε₅₀ {verdict} on the shape: among shapes with a weight above 0.05 it runs from {grey(min(likely))} "
        f"to {grey(max(likely))} ({number(octaves)} octaves)."
    )


# ---- residuals ----


def _residuals(study: Study, known: dict[str, Row]) -> Figure:
    title = "Residuals over prediction and over the order of trials"
    models = study.export.cells.models
    with drawing.ink():
        figure = Drawing(figsize=(8.4, 3.3), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for name, row in known.items():
            look = drawing.style(models.index(name))
            over = row["goodness_of_fit"]["residuals"]
            left.plot([each["prediction"] for each in over], [each["residual"] for each in over], linestyle="none",
                      marker=look.marker, color=look.colour, label=name)  # fmt: skip
            order = row["residuals_by_order"]
            right.plot([(each["first"] + each["last"]) / 2 for each in order], [each["residual"] for each in order],
                       marker=look.marker, color=look.colour, linestyle=look.dash, linewidth=1)  # fmt: skip
        for axes, label in ((left, "predicted rate"), (right, "place in the session")):
            axes.axhspan(-2, 2, color=drawing.FAINT, alpha=0.4, linewidth=0)
            axes.axhline(0, color=drawing.MACHINE, linewidth=0.8)
            axes.set_xlabel(label)
        left.set_ylabel("residual")
        left.legend(loc="best", title="source model", alignment="left")
        description = "; ".join(_largest(name, row) for name, row in known.items())
        svg = drawing.svg(figure, "curve-residuals", title, description)
    return Figure(
        name="curve-residuals", title=title, description=description, svg=svg, table=_residual_table(known),
        caption="Left: signed deviance residuals of each ε. Right: answers in equal parts by their place in the "
        "session, standardised. Of points that scatter by chance 19 in 20 lie within ± 2.",
    )  # fmt: skip


def _largest(name: str, row: Row) -> str:
    over = max(abs(each["residual"]) for each in row["goodness_of_fit"]["residuals"])
    order = max((abs(each["residual"]) for each in row["residuals_by_order"]), default=0.0)
    return f"{name}: largest residual {number(over)} over prediction, {number(order)} over order"


def _residual_table(known: dict[str, Row]) -> Table:
    rows = []
    for name, row in known.items():
        rows += [{"source_model": name, "of": f"ε = {each['eps']:g}", **each}
                 for each in row["goodness_of_fit"]["residuals"]]  # fmt: skip
        rows += [{"source_model": name, "of": f"trials {each['first'] + 1}–{each['last'] + 1}", **each}
                 for each in row["residuals_by_order"]]  # fmt: skip
    return Table(
        name="curve-residuals",
        caption="Residuals by ε and by place in the session.",
        columns=(
            Column(head="source model", show=lambda row: row["source_model"], row_head=True),
            Column(head="of", show=lambda row: row["of"]),
            Column(head="residual", show=lambda row: number(row["residual"])),
        ),
        rows=rows,
    )
