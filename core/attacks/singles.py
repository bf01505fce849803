"""Any one attack with its targets and restarts: only pictures that still stand go on to the next try."""

from __future__ import annotations

import math
from typing import assert_never

import torch

from core.attacks.apgd import Apgd, apgd
from core.attacks.budget import Budget
from core.attacks.fab import Fab, fab
from core.attacks.fgsm import Fgsm, fgsm
from core.attacks.front import Aims, Front, answers, check_answers, lead
from core.attacks.pgd import RelativePgd, relative_pgd
from core.attacks.square import Square, square
from core.attacks.stadv import StAdv, stadv
from core.networks.mode import frozen
from core.tensors import Classifier, Images, Labels, Logits
from core.tensors import generator as derived

Single = Fgsm | RelativePgd | Apgd | Fab | Square | StAdv


def run(
    attack: Single,
    model: Classifier,
    x: Images,
    y: Labels,
    budget: Budget,
    generator: torch.Generator,
    *,
    target: Labels | None = None,
    room: int | None = None,
) -> Images:
    """Returns the worst point found for each picture, judged in float32; see :func:`core.attacks.run`.

    ``room`` is how many rows the model takes at once, without it as many as ``x`` has. While fewer pictures stand,
    several classes are aimed at side by side.
    """
    with frozen(model), torch.no_grad():
        logits = answers(model, x)
        check_answers(logits, y)
        worst, depth = x.clone(), lead(logits, y, target)
        moved = torch.zeros_like(depth, dtype=torch.bool)
        aims, number = _aims(attack, logits, y, target), 0
        tries = 1 if aims is None else len(aims)
        while number < tries * attack.restarts and bool((depth >= 0).any()):
            rows = torch.nonzero(depth >= 0).flatten()
            restart, first = divmod(number, tries)
            beside = _beside(tries - first, len(rows), len(x) if room is None else room)
            aim = None if aims is None else aims[first : first + beside, rows].squeeze(0)
            front = Front(model, x[rows], y[rows], budget.of(rows), aim=aim, reach=target is not None, eot=attack.eot)
            drawn = derived(x.device, generator.initial_seed(), "try", number)
            found = _once(attack, front, drawn, first=restart == 0)
            reached = lead(answers(model, found), y[rows], None if target is None else target[rows])
            better = (reached < depth[rows]) | ~moved[rows]
            worst[rows[better]], depth[rows[better]], moved[rows[better]] = found[better], reached[better], True
            number += beside
    return worst


def _aims(attack: Single, logits: Logits, y: Labels, target: Labels | None) -> Aims | None:
    """Returns the classes aimed at in turn: the largest wrong logits, or the one that is wanted; none: away."""
    if target is not None:
        return target[None]
    if not attack.targets:
        return None
    ranked = logits.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)
    return ranked[:, : min(attack.targets, logits.shape[1] - 1)].T


def _beside(left: int, standing: int, room: int) -> int:
    """Returns how many of the ``left`` classes to aim at side by side, so that all rounds are about as large."""
    most = max(1, room // standing)
    return math.ceil(left / math.ceil(left / most))


def _once(attack: Single, front: Front, generator: torch.Generator, *, first: bool) -> Images:
    match attack:
        case Fgsm():
            return fgsm(front)
        case RelativePgd():
            return relative_pgd(front, attack, generator)
        case Apgd():
            return apgd(front, attack, generator)
        case Fab():
            return fab(front, attack, generator, first=first)
        case Square():
            return square(front, attack, generator)
        case StAdv():
            return stadv(front, attack, generator)
        case unknown:
            assert_never(unknown)
