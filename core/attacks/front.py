"""What all attacks share: the pictures that still stand, what was found for all, and who leaves when."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from core.attacks.budget import Budget
from core.attacks.losses import Kind, margin, raised
from core.errors import DataError
from core.tensors import Classifier, Images, Labels, Logits, PerPicture

_STEPS_BETWEEN_LEAVING = 4


class Front:
    """A batch under attack. Rows are the pictures still attacked; pictures that were fooled leave.

    To keep shapes few, as compiled kernels and CUDA graphs want them, the number of rows shrinks along one fixed
    sequence, each number three quarters of the last; fooled pictures fill it up. With gradients in bfloat16 a picture
    leaves only after the float32 model, asked once, agrees that it is fooled.

    Attributes:
        model: the classifier under attack, in evaluation mode.
        x: clean pictures of the rows; y: their classes; budget: their limits.
        aim: classes to move towards, or ``None``: away from ``y``; reach: whether success is that class alone.
        ahead: by how much the attack had still to move the logits of what was looked at last; negative: fooled.
    """

    def __init__(
        self,
        model: Classifier,
        x: Images,
        y: Labels,
        budget: Budget,
        *,
        aim: Labels | None = None,
        reach: bool = False,
        eot: int = 1,
    ) -> None:
        """Begins with every picture standing.

        Args:
            model: the classifier.
            x: pictures, [B, C, H, W] in [0, 1].
            y: their classes.
            budget: limits, for all or for each picture.
            aim: class to move each picture towards.
            reach: whether success is the class in ``aim``, and not any but ``y``.
            eot: passes over whose randomness loss and gradient are averaged.
        """
        self.model, self.x, self.y, self.budget, self.aim = model, x, y, budget, aim
        self.reach, self._eot = reach, eot
        self.ahead = torch.zeros(len(x), device=x.device)
        self._rows = torch.arange(len(x), device=x.device)
        self._found, self._depth = x.clone(), torch.full((len(x),), math.inf, device=x.device)
        self._confirmed = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self._half = torch.is_autocast_enabled(x.device.type)

    def look(self, point: Images) -> None:
        """Asks the model about ``point``, by the mean probabilities of ``eot`` passes, and keeps what is fooled."""
        with torch.no_grad():
            self._keep(point, _mean([self.model(point).float() for _ in range(self._eot)]))

    def gradient(
        self, point: Images, kind: Kind, *, counting: Tensor | None = None, rows: Tensor | None = None
    ) -> tuple[PerPicture, Images]:
        """Returns the loss of each row at ``point`` and its gradient, means over ``eot`` passes; keeps what is fooled.

        Args:
            point: where to look, [rows, C, H, W].
            kind: of the loss.
            counting: which of the points are inside the budget and so may be kept; without it all.
            rows: to which the points belong; without it to all.
        """
        y = self.y if rows is None else self.y[rows]
        aim = self.aim if rows is None or self.aim is None else self.aim[rows]
        values, gradient, passes = torch.zeros(len(point), device=point.device), torch.zeros_like(point), []
        for _ in range(self._eot):
            with torch.enable_grad():
                leaf = point.detach().requires_grad_()
                logits = self.model(leaf)
                value = raised(kind, logits, y, aim)
                (slope,) = torch.autograd.grad(value.sum(), leaf)
            values, gradient = values + value.detach() / self._eot, gradient + slope / self._eot
            passes.append(logits.detach().float())
        self._keep(point, _mean(passes), counting, rows)
        return values, gradient

    def leaving(self, step: int) -> Tensor | None:
        """Returns the rows to go on with, when some leave after this step; ``x``, ``y`` and the rest follow at once."""
        if step % _STEPS_BETWEEN_LEAVING:
            return None
        self._confirm()
        standing = ~self._confirmed[self._rows]
        size = _bucket(int(standing.sum()), len(self._found))
        if size >= len(self._rows):
            return None
        kept = standing.float().argsort(descending=True, stable=True)[:size].sort().values
        self._rows, self.x, self.y = self._rows[kept], self.x[kept], self.y[kept]
        self.budget, self.aim = self.budget.of(kept), None if self.aim is None else self.aim[kept]
        return kept

    @property
    def empty(self) -> bool:
        """Whether nothing is left to attack."""
        return not len(self._rows)

    def found(self, otherwise: Images | None = None) -> Images:
        """Returns a point for each picture of the batch: a fooling one, or else that of ``otherwise``, or ``x``."""
        if otherwise is not None and len(self._rows):
            rows = self._rows[torch.isinf(self._depth[self._rows])]
            self._found[rows] = otherwise[torch.isinf(self._depth[self._rows])]
        return self._found

    def _keep(self, point: Images, logits: Logits, counting: Tensor | None = None, rows: Tensor | None = None) -> None:
        """Keeps the points by which the wrong class leads the most."""
        places, y = (self._rows, self.y) if rows is None else (self._rows[rows], self.y[rows])
        aim = self.aim if rows is None or self.aim is None else self.aim[rows]
        self.ahead = lead(logits, y, aim if self.reach else None)
        deeper = (self.ahead < 0) & (self.ahead < self._depth[places]) & ~self._confirmed[places]
        deeper = deeper if counting is None else deeper & counting
        self._found[places[deeper]] = point[deeper]
        self._depth[places[deeper]] = self.ahead[deeper]

    def _confirm(self) -> None:
        claimed = torch.isfinite(self._depth) & ~self._confirmed
        if not self._half:
            self._confirmed |= claimed
            return
        rows = self._rows[claimed[self._rows]]
        if len(rows):
            places = torch.isin(self._rows, rows)
            with torch.no_grad(), torch.autocast(self.x.device.type, enabled=False):
                logits = self.model(self._found[rows])
            target = self.aim[places] if self.reach and self.aim is not None else None
            fooled = lead(logits, self.y[places], target) < 0
            self._confirmed[rows] = fooled
            self._depth[rows] = torch.where(fooled, self._depth[rows], math.inf)


def lead(logits: Logits, y: Labels, target: Labels | None) -> PerPicture:
    """Returns by how much an attack has still to move each picture's logits; negative where it has succeeded."""
    return margin(logits, y) if target is None else -margin(logits, target)


def _mean(passes: list[Logits]) -> Logits:
    if len(passes) == 1:
        return passes[0]
    return torch.stack([logits.log_softmax(1) for logits in passes]).logsumexp(0) - math.log(len(passes))


def _bucket(standing: int, batch: int) -> int:
    """Returns the smallest number of the sequence batch, ⌊¾ batch⌋, … that holds ``standing`` rows; 0 holds none."""
    size = batch if standing else 0
    while (smaller := size * 3 // 4) >= max(standing, 1):
        size = smaller
    return size


def check_answers(logits: Logits, y: Labels) -> None:
    """Checks that a model's answers can be judged.

    Raises:
        DataError: a logit is no number, or a label is not among the classes.
    """
    if not bool(torch.isfinite(logits).all()):
        rows = int((~torch.isfinite(logits).all(dim=1)).sum())
        raise DataError(
            f"model: expected finite logits, got NaN or infinity for {rows} of {len(logits)} pictures; was the "
            "training sound? Look at metrics.jsonl, and evaluate in float32"
        )
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < logits.shape[1]:
        raise DataError(
            f"labels: expected classes 0..{logits.shape[1] - 1}, got {int(y.min())}..{int(y.max())}; "
            "is this the model of these pictures?"
        )
