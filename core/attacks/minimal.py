"""The weakest attack that works and can be shown: the least whole grey level at which a picture is fooled."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core import attacks
from core.attacks.budget import Budget
from core.attacks.front import answers, lead
from core.errors import ConfigError
from core.networks.mode import frozen
from core.tensors import Bytes, Classifier, Images, Labels, Salience, generator, to_unit


@dataclass(frozen=True, kw_only=True)
class Minimal:
    """The least level of each picture, int64 [B], and its 8-bit picture at that level.

    Level 0: wrong without any attack; ``highest + 1``: not fooled up to ``highest``, the picture is the clean one.
    """

    levels: Labels
    pixels: Bytes


def minimal_levels(
    attack: attacks.Attack,
    model: Classifier,
    pixels: Bytes,
    y: Labels,
    seed: int,
    *,
    highest: int = 32,
    allowed: Salience | None = None,
) -> Minimal:
    """Returns for each picture the least whole ε, in grey levels, at which ``attack`` fools ``model`` in 8 bits.

    By bisection, each picture at its own ε in one batch, as a budget may be: about log₂ ``highest`` attacks in all. A
    level counts when the attacked picture, rounded to whole grey levels, is misclassified in float32. At the level
    below the attack failed; that it would not have worked at a still lower one is assumed, as bisection does.

    Args:
        attack: of norm L∞.
        model: the classifier.
        pixels: pictures in grey levels, [B, C, H, W].
        y: their classes.
        seed: of the attack's random numbers, with the level that is tried.
        highest: largest ε that is tried, 1..255.
        allowed: 1 where a picture may change, [B, 1, H, W]; without it everywhere.

    Raises:
        ConfigError: ``highest`` is no grey level.
    """
    if not 1 <= highest <= 255:
        raise ConfigError(f"minimal ε: expected a highest level of 1 to 255 grey levels, got {highest}")
    x = to_unit(pixels)
    with frozen(model):
        wrong = lead(answers(model, x), y, None) < 0
    failed, works = torch.zeros_like(y), torch.where(wrong, 0, highest + 1)
    failed, best = torch.where(wrong, -1, failed), pixels.clone()
    while bool((open_ := works - failed > 1).any()):
        level = torch.where(open_, (failed + works) // 2, works)
        rows = torch.nonzero(open_).flatten()
        budget = _budget(level[rows], x[rows], None if allowed is None else allowed[rows])
        drawn = generator(x.device, seed, "minimal", int(level[rows].max()), len(rows))
        found = on_lattice(attacks.run(attack, model, x[rows], y[rows], budget, drawn))
        with frozen(model):
            fooled = lead(answers(model, to_unit(found)), y[rows], None) < 0
        best[rows[fooled]] = found[fooled]
        works[rows[fooled]], failed[rows[~fooled]] = level[rows[fooled]], level[rows[~fooled]]
    return Minimal(levels=works, pixels=best)


def on_lattice(x: Images) -> Bytes:
    """Returns pictures in whole grey levels, the nearest: inside any budget of whole levels around an 8-bit picture."""
    return (x * 255).round().clamp(0, 255).to(torch.uint8)


def _budget(levels: Labels, x: Images, allowed: Tensor | None) -> Budget:
    limits = (levels.to(x.dtype) / 255).view(-1, 1, 1, 1)
    return Budget("linf", limits if allowed is None else limits * allowed)
