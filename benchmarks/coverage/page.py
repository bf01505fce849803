"""docs/coverage.md and its figure, made from the shares."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from analysis.drawing import SETTINGS, svg
from benchmarks.coverage.acceptance import ALPHA, GATES, Share, side_limit
from core import files

TITLES = {"coverage": "Intervals at 95 %", "error": "Tests at α = 0.05"}
Rows = Sequence[tuple[str, str, list[Share]]]
HEAD = """# What the intervals cover, and how often the tests err

Made by `make coverage` (`python -m benchmarks.coverage`); the numbers are in `benchmarks/results/coverage.json`.
Studies of observers whose law is known are simulated and put through the functions that the report uses. An interval
at 95 % should cover the truth in 95 % of them; a test at α = 0.05 should reject what is true in 5 %. A share is judged
by the exact binomial band of its n at α = 0.01 (of a coverage: 0.920 to 0.975 with n 400, 0.937 to 0.962 with n 2000).

- **Correctly specified** cells must lie inside the band. Clustered defaults must do so with participants that differ.
  Where a table says so, misses on either side are judged too, at α = 0.005 each (0.0345 of 2000).
- Where a method is **documented as conservative** (Holm, two one-sided tests, McNemar's exact test, the largest U,
  rates and d′ that take the larger of two standard errors; docs/report.md lists them all), only the side that would
  make it too sure counts.
- **Mis-specified** cells (answers overdispersed, or S of another shape than the fit's) and intervals that are offered
  and nowhere printed (posteriors) are reported and not judged.
- p-values under the model that made the data (goodness of fit) and ranks of the truth among posterior draws should be
  uniform: judged at p = 0.01, by Kolmogorov and Smirnov's test and by simultaneous bands (Säilynoja et al. 2022).

**What the report prints of a curve**, and what is documented of it:

| quantity | default | beside it |
|---|---|---|
| ε₅₀, width, slope, about people | participants drawn again, t(P − 1) × bootstrap error of the logarithm | |
| these, about the answers alone | profile likelihood, χ²(1), no prior of γ and λ | posterior, bootstrap, quasi-t |
| band of the curve, about people | t(P − 1) × bootstrap error of the logit | |
| ε₅₀ allowing for overdispersion | quasi-t: standard error × √max(1, X²/df), t(df) | posterior with η integrated out |
| isotonic threshold, Spearman-Kärber mean | percentiles of samples of the isotonic rates, γ and λ fitted to each | |
| γ, λ, η | estimates without an interval | |
| goodness of fit | deviance and X² in excess of the rows that can contribute, refitted parametric bootstrap | |

- Profile intervals of width, slope and other thresholds than m are **conservative** where answers say little of the
  width and its prior is right: 2AFC, 10 trials a level, the upper half of a curve. They are **asymmetric** where λ is 0
  or trials are 20 a level or fewer: an estimate of λ can only be too high, which makes the curve look too steep, and
  nearly all misses lie above the width. The sides are not judged there.
- Quasi-t is **conservative** where answers are not overdispersed. The posterior with η integrated out is so too, and
  too sure where η is 0.2.
- **Beyond the protocol**: curves as wide as all levels together (reported). In 2AFC with 40 trials a level or fewer the
  profile intervals of such curves may be too sure, since the prior of the width draws them in.

"""


def write(docs: Path, rows: Rows) -> None:
    """Writes the page and the figure into the folder of the documentation."""
    (docs / "figures").mkdir(parents=True, exist_ok=True)
    files.write_text(docs / "figures" / "coverage.svg", figure(rows))
    files.write_text(docs / "coverage.md", text(rows))


def text(rows: Rows) -> str:
    """Returns the page."""
    shares = [share for _, _, found in rows for share in found]
    judged = [share for share in shares if share.met is not None]
    missed = [
        f"{share.quantity} ({where}): {value(share)}, {_how(share)}"
        for _, where, found in rows
        for share in found
        if share.met is False
    ]
    verdict = f"**{len(judged) - len(missed)} of {len(judged)} judged shares lie where they should**"
    verdict += f"; {len(shares) - len(judged)} more are reported.\n"
    if missed:
        verdict += "\nMissed:\n\n" + "\n".join(f"- {line}" for line in missed) + "\n"
    beyond = sum(share.met_at(ALPHA / len(judged)) is False for share in judged)
    verdict += (
        f"\nOf so many shares one in a hundred misses its band by chance. **{beyond or 'None'}** of them "
        f"{'lies' if beyond <= 1 else 'lie'} outside the band for all together (Bonferroni, α = 0.01 / {len(judged)}), "
        "which is the protocol's rule where all must hold.\n"
    )
    picture = f"\n![{description(rows)}](figures/coverage.svg)\n"
    return HEAD + verdict + picture + "".join(map(_table, rows))


def _table(row: tuple[str, str, list[Share]]) -> str:
    _, where, shares = row
    lines = [f"\n## {where[0].upper()}{where[1:]}\n", "| quantity | share | band | n | missed below, above | width | |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    lines += [
        f"| {share.quantity} | {value(share)} | {share.band[0]:.3f} to {share.band[1]:.3f} | {share.n} | "
        f"{_sides(share)} | {'' if share.width is None else f'{share.width:.3g}'} | {words(share)} |"
        for share in shares
    ]
    return "\n".join(lines) + "\n"


def value(share: Share) -> str:
    """Returns the value of a share in words."""
    if share.kind != "uniform":
        return f"{share.value:.3f}"
    return "p < 0.001" if share.value < 0.001 else f"p = {share.value:.3f}"


def words(share: Share) -> str:
    """Returns how a share is judged, and the verdict."""
    verdict = {True: ": met", False: ": **missed**", None: ""}[share.met]
    sides = f", each side at most {side_limit(share.n, share.nominal):.4f}" if share.sides else ""
    return GATES[share.gate] + sides + verdict


def _how(share: Share) -> str:
    """What a missed share means."""
    if share.kind == "uniform":
        return "not uniform"
    low, high = share.band
    if low <= share.value <= high:
        return "misses lie on one side"
    over = share.value > high
    return "too sure" if over == (share.kind == "error") else "too cautious"


def _sides(share: Share) -> str:
    if share.below is None or share.above is None:
        return ""
    return f"{share.below / share.n:.3f}, {share.above / share.n:.3f}"


def description(rows: Rows) -> str:
    """Returns the figure's alternative text."""
    shares = [share for _, _, found in rows for share in found if share.kind != "uniform"]
    covered = [share.value for share in shares if share.kind == "coverage" and share.met is not None]
    erred = [share.value for share in shares if share.kind == "error" and share.met is not None]
    return (
        f"Coverage of {len(covered)} judged intervals, {min(covered, default=0):.3f} to "
        f"{max(covered, default=0):.3f}, and errors of {len(erred)} judged tests, {min(erred, default=0):.3f} to "
        f"{max(erred, default=0):.3f}, each beside the band of its n"
    )


def figure(rows: Rows) -> str:
    """Returns the figure: each share as a point over the band that its n allows; empty points are not judged."""
    with mpl.rc_context(SETTINGS):
        drawn = Figure(figsize=(7.2, 3.6), layout="constrained")
        axes = drawn.subplots(1, 2)
        for panel, kind in zip(axes, TITLES, strict=True):
            shares = [share for _, _, found in rows for share in found if share.kind == kind]
            for place, share in enumerate(shares):
                panel.plot([place, place], share.band, color="0.75", linewidth=4, solid_capstyle="butt")
                colour = "#D55E00" if share.met is False else "#0072B2"
                panel.plot(place, share.value, marker="s" if share.met is False else "o", markersize=4, color=colour,
                           markerfacecolor="none" if share.met is None else colour)  # fmt: skip
            panel.set_title(TITLES[kind])
            panel.set_xticks([])
            panel.set_xlabel("in the order of the tables")
        axes[0].set_ylabel("share")
        return svg(drawn, "coverage", "What the intervals cover", description(rows))
