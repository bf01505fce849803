"""What the report's figures share: colours, axes, points with intervals, and SVG text with a text alternative.

The same numbers give the same bytes. Text stays text, and coordinates keep two decimals, so that a page stays small.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, FAINT, MACHINE = "#1f2933", "#d5dbe1", "#4a5560"
GREY = "grey levels"  # unit of ε in our stimulus sets
ZERO_GAP = 1.4  # octaves between the smallest ε and the place of ε = 0
DECIMALS = 2
PAGE_SCALE = 1.5  # pixels of the page for a point of a drawing
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "percepsilon", "font.family": "sans-serif", "font.size": 10.5,
    "axes.edgecolor": MACHINE, "axes.labelcolor": INK, "text.color": INK, "xtick.color": MACHINE,
    "ytick.color": MACHINE,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8, "axes.titlesize": 11.5,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "legend.frameon": False, "figure.facecolor": "none",
    "axes.facecolor": "none",
}  # fmt: skip


class Style(NamedTuple):
    """How a source model looks in every figure; colour, marker and dash say the same."""

    colour: str
    marker: str
    dash: Any


# Okabe & Ito (2008): told apart with every common kind of colour vision; marker and dash carry the same meaning.
STYLES = (
    Style("#0072B2", "o", (0, ())), Style("#D55E00", "s", (0, (5, 2))), Style("#009E73", "D", (0, (1, 1.3))),
    Style("#CC79A7", "^", (0, (5, 1.5, 1, 1.5))), Style("#E69F00", "v", (0, (8, 2))),
    Style("#56B4E9", "P", (0, (3, 1, 1, 1, 1, 1))),
)  # fmt: skip


def style(index: int) -> Style:
    """Returns the look of the source model at ``index`` of ``cells.models``."""
    return STYLES[index % len(STYLES)]


@contextmanager
def ink() -> Iterator[None]:
    """Makes what is drawn (and turned into SVG) inside look like the report."""
    with mpl.rc_context(SETTINGS):
        yield


def position(eps: float, smallest: float) -> float:
    """Returns the place of ε on the axis: log2 ε, and for ε = 0 a place of its own left of the break."""
    return float(np.log2(eps)) if eps > 0 else float(np.log2(smallest)) - ZERO_GAP


def epsilon_axis(axes: Axes, eps: Sequence[float], *, unit: str = GREY, short: bool = False) -> float:
    """Draws a log2 axis of ε, with ε = 0, if it is there, on a segment of its own; returns the smallest ε above 0.

    Args:
        axes: where to draw.
        eps: every ε that is shown; at least one above 0.
        unit: of ε (``Export.eps_unit``); empty where it is not known.
        short: for a narrow panel, where the label has to be short.
    """
    levels = sorted({float(value) for value in eps if value > 0})
    smallest = min(levels)
    ticks = [0.0, *levels] if min(eps) <= 0 else levels
    axes.set_xticks([position(value, smallest) for value in ticks], _apart([f"{value:g}" for value in ticks], short))
    axes.set_xlim(position(ticks[0], smallest) - 0.4, position(max(levels), smallest) + 0.3)
    gap = position(smallest, smallest) - ZERO_GAP / 2
    for x in (gap - 0.08, gap + 0.08) if ticks[0] == 0 else ():
        axes.plot([x - 0.06, x + 0.06], [-0.025, 0.025], transform=axes.get_xaxis_transform(), color=MACHINE,
                  linewidth=1, clip_on=False)  # fmt: skip
    axes.set_xlabel(_label(unit, zero=ticks[0] == 0, short=short))
    return smallest


def _label(unit: str, *, zero: bool, short: bool) -> str:
    if short:
        return f"ε ({unit})" if unit else "ε"
    if unit == GREY:
        return f"perturbation budget ε ({unit} of 255{'; 0 = unperturbed' if zero else ''})"
    notes = "; ".join([*([unit] if unit else []), *(["0 = none"] if zero else [])])
    return ("ε" if unit else "level ε of the table") + (f" ({notes})" if notes else "")


def _apart(labels: list[str], short: bool) -> list[str]:
    """Leaves labels out where there are too many to stand side by side; 0 and the largest stay."""
    step = -(-len(labels) // (8 if short else 14))
    return [text if index == 0 or (len(labels) - 1 - index) % step == 0 else "" for index, text in enumerate(labels)]


def proportion_axis(axes: Axes, label: str) -> None:
    """Draws a vertical axis from 0 to 100 %."""
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_ylabel(label)


def band(axes: Axes, eps: Any, values: dict[str, Any] | None, colour: str, dash: Any = (0, ())) -> None:
    """Draws a curve over ε > 0 (``estimate``) with its interval (``low``, ``high``); nothing where there is none."""
    if values is None:
        return
    x = np.log2(eps)
    axes.fill_between(x, values["low"], values["high"], color=colour, alpha=0.14, linewidth=0)
    axes.plot(x, values["estimate"], color=colour, linestyle=dash, linewidth=1.9)


def points(
    axes: Axes, x: Any, values: Sequence[dict[str, float]], counts: Sequence[float], colour: str, marker: str
) -> None:
    """Draws estimates with their intervals at ``x`` (``position``), their area growing with ``counts``."""
    y = [value["estimate"] for value in values]
    error = [[v["estimate"] - v["low"] for v in values], [v["high"] - v["estimate"] for v in values]]
    axes.errorbar(x, y, yerr=np.maximum(error, 0), color=colour, linewidth=1.1, linestyle="none", zorder=3)
    sizes = [float(np.clip(4 * np.sqrt(n), 26, 110)) for n in counts]
    axes.scatter(x, y, s=sizes, color=colour, marker=marker, edgecolors="white", linewidths=0.7, zorder=4)


def percent(share: float) -> str:
    """Returns a share in whole percent, for descriptions."""
    return f"{100 * share:.0f} %"


def svg(figure: Figure, name: str, title: str, description: str) -> str:
    """Returns a figure as an SVG file with a title and a description; ``name`` makes its ids unique on a page.

    The description is the text alternative: it is made from the numbers that are drawn, a sentence without full stop.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", buffer.getvalue(), flags=re.DOTALL)
    text = re.sub(r"<!DOCTYPE.*?>\s*", "", text, flags=re.DOTALL)
    text = text.replace("stroke-dasharray: ; stroke-dashoffset: 0; ", "")  # no dashes; an empty list is no valid value
    text = re.sub(r"<[^>]+>", lambda tag: re.sub(r"-?\d+\.\d{3,}", _short, tag[0]), text)
    text = _named(text, name)
    head = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}.</desc>'
    label = f'role="img" aria-labelledby="{name}-title {name}-desc"'
    return re.sub(r"(<svg\b)([^>]*>)", lambda tag: f"{tag[1]} {label}{tag[2]}{head}", text, count=1)


def _short(number: re.Match[str]) -> str:
    short = f"{float(number[0]):.{DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if short == "-0" else short


def _named(text: str, name: str) -> str:
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    return re.sub(r'(href="#|url\(#)', rf"\1{name}-", text)


def inline(svg_text: str) -> str:
    """Returns the ``svg`` element of an SVG file for a page, where HTML needs no namespace declarations.

    Its width stands in ``--width``, so that text has one size in all figures of a page.
    """
    body = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg_text[svg_text.index("<svg") :])
    width = float(re.findall(r'width="([\d.]+)pt"', body)[0])
    return body.replace("<svg", f'<svg style="--width: {width * PAGE_SCALE:.0f}px"', 1)
