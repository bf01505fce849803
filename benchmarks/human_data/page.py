"""docs/human_data.md and its figures, made from what was measured."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.drawing import SETTINGS, STYLES, svg
from analysis.psychometric import probability
from benchmarks.human_data.geirhos import CHOICES, NOTE, Curve, Distortion, fit
from benchmarks.human_data.scooter import MARGIN, MIXED, Attack

HEAD = """# Real answers of people

Made by `make human-data` (`python -m benchmarks.human_data DIRECTORY`) from two published data sets of people that are
not part of this project; the numbers are in `benchmarks/results/human_data.json`. They are put through the functions that the
report uses, so this page shows what those functions say of people rather than of robots.

| data | what | from | licence |
|---|---|---|---|
| `scooter/*.csv` | ratings of real and adversarially modified pictures, −2 surely modified to 2 surely real | github DrenFazlija/SCOOTER; arXiv 2507.07776 | MIT |
| `geirhos/contrast.csv`, `noise.csv` | naming one of 16 objects at graded contrast or noise, five people each | github rgeirhos/generalisation-humans-DNNs; Geirhos et al. 2018, arXiv 1808.08750 | CC BY 4.0 |
| `benchmarks/human_data/networks.csv` | right answers of three networks at the same task, by level | the same, raw-accuracies/TF | CC BY 4.0 |

The first two are not copied here. `make human-data HUMAN_DATA=DIRECTORY` wants them in the folders `scooter` and `geirhos`.

"""  # noqa: E501  # a table
SCOOTER = """## Do people see that a picture was modified?

A modified picture is the signal, a rating below 0 the answer "modified". d′ says how well people tell modified from
real pictures, the criterion how readily they say so (above 0: rather not), the area under the ROC curve (AUC) uses
all five ratings. Brackets are 95 % intervals from resampling participants.

- *hits*, *false alarms*: modified and real pictures that were called modified, as shares of all answers.
- *d′, pooled*: of all answers together; *mean of people*: each person's d′ from log-linear rates, averaged. Pooling
  people whose criteria differ makes d′ smaller.
- *AUC*: how often a modified picture gets the lower rating of the two when one modified and one real are drawn; 0.5 is
  chance. *d_a*: the distance of the two normal distributions that fit all ratings, with unequal variances.
- *real − modified*: the difference of mean ratings on the scale from −2 to 2, over people. *Equivalent*: see below.

"""
TRAPS = """
Traps of these files: `image_id` counts real and modified pictures apart, so the same number means two pictures, and a
picture is hardly ever seen both ways: an effect of the single picture on the *difference* cannot be estimated.
`cadv_4_6.csv` is a relaxed screening of `cadv`, not a seventh attack, and is left out. Answers of one person hang
together: taken as independent, standard errors would be two to three times too small.

"""
GEIRHOS = """## How much contrast, how little noise does naming need?

Sixteen names to choose from: who sees nothing is right once in 16. Even a clear picture is named wrongly now and then
(an oven taken for a car is no failure of the eye). The function needs both floors; without errors of naming it is
flattened beyond recognition.

- *m*: the level at which half of the way is gone between chance and the best that this person can do; as it is, and its
  log₁₀ with a 95 % interval over the five people (t with four degrees of freedom).
- *w*: the way on log₁₀ from 5 % to 95 % of the rise; 1 is a tenfold change. *Errors of naming*: 1 − the best share, λ.
- *deviance*: of the fit from the shares at the levels; p says how often chance alone gives as much. *m without `na`*:
  as m, where missing answers are left out and not counted as wrong.

"""
GEIRHOS_TRAPS = """
Traps of these files: levels are words (`c05`, `0.35`). `na` is no answer, and its reaction time the word `NaN`; here
`na` counts as wrong, as in the comparison's fits, and leaving it out is shown beside. {nested} So what a picture adds
cannot be told from what its level adds, and the fits' deviance holds differences between pictures and people. Five
people make four degrees of freedom: the intervals are wide for so many answers, and they should be.
"""
COMMAND_LINE = """
## The same through the command line

```
python analysis/report.py --from-csv DIRECTORY/geirhos/contrast.csv --columns map.toml --out report
```

with the map of [foreign_tables.md](foreign_tables.md) writes the whole report of the contrast data: the same right
answers over log₂ of the contrast, chance fixed at 1/16. `make human-data` writes it to `build/human-data/`, and one
of the SCOOTER ratings of `advpp`, where it says that one level has no threshold and shows sensitivity and ratings.
"""


def text(attacks: Sequence[Attack], fits: Sequence[tuple[Distortion, Distortion, list[Curve], list[Curve], Curve]],
         agreed: tuple[int, int], networks: str) -> str:  # fmt: skip
    """Returns the page.

    Args:
        attacks: of SCOOTER.
        fits: by distortion: counts with "na" as wrong and without, their curves, and the fit without errors of naming.
        agreed: how many numbers of the note's table came out to the last digit, of how many.
        networks: the part on people and networks.
    """
    nested = " ".join(
        f"Of {data.pictures:,} pictures of {data.which}, {data.at_one_level:,} were shown\nat one level only."
        for data, *_ in fits
    )
    return (
        HEAD + SCOOTER + _scooter_table(attacks) + _scooter_words(attacks, agreed)
        + f"\n![{scooter_description(attacks)}](figures/human_scooter.svg)\n" + TRAPS + GEIRHOS
        + "".join(map(_geirhos, fits)) + f"\n![{geirhos_description(fits)}](figures/human_geirhos.svg)\n"
        + GEIRHOS_TRAPS.format(nested=nested) + networks + COMMAND_LINE
    )  # fmt: skip


def _scooter_table(attacks: Sequence[Attack]) -> str:
    head = (
        "| attack | people | ratings | hits | false alarms | d′, pooled | d′, mean of people | criterion | AUC | d_a | "
        "real − modified | equivalent |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(
        f"| {a.name} | {a.participants} | {a.ratings:,} | {a.hit:.4f} | {a.false_alarm:.4f} | {a.d_prime:.2f} "
        f"{_pair(a.d_prime_interval, 2)} | {a.d_prime_participants:.4f} | {_signed(a.criterion)} | {a.auc:.4f} "
        f"{_pair(a.auc_interval, 3)} | {a.d_a:.2f} | {a.difference:.2f} {_pair(a.difference_interval, 2)} | "
        f"{'yes' if a.equivalence_p < 0.05 else 'no'}, p {_p(a.equivalence_p)} |\n"
        for a in attacks
    )


def _scooter_words(attacks: Sequence[Attack], agreed: tuple[int, int]) -> str:
    seen = max(attacks, key=lambda a: a.d_prime)
    least = min(attacks, key=lambda a: a.d_prime)
    equal = [a.name for a in attacks if a.equivalence_p < 0.05]
    found = f"{', '.join(equal)} passes" if equal else "no attack passes"
    return (
        f"\nAll six are seen: even the least visible, {least.name}, is told from real pictures with d′ = "
        f"{least.d_prime:.2f}; the most\nvisible, {seen.name}, with {seen.d_prime:.2f}. *Equivalent* asks the question "
        f"that an attack claims to pass: is the mean rating of modified\npictures within {MARGIN:g} of that of real "
        f"ones (two one-sided t tests over participants)? {found[0].upper()}{found[1:]}.\nOf {agreed[1]} numbers in "
        "our research note's table (means, hits, false alarms, AUC, d′; computed there by other\nprograms), "
        f"{agreed[0]} come out the same to the last digit. {_mixed_words(attacks)}\n"
    )


def _mixed_words(attacks: Sequence[Attack]) -> str:
    apart = max(abs(a.difference - MIXED[a.name][0]) / MIXED[a.name][1] for a in attacks)
    return (
        "A linear mixed model with crossed people and pictures\n(lme4, in the note) puts *real − modified* at "
        + ", ".join(f"{MIXED[a.name][0]:.2f}" for a in attacks)
        + f";\nthe means over people here lie within {np.ceil(10 * apart) / 10:.1f} of its standard errors."
    )


def _geirhos(found: tuple[Distortion, Distortion, list[Curve], list[Curve], Curve]) -> str:
    data, _, curves, answered, without = found
    unit = "%" if data.which == "contrast" else "of the range of grey"
    lines = [
        f"\n**{data.which.capitalize()}** ({int(data.trials.sum()):,} answers, {int(data.unanswered.sum())} `na`)\n",
        f"| S over log₁₀ | m ({unit}) | m, log₁₀ | w, log₁₀ | errors of naming | deviance (df), p | m without `na` |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {c.family} | {10**c.m:.3g} | {_minus(c.m)} {_pair(c.m_interval, 3)} | {c.w:.4f} {_pair(c.w_interval, 3)} | "
        f"{c.naming_errors:.4f} | {c.deviance:.1f} ({c.df}), {_p(c.p)} | {_minus(other.m)} |"
        for c, other in zip(curves, answered, strict=True)
    ]
    best = min(curves, key=lambda c: c.deviance)
    lines.append(
        f"\nThe {best.family} function loses least.{_fit_words(best)}\nWith errors of naming held at 0 the deviance of "
        f"the normal function rises from {curves[0].deviance:.0f} to {without.deviance:.0f}\nand its width from "
        f"{curves[0].w:.2f} to {without.w:.2f}: a width that says nothing about seeing.\n"
    )
    if data.which == "contrast":
        m, w, lapse = NOTE["normal"]
        lines.append(
            f"For comparison, the same task with four other people and other pictures (model-vs-human, fitted in our\n"
            f"research note by psignifit 4.3): m {m:.4f}, w {w:.4f}, λ {lapse:.4f}; here {curves[0].m:.4f}, "
            f"{curves[0].w:.4f}, {curves[0].naming_errors:.4f}.\nOther people, so near and not equal is what to expect."
        )
    return "\n".join(lines) + "\n"


def _fit_words(best: Curve) -> str:
    if best.p >= 0.05:
        return f" Its deviance is what chance gives (p {_p(best.p)})."
    return (
        f" Its deviance is still more than chance gives (p {_p(best.p)}): people and pictures\ndiffer, and the "
        "binomial law does not know. Therefore the intervals resample people."
    )


def _pair(interval: tuple[float, float], digits: int) -> str:
    return f"[{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]".replace("-", "−")


def _minus(value: float) -> str:
    return f"{value:.4f}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else "> 0.999" if p > 0.999 else f"{p:.3f}"


def scooter_description(attacks: Sequence[Attack]) -> str:
    """Returns the first figure's alternative text."""
    rows = "; ".join(f"{a.name} d′ {a.d_prime:.2f}, AUC {a.auc:.3f}" for a in attacks)
    return f"d′ and area under the ROC curve of six attacks with 95 % intervals: {rows}"


def geirhos_description(fits: Sequence[tuple[Distortion, Distortion, list[Curve], list[Curve], Curve]]) -> str:
    """Returns the second figure's alternative text."""
    rows = "; ".join(
        f"{data.which}: right {100 * _right(data)[0]:.0f} % at the least level, {100 * _right(data)[-1]:.0f} % at the "
        "largest"
        for data, *_ in fits
    )
    return f"Share of right answers over contrast and over noise, with fitted curves of each family. {rows}"


def _right(data: Distortion) -> np.ndarray:
    share = data.counted.sum(axis=0) / data.trials.sum(axis=0)
    return np.asarray(share if data.which == "contrast" else 1 - share)


def scooter_figure(attacks: Sequence[Attack]) -> str:
    """Returns d′ and AUC by attack."""
    with mpl.rc_context(SETTINGS):
        drawn = Figure(figsize=(7.2, 2.8), layout="constrained")
        left, right = drawn.subplots(1, 2, sharey=True)
        places = np.arange(len(attacks))[::-1]
        for axes, name, words in ((left, "d_prime", "d′"), (right, "auc", "area under the ROC curve")):
            for place, attack in zip(places, attacks, strict=True):
                axes.plot(getattr(attack, f"{name}_interval"), [place, place], color=STYLES[0].colour, linewidth=1.5)
                axes.plot(getattr(attack, name), place, "o", color=STYLES[0].colour, markersize=5)
            axes.set_xlabel(words)
        left.set_yticks(places, [attack.name for attack in attacks])
        left.axvline(0, color="0.7", linewidth=0.8)
        right.axvline(0.5, color="0.7", linewidth=0.8)
        return svg(drawn, "human-scooter", "How well people see six attacks", scooter_description(attacks))


def geirhos_figure(fits: Sequence[tuple[Distortion, Distortion, list[Curve], list[Curve], Curve]]) -> str:
    """Returns right answers over the level, with the fitted curves."""
    with mpl.rc_context(SETTINGS):
        drawn = Figure(figsize=(7.2, 3.2), layout="constrained")
        for axes, (data, _, curves, _, _) in zip(drawn.subplots(1, 2, sharey=True), fits, strict=True):
            _curves(axes, data, curves)
        drawn.axes[0].set_ylabel("share of right answers")
        drawn.axes[0].legend(loc="center right")
        return svg(drawn, "human-geirhos", "Naming at graded contrast and noise", geirhos_description(fits))


def _curves(axes: Axes, data: Distortion, curves: Sequence[Curve]) -> None:
    finite = np.isfinite(data.axis)
    grid = np.linspace(data.axis[finite].min(), data.axis[finite].max(), 101)
    totals = data.counted.sum(axis=0)[None], data.trials.sum(axis=0)[None]
    for curve, style in zip(curves, STYLES, strict=False):
        share = probability(fit(data, data.model(curve.family), *totals), grid)[0]
        shown = share if data.which == "contrast" else 1 - share
        axes.plot(10**grid, shown, color=style.colour, linestyle=style.dash, label=curve.family, linewidth=1.5)
    axes.plot(data.level[finite], _right(data)[finite], "o", color="black", markersize=4)
    if not finite.all():
        axes.axhline(_right(data)[~finite][0], color="0.6", linewidth=0.8, linestyle=(0, (4, 2)))
        axes.text(data.level[finite].min(), _right(data)[~finite][0] + 0.02, "no noise", fontsize=9)
    axes.axhline(1 / CHOICES, color="0.6", linewidth=0.8)
    axes.text(data.level[finite].min(), 1 / CHOICES - 0.05, "chance", fontsize=9)
    axes.set_xscale("log")
    axes.set_xticks(data.level[finite], [f"{level:g}" for level in data.level[finite]])
    axes.minorticks_off()
    axes.set_xlabel("contrast (%)" if data.which == "contrast" else "noise (share of the range of grey)")
    axes.set_ylim(0, 1)
