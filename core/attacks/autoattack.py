"""Ensembles of attacks, point-wise worst case: only pictures that still stand go on to the next part.

Source: Croce & Hein 2020 (arXiv 2003.01690), whose AutoAttack in its standard form is ``aa-standard``.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from core import checkpoints, files
from core.attacks import singles
from core.attacks.apgd import Apgd
from core.attacks.budget import Budget, Norm
from core.attacks.fab import Fab
from core.attacks.front import answers, check_answers, lead
from core.attacks.losses import Kind
from core.attacks.singles import Single
from core.attacks.square import Square
from core.attacks.tries import Tries
from core.errors import ConfigError, DataError
from core.networks.mode import frozen
from core.tensors import Classifier, Images, Labels, PerPicture
from core.tensors import generator as derived

_BOTH: tuple[Kind, ...] = ("ce", "dlr")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Attacks one after the other; ``name`` in all files."""

    name: str
    parts: tuple[Single, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ConfigError(f"{self.name}: expected at least one attack, got none")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an ensemble found: the worst point of each picture, and which part fooled it.

    ``part`` is an index into ``Ensemble.parts``; −1 where none did, or the picture was wrong before.
    """

    adversarial: Images
    part: Labels


def aa_standard(steps: int = 100, targets: int = 9, queries: int = 5000, restarts: int = 1) -> Ensemble:
    """Returns AutoAttack's standard form: APGD-CE, APGD-T, FAB-T, Square."""
    parts = (
        *aa_fast(steps, targets, restarts).parts,
        Fab(steps=steps, targets=targets, restarts=restarts),
        Square(queries=queries, restarts=restarts),
    )
    numbers = "" if (steps, targets, queries) == (100, 9, 5000) else f"-{steps}x{targets}x{queries}"
    return Ensemble(name=Tries(restarts=restarts).named(f"aa-standard{numbers}"), parts=parts)


def aa_fast(steps: int = 100, targets: int = 9, restarts: int = 1) -> Ensemble:
    """Returns the first two parts of AutoAttack: APGD-CE, APGD-T."""
    targeted = Apgd(loss="dlr", steps=steps, targets=targets, restarts=restarts)
    parts = (Apgd(steps=steps, restarts=restarts), targeted)
    numbers = "" if (steps, targets) == (100, 9) else f"-{steps}x{targets}"
    return Ensemble(name=Tries(restarts=restarts).named(f"aa-fast{numbers}"), parts=parts)


def aa_rand(steps: int = 100, restarts: int = 1, eot: int = 20) -> Ensemble:
    """Returns AutoAttack's form for models that draw random numbers: APGD-CE and APGD-DLR, averaged over draws."""
    parts = tuple(Apgd(loss=loss, steps=steps, restarts=restarts, eot=eot) for loss in _BOTH)
    kind = "aa-rand" if steps == 100 else f"aa-rand-{steps}"
    return Ensemble(name=Tries(restarts=restarts, eot=eot).named(kind), parts=parts)


def usable(ensemble: Ensemble, classes: int, norm: Norm) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Returns the places of the parts that can attack such a model, and for each other one why it falls out."""
    reasons = [_falls_out(part, classes, norm) for part in ensemble.parts]
    usable_parts = tuple(place for place, reason in enumerate(reasons) if not reason)
    if not usable_parts:
        raise ConfigError(f"{ensemble.name}: no part is left: {'; '.join(filter(None, reasons))}; use pgd or stadv")
    return usable_parts, tuple(filter(None, reasons))


def run(
    ensemble: Ensemble,
    model: Classifier,
    x: Images,
    y: Labels,
    budget: Budget,
    generator: torch.Generator,
    *,
    target: Labels | None = None,
    state: Path | None = None,
) -> Found:
    """Returns the worst point found for each picture, judged in float32; see :func:`core.attacks.run`.

    Each part draws its random numbers from the generator's seed and its own place, so that an ensemble that goes on
    from ``state`` ends in the same pictures, bit for bit.
    """
    with frozen(model):
        logits = answers(model, x)
        check_answers(logits, y)
        places, reasons = usable(ensemble, logits.shape[1], budget.norm)
        for reason in reasons:
            log.warning("%s: %s", ensemble.name, reason)
        inputs = "" if state is None else _fingerprint(ensemble, x, y, budget, logits, generator, target)
        now = _State(done=0, worst=x.clone(), depth=lead(logits, y, target), part=torch.full_like(y, -1))
        now = _read(state, inputs, now) if state is not None and state.exists() else now
        for place in places:
            if place >= now.done and bool((now.depth >= 0).any()):
                _attack(now, ensemble.parts[place], place, model, x, y, budget, generator, target)
            if place >= now.done and state is not None:
                now.done = place + 1
                _write(state, inputs, now)
    return Found(adversarial=now.worst, part=now.part)


@dataclass(kw_only=True)
class _State:
    """What an ensemble has done: parts, the worst point of each picture, its margin there, and whose it is."""

    done: int
    worst: Images
    depth: PerPicture
    part: Labels


def _attack(
    now: _State, attack: Single, place: int, model: Classifier, x: Images, y: Labels, budget: Budget,
    generator: torch.Generator, target: Labels | None,
) -> None:  # fmt: skip
    """Has one part attack what still stands."""
    rows = torch.nonzero(now.depth >= 0).flatten()
    aims = None if target is None else target[rows]
    drawn = derived(x.device, generator.initial_seed(), "part", place)
    found = singles.run(attack, model, x[rows], y[rows], budget.of(rows), drawn, target=aims, room=len(x))
    reached = lead(answers(model, found), y[rows], aims)
    untouched = (now.worst[rows] == x[rows]).flatten(1).all(dim=1)
    better = (reached < now.depth[rows]) | untouched
    now.worst[rows[better]], now.depth[rows[better]] = found[better], reached[better]
    now.part[rows[reached < 0]] = place


def _falls_out(part: Single, classes: int, norm: Norm) -> str:
    name = part.name
    if isinstance(part, Apgd) and part.loss == "dlr":
        least = 4 if part.targets else 3
        if classes < least:
            return f"{name} falls out: its loss needs at least {least} classes, the model has {classes}"
    return f"{name} falls out: it knows no flows" if norm == "flow" else ""


def _fingerprint(
    ensemble: Ensemble, x: Images, y: Labels, budget: Budget, logits: Tensor, generator: torch.Generator,
    target: Labels | None,
) -> str:  # fmt: skip
    """Returns a hash of all that decides what an ensemble finds; the clean logits stand for the model's weights."""
    tensors = [x, y, budget.eps, logits, *([] if target is None else [target])]
    data = b"".join(tensor.detach().contiguous().cpu().numpy().tobytes() for tensor in tensors)
    words = json.dumps(
        [repr(ensemble), budget.norm, generator.initial_seed(), torch.is_autocast_enabled(x.device.type)]
    )
    return files.sha256_bytes(data + words.encode())


def _write(path: Path, inputs: str, now: _State) -> None:
    tensors = {"worst": now.worst, "depth": now.depth, "part": now.part}
    checkpoints.save(path, tensors, {"inputs": inputs, "done": str(now.done)})


def _read(path: Path, inputs: str, fresh: _State) -> _State:
    tensors, metadata = checkpoints.read(path)
    if metadata.get("inputs") != inputs:
        raise DataError(
            f"{path}: expected the state of this attack on these pictures, got that of another; remove it to begin anew"
        )
    place = fresh.worst.device
    return _State(done=int(metadata["done"]), **{name: tensor.to(place) for name, tensor in tensors.items()})
