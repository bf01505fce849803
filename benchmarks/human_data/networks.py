"""Networks at the same task: right answers of three ImageNet networks to the pictures that people named.

``networks.csv`` holds the counts behind the shares in raw-accuracies/TF/contrast_accuracies_sums_TF.csv and
noise_accuracies_sums_TF.csv of github rgeirhos/generalisation-humans-DNNs (Geirhos et al. 2018, CC BY 4.0): per level
800 answers of five people and 1,120 pictures for each network. The people's rows are only compared with our own counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import chi2
from scipy.stats import t as student

from analysis.drawing import SETTINGS, STYLES, svg
from analysis.intervals import t_quantile
from analysis.likelihood import Floats
from analysis.psychometric import PsychometricFit, Quantity, interval, probability
from benchmarks.human_data.geirhos import CHOICES, Curve, Distortion, Which, fit, naming

TABLE = Path(__file__).with_name("networks.csv")
NAMES = {"googlenet": "GoogLeNet", "vgg19": "VGG-19", "resnet152": "ResNet-152"}
FAMILY = "normal"
RATIO = """
*Ratio*: the threshold of the network over that of people. Above 1 with contrast, the network needs more contrast than
people; below 1 with noise, less noise is enough to stop it. The intervals of networks are standard errors over
pictures, widened where the curve fits badly (quasi-t); those of people resample the five participants; those of ratios
join both, with t on four degrees of freedom.
"""
BEST = """
At full contrast and without noise the networks name more pictures rightly than people do (*errors of naming*).
Therefore thresholds are compared, which stand for half of what each observer can do at best, and not shares.
"""


@dataclass(frozen=True, kw_only=True)
class Network:
    """The fitted curve of one network beside that of people.

    Attributes:
        curve: with intervals from standard errors over pictures.
        ratio: threshold of the network over that of people, with its 95 % interval.
        share: right answers by level, [L], and ``fit``, the curve.
    """

    name: str
    curve: Curve
    ratio: float
    ratio_interval: tuple[float, float]
    share: Floats
    fit: PsychometricFit


def counts(which: Which, observer: str) -> tuple[Floats, Floats]:
    """Returns right answers and trials, [L] each, of one observer in order of level."""
    table = pd.read_csv(TABLE)
    rows = table[(table["distortion"] == which) & (table["observer"] == observer)].sort_values("level")
    return rows["right"].to_numpy(dtype=float), rows["trials"].to_numpy(dtype=float)


def same_counts(data: Distortion) -> tuple[int, int]:
    """Returns at how many levels our count of people's right answers is the published one, of how many."""
    counted, trials = data.counted.sum(axis=0), data.trials.sum(axis=0)
    right = counted if data.which == "contrast" else trials - counted
    published = counts(data.which, "people")
    return int(((right == published[0]) & (trials == published[1])).sum()), len(data.level)


def networks(data: Distortion, people: Curve, participants: int) -> Sequence[Network]:
    """Returns each network's curve, and its threshold beside that of ``people`` (the same family's curve)."""
    return [_network(data, people, participants, key) for key in NAMES]


def _network(data: Distortion, people: Curve, participants: int, key: str) -> Network:
    right, trials = counts(data.which, key)
    hits = right if data.which == "contrast" else trials - right
    found = fit(data, data.model(FAMILY), hits[None], trials[None])
    threshold = interval(found, Quantity(), "quasi-t")
    width = interval(found, Quantity(name="width"), "quasi-t")
    df = len(right) - found.free_parameters
    own = (threshold.high - threshold.low) / 2 / float(student.ppf(0.975, df))
    quantile = t_quantile(participants)
    theirs = (people.m_interval[1] - people.m_interval[0]) / 2 / quantile
    difference, half = threshold.estimate - people.m, float(quantile * np.hypot(own, theirs))
    deviance = float(found.deviance[0])
    curve = Curve(
        family=FAMILY, m=threshold.estimate, w=width.estimate, naming_errors=naming(data, found), deviance=deviance,
        df=df, p=float(chi2.sf(deviance, df)), m_interval=(threshold.low, threshold.high),
        w_interval=(width.low, width.high),
    )  # fmt: skip
    return Network(
        name=NAMES[key], curve=curve, ratio=10**difference,
        ratio_interval=(10 ** (difference - half), 10 ** (difference + half)), share=right / trials, fit=found,
    )  # fmt: skip


def text(found: Sequence[tuple[Distortion, Curve, Sequence[Network]]]) -> str:
    """Returns the page's part on people and networks; ``found`` by distortion, with the people's curve."""
    agreed, of = (sum(pair) for pair in zip(*(same_counts(data) for data, *_ in found), strict=True))
    return (
        "\n## People and networks on one axis\n\n"
        "Three networks trained on ImageNet named pictures of the same sets (1,120 a level; published shares as\n"
        "counts in `benchmarks/human_data/networks.csv`, CC BY 4.0, rgeirhos/generalisation-humans-DNNs). The file\n"
        f"holds the people's shares too: at {agreed} of {of} levels our count of the raw answers agrees.\n\n"
        + "".join(_table(*each) for each in found)
        + f"![{description(found)}](figures/human_networks.svg)\n" + RATIO + _words(found)
    )  # fmt: skip


def _table(data: Distortion, people: Curve, machines: Sequence[Network]) -> str:
    unit = "%" if data.which == "contrast" else "of the range of grey"
    lines = [
        f"**{data.which.capitalize()}**, normal function over log₁₀ of the level\n",
        f"| who | m ({unit}) | m, log₁₀ | w, log₁₀ | errors of naming | deviance (df) | ratio to people |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, curve, ratio in [("people", people, "1"), *((m.name, m.curve, _ratio(m)) for m in machines)]:
        (low, high), (narrow, wide) = curve.m_interval, curve.w_interval
        lines.append(
            f"| {name} | {10**curve.m:.3g} | {curve.m:.3f} [{low:.3f}, {high:.3f}] | {curve.w:.2f} "
            f"[{narrow:.2f}, {wide:.2f}] | {curve.naming_errors:.3f} | {curve.deviance:.1f} ({curve.df}) | {ratio} |"
        )
    return "\n".join(lines).replace(" -", " −").replace("[-", "[−") + "\n\n"


def _ratio(network: Network) -> str:
    return f"{network.ratio:.2f} [{network.ratio_interval[0]:.2f}, {network.ratio_interval[1]:.2f}]"


def _words(found: Sequence[tuple[Distortion, Curve, Sequence[Network]]]) -> str:
    lines = []
    for data, _, machines in found:
        contrast = data.which == "contrast"
        behind = [n.name for n in machines if (n.ratio_interval[0] > 1 if contrast else n.ratio_interval[1] < 1)]
        needs = "need more contrast than people" if contrast else "bear less noise than people"
        ratios = sorted(n.ratio for n in machines)
        lines.append(
            f"- {data.which.capitalize()}: {len(behind)} of {len(machines)} networks {needs} "
            f"(ratios from {ratios[0]:.2f} to {ratios[-1]:.2f}; the interval leaves out 1 for "
            f"{', '.join(behind) or 'none'}).\n"
        )
    return "\n" + "".join(lines) + BEST


def description(found: Sequence[tuple[Distortion, Curve, Sequence[Network]]]) -> str:
    """Returns the figure's alternative text."""
    rows = "; ".join(
        f"{data.which}: people m {10**people.m:.3g}, "
        + ", ".join(f"{network.name} {10**network.curve.m:.3g}" for network in machines)
        for data, people, machines in found
    )
    return f"Share of right answers of people and of three networks over contrast and over noise. Thresholds, {rows}"


def figure(found: Sequence[tuple[Distortion, Curve, Sequence[Network]]]) -> str:
    """Returns people and networks on one axis for each distortion."""
    with mpl.rc_context(SETTINGS):
        drawn = Figure(figsize=(7.2, 3.4), layout="constrained")
        for axes, (data, _, machines) in zip(drawn.subplots(1, 2, sharey=True), found, strict=True):
            _panel(axes, data, machines)
        drawn.axes[0].set_ylabel("share of right answers")
        drawn.axes[0].legend(loc="upper left", fontsize=9)
        return svg(drawn, "human-networks", "People and networks at graded contrast and noise", description(found))


def _panel(axes: Axes, data: Distortion, machines: Sequence[Network]) -> None:
    finite = np.isfinite(data.axis)
    grid = np.linspace(data.axis[finite].min(), data.axis[finite].max(), 101)
    totals = data.counted.sum(axis=0)[None], data.trials.sum(axis=0)[None]
    people = fit(data, data.model(FAMILY), *totals)
    shares = totals[0][0] / totals[1][0]
    observers = [("people", people, shares if data.which == "contrast" else 1 - shares)]
    observers += [(network.name, network.fit, network.share) for network in machines]
    for (name, fitted, share), style in zip(observers, STYLES, strict=False):
        curve = probability(fitted, grid)[0]
        axes.plot(10**grid, curve if data.which == "contrast" else 1 - curve, color=style.colour, linestyle=style.dash,
                  linewidth=2.2 if name == "people" else 1.3)  # fmt: skip
        axes.plot(data.level[finite], share[finite], style.marker, color=style.colour, markersize=4.5)
        axes.plot([], [], color=style.colour, linestyle=style.dash, marker=style.marker, markersize=4.5, label=name)
    axes.axhline(1 / CHOICES, color="0.6", linewidth=0.8)
    axes.text(data.level[finite].min(), 1 / CHOICES - 0.05, "chance", fontsize=9)
    axes.set_xscale("log")
    axes.set_xticks(data.level[finite], [f"{level:g}" for level in data.level[finite]])
    axes.minorticks_off()
    axes.set_xlabel("contrast (%)" if data.which == "contrast" else "noise (share of the range of grey)")
    axes.set_ylim(0, 1)
