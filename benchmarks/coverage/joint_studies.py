"""Studies of people and machines together: the undetected attack rate, and machines where people begin to see.

Participants, pictures and the machines' robustness to them are drawn anew in every study. The truth comes from the
laws: P(yes) by quadrature over participants and pictures, P(fools) from the normal law of the least ε that fools.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import norm

from analysis import undetected
from analysis.likelihood import Floats
from analysis.observers import Criterion, ModelLaw, Observers, ResponseTime, cell_probability
from analysis.power.settings import FooledLaw
from analysis.power.simulated_studies import Design, Spread, simulated_study
from analysis.study import Study
from benchmarks.coverage.acceptance import Gate, Share, covered, erred
from benchmarks.coverage.cell import Cell
from core import rng

EPS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
LEVEL = 2  # of the ladder: 4 grey levels
ALPHA = 0.05
FEW = 10  # participants
WORDS = {"area": "areas of U", "maximum": "the largest U"}
NAMES = ("a", "b")


@dataclass(frozen=True, kw_only=True)
class Together:
    """A design with two source models, and how much participants, models within them and pictures differ, in octaves.

    ``eps_dprime1``: of people for each model; ``fooled``: ε that fools each model on the middle one of the pictures.
    """

    name: str
    words: str
    participants: int = 20
    pictures: int = 40
    trials: int = 10
    sd: float = 0.25
    sd_model: float = 0.25
    sd_picture: float = 0.3
    sd_criterion: float = 0.3
    eps_dprime1: tuple[float, float] = (8.0, 8.0)
    fooled: tuple[float, float] = (4.0, 4.0)
    sd_fooled: tuple[float, float] = (1.0, 1.0)
    replicates: int = 200

    @property
    def alike(self) -> bool:
        """Whether both models have one law."""
        laws = (self.eps_dprime1, self.fooled, self.sd_fooled)
        return all(one == two for one, two in laws)

    def observers(self, sd: float) -> Observers:
        """Returns the law of the participants, with ``sd`` of log2 ε₁."""
        models = {
            name: ModelLaw(eps_dprime1=eps, exponent=1.3, sd_log2=sd)
            for name, eps in zip(NAMES, self.eps_dprime1, strict=True)
        }
        return Observers(
            seed=0, criterion=Criterion(mean=0.7, sd=self.sd_criterion), lapse=0.02, models=models,
            response_time=ResponseTime(mu=450, sigma=60, tau=180, distance_slope=80),
        )  # fmt: skip

    @property
    def machines(self) -> dict[str, FooledLaw]:
        """The laws of the machines."""
        laws = zip(NAMES, self.fooled, self.sd_fooled, strict=True)
        return {name: FooledLaw(eps50=eps, sd_log2=sd) for name, eps, sd in laws}


SHAPES = (
    Together(name="usual", words="20 participants × 40 pictures"),
    Together(name="few-people", words="8 participants × 40 pictures", participants=8),
    Together(name="few-pictures", words="20 participants × 10 pictures", pictures=10),
    Together(name="none-differ", words="20 participants × 40 pictures, none of which differ in what is seen", sd=0,
             sd_model=0, sd_picture=0, sd_criterion=0),
    Together(name="much-differ", words="20 participants × 40 pictures that differ much (sd 0.875 and 0.6 octaves)",
             sd=0.875, sd_picture=0.6),
    Together(name="unlike", words="20 participants × 40 pictures, source models an octave apart",
             eps_dprime1=(8.0, 16.0), fooled=(4.0, 8.0)),
)  # fmt: skip


def study(design: Together, seed: int, number: int) -> Study:
    """Returns one simulated study."""
    shown = Design(
        task="yes-no", participants=design.participants, models=NAMES, eps=EPS, trials=design.trials,
        noise=2 * design.trials, pictures=design.pictures,
    )  # fmt: skip
    return simulated_study(
        shown,
        design.observers(design.sd),
        Spread(model=design.sd_model, picture=design.sd_picture),
        rng.numpy_generator(seed, "coverage of people and machines", design.name, number),
        fooled=design.machines,
        replicates=design.replicates,
        seed=number,
    )


def noticed(design: Together) -> tuple[Study, Floats]:
    """Returns a study for its cells and the population's P(yes) in them, [L]."""
    one = study(design, 0, 0)
    return one, cell_probability(design.observers(total_sd(design)), one.export.cells)


def total_sd(design: Together) -> float:
    """Returns the standard deviation of log2 ε₁ over participants, models within them and pictures."""
    return float(np.sqrt(design.sd**2 + design.sd_model**2 + design.sd_picture**2))


def fooling(design: Together, eps: Floats) -> Floats:
    """Returns P(fools) of both models at ``eps``, [2, K]."""
    laws = [design.machines[name] for name in NAMES]
    return np.array([norm.cdf(np.log2(eps), np.log2(law.eps50), law.sd_log2) for law in laws])


def true_rates(design: Together) -> Floats:
    """Returns U of both models at every ε of the ladder, [2, K]."""
    _, p = noticed(design)
    return fooling(design, np.array(EPS)) * (1 - p[1:].reshape(2, -1))


# ---- the undetected attack rate ----


def undetected_rates(design: Together, seed: int, number: int) -> dict[str, Any]:
    """Returns what one study says of U."""
    one = study(design, seed, number)
    drawn = undetected.draw(one)
    rates, largest = undetected.rates(one, drawn, 0), undetected.maximum(one, drawn, 0)
    row = {
        "rate": _bounds(rates[LEVEL]["rate"]), "last": _bounds(rates[-1]["rate"]),
        "maximum": _bounds(largest["maximum"]), "largest": largest["maximum"]["estimate"],
        "at": largest["maximum_may_be_at"], "area": _bounds(undetected.area(one, drawn, 0)),
    }  # fmt: skip
    for name in ("area", "maximum"):
        found = undetected.contrasts(one, drawn, name)
        row[f"{name} difference"] = _bounds(found[0]["difference"]) if found else None
        row[f"{name} p"] = found[0]["p"] if found else None
    return row


def _bounds(found: dict[str, Any]) -> tuple[float, float]:
    return tuple(np.nan if found[key] is None else found[key] for key in ("low", "high"))  # type: ignore[return-value]


def rate_shares(design: Together, rows: Sequence[dict[str, Any]]) -> list[Share]:
    """Returns the coverage of what is said of U, and how often its tests err where both models are alike.

    With few participants t's degrees of freedom are documented as too few where it is pictures that matter.
    """
    truth = true_rates(design)
    area, largest = np.asarray(np.trapezoid(truth, np.log2(EPS), axis=1)), truth.max(axis=1)
    right = [EPS[int(truth[0].argmax())] in row["at"] for row in rows]
    gate: Gate = "not below" if design.participants < FEW else "inside"
    found = [
        covered(f"U at ε = {EPS[LEVEL]:g}", [row["rate"] for row in rows], truth[0, LEVEL], gate),
        covered(f"U at ε = {EPS[-1]:g}", [row["last"] for row in rows], truth[0, -1], "not below"),
        covered("largest U", [row["maximum"] for row in rows], largest[0], "not below"),
        covered("ε of the largest U", [(float(not each), 2.0) for each in right], 0.5, "not below"),
        covered("area of U", [row["area"] for row in rows], area[0], gate),
    ]
    for name, true in (("area", area), ("maximum", largest)):
        known = [row for row in rows if row[f"{name} p"] is not None]
        own: Gate = gate if name == "area" else "not below"
        differences = [row[f"{name} difference"] for row in known]
        found.append(covered(f"difference of {WORDS[name]}", differences, true[0] - true[1], own))
        if design.alike:
            rejected = [row[f"{name} p"] < ALPHA for row in known]
            found.append(erred(f"test of {WORDS[name]}", rejected, "inside" if own == "inside" else "not above"))
    return found


CELLS = tuple(
    Cell(
        name=f"undetected-{design.name}", words=f"attacks that go undetected: {design.words}", times=400,
        one=partial(undetected_rates, design), shares=partial(rate_shares, design),
    )
    for design in SHAPES
)  # fmt: skip
