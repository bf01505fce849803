"""Attacks that honour a budget map. The caller, never the attack, checks the budget and judges success.

An attack is its settings: ``named`` gives them by name, ``run`` carries them out. See docs/attacks.md.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path

import torch

from core.attacks import autoattack, singles
from core.attacks.apgd import Apgd
from core.attacks.autoattack import Ensemble, aa_fast, aa_rand, aa_standard
from core.attacks.budget import Budget
from core.attacks.fab import Fab
from core.attacks.fgsm import Fgsm
from core.attacks.pgd import RelativePgd
from core.attacks.singles import Single
from core.attacks.square import Square
from core.attacks.stadv import StAdv
from core.errors import ConfigError
from core.tensors import Classifier, Images, Labels

Attack = Single | Ensemble

_KINDS: dict[str, Callable[..., Attack]] = {
    "fgsm": Fgsm,
    "pgd": lambda steps=20, **words: RelativePgd(steps=steps, **words),
    "apgd-ce": lambda steps=100, **words: Apgd(steps=steps, **words),
    "apgd-dlr": lambda steps=100, **words: Apgd(loss="dlr", steps=steps, **words),
    "apgd-t": lambda steps=100, targets=9, **words: Apgd(loss="dlr", steps=steps, targets=targets, **words),
    "fab-t": lambda steps=100, targets=9, **words: Fab(steps=steps, targets=targets, **words),
    "square": lambda queries=5000, **words: Square(queries=queries, **words),
    "stadv": lambda steps=50, **words: StAdv(steps=steps, **words),
    "aa-standard": aa_standard,
    "aa-fast": aa_fast,
    "aa-rand": aa_rand,
}
_NAME = re.compile(r"(?P<kind>[a-z]+(?:-[a-z]+)?)(?:-(?P<numbers>\d+(?:x\d+)*))?(?:-r(?P<r>\d+))?(?:-eot(?P<eot>\d+))?")


def named(name: str) -> Attack:
    """Returns the attack of a name such as ``pgd-20``, ``apgd-t-100x9-r2``, ``pgd-20-eot20`` or ``aa-standard``.

    The form is KIND[-NUMBERS][-rRESTARTS][-eotPASSES]; numbers are the steps, and after an ``x`` the targets of attacks
    that take several.

    Raises:
        ConfigError: no such attack, or numbers that it does not take.
    """
    found = _NAME.fullmatch(name)
    if found is None or found["kind"] not in _KINDS:
        near = difflib.get_close_matches(name.rstrip("-x0123456789"), _KINDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"attack {name!r}: expected one of {', '.join(_KINDS)}, with numbers such as pgd-20 or apgd-t-100x9, "
            f"-r2 for restarts, -eot20 for randomised models{hint}"
        )
    numbers = [int(number) for number in (found["numbers"] or "").split("x") if number]
    words = {"restarts": found["r"], "eot": found["eot"]}
    try:
        return _KINDS[found["kind"]](*numbers, **{key: int(word) for key, word in words.items() if word})
    except TypeError:
        raise ConfigError(
            f"attack {name!r}: {found['kind']} does not take these numbers; see docs/attacks.md"
        ) from None


def run(
    attack: Attack,
    model: Classifier,
    x: Images,
    y: Labels,
    budget: Budget,
    generator: torch.Generator,
    *,
    target: Labels | None = None,
    state: Path | None = None,
) -> Images:
    """Returns for each picture the point of ``budget`` that the attack found to be worst for ``model``.

    Args:
        attack: which.
        model: maps images in [0, 1] to logits; in evaluation mode meanwhile, judged in float32.
        x: pictures, [B, C, H, W] in [0, 1].
        y: their classes, [B].
        budget: limits; elements with limit 0 stay bit for bit what they were.
        generator: its seed alone decides the random numbers, so that a resumed attack draws the same.
        target: class that each picture shall be given; without it any but its own will do.
        state: file in which an ensemble keeps what it has done after each part, and from which it goes on.

    Raises:
        ConfigError: the attack does not know the norm of the budget, or the model has too few classes for it.
        DataError: a label outside the classes, a logit that is no number, or a ``state`` of other pictures.
    """
    if isinstance(attack, Ensemble):
        return autoattack.run(attack, model, x, y, budget, generator, target=target, state=state).adversarial
    return singles.run(attack, model, x, y, budget, generator, target=target)
