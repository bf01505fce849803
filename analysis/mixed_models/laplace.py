"""The marginal likelihood of a mixed model by Laplace's approximation, with its gradient.

Spherical random effects u with M = Z Λ(θ): l = h(û) − ½ ln |A|, h(u) = ln p(y | η) − ½ u'u, A = I + M'WM with Fisher
weights W (Bates et al. 2015, Journal of Statistical Software 67(1), extended to links by penalised iteratively
reweighted least squares; the weights are those of lme4). One factor is eliminated (see ``elimination``): cost grows
with rows + R³, R being the effects that are kept, whatever the number of groups of the eliminated one.

û is found by Newton steps, halved until h does not fall, until what is left is below 1e-9: a looser mode breaks the
search for the parameters. The gradient takes into account that û moves with the parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from analysis.likelihood import Floats
from analysis.mixed_models.elimination import Factor, Layout, System, triangles
from analysis.mixed_models.links import Terms, lapse_slopes, terms

TOLERANCE = 1e-9  # of |Δu|
NEWTON_TOLERANCE = 1e-6  # of |Δu| in a Newton step: what is left after it is of the order of its square
MOST_STEPS, MOST_HALVINGS = 200, 30
ROUNDING = 1e-12  # share of h(u) by which a step may fall short for no other reason than rounding


@dataclass(frozen=True, kw_only=True, eq=False)
class Mode:
    """The conditional mode and all that the gradient needs.

    Attributes:
        value: the marginal log likelihood, without binomial coefficients.
        kept: û of the kept blocks, [R]; ``eliminated`` that of the eliminated one, [G, q].
        factor: of A with Fisher weights.
        steps: of the inner iteration; ``converged``: whether it ended below the tolerance.
    """

    value: float
    kept: Floats
    eliminated: Floats
    lapse: float
    terms: Terms
    system: System
    factor: Factor
    steps: int
    converged: bool


class Gradient(NamedTuple):
    """Derivatives of the marginal log likelihood over the fixed part of η, [N], over θ and over λ.

    ``loadings``: over each row's loadings Z Λ, [N, q] for each block.
    """

    fixed: Floats
    theta: Floats
    lapse: float
    loadings: list[Floats]


class _Position(NamedTuple):
    """u with what it implies; ``value`` is the penalised log likelihood h(u)."""

    kept: Floats
    alone: Floats
    terms: Terms
    value: float


def find_mode(
    layout: Layout, fixed: Floats, theta: Floats, start: tuple[Floats, Floats] | None = None, lapse: float = 0.0
) -> Mode:
    """Returns û and the marginal log likelihood at θ.

    Args:
        layout: data and random terms.
        fixed: the fixed part of η, [N].
        theta: entries of the triangles Λ.
        start: û of the kept blocks and of the eliminated one to start from.
        lapse: λ, the share of random answers (probit only).
    """
    system = System(layout, theta)
    at = _at(layout, system, fixed, lapse, *(start or system.zero()))
    converged, steps = False, 0
    while not converged and steps < MOST_STEPS:
        at, moved, newton = _improved(layout, system, fixed, lapse, at)
        converged, steps = moved < (NEWTON_TOLERANCE if newton else TOLERANCE), steps + 1
    factor = system.factor(at.terms.weight)
    return Mode(
        value=at.value - factor.log_determinant / 2, kept=at.kept, eliminated=at.alone, lapse=lapse, terms=at.terms,
        system=system, factor=factor, steps=steps, converged=converged,
    )  # fmt: skip


def _at(layout: Layout, system: System, fixed: Floats, lapse: float, kept: Floats, alone: Floats) -> _Position:
    row = terms(layout.link, fixed + system.predict(kept, alone), layout.yes, layout.trials, lapse)
    return _Position(kept, alone, row, float(row.log_likelihood.sum() - (kept @ kept + (alone * alone).sum()) / 2))


def _improved(
    layout: Layout, system: System, fixed: Floats, lapse: float, at: _Position
) -> tuple[_Position, float, bool]:
    """A step halved until h(u) does not fall, how long it was when whole, and whether it was one of Newton's."""
    factor, newton = _curvature(system, at.terms)
    move = factor.solve(*system.gradient(at.terms.score, at.kept, at.alone))
    length = float(max(np.abs(part).max(initial=0.0) for part in move))
    share = 1.0
    for _ in range(MOST_HALVINGS):
        found = _at(layout, system, fixed, lapse, at.kept + share * move[0], at.alone + share * move[1])
        if found.value >= at.value - ROUNDING * abs(at.value):
            return found, length, newton
        share /= 2
    return at, length, newton


def _curvature(system: System, row: Terms) -> tuple[Factor, bool]:
    """A of the observed weights; with lapses these may be negative: then of Fisher's, which never are."""
    try:
        return system.factor(row.observed), True
    except np.linalg.LinAlgError:
        return system.factor(row.weight), False


def gradient(layout: Layout, mode: Mode) -> Gradient:
    """Returns the derivatives of the marginal log likelihood at a mode."""
    system, row = mode.system, mode.terms
    inverse = mode.factor.inverse_rows()
    leverage = (system.loadings * inverse[0]).sum(axis=1) + (system.own * inverse[1]).sum(axis=1)
    pull = row.weight_slope * leverage
    moved = _curvature(system, row)[0].solve(*system.project(pull))
    shift = system.predict(*moved)
    direct = row.score - pull / 2 + row.observed * shift / 2
    of_lapse = 0.0
    if mode.lapse:
        slope = lapse_slopes(row, layout.yes, layout.trials, mode.lapse)
        of_lapse = float((slope.log_likelihood - (leverage * slope.weight + shift * slope.score) / 2).sum())
    pushed = _over_loadings(layout, mode, inverse, moved, direct)
    return Gradient(direct, _theta_gradient(layout, pushed), of_lapse, pushed)


def _over_loadings(
    layout: Layout, mode: Mode, inverse: tuple[Floats, Floats], moved: tuple[Floats, Floats], direct: Floats
) -> list[Floats]:
    row, columns = mode.terms, layout.columns
    found, offset = [], 0
    for block in layout.all_blocks:
        if block is layout.eliminated:
            u, a, v = mode.eliminated[block.group], inverse[1], moved[1][block.group]
        else:
            own = slice(offset, offset + block.width)
            u, a, v = mode.kept[columns[:, own]], inverse[0][:, own], moved[0][columns[:, own]]
            offset += block.width
        found.append(direct[:, None] * u - row.weight[:, None] * a - row.score[:, None] * v / 2)
    return found


def _theta_gradient(layout: Layout, pushed: list[Floats]) -> Floats:
    """∂(Z Λ) = Z ∂Λ: entry (r, c) of a triangle moves the loading of effect c by Z's column r."""
    found = []
    for block, own in zip(layout.all_blocks, pushed, strict=True):
        whole = block.design.T @ own
        found += [float(whole[r, c]) for r, c in zip(*np.tril_indices(block.width), strict=True)]
    return np.array(found)


__all__ = ["Gradient", "Layout", "Mode", "find_mode", "gradient", "triangles"]
