"""The least whole grey level at which each test picture fools, and how often each level does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import torch

from core import attacks, rng
from core.attacks.budget import Budget
from core.attacks.minimal import minimal_levels
from core.datasets.split import Split
from core.evaluation import Batch, check, judge
from core.evaluation_conditions import Condition
from core.evaluation_partial import Partial
from core.evaluation_settings import EvaluationSettings
from core.evaluation_subjects import Subject
from core.regions import budget_in
from core.runs import MinimalEps
from core.tensors import Labels, to_unit

COLUMNS = ("source_id", "attack", "region", "access", "level")


@dataclass(frozen=True, kw_only=True)
class Least:
    """Levels of one batch under one condition: 0 wrong unattacked, ``highest + 1`` never fooled."""

    condition: Condition
    first: int
    levels: Labels


def highest(settings: EvaluationSettings) -> int:
    """Returns the largest whole level that is tried: the top of the ladder."""
    return int(max(settings.eps))


def least(
    subject: Subject, batch: Batch, pixels: torch.Tensor, condition: Condition, settings: EvaluationSettings,
    kept: Partial | None,
) -> Least:  # fmt: skip
    """Returns the least levels of a batch; a level counts if the 8-bit picture is inside it and fools the verdict."""
    unit, top = f"minimal {condition.key} {batch.first}", highest(settings)
    if kept is not None and (found := kept.read(unit)) is not None:
        return Least(condition=condition, first=batch.first, levels=found["levels"])
    seed = rng.derive(settings.seed, "minimal", condition.key, batch.first)
    whole = budget_in(condition.region, "linf", 1.0, batch.x, batch.salience, batch.threshold).eps
    allowed = whole.expand(len(batch.x), 1, *batch.x.shape[2:])
    model = subject.attacked(condition.access, seed)
    found_ = minimal_levels(attacks.named(condition.attack), model, pixels, batch.y, seed, highest=top, allowed=allowed)
    levels, adversarial = found_.levels, to_unit(found_.pixels)
    check(batch.x, adversarial, budget_of(levels, allowed, top))
    verdict = judge(subject.judging(rng.derive(settings.seed, "verdict", batch.first)), adversarial, batch.y)
    levels = torch.where((levels > 0) & (verdict.margins > 0), top + 1, levels)
    if kept is not None:
        kept.write(unit, {"levels": levels}, replaces="")
    return Least(condition=condition, first=batch.first, levels=levels)


def budget_of(levels: Labels, allowed: torch.Tensor, top: int) -> Budget:
    """Returns the budget of pictures that were changed by ``levels`` where allowed; above ``top``: not at all."""
    used = torch.where(levels > top, 0, levels).to(allowed.dtype).view(-1, 1, 1, 1)
    return Budget("linf", allowed * used / 255)


def _grouped(found: list[Least]) -> Iterator[tuple[Condition, list[int]]]:
    for condition in dict.fromkeys(one.condition for one in found):
        parts = sorted((one for one in found if one.condition == condition), key=lambda one: one.first)
        yield condition, torch.cat([one.levels for one in parts]).tolist()


def summary(found: list[Least], top: int) -> tuple[MinimalEps, ...]:
    """Returns how many pictures need each level."""
    return tuple(
        MinimalEps(
            attack=condition.attack,
            region=condition.region,
            access=condition.access,
            highest=top,
            levels=tuple(levels.count(level) for level in range(top + 2)),
        )
        for condition, levels in _grouped(found)
    )


def table(found: list[Least], test: Split, top: int) -> pa.Table:
    """Returns a row for each picture × attack × region × access: its least level, null if no level fools it."""
    rows = [
        (name, condition.attack, condition.region, condition.access, level if level <= top else None)
        for condition, levels in _grouped(found)
        for name, level in zip(test.ids, levels, strict=True)
    ]
    kinds = (pa.string(), pa.string(), pa.string(), pa.string(), pa.int64())
    values = zip(*rows, strict=True) if rows else [()] * len(COLUMNS)
    return pa.table({name: pa.array(v, k) for name, v, k in zip(COLUMNS, values, kinds, strict=True)})
