"""What all attacks share: the pictures that still stand, what was found for all, and who leaves when."""

from __future__ import annotations

import math

import torch
from jaxtyping import Int64
from torch import Tensor

from core.attacks.budget import Budget
from core.attacks.losses import Kind, margin, raised
from core.errors import DataError
from core.tensors import Classifier, Images, Labels, Logits, PerPicture

Aims = Int64[Tensor, "targets batch"]

_STEPS_BETWEEN_LEAVING = 4


class Front:
    """A batch under attack. Rows are what is still attacked: pictures, each once or once for each class aimed at.

    Pictures that were fooled leave, with all their rows. To keep shapes few, as compiled kernels and CUDA graphs want
    them, the number of rows shrinks along one fixed sequence, each number three quarters of the last; rows of fooled
    pictures fill it up. With gradients in bfloat16 a picture leaves only after the float32 model, asked once, agrees
    that it is fooled.

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
        aim: Labels | Aims | None = None,
        reach: bool = False,
        eot: int = 1,
    ) -> None:
        """Begins with every picture standing.

        Args:
            model: the classifier.
            x: pictures, [B, C, H, W] in [0, 1].
            y: their classes.
            budget: limits, for all or for each picture.
            aim: class to move each picture towards, [B]; or several, [T, B], which are aimed at side by side.
            reach: whether success is the class in ``aim``, and not any but ``y``; for one class.
            eot: passes over whose randomness loss and gradient are averaged.
        """
        self.model, self.reach, self._eot = model, reach, eot
        self._y, self._goal = y, aim if reach else None
        self._times = 1 if aim is None or aim.ndim == 1 else len(aim)
        self._rows = torch.arange(len(x), device=x.device).repeat(self._times)
        self._batch = len(self._rows)
        self.x, self.y, self.budget = (x, y, budget) if self._times == 1 else self._repeated(x, y, budget)
        self.aim = None if aim is None else aim.flatten()
        self.ahead = torch.zeros(self._batch, device=x.device)
        self._found, self._depth = x.clone(), torch.full((len(x),), math.inf, device=x.device)
        self._confirmed = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self._half = torch.is_autocast_enabled(x.device.type)

    def look(self, point: Images) -> None:
        """Asks the model about ``point``, by the mean probabilities of ``eot`` passes, and keeps what is fooled."""
        with torch.no_grad():
            self._keep(point, _mean([self.model(point).float() for _ in range(self._eot)]))

    def gradient(self, point: Images, kind: Kind, *, counting: Tensor | None = None) -> tuple[PerPicture, Images]:
        """Returns the loss of each row at ``point`` and its gradient, means over ``eot`` passes; keeps what is fooled.

        Args:
            point: where to look, [rows, C, H, W].
            kind: of the loss.
            counting: which of the points are inside the budget and so may be kept; without it all.
        """
        values, gradient, passes = torch.zeros(len(point), device=point.device), torch.zeros_like(point), []
        for _ in range(self._eot):
            with torch.enable_grad():
                leaf = point.detach().requires_grad_()
                logits = self.model(leaf)
                value = raised(kind, logits, self.y, self.aim)
                (slope,) = torch.autograd.grad(value.sum(), leaf)
            values, gradient = values + value.detach() / self._eot, gradient + slope / self._eot
            passes.append(logits.detach().float())
        self._keep(point, _mean(passes), counting)
        return values, gradient

    def leaving(self, step: int) -> Tensor | None:
        """Returns the rows to go on with, when some leave after this step; ``x``, ``y`` and the rest follow at once."""
        if step % _STEPS_BETWEEN_LEAVING:
            return None
        self._confirm()
        standing = ~self._confirmed[self._rows]
        size = _bucket(int(standing.sum()), self._batch)
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
        """Returns a point for each picture of the batch: a fooling one, or else that of ``otherwise``, or ``x``.

        Of several rows of a picture it is the one of ``otherwise`` that has the least left to go, in float32.
        """
        rows = torch.nonzero(torch.isinf(self._depth[self._rows])).flatten()
        if otherwise is not None and len(rows):
            if self._times > 1:
                logits = answers(self.model, otherwise[rows])
                rows = rows[self._least(lead(logits, self.y[rows], None), self._rows[rows])]
            self._found[self._rows[rows]] = otherwise[rows]
        return self._found

    def _repeated(self, x: Images, y: Labels, budget: Budget) -> tuple[Images, Labels, Budget]:
        return x[self._rows], y[self._rows], budget.of(self._rows)

    def _keep(self, point: Images, logits: Logits, counting: Tensor | None = None) -> None:
        """Keeps the points by which the wrong class leads the most."""
        self.ahead = lead(logits, self.y, None if self._goal is None else self._goal[self._rows])
        deeper = (self.ahead < 0) & (self.ahead < self._depth[self._rows]) & ~self._confirmed[self._rows]
        rows = torch.nonzero(deeper if counting is None else deeper & counting).flatten()
        if self._times > 1:
            rows = rows[self._least(self.ahead[rows], self._rows[rows])]
        self._found[self._rows[rows]] = point[rows]
        self._depth[self._rows[rows]] = self.ahead[rows]

    def _least(self, values: PerPicture, pictures: Tensor) -> Tensor:
        """Returns for each of ``pictures`` where its least value stands, the first of equal ones."""
        least = values.new_full((len(self._depth),), math.inf).scatter_reduce(0, pictures, values, "amin")
        number = torch.arange(len(values), device=values.device)
        number = torch.where(values == least[pictures], number, len(values))
        first = number.new_full((len(self._depth),), len(values)).scatter_reduce(0, pictures, number, "amin")
        return first[first < len(values)]

    def _confirm(self) -> None:
        claimed = torch.isfinite(self._depth) & ~self._confirmed
        if not self._half:
            self._confirmed |= claimed
            return
        pictures = torch.nonzero(claimed).flatten()
        if len(pictures):
            logits = answers(self.model, self._found[pictures])
            fooled = lead(logits, self._y[pictures], None if self._goal is None else self._goal[pictures]) < 0
            self._confirmed[pictures] = fooled
            self._depth[pictures] = torch.where(fooled, self._depth[pictures], math.inf)


def answers(model: Classifier, x: Images) -> Logits:
    """Returns the logits of ``x`` in float32, whatever precision the attack computes in."""
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        logits: Logits = model(x).float()
    return logits


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
