"""The section "machine": robust accuracy of the runs, attack by attack, compared picture by picture.

Attacks are never pooled. Runs that share a recipe and differ in the training seed are one method measured several
times: their seeds are a random factor, and pictures alone say nothing about another training. The interval over seeds
is that of the mean of all such trainings, tried on these pictures.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from analysis import drawing, machine_curves, wording
from analysis.blocks import Block, Column, Figure, Finding, Paragraph, Section, Table
from analysis.intervals import CHUNK, mean_interval, normal_quantile, t_quantile, wilson
from analysis.likelihood import Floats
from analysis.machine_curves import MachineCurve
from analysis.study import Study
from analysis.wording import bracket, confidence, grey, number, plain_percent, plural, thousands
from core import rng
from core.evaluation_comparisons import holm, mcnemar, tango

Row = dict[str, Any]
TITLE = "What the machines lose"
NONE_GIVEN = "Not estimable: nothing is known of the machines, since no evaluation was given (--evaluations)."


def section(study: Study) -> Section:
    """Returns the section ``machine``."""
    curves = all_curves(study)
    if not curves:
        refused = {"reason": "no_evaluation", "message": NONE_GIVEN}
        return Section(name="machine", title=TITLE, results={"not_estimable": refused},
                       blocks=(Paragraph(text=NONE_GIVEN, kind="refusal"),))  # fmt: skip
    level = 1 - study.plan.alpha
    results = {
        "accuracy": accuracy(curves, level),
        "psychometric": [psychometric(study, curve) for curve in curves],
        "comparisons": comparisons(curves, level),
        "seeds": seeds(study, curves),
    }
    return Section(
        name="machine", title=TITLE, results=results, blocks=tuple(_blocks(study, curves, results)),
        methods=_methods(results), findings=tuple(map(_finding, results["comparisons"])),
    )  # fmt: skip


def all_curves(study: Study) -> list[MachineCurve]:
    """Returns the curves of every evaluation, also of runs whose pictures nobody saw, by run, region and attack."""
    found: list[MachineCurve] = []
    for run, evaluation in sorted(study.evaluations.items()):
        regions = sorted({row.region for row in evaluation.curve if row.eps > 0 and row.norm == "linf"})
        classes = study.training.get(run, {}).get("classes")
        for region in regions:
            name = run if region == "full" else f"{run}/{region}"
            found += machine_curves.curves(name, evaluation, study.outcomes.get(run), classes)
    return found


# ---- numbers ----


def accuracy(curves: list[MachineCurve], level: float) -> list[Row]:
    """Returns a row a run × attack × ε with Wilson's interval over pictures."""
    rows = []
    for curve in curves:
        low, high = wilson(curve.correct, curve.pictures, normal_quantile(level))
        rows += [
            {"model": curve.model, "attack": curve.attack, "eps": float(eps), "pictures": int(n), "correct": int(k),
             "accuracy": {"estimate": float(k / n), "low": float(a), "high": float(b)}}
            for eps, n, k, a, b in zip(curve.eps, curve.pictures, curve.correct, low, high, strict=True)
        ]  # fmt: skip
    return rows


def psychometric(study: Study, curve: MachineCurve) -> Row:
    """Returns the machine's psychometric function, its ε₅₀ with the interval of resampled pictures, or why not.

    The deviance describes: the same pictures stand at every ε, so that it has no χ² distribution.
    """
    row: Row = {"model": curve.model, "attack": curve.attack, "floor": machine_curves.floor_of(curve)}
    if len(curve.eps) < 3:
        return _silent(row, "one_level", "the machine was attacked at one ε alone")
    found = machine_curves.fit(curve, curve.accuracy[None])
    log2_eps, levels = float(found.log2_eps50[0]), np.log2(curve.eps[1:])
    if log2_eps > levels[-1] or curve.accuracy[-1] >= curve.accuracy[0]:
        return _silent(row, "above_range", "accuracy does not fall half-way within the ε that were tested")
    if log2_eps < levels[0]:
        return _silent(row, "below_range", "accuracy has fallen half-way below the smallest ε that was tested")
    n = int(curve.pictures.max())
    spread = float(_resampled(study, curve).std(ddof=1)) * np.sqrt(n / max(n - 1, 1))
    half = t_quantile(n, 1 - study.plan.alpha) * spread
    low, high = log2_eps - half, log2_eps + half
    return {
        **row,
        "eps50": {
            "estimate": 2**log2_eps,
            "low": None if low < levels[0] else 2**low,
            "high": None if high > levels[-1] else 2**high,
        },
        "width_octaves": float(found.width[0]), "clean": float(found.clean[0]), "deviance": float(found.deviance[0]),
        "df": len(curve.eps) - 3, "by_picture": curve.right is not None,
    }  # fmt: skip


def _resampled(study: Study, curve: MachineCurve) -> Floats:
    generator = rng.numpy_generator(study.seed, "machine pictures", curve.model, curve.attack)
    count = max(len(curve.names), 1)
    parts = []
    for start in range(0, study.replicates, CHUNK):
        size = min(CHUNK, study.replicates - start)
        weights = generator.multinomial(count, np.full(count, 1 / count), size=size).astype(float)
        drawn = machine_curves.resampled(curve, curve.names, weights, generator)
        parts.append(machine_curves.fit(curve, drawn).log2_eps50)
    return np.concatenate(parts)


def _silent(row: Row, reason: str, text: str) -> Row:
    return {**row, "eps50": None, "not_estimable": {"reason": reason, "message": text}}


def comparisons(curves: list[MachineCurve], level: float) -> list[Row]:
    """Returns the paired comparisons of runs under the same attack, region and ε, on the pictures that both have.

    McNemar's exact test and Tango's interval (core.evaluation_comparisons); Holm's correction over all of them. Clean
    accuracy, which is the same under every attack, is compared once.
    """
    rows: list[Row] = []
    for first, second in combinations(curves, 2):
        if (first.attack, first.region) == (second.attack, second.region):
            clean = {(row["first"], row["second"]) for row in rows if row["eps"] == 0}
            found = _compared(first, second, level)
            rows += [row for row in found if row["eps"] > 0 or (row["first"], row["second"]) not in clean]
    corrected = holm([row["p"] for row in rows])
    return [{**row, "p_holm": p} for row, p in zip(rows, corrected, strict=True)]


def _compared(first: MachineCurve, second: MachineCurve, level: float) -> list[Row]:
    names = sorted(set(first.names) & set(second.names))
    if first.right is None or second.right is None or not names:
        return []
    one, two = (
        curve.right[[{name: i for i, name in enumerate(curve.names)}[name] for name in names]]  # type: ignore[index]
        for curve in (first, second)
    )
    rows = []
    for eps in sorted({*first.eps} & {*second.eps}):
        a, b = one[:, first.eps == eps][:, 0] > 0, two[:, second.eps == eps][:, 0] > 0
        gained, lost, n = int((b & ~a).sum()), int((a & ~b).sum()), len(names)
        low, high = tango(gained, lost, n, normal_quantile(level))
        rows.append(
            {
                "first": first.model, "second": second.model, "attack": first.attack, "eps": float(eps), "pictures": n,
                "only_first": lost, "only_second": gained,
                "difference": {"estimate": (gained - lost) / n, "low": low, "high": high}, "p": mcnemar(gained, lost),
            }
        )  # fmt: skip
    return rows


def seeds(study: Study, curves: list[MachineCurve]) -> list[Row]:
    """Returns, for runs of one recipe with several training seeds, the mean accuracy with the t interval over seeds."""
    groups: dict[tuple[str, str, str, tuple[float, ...]], list[MachineCurve]] = {}
    for curve in curves:
        recipe = study.training.get(curve.run, {}).get("recipe_sha256")
        if recipe is not None:
            groups.setdefault((recipe, curve.attack, curve.region, tuple(curve.eps)), []).append(curve)
    rows = []
    for (_, attack, region, eps), members in sorted(groups.items()):
        drawn = {study.training[curve.run]["seed"] for curve in members}
        if len(drawn) < 2 or len(drawn) < len(members):
            continue
        values = np.stack([curve.accuracy for curve in members])
        means, lows, highs = over_seeds(values, 1 - study.plan.alpha)
        for index, level in enumerate(eps):
            rows.append(
                {
                    "method": study.evaluations[members[0].run].method, "runs": [curve.run for curve in members],
                    "attack": attack, "region": region, "eps": float(level), "seeds": len(members),
                    "sd": float(values[:, index].std(ddof=1)),
                    "accuracy": {"estimate": float(means[index]), "low": float(lows[index]),
                                 "high": float(highs[index])},
                }
            )  # fmt: skip
    return rows


def over_seeds(accuracy: Floats, level: float) -> tuple[Floats, Floats, Floats]:
    """Returns the mean accuracy of trainings [S, K] with its t interval, clipped to [0, 1]: estimate, low, high."""
    mean, low, high = mean_interval(accuracy, level)
    return mean, np.maximum(low, 0.0), np.minimum(high, 1.0)


# ---- words, tables, pictures ----


def _blocks(study: Study, curves: list[MachineCurve], results: Row) -> list[Block]:
    level = confidence(study.plan.alpha)
    blocks: list[Block] = [_figure(study, curves, results), _fit_table(results["psychometric"], level)]
    blocks += [
        Paragraph(text=f"Not estimable: ε₅₀ of {row['model']} under {row['attack']}: "
                  f"{row['not_estimable']['message']}.", kind="refusal")
        for row in results["psychometric"] if "not_estimable" in row
    ]  # fmt: skip
    if results["comparisons"]:
        blocks.append(_comparison_table(results["comparisons"], level))
    elif len(study.evaluations) > 1:
        text = (
            "Not estimable: differences between runs picture by picture, since outcomes.parquet of two runs under the "
            "same attack is needed."
        )
        blocks.append(Paragraph(text=text, kind="refusal"))
    return [*blocks, *_seed_blocks(results["seeds"], level)]


def _seed_blocks(rows: list[Row], level: str) -> list[Block]:
    if rows:
        return [_seed_table(rows, level)]
    text = (
        "Every method was trained once or with one seed: intervals over pictures say how sure the accuracy of these "
        "very weights is, not what another training would give."
    )
    return [Paragraph(text=text, kind="note")]


def _figure(study: Study, curves: list[MachineCurve], results: Row) -> Figure:
    title = "Robust accuracy by ε, run and attack"
    names = list(dict.fromkeys([*study.export.cells.models, *(curve.model for curve in curves)]))
    attacks = list(dict.fromkeys(curve.attack for curve in curves))
    with drawing.ink():
        figure = Drawing(figsize=(8.4, 3.9 * -(-len(attacks) // 2)), layout="constrained")
        grid = figure.subplots(-(-len(attacks) // 2), min(len(attacks), 2), sharey=True, squeeze=False)
        for place, axes in enumerate(grid.flat):
            axes.set_visible(place < len(attacks))
        for attack, axes in zip(attacks, grid.flat, strict=False):
            own = [curve for curve in curves if curve.attack == attack]
            smallest = drawing.epsilon_axis(axes, [float(e) for curve in own for e in curve.eps], short=True)
            for curve in own:
                rows = [r for r in results["accuracy"] if (r["model"], r["attack"]) == (curve.model, attack)]
                look = drawing.style(names.index(curve.model))
                x = [drawing.position(row["eps"], smallest) for row in rows]
                drawing.points(axes, x, [r["accuracy"] for r in rows], [r["pictures"] for r in rows], *look[:2])
                axes.plot(x, curve.accuracy, color=look.colour, linestyle=look.dash, marker=look.marker, linewidth=1.4,
                          label=curve.model)  # fmt: skip
            axes.set_title(attack)
            drawing.proportion_axis(axes, "pictures that stay right" if axes in grid[:, 0] else "")
        grid.flat[0].legend(loc="best", handlelength=3.4, title="run", alignment="left")
        description = "; ".join(_fall(curve) for curve in curves)
        svg = drawing.svg(figure, "robust-accuracy", title, description)
    level = confidence(study.plan.alpha)
    return Figure(name="robust-accuracy", title=title, description=description, svg=svg,
                  caption=f"Share of test pictures that stay right under an attack, with {level} Wilson intervals.",
                  table=_accuracy_table(results["accuracy"], level))  # fmt: skip


def _fall(curve: MachineCurve) -> str:
    first, last = drawing.percent(curve.accuracy[0]), drawing.percent(curve.accuracy[-1])
    return f"{curve.model} under {curve.attack}: {first} unattacked to {last} at ε = {curve.eps[-1]:g}"


def _accuracy_table(rows: list[Row], level: str) -> Table:
    return Table(
        name="robust-accuracy",
        caption=f"Accuracy in % by run, attack and ε [{level} Wilson interval over pictures].",
        columns=(
            Column(head="run", show=lambda row: row["model"], row_head=True),
            Column(head="attack", show=lambda row: row["attack"]),
            Column(head="ε", show=lambda row: wording.level(row["eps"])),
            Column(head="pictures", show=lambda row: thousands(row["pictures"])),
            Column(head="accuracy", show=lambda row: bracket(row["accuracy"], plain_percent)),
        ),
        rows=rows,
    )


def _fit_table(rows: list[Row], level: str) -> Table:
    return Table(
        name="machine-psychometric",
        caption="Psychometric functions of the machines: ε at which accuracy lies midway between clean accuracy and "
        "the floor (1 / classes, or 0 where attacks bring accuracy below chance) "
        f"[{level} interval, pictures resampled]. The deviance describes: the same pictures stand at every ε.",
        columns=(
            Column(head="run", show=lambda row: row["model"], row_head=True),
            Column(head="attack", show=lambda row: row["attack"]),
            Column(head="ε₅₀", show=lambda row: bracket(row["eps50"], grey)),
            Column(head="width (octaves)", show=lambda row: number(row.get("width_octaves"), 1)),
            Column(head="floor", show=lambda row: number(row["floor"])),
            Column(head="deviance (df)", show=_fit_words),
        ),
        rows=rows,
    )


def _fit_words(row: Any) -> str:
    return f"{number(row['deviance'], 1)} ({row['df']})" if "deviance" in row else wording.NONE


def _comparison_table(rows: list[Row], level: str) -> Table:
    return Table(
        name="machine-comparisons",
        caption=f"Second run less first, in points of accuracy on the same pictures [{level} interval of Tango]; exact "
        "McNemar test, corrected after Holm for all rows.",
        columns=(
            Column(head="runs", show=lambda row: f"{row['second']} − {row['first']}", row_head=True),
            Column(head="attack", show=lambda row: row["attack"] if row["eps"] else "none"),
            Column(head="ε", show=lambda row: wording.level(row["eps"])),
            Column(head="pictures", show=lambda row: thousands(row["pictures"])),
            Column(head="only one right", show=lambda row: f"{row['only_second']} : {row['only_first']}"),
            Column(head="difference", show=lambda row: bracket(row["difference"], plain_percent)),
            Column(head="p (Holm)", show=lambda row: wording.p_value(row["p_holm"])),
        ),
        rows=rows,
    )


def _seed_table(rows: list[Row], level: str) -> Table:
    return Table(
        name="training-seeds",
        caption="Accuracy in % over trainings that differ in the seed alone, on these pictures: mean "
        f"[{level} t interval over seeds] and standard deviation between seeds.",
        columns=(
            Column(head="method", show=lambda row: row["method"], row_head=True),
            Column(head="attack", show=lambda row: row["attack"]),
            Column(head="ε", show=lambda row: wording.level(row["eps"])),
            Column(head="seeds", show=lambda row: str(row["seeds"])),
            Column(head="accuracy", show=lambda row: bracket(row["accuracy"], plain_percent)),
            Column(head="sd", show=lambda row: plain_percent(row["sd"])),
        ),
        rows=rows,
    )


def _finding(row: Row) -> Finding:
    text = (
        f"{row['second']} less {row['first']} under {row['attack']} at ε = {row['eps']:g}: "
        f"{bracket(row['difference'], plain_percent)} points of accuracy on {plural(row['pictures'], 'picture')}, "
        f"exact McNemar p {wording.p_value(row['p'])}, after Holm {wording.p_value(row['p_holm'])}."
    )
    name = f"machine:{row['second']}/{row['first']}/{row['attack']}/{row['eps']:g}"
    return Finding(analysis=name, text=text)


def _methods(results: Row) -> str:
    text = (
        "Robust accuracies have Wilson intervals over pictures; attacks were never pooled. Machines' psychometric "
        "functions are logistic in −log₂ ε with clean accuracy free and the floor at 1 / classes, or 0 below chance."
    )
    if results["comparisons"]:
        text += (
            " Runs were compared on the same pictures by the exact McNemar test, with Tango's intervals and Holm's "
            "correction."
        )
    if results["seeds"]:
        text += " Training seeds were treated as a random factor, with t intervals over seeds on these pictures."
    return text
