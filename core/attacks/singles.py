"""Any one attack with its targets and restarts: only pictures that still stand go on to the next try."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

import torch

from core.attacks.apgd import Apgd, apgd
from core.attacks.budget import Budget
from core.attacks.fab import Fab, fab
from core.attacks.fgsm import Fgsm, fgsm
from core.attacks.front import Front, check_answers, lead
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
) -> Images:
    """Returns the worst point found for each picture, judged in float32; see :func:`core.attacks.run`."""
    with frozen(model), torch.no_grad():
        logits = answers(model, x)
        check_answers(logits, y)
        worst, depth = x.clone(), lead(logits, y, target)
        moved = torch.zeros_like(depth, dtype=torch.bool)
        for number, (restart, aims) in enumerate(_tries(attack, logits, y, target)):
            standing = depth >= 0
            if not standing.any():
                break
            aim = None if aims is None else aims[standing]
            front = Front(
                model, x[standing], y[standing], budget.of(standing), aim=aim, reach=target is not None, eot=attack.eot
            )
            drawn = derived(x.device, generator.initial_seed(), "try", number)
            found = _once(attack, front, drawn, first=restart == 0)
            reached = lead(answers(model, found), y[standing], None if target is None else target[standing])
            better = (reached < depth[standing]) | ~moved[standing]
            rows = torch.nonzero(standing).flatten()[better]
            worst[rows], depth[rows], moved[rows] = found[better], reached[better], True
    return worst


def answers(model: Classifier, x: Images) -> Logits:
    """Returns the logits of ``x`` in float32, whatever precision the attack computes in."""
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        logits: Logits = model(x).float()
    return logits


def _tries(attack: Single, logits: Logits, y: Labels, target: Labels | None) -> Iterator[tuple[int, Labels | None]]:
    """Yields the restart and the classes aimed at in each try: the largest wrong logits in turn, or none."""
    aims: Sequence[Labels | None] = [target]
    if target is None and attack.targets:
        ranked = logits.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)
        aims = list(ranked[:, : min(attack.targets, logits.shape[1] - 1)].T)
    for restart in range(attack.restarts):
        yield from ((restart, aim) for aim in aims)


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
