"""The report's figures as SVG text, drawn from results.json alone; the same results give the same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# Okabe & Ito (2008): told apart with every common kind of colour vision; marker and dash carry the same meaning.
STYLES = (
    ("#0072B2", "o", (0, ())), ("#D55E00", "s", (0, (5, 2))), ("#009E73", "D", (0, (1, 1.3))),
    ("#CC79A7", "^", (0, (5, 1.5, 1, 1.5))), ("#E69F00", "v", (0, (8, 2))), ("#56B4E9", "P", (0, (3, 1, 1, 1, 1, 1))),
)  # fmt: skip
INK, FAINT, MACHINE = "#1f2933", "#d5dbe1", "#4a5560"
ZERO_GAP = 1.4  # octaves between the smallest ε and the place of ε = 0
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "percepsilon", "font.family": "sans-serif", "font.size": 10.5,
    "axes.edgecolor": MACHINE, "axes.labelcolor": INK, "text.color": INK, "xtick.color": MACHINE,
    "ytick.color": MACHINE,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8, "axes.titlesize": 11.5,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "legend.frameon": False, "figure.facecolor": "none",
    "axes.facecolor": "none",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure: ``name`` (file name without ending), ``title`` and ``description`` (its text alternative), ``svg``."""

    name: str
    title: str
    description: str
    svg: str

    @property
    def inline(self) -> str:
        """The ``svg`` element for a page: ids made unique to this figure, no namespace declarations needed in HTML."""
        body = self.svg[self.svg.index("<svg") :]
        body = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", body)
        body = re.sub(r'\bid="([^"]+)"', rf'id="{self.name}-\1"', body)
        body = re.sub(r'(href=")#', rf"\1#{self.name}-", body)
        body = re.sub(r"url\(#", f"url(#{self.name}-", body)
        return re.sub(r'aria-labelledby="title desc"', f'aria-labelledby="{self.name}-title {self.name}-desc"', body)


def draw_all(results: dict[str, Any]) -> list[Picture]:
    """Returns the figures of a report."""
    with mpl.rc_context(SETTINGS):
        return [_detection(results), _human_machine(results), _sensitivity(results)]


def position(eps: float, smallest: float) -> float:
    """Returns the place of ε on the axis: log2 ε, and for ε = 0 a place of its own left of the break."""
    return float(np.log2(eps)) if eps > 0 else float(np.log2(smallest)) - ZERO_GAP


def _models(results: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], tuple[Any, ...]]]:
    for index, (name, model) in enumerate(results["source_models"].items()):
        yield name, model, STYLES[index % len(STYLES)]


def _detection(results: dict[str, Any]) -> Picture:
    figure = Figure(figsize=(8.4, 4.8), layout="constrained")
    axes = figure.subplots()
    smallest = _epsilon_axis(axes, results["data"]["eps"])
    count = len(results["source_models"])
    for index, (name, model, (colour, marker, dash)) in enumerate(_models(results)):
        _curve(axes, model["curve"], "detection_rate", colour, dash)
        points = [(p["eps"], p["hit_rate"], p["trials"]) for p in model["by_eps"]]
        shift = 0.07 * (index - (count - 1) / 2)
        _points(axes, points, smallest, shift, colour, marker)
        axes.plot([], [], color=colour, marker=marker, linestyle=dash, label=name)
    if false_alarms := results["observers"]["false_alarms"]:
        rate = {"estimate": false_alarms["rate"], "low": false_alarms["low"], "high": false_alarms["high"]}
        _points(axes, [(0, rate, false_alarms["trials"])], smallest, 0, INK, "o")
        axes.axhline(false_alarms["rate"], color=INK, linewidth=0.7, linestyle=(0, (1, 3)))
    _proportion_axis(axes, "answered “perturbed”")
    axes.legend(loc="upper left", handlelength=3.4, title="source model", alignment="left")
    text = "; ".join(
        f"{name}: {_percent(m['by_eps'][0]['hit_rate']['estimate'])} at ε = {m['by_eps'][0]['eps']:g} to "
        f"{_percent(m['by_eps'][-1]['hit_rate']['estimate'])} at ε = {m['by_eps'][-1]['eps']:g}"
        for name, m, _ in _models(results)
    )
    return _finish(figure, "detection", "How often people called a picture perturbed, by ε and source model", text)


def _human_machine(results: dict[str, Any]) -> Picture:
    models = list(_models(results))
    columns = min(len(models), 3)
    rows = -(-len(models) // columns)
    figure = Figure(figsize=(3.1 * columns + 0.8, 3.3 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    parts = []
    for axes, (name, model, style) in zip(grid.flat, models, strict=False):
        smallest = _epsilon_axis(axes, results["data"]["eps"], short=True)
        _proportion_axis(axes, "share" if axes in grid[:, 0] else "")
        axes.set_title(name)
        parts.append(f"{name}: {_panel(axes, results, model, style, smallest)}")
    for axes in list(grid.flat)[len(models) :]:
        axes.set_visible(False)
    handles = {"people: answered “perturbed” (coloured)": Line2D([], [], color=INK, linewidth=1.9)}
    for axes in grid.flat:
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside upper left", ncols=3, handlelength=3.4)
    return _finish(figure, "human-machine", "People and machine on one ε axis, by source model", "; ".join(parts))


def _panel(axes: Axes, results: dict[str, Any], model: dict[str, Any], style: tuple[Any, ...], smallest: float) -> str:
    colour, marker, _ = style
    _curve(axes, model["curve"], "detection_rate", colour, (0, ()))
    _points(axes, [(p["eps"], p["hit_rate"], p["trials"]) for p in model["by_eps"]], smallest, 0, colour, marker)
    if false_alarms := results["observers"]["false_alarms"]:
        rate = {"estimate": false_alarms["rate"], "low": false_alarms["low"], "high": false_alarms["high"]}
        _points(axes, [(0, rate, false_alarms["trials"])], smallest, 0, colour, marker)
    top = model["by_eps"][-1]
    text = f"people answer perturbed on {_percent(top['hit_rate']['estimate'])} at ε = {top['eps']:g}"
    if model["machine"] is None:
        return f"{text}; no evaluation of the machine was given"
    for index, (attack, rows) in enumerate(machine_lines(model["machine"])):
        dash = ((0, (4, 2)), (0, (1, 1.5)), (0, (6, 1.5, 1, 1.5)))[index % 3]
        x = [position(row["eps"], smallest) for row in rows]
        y = [row["accuracy"] for row in rows]
        error = [[row["accuracy"] - row["low"] for row in rows], [row["high"] - row["accuracy"] for row in rows]]
        axes.errorbar(x, y, yerr=np.maximum(error, 0), color=MACHINE, linewidth=1, linestyle="none")
        axes.plot(x, y, color=MACHINE, linestyle=dash, marker="x", markersize=6, label=f"machine: accuracy, {attack}")
        text += f"; the machine is right on {_percent(y[0])} at ε = {rows[0]['eps']:g} and {_percent(y[-1])} at ε = "
        text += f"{rows[-1]['eps']:g} ({attack})"
    return text


def machine_lines(machine: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Returns for each attack on the full picture the robustness curve to draw: points by ε, clean accuracy first."""
    clean = {"eps": 0.0, **machine["clean_accuracy"]}
    rows = [row for row in machine["robust_accuracy"] if row["region"] == "full"] or machine["robust_accuracy"]
    attacks = sorted({row["attack"] for row in rows})
    return [(attack, [clean, *(row for row in rows if row["attack"] == attack)]) for attack in attacks]


def _sensitivity(results: dict[str, Any]) -> Picture:
    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    axes = figure.subplots()
    smallest = _epsilon_axis(axes, results["data"]["eps"])
    count = len(results["source_models"])
    largest, parts = 3.0, []
    for index, (name, model, (colour, marker, dash)) in enumerate(_models(results)):
        points = [(p["eps"], p["d_prime"], p["trials"]) for p in model["by_eps"] if p["d_prime"]]
        if not points:
            continue
        largest = max(largest, *(d["high"] for _, d, _ in points))
        _curve(axes, model["curve"], "d_prime", colour, dash)
        _points(axes, points, smallest, 0.07 * (index - (count - 1) / 2), colour, marker)
        axes.plot([], [], color=colour, marker=marker, linestyle=dash, label=name)
        parts.append(f"{name}: d′ {points[0][1]['estimate']:.2f} at ε = {points[0][0]:g} to "
                     f"{points[-1][1]['estimate']:.2f} at ε = {points[-1][0]:g}")  # fmt: skip
    axes.axhline(1, color=INK, linewidth=0.8, linestyle=(0, (1, 3)))
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.set_ylim(-1, largest + 0.3)
    axes.set_ylabel("sensitivity d′")
    if parts:
        axes.legend(loc="upper left", handlelength=3.4, title="source model", alignment="left")
    return _finish(figure, "sensitivity", "Sensitivity d′ by ε and source model", "; ".join(parts) or "not estimable")


def _curve(axes: Axes, curve: dict[str, Any], name: str, colour: str, dash: Any) -> None:
    if (values := curve[name]) is None:
        return
    x = np.log2(curve["eps"])
    axes.fill_between(x, values["low"], values["high"], color=colour, alpha=0.14, linewidth=0)
    axes.plot(x, values["estimate"], color=colour, linestyle=dash, linewidth=1.9)


def _points(axes: Axes, points: list[Any], smallest: float, shift: float, colour: str, marker: str) -> None:
    x = [position(eps, smallest) + shift for eps, _, _ in points]
    y = [value["estimate"] for _, value, _ in points]
    error = [[v["estimate"] - v["low"] for _, v, _ in points], [v["high"] - v["estimate"] for _, v, _ in points]]
    axes.errorbar(x, y, yerr=np.maximum(error, 0), color=colour, linewidth=1.1, linestyle="none", zorder=3)
    sizes = [float(np.clip(4 * np.sqrt(n), 26, 110)) for _, _, n in points]
    axes.scatter(x, y, s=sizes, color=colour, marker=marker, edgecolors="white", linewidths=0.7, zorder=4)


def _epsilon_axis(axes: Axes, eps: list[float], *, short: bool = False) -> float:
    """Draws a log2 axis with ε = 0 on a segment of its own; returns the smallest ε above 0."""
    levels = [value for value in eps if value > 0]
    smallest = min(levels)
    ticks = [0.0, *levels]
    axes.set_xticks([position(value, smallest) for value in ticks], [f"{value:g}" for value in ticks])
    left, right = position(0, smallest) - 0.4, position(max(levels), smallest) + 0.3
    axes.set_xlim(left, right)
    gap = position(smallest, smallest) - ZERO_GAP / 2
    for x in (gap - 0.08, gap + 0.08):
        axes.plot([x - 0.06, x + 0.06], [-0.025, 0.025], transform=axes.get_xaxis_transform(), color=MACHINE,
                  linewidth=1, clip_on=False)  # fmt: skip
    axes.set_xlabel("ε (grey levels)" if short else "perturbation budget ε (grey levels of 255; 0 = unperturbed)")
    return smallest


def _proportion_axis(axes: Axes, label: str) -> None:
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_ylabel(label)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _finish(figure: Figure, name: str, title: str, description: str) -> Picture:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    head = f'<title id="title">{escape(title)}</title><desc id="desc">{escape(description)}.</desc>'
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", buffer.getvalue(), flags=re.DOTALL)
    svg = re.sub(r"<!DOCTYPE.*?>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(<svg\b)([^>]*>)", rf'\1 role="img" aria-labelledby="title desc"\2{head}', svg, count=1)
    return Picture(name=name, title=title, description=description, svg=svg)
