"""Robustness of a classifier, judged by us and not by the attack: budget checked, verdict in float32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from core import attacks, rng
from core.attacks import autoattack
from core.attacks.autoattack import Ensemble
from core.attacks.budget import Budget
from core.attacks.front import answers, check_answers
from core.attacks.losses import margin
from core.attacks.pgd import RelativePgd, pgd
from core.devices import autocast
from core.errors import DataError
from core.evaluation_conditions import Condition
from core.evaluation_partial import Partial
from core.evaluation_settings import EvaluationSettings
from core.evaluation_subjects import Subject
from core.purification.pipeline import reseed
from core.regions import budget_in
from core.tensors import Classifier, Images, Labels, PerPicture, Salience, generator

TOLERANCE = 1e-6  # by how much rounding may carry a pixel out of its budget
NONE = -1  # no part of an attack


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a classifier makes of pictures, in float32: predicted class and margin, [B] each.

    The margin is the logit of the true class less the largest other logit; negative where the prediction is wrong.

    Attributes:
        half: predicted classes in bfloat16, where attacks computed in it.
        part: which part of the attack fooled the picture first, −1 for none; [B].
    """

    predictions: Labels
    margins: PerPicture
    half: Labels | None = None
    part: Labels | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some pictures of a split, from its ``first``: x [B, C, H, W] in [0, 1], classes, and maps of regions if any."""

    first: int
    x: Images
    y: Labels
    salience: Salience | None = None
    threshold: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The verdict of ``defender`` on one batch attacked at ``source`` under one condition at one ε."""

    defender: str
    source: str
    condition: Condition
    eps: float
    first: int
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class _Rung:
    """Where a climb is: the worst pictures so far (``None`` once a higher rung is kept) and everyone's verdict."""

    worst: Images | None = None
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)


def judge(model: Classifier, x: Images, y: Labels) -> Verdict:
    """Returns the verdict of ``model`` (in evaluation mode) on ``x``.

    Raises:
        DataError: a label outside the classes, or a logit that is no number.
    """
    logits = answers(model, x)
    check_answers(logits, y)
    return Verdict(predictions=logits.argmax(1), margins=margin(logits, y))


def check(x: Images, adversarial: Images, budget: Budget) -> None:
    """Checks that no picture left its budget by more than ``TOLERANCE``.

    Raises:
        DataError: one did; the attack is at fault.
    """
    excess = float(budget.excess(x, adversarial).max()) if len(x) else 0.0
    if not excess <= TOLERANCE:
        raise DataError(
            f"attack: expected changes of at most {float(budget.eps.max()):.6f} ({budget.norm}), exceeded by "
            f"{excess:.2g}; the attack is at fault"
        )


def climb(
    source: Subject,
    defenders: Sequence[Subject],
    batch: Batch,
    condition: Condition,
    settings: EvaluationSettings,
    kept: Partial | None = None,
) -> Iterator[Outcome]:
    """Yields each defender's outcome at each rung of the ladder, on pictures made against ``source``.

    A picture that fooled at a lower ε keeps that verdict: it lies within every larger budget of the same region and
    norm, so accuracy never rises along the ladder. Only pictures that still stand are attacked, except for transfer.

    Args:
        source: whom the pictures are made against.
        defenders: who is judged; ``source`` alone, or others (transfer).
        batch: the pictures.
        condition: how.
        settings: seed, precision and the like.
        kept: units that were finished before, and where this one is kept.
    """
    rung, before = _Rung(), ""
    for eps in condition.eps:
        unit = f"{condition.key} {batch.first} {eps:g}"
        found = None if kept is None else kept.read(unit)
        if found is not None:
            rung = _unpacked(found, defenders)
        else:
            rung = _next(rung, source, defenders, batch, condition, eps, settings, kept)
            if kept is not None:
                kept.write(unit, _packed(rung, defenders), replaces=before)
        before = unit
        for defender in defenders:
            yield Outcome(
                defender=defender.name,
                source=source.name,
                condition=condition,
                eps=eps,
                first=batch.first,
                verdict=rung.verdicts[defender.name],
            )


def _next(
    rung: _Rung, source: Subject, defenders: Sequence[Subject], batch: Batch, condition: Condition, eps: float,
    settings: EvaluationSettings, kept: Partial | None,
) -> _Rung:  # fmt: skip
    """Returns the next rung: attacks what still stands, holds it to its budget, and has everyone judge it."""
    if rung.worst is None:
        rung = _Rung(worst=batch.x, verdicts={d.name: _verdict(d, batch.x, batch, settings) for d in defenders})
    if eps == 0 or rung.worst is None:
        return rung
    standing = torch.ones_like(batch.y, dtype=torch.bool)
    if condition.access != "transfer":
        standing = rung.verdicts[source.name].margins > 0
    adversarial, part = rung.worst.clone(), torch.full_like(batch.y, NONE)
    if standing.any():
        adversarial[standing], part[standing] = _attacked(source, batch, standing, condition, eps, settings, kept)
    return _Rung(
        worst=adversarial,
        verdicts={d.name: _later(d, rung.verdicts[d.name], adversarial, part, batch, settings) for d in defenders},
    )


def _attacked(
    source: Subject, batch: Batch, standing: Tensor, condition: Condition, eps: float, settings: EvaluationSettings,
    kept: Partial | None,
) -> tuple[Images, Labels]:  # fmt: skip
    """Returns the attacked pictures of those that stand, inside their budget, and which part of the attack fooled."""
    x, y = batch.x[standing], batch.y[standing]
    limit = eps / 255 if condition.norm == "linf" else eps
    budget = budget_in(condition.region, condition.norm, limit, batch.x, batch.salience, batch.threshold).of(standing)
    seed = rng.derive(settings.seed, "evaluate", condition.key, f"{eps:g}", batch.first)
    unit = f"{condition.key} {batch.first} {eps:g}"
    with autocast(x.device, settings.precision):
        adversarial, part = _run(source, condition, x, y, budget, limit, seed, kept, unit)
    adversarial = adversarial.float()
    if condition.norm != "flow":
        adversarial = budget.project(x, adversarial)
    check(x, adversarial, budget)
    return adversarial, part


def _run(
    source: Subject, condition: Condition, x: Images, y: Labels, budget: Budget, limit: float, seed: int,
    kept: Partial | None, unit: str,
) -> tuple[Images, Labels]:  # fmt: skip
    attack, draws = attacks.named(condition.attack), generator(x.device, seed, "attack")
    if condition.access in ("bare", "transfer") and isinstance(attack, RelativePgd):
        step = attack.relative_step * limit / attack.steps  # to the end: a picture made for others does not stop early
        model = source.differentiable(condition.access, seed, attack.eot)
        found = pgd(model, x, y, budget, steps=attack.steps, step_size=step, generator=draws)
        return found, torch.zeros_like(y)
    model = source.attacked(condition.access, seed)
    if isinstance(attack, Ensemble):
        state = None if kept is None else kept.state(unit)
        both = autoattack.run(attack, model, x, y, budget, draws, state=state)
        return both.adversarial, both.part
    return attacks.run(attack, model, x, y, budget, draws), torch.zeros_like(y)


def _verdict(defender: Subject, x: Images, batch: Batch, settings: EvaluationSettings) -> Verdict:
    """Returns the verdict in float32, on the same draws for every picture of a batch's place; bfloat16 beside it."""
    seed = rng.derive(settings.seed, "verdict", batch.first)
    model = defender.judging(seed)
    verdict = judge(model, x, batch.y)
    half = None
    if settings.precision == "bfloat16":
        reseed(model, seed)
        with torch.no_grad(), autocast(x.device, "bfloat16"):
            half = model(x).float().argmax(1)
    return Verdict(
        predictions=verdict.predictions, margins=verdict.margins, half=half, part=torch.full_like(batch.y, NONE)
    )


def _later(
    defender: Subject, before: Verdict, x: Images, part: Labels, batch: Batch, settings: EvaluationSettings
) -> Verdict:
    """Returns the verdict on new pictures, but the earlier one where the picture had fooled already."""
    now, stood = _verdict(defender, x, batch, settings), before.margins > 0
    assert before.part is not None
    first = torch.where(now.margins <= 0, part, NONE)
    return Verdict(
        predictions=torch.where(stood, now.predictions, before.predictions),
        margins=torch.where(stood, now.margins, before.margins),
        half=None if now.half is None or before.half is None else torch.where(stood, now.half, before.half),
        part=torch.where(stood, first, before.part),
    )


def _packed(rung: _Rung, defenders: Sequence[Subject]) -> dict[str, Tensor]:
    tensors = {} if rung.worst is None else {"worst": rung.worst}
    for place, defender in enumerate(defenders):
        verdict = rung.verdicts[defender.name]
        named = {
            "predictions": verdict.predictions,
            "margins": verdict.margins,
            "half": verdict.half,
            "part": verdict.part,
        }
        tensors |= {f"{place} {name}": tensor for name, tensor in named.items() if tensor is not None}
    return tensors


def _unpacked(tensors: Mapping[str, Tensor], defenders: Sequence[Subject]) -> _Rung:
    def verdict(place: int) -> Verdict:
        return Verdict(
            predictions=tensors[f"{place} predictions"],
            margins=tensors[f"{place} margins"],
            half=tensors.get(f"{place} half"),
            part=tensors.get(f"{place} part"),
        )

    return _Rung(worst=tensors.get("worst"), verdicts={d.name: verdict(place) for place, d in enumerate(defenders)})
