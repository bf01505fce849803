"""How long people took: by ε and answer, their distribution, and whether those who took longer were right more often.

Every number is a mean over participants of what each did, with the t interval of that mean (Wilson's for shares): times
within a participant are alike, and a participant with many answers must not count for more. Times outside the plan's
limits are trimmed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from analysis import drawing, ex_gaussian, wording
from analysis.blocks import Block, Column, Figure, Paragraph, Row, Section, Table
from analysis.intervals import LEVEL, mean_interval, mean_share_interval
from analysis.likelihood import Floats
from analysis.plan import Plan
from analysis.study import Study
from analysis.trials import Export

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
QUANTILE_NAMES = tuple(f"{100 * quantile:g}" for quantile in QUANTILES)  # percent
BINS = 5  # of equal counts, from each participant's fastest answers to the slowest
MIN_PARTICIPANTS = 3
ANSWERS = {"yes-no": ("yes", "no"), "same-different": ("different", "same"), "2afc": ("right", "wrong")}


def section(study: Study) -> Section:
    """Returns the section ``reaction-times``."""
    times, trimmed = trimmed_times(study.export, study.plan)
    people = times["participant"].nunique()
    results: dict[str, Any] = {"trimmed": trimmed, "participants": people}
    if people < MIN_PARTICIPANTS:
        results["not_estimable"] = {"reason": "too_few_participants", "message": _too_few(people)}
        return Section(
            name="reaction-times", title="How long people took", results=results,
            blocks=(Paragraph(text=_too_few(people), kind="refusal"),),
        )  # fmt: skip
    level = 1 - study.plan.alpha
    results["by_eps"] = by_eps(study.export, times, level)
    results["ex_gaussian"] = distribution(study.export, times, level)
    results["speed_accuracy"] = speed_accuracy(study.export, times, level)
    return Section(
        name="reaction-times", title="How long people took", results=results,
        blocks=_blocks(study, results), methods=_methods(study.plan, trimmed),
    )  # fmt: skip


# ---- numbers ----


def trimmed_times(export: Export, plan: Plan) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Returns the times within the plan's limits (participant, cell, yes, right, rt), and how many were outside."""
    answers, cells = export.answers, export.cells
    perturbed = cells.eps[answers.cell] > 0
    right = answers.yes if export.task == "2afc" else answers.yes == perturbed
    rt = np.asarray(answers.rt_ms, dtype=float)
    missing, short, long = ~np.isfinite(rt), rt < plan.rt_min_ms, rt > plan.rt_max_ms
    kept = ~(missing | short | long)
    columns = {
        "participant": answers.participant, "cell": answers.cell, "yes": answers.yes, "right": right, "rt": rt,
    }  # fmt: skip
    counts = {
        "answers": len(rt), "below": int(short.sum()), "above": int(long.sum()), "missing": int(missing.sum()),
        "rt_min_ms": plan.rt_min_ms, "rt_max_ms": plan.rt_max_ms,
    }  # fmt: skip
    return pd.DataFrame(columns)[kept], counts


def by_eps(export: Export, times: pd.DataFrame, level: float = LEVEL) -> list[dict[str, Any]]:
    """Returns a row a cell × answer: answers, participants, and quantiles of the time (mean of participants')."""
    said = ANSWERS[export.task]
    rows = []
    grouped = times.groupby(["cell", "yes", "participant"], observed=True)["rt"].quantile(np.array(QUANTILES)).unstack()
    counts = times.groupby(["cell", "yes"], observed=True).size()
    for cell in range(len(export.cells.eps)):
        for yes, answer in zip((True, False), said, strict=True):
            if (cell, yes) not in counts.index:
                continue
            own = grouped.xs((cell, yes)).to_numpy(dtype=float)  # participants × quantiles
            rows.append(
                {
                    "source_model": _name(export, cell), "eps": float(export.cells.eps[cell]), "answer": answer,
                    "answers": int(counts[(cell, yes)]), "participants": len(own),
                    "median": mean_over(own[:, QUANTILES.index(0.5)], level),
                    "quantiles": dict(zip(QUANTILE_NAMES, own.mean(axis=0).tolist(), strict=True)),
                }
            )  # fmt: skip
    return rows


def distribution(export: Export, times: pd.DataFrame, level: float = LEVEL) -> list[dict[str, Any]]:
    """Returns a row an answer: means over participants of their own ex-Gaussian parameters, where they had enough."""
    rows, (first, second) = [], ANSWERS[export.task]
    for answer, chosen in (("any", times["rt"] > 0), (first, times["yes"]), (second, ~times["yes"])):
        own = [
            fitted
            for _, group in times[chosen].groupby("participant", observed=True)
            if (fitted := ex_gaussian.fit(group["rt"].to_numpy())) is not None
        ]
        good = [asdict(fitted) for fitted in own if fitted.converged]
        means = {name: mean_over(np.array([fitted[name] for fitted in good]), level) for name in ("mu", "sigma", "tau")}
        rows.append({"answer": answer, "participants": len(good), "not_converged": len(own) - len(good), **means})
    return rows


def speed_accuracy(export: Export, times: pd.DataFrame, level: float = LEVEL) -> list[dict[str, Any]]:
    """Returns a row a kind of picture × fifth of each participant's times: mean time, and share of right answers.

    This is the conditional accuracy function; pictures are perturbed or not, in 2afc all are pairs.
    """
    perturbed = export.cells.eps[times["cell"].to_numpy()] > 0
    kinds = {"pairs": perturbed} if export.task == "2afc" else {"perturbed": perturbed, "unperturbed": ~perturbed}
    return [row for kind, chosen in kinds.items() for row in _fifths(kind, times[chosen], level)]


def _fifths(kind: str, times: pd.DataFrame, level: float) -> list[dict[str, Any]]:
    enough = times.groupby("participant", observed=True)["rt"].transform("size") >= BINS
    times = times[enough]
    if times["participant"].nunique() < MIN_PARTICIPANTS:
        return []
    rank = times.groupby("participant", observed=True)["rt"].rank(method="first") - 1
    size = times.groupby("participant", observed=True)["rt"].transform("size")
    own = times.assign(fifth=(rank * BINS // size).astype(int)).groupby(["fifth", "participant"], observed=True)
    means = own[["rt", "right"]].mean().assign(answers=own.size())
    rows = []
    for fifth in range(BINS):
        rt, right, answers = means.xs(fifth).to_numpy(dtype=float).T
        bounds = mean_share_interval(right, answers, level)
        rows.append(
            {
                "pictures": kind, "fifth": fifth + 1, "participants": len(rt), "rt_ms": float(rt.mean()),
                "right": dict(zip(("estimate", "low", "high"), bounds, strict=True)),
            }
        )  # fmt: skip
    return rows


def mean_over(values: Floats, level: float = LEVEL) -> dict[str, Any]:
    """Returns the mean over participants with its t interval; bounds are ``None`` for fewer than three."""
    n = len(values)
    if n == 0:
        return {"estimate": None, "low": None, "high": None}
    if n < MIN_PARTICIPANTS:
        return {"estimate": float(np.mean(values, dtype=float)), "low": None, "high": None}
    return dict(zip(("estimate", "low", "high"), map(float, mean_interval(values, level)), strict=True))


def _name(export: Export, cell: int) -> str:
    index = int(export.cells.model[cell])
    return "" if index < 0 else export.cells.models[index]


# ---- words and pictures ----


def _blocks(study: Study, results: dict[str, Any]) -> tuple[Block, ...]:
    of = wording.confidence(study.plan.alpha)
    blocks: list[Block] = [_counted(results["trimmed"]), _medians(study, results["by_eps"], of)]
    if results["speed_accuracy"]:
        blocks.append(_accuracy(results["speed_accuracy"], of))
    fitted = [row for row in results["ex_gaussian"] if row["participants"] >= MIN_PARTICIPANTS]
    if fitted:
        blocks.append(_parameters(fitted, of))
    else:
        text = f"No ex-Gaussian distribution was fitted: that takes {ex_gaussian.FEWEST} answers of one kind each from "
        blocks.append(Paragraph(text=f"{text}{MIN_PARTICIPANTS} participants.", kind="note"))
    return tuple(blocks)


def _counted(trimmed: dict[str, Any]) -> Paragraph:
    outside = trimmed["below"] + trimmed["above"]
    text = (
        f"Of {wording.plural(trimmed['answers'], 'answer')}, {wording.thousands(outside)} were trimmed: "
        f"{wording.thousands(trimmed['below'])} faster than {trimmed['rt_min_ms']:g} ms and "
        f"{wording.thousands(trimmed['above'])} slower than {trimmed['rt_max_ms']:g} ms."
    )
    if trimmed["missing"]:
        text += f" {wording.plural(trimmed['missing'], 'answer')} had no time."
    return Paragraph(text=text)


def _medians(study: Study, rows: list[dict[str, Any]], of: str) -> Figure:
    said, cells = ANSWERS[study.export.task], study.export.cells
    title = "Reaction time by ε and answer"
    with drawing.ink():
        figure = Drawing(figsize=(8.4, 4.6), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        for panel, answer in zip(axes, said, strict=True):
            eps = [float(value) for value in cells.eps]
            smallest = drawing.epsilon_axis(panel, eps, unit=study.export.eps_unit, short=True)
            panel.set_title(f"answer “{answer}”")
            for index, name in enumerate(("", *cells.models)):
                own = [row for row in rows if (row["source_model"], row["answer"]) == (name, answer)]
                shift = 0.07 * (index - 1 - (len(cells.models) - 1) / 2) if name else 0.0
                _draw_model(panel, own, name, drawing.style(index - 1) if name else None, smallest, shift)
        axes[0].set_ylabel("median reaction time (ms)")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=4, handlelength=3.4)
        description = _span(rows, said)
        svg = drawing.svg(figure, "reaction-times", title, description)
    caption = f"Mean over participants of their median time, with {of} t intervals; grey point at the left: ε = 0."
    return Figure(name="reaction-times", title=title, description=description, caption=caption, svg=svg,
                  table=_median_table(rows, of))  # fmt: skip


def _draw_model(
    panel: Any, rows: Sequence[Row], name: str, style: drawing.Style | None, smallest: float, shift: float
) -> None:
    shown = [row for row in rows if row["median"]["low"] is not None]
    if not shown:
        return
    colour, marker, dash = style or drawing.Style(drawing.MACHINE, "o", (0, ()))
    x = [drawing.position(row["eps"], smallest) + shift for row in shown]
    drawing.points(panel, x, [row["median"] for row in shown], [row["answers"] for row in shown], colour, marker)
    panel.plot(x, [row["median"]["estimate"] for row in shown], color=colour, linestyle=dash, linewidth=1.2,
               marker=marker, label=name or "unperturbed")  # fmt: skip


def _span(rows: Sequence[Row], said: tuple[str, str]) -> str:
    parts = []
    for answer in said:
        own = [row["median"]["estimate"] for row in rows if row["answer"] == answer]
        if own:
            parts.append(f"answer {answer}: medians from {min(own):.0f} to {max(own):.0f} ms")
    return "; ".join(parts) or "no times"


def _median_table(rows: list[dict[str, Any]], of: str) -> Table:
    return Table(
        name="reaction-times",
        caption=f"Median reaction time in ms by source model, ε and answer: mean over participants [{of} interval]; "
        "middle half and middle 80 % likewise averaged.",
        columns=(
            Column(head="source model", show=lambda row: row["source_model"] or "unperturbed", row_head=True),
            Column(head="ε", show=lambda row: wording.level(row["eps"])),
            Column(head="answer", show=lambda row: row["answer"]),
            Column(head="answers", show=lambda row: wording.thousands(row["answers"])),
            Column(head="people", show=lambda row: wording.thousands(row["participants"])),
            Column(head="median", show=lambda row: _milliseconds(row["median"])),
            Column(head="25–75 %", show=lambda row: _range(row, "25", "75")),
            Column(head="10–90 %", show=lambda row: _range(row, "10", "90")),
        ),
        rows=rows,
    )


def _milliseconds(found: Row) -> str:
    if found["low"] is None:
        return wording.number(found["estimate"], 0)
    return wording.bracket(found, lambda value: wording.number(value, 0))


def _range(row: Row, low: str, high: str) -> str:
    return f"{wording.number(row['quantiles'][low], 0)}–{wording.number(row['quantiles'][high], 0)}"


def _accuracy(rows: list[dict[str, Any]], of: str) -> Figure:
    title = "Speed and accuracy"
    kinds = list(dict.fromkeys(row["pictures"] for row in rows))
    with drawing.ink():
        figure = Drawing(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        for index, kind in enumerate(kinds):
            own, (colour, marker, dash) = [row for row in rows if row["pictures"] == kind], drawing.style(index)
            x = [row["rt_ms"] for row in own]
            drawing.points(axes, x, [row["right"] for row in own], [100] * len(own), colour, marker)
            axes.plot(x, [row["right"]["estimate"] for row in own], color=colour, linestyle=dash, marker=marker,
                      label=kind)  # fmt: skip
        drawing.proportion_axis(axes, "right answers")
        axes.set_xlabel("mean time in each fifth of a participant's answers (ms)")
        axes.legend(loc="lower left", title="pictures", alignment="left", handlelength=3.4)
        description = "; ".join(_fastest_slowest(kind, rows) for kind in kinds)
        svg = drawing.svg(figure, "speed-accuracy", title, description)
    caption = "Answers of each participant in fifths from fastest to slowest: share right, mean over participants with "
    return Figure(
        name="speed-accuracy", title=title, description=description, caption=f"{caption}{of} Wilson intervals.",
        svg=svg, table=_accuracy_table(rows, of),
    )  # fmt: skip


def _fastest_slowest(kind: str, rows: Sequence[Row]) -> str:
    own = [row for row in rows if row["pictures"] == kind]
    first, last = (drawing.percent(row["right"]["estimate"]) for row in (own[0], own[-1]))
    return f"{kind}: {first} right in the fastest fifth, {last} in the slowest"


def _accuracy_table(rows: list[dict[str, Any]], of: str) -> Table:
    return Table(
        name="speed-accuracy",
        caption=f"Share of right answers in % by fifth of each participant's reaction times [{of} interval].",
        columns=(
            Column(head="pictures", show=lambda row: row["pictures"], row_head=True),
            Column(head="fifth", show=lambda row: str(row["fifth"])),
            Column(head="people", show=lambda row: wording.thousands(row["participants"])),
            Column(head="mean time (ms)", show=lambda row: wording.number(row["rt_ms"], 0)),
            Column(head="right", show=lambda row: wording.bracket(row["right"], wording.plain_percent)),
        ),
        rows=rows,
    )


def _parameters(rows: list[dict[str, Any]], of: str) -> Table:
    def column(head: str, name: str) -> Column:
        return Column(head=head, show=lambda row: _milliseconds(row[name]))

    return Table(
        name="ex-gaussian",
        caption="Ex-Gaussian distribution of the times in ms, fitted to each participant with "
        f"{ex_gaussian.FEWEST} answers of a kind or more: mean over participants [{of} interval].",
        columns=(
            Column(head="answer", show=lambda row: row["answer"], row_head=True),
            Column(head="people", show=lambda row: wording.thousands(row["participants"])),
            Column(head="not converged", show=lambda row: wording.thousands(row["not_converged"])),
            column("μ", "mu"), column("σ", "sigma"), column("τ", "tau"),
        ),
        rows=rows,
    )  # fmt: skip


def _methods(plan: Plan, trimmed: dict[str, Any]) -> str:
    share = (trimmed["below"] + trimmed["above"]) / max(trimmed["answers"], 1)
    return (
        f"Reaction times below {plan.rt_min_ms:g} or above {plan.rt_max_ms:g} ms were trimmed ({100 * share:.1f} % of "
        "the answers); medians, quantiles and ex-Gaussian parameters (maximum likelihood) were computed for each "
        "participant and averaged, with t intervals over participants (of shares right, Wilson’s)."
    )


def _too_few(people: int) -> str:
    return (
        f"Nothing is said of reaction times: {wording.plural(people, 'participant')} answered within the limits, and "
        f"an interval over participants takes {MIN_PARTICIPANTS}."
    )
