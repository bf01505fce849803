"""FAB, the shortest way to the other side of a decision boundary (Croce & Hein 2020, arXiv 1907.02044), weighted.

With limits E of a budget map, lengths are measured in units of the limits: u = (x' − x) / E, elements with E = 0 stay
where they are. The boundary is linearised, and point and picture are projected on it within the box that keeps x' in
[0, 1]. In these units a point is inside the budget when ‖u‖ ≤ 1, whatever the map; with one ε for all elements this is
the published attack. The weighted projections are derived in docs/attacks.md.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from core.attacks.front import Front
from core.attacks.losses import Kind
from core.attacks.tries import Tries
from core.errors import ConfigError
from core.tensors import Images, PerPicture

Rows = Float[Tensor, "batch elements"]

_BIAS = 0.1  # largest share of the way that leads back to the picture, α_max of the paper
_OVERSHOOT = 1.05  # η
_BACK = 0.9  # β: what remains of the way to a point that was fooled
_ROUGH = 0.75  # share of the steps that may be in bfloat16; what they find lies too near the boundary to be sure of
_NEWTON_STEPS = 64  # never reached: each step but the last takes at least one element to its bound
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Fab(Tries):
    """Settings of FAB; ``targets`` > 0 is FAB-T, which linearises the boundary to one class at a time."""

    steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least_one("steps")

    @property
    def name(self) -> str:
        """The name of the attack in all files."""
        return self.named(f"fab-t-{self.steps}x{self.targets}" if self.targets else f"fab-{self.steps}")


def fab(front: Front, settings: Fab, generator: torch.Generator, *, first: bool = True) -> Images:
    """Returns a fooling point within the budget for each picture of ``front`` where there was one, or else the last.

    Args:
        front: the pictures.
        settings: of the attack.
        generator: of the random start; the first try begins at the picture itself and needs none.
        first: whether this is that try.

    Raises:
        ConfigError: the budget is one of flows.
    """
    if front.budget.norm == "flow":
        raise ConfigError("fab: expected a budget of norm 'linf' or 'l2', got 'flow'; use stadv")
    kind: Kind = "margin" if front.aim is None or front.reach else "difference"
    place = _Place.of(front)
    u = torch.zeros_like(place.limits) if first else place.units(front.budget.random_start(front.x, generator))
    for step in range(settings.steps):
        with _precision(front, precise=step >= _ROUGH * settings.steps):
            u, value, slope = _looked(front, place, u, kind)
        if (kept := front.leaving(step)) is not None:
            u, value, slope, place = u[kept], value[kept], slope[kept], _Place.of(front)
            if front.empty:
                return front.found()
        u = place.stepped(u, value, slope)
    return front.found(otherwise=front.budget.project(front.x, place.point(u)))


def _precision(front: Front, *, precise: bool) -> AbstractContextManager[object]:
    return torch.autocast(front.x.device.type, enabled=False) if precise else nullcontext()


def _looked(front: Front, place: _Place, u: Rows, kind: Kind) -> tuple[Rows, PerPicture, Rows]:
    """Returns the points with those that were fooled drawn back towards their picture, the loss there and its slope.

    The loss at a point drawn back is that of the linearisation at the point itself, so that a step asks only once.
    """
    value, gradient = front.gradient(place.point(u), kind, counting=place.length(u) <= 1)
    slope = place.limits * gradient.flatten(1)
    back = torch.where((front.ahead < 0)[:, None], _BACK * u, u)
    return back, value + (slope * (back - u)).sum(1), slope


@dataclass(frozen=True)
class _Place:
    """Pictures in units of their limits: where they lie, how far each element may go, and how ways are measured."""

    x: Images
    limits: Rows
    lowest: Rows
    highest: Rows
    euclidean: bool

    @staticmethod
    def of(front: Front) -> _Place:
        x = front.x.flatten(1)
        limits = front.budget.eps.expand_as(front.x).flatten(1)
        free = limits > 0
        safe = torch.where(free, limits, 1)
        return _Place(front.x, limits, free * -x / safe, free * (1 - x) / safe, front.budget.norm == "l2")

    def units(self, point: Images) -> Rows:
        return (point - self.x).flatten(1) / self.limits.clamp(min=_TINY) * (self.limits > 0)

    def point(self, u: Rows) -> Images:
        return (self.x + (self.limits * u).view_as(self.x)).clamp(0, 1)

    def length(self, u: Rows) -> PerPicture:
        return u.norm(dim=1) if self.euclidean else u.abs().amax(dim=1)

    def stepped(self, u: Rows, value: PerPicture, slope: Rows) -> Rows:
        """Returns the next points: over the linearised boundary, drawn towards the picture."""
        ahead = shortest(slope, -value, self.lowest - u, self.highest - u, euclidean=self.euclidean)
        home = shortest(slope, (slope * u).sum(1) - value, self.lowest, self.highest, euclidean=self.euclidean)
        near, far = self.length(ahead), self.length(home)
        bias = (near / (near + far).clamp(min=_TINY)).clamp(max=_BIAS)[:, None]
        moved = (1 - bias) * (u + _OVERSHOOT * ahead) + bias * _OVERSHOOT * home
        return torch.maximum(torch.minimum(moved, self.highest), self.lowest)


def shortest(slope: Rows, gain: PerPicture, lowest: Rows, highest: Rows, *, euclidean: bool) -> Rows:
    """Returns the shortest way d with Σ slope · d = ``gain`` and ``lowest`` ≤ d ≤ ``highest``, one for each row.

    Where no way within the bounds gains enough it is the one that gains most. Each element moves by min(t c, r) in its
    helpful direction, r the bound there, c = 1 for the largest-element norm and |slope| for the Euclidean one; t solves
    Σ |slope| min(t c, r) = gain, a concave equation on which Newton's method from below ends after finitely many steps.

    Args:
        slope: a, [B, N].
        gain: b, [B].
        lowest: at most 0, [B, N].
        highest: at least 0, [B, N].
        euclidean: whether the length is ‖d‖₂; else max |d|.
    """
    direction = slope.sign() * gain.sign()[:, None]
    weight, needed = slope.abs(), gain.abs()
    room = torch.where(direction > 0, highest, -lowest)
    pace = weight if euclidean else torch.ones_like(weight)
    limit = torch.where(weight > 0, room / pace.clamp(min=_TINY), 0)
    total, rate = weight * room, weight * pace
    t = torch.zeros_like(needed)
    for _ in range(_NEWTON_STEPS):
        free = limit > t[:, None]
        left = needed - torch.where(free, 0, total).sum(1)
        slack = torch.where(free, rate, 0).sum(1)
        following = torch.where(slack > 0, torch.maximum(left / slack.clamp(min=_TINY), t), torch.inf)
        if torch.equal(following, t):
            break
        t = following
    return direction * torch.minimum(t.clamp(max=limit.amax(1))[:, None] * pace, room)
