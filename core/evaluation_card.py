"""From outcomes to the card and the table of outcomes, and from a stored card to what differs from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet
import torch
from scipy.stats import binomtest
from torch import Tensor

from core import attacks, files, runs, self_checks
from core.attacks.autoattack import Ensemble
from core.datasets.split import Split
from core.errors import RunError
from core.evaluation import Outcome, Verdict
from core.evaluation_comparisons import Rights
from core.evaluation_conditions import Condition
from core.runs import Accuracy, Finding

MARGIN_TOLERANCE = 1e-3  # by which a margin may differ when an evaluation is computed again on the same machine


@dataclass(frozen=True, kw_only=True)
class Column:
    """The verdict on all pictures of a split under one condition at one ε, on pictures made against ``source``."""

    source: str
    condition: Condition
    eps: float
    verdict: Verdict

    @property
    def fooled(self) -> Tensor:
        """Which pictures are named wrong, bool [N]."""
        return self.verdict.margins <= 0


def columns(outcomes: Sequence[Outcome]) -> list[Column]:
    """Returns outcomes of one defender put together over batches, attacks on itself first."""
    grouped: dict[tuple[str, Condition, float], list[Outcome]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.source != outcome.defender):
        grouped.setdefault((outcome.source, outcome.condition, outcome.eps), []).append(outcome)
    return [
        Column(source=source, condition=condition, eps=eps, verdict=_joined(members))
        for (source, condition, eps), members in grouped.items()
    ]


def _joined(members: Sequence[Outcome]) -> Verdict:
    verdicts = [member.verdict for member in sorted(members, key=lambda member: member.first)]
    half = [verdict.half for verdict in verdicts if verdict.half is not None]
    part = [verdict.part for verdict in verdicts if verdict.part is not None]
    return Verdict(
        predictions=torch.cat([verdict.predictions for verdict in verdicts]).cpu(),
        margins=torch.cat([verdict.margins for verdict in verdicts]).cpu(),
        half=torch.cat(half).cpu() if half else None,
        part=torch.cat(part).cpu() if part else None,
    )


def curve(found: Sequence[Column], run: str) -> tuple[Accuracy, ...]:
    """Returns accuracy of every column, and the worst case where several attacks on the run share a budget."""
    return (*(_accuracy(column, column.condition.attack, column.fooled) for column in found), *_worst_cases(found, run))


def _worst_cases(found: Sequence[Column], run: str) -> Iterator[Accuracy]:
    for members in _by_budget(found, run).values():
        if len(members) > 1:
            fooled = torch.stack([member.fooled for member in members]).any(dim=0)
            yield _accuracy(members[0], runs.WORST_CASE, fooled)


def _by_budget(found: Sequence[Column], run: str) -> dict[tuple[str, str, float], list[Column]]:
    """Returns the attacks on the run itself, by norm, region and ε."""
    grouped: dict[tuple[str, str, float], list[Column]] = {}
    for column in found:
        if column.source == run and column.eps > 0:
            key = (column.condition.norm, column.condition.region, column.eps)
            grouped.setdefault(key, []).append(column)
    return grouped


def _accuracy(column: Column, attack: str, fooled: Tensor) -> Accuracy:
    pictures, correct = len(fooled), int((~fooled).sum())
    interval = binomtest(correct, pictures).proportion_ci(method="wilson")
    worst, half = attack == runs.WORST_CASE, column.verdict.half
    return Accuracy(
        attack=attack,
        norm=column.condition.norm,
        region=column.condition.region,
        access="full" if worst else column.condition.access,
        source=column.source,
        eps=column.eps,
        pictures=pictures,
        correct=correct,
        accuracy=correct / pictures,
        low=float(interval.low),
        high=float(interval.high),
        disagreement=None if half is None or worst else float((half != column.verdict.predictions).double().mean()),
    )


def rights(found: Sequence[Column], run: str) -> Rights:
    """Returns which pictures stand: clean, under each attack as it was asked for, and under all of one budget.

    Of a randomised run an attack counts as the worst of its accesses.
    """
    clean = [column for column in found if column.eps == 0]
    standing: Rights = {("none", "linf", "full", 0.0): _stand(clean)}
    for (norm, region, eps), members in _by_budget(found, run).items():
        asked = list(dict.fromkeys(member.condition.asked for member in members))
        for name in asked:
            standing[name, norm, region, eps] = _stand([m for m in members if m.condition.asked == name])
        if len(asked) > 1:
            standing[runs.WORST_CASE, norm, region, eps] = _stand(members)
    return standing


def _stand(members: Sequence[Column]) -> list[bool]:
    stand: list[bool] = (~torch.stack([member.fooled for member in members]).any(dim=0)).tolist()
    return stand


def findings(found: Sequence[Column], run: str) -> list[Finding]:
    """Returns what the outcomes say against themselves, each kind once, at the smallest ε where it shows."""
    first: dict[str, Finding] = {}
    for (norm, region, eps), members in sorted(_by_budget(found, run).items(), key=lambda item: item[0]):
        full = [member for member in members if member.condition.access == "full"]
        own = {member.condition.attack: member.fooled for member in full}
        others = {
            f"{column.source} by {column.condition.attack}": column.fooled
            for column in found
            if column.source != run
            and (column.condition.norm, column.condition.region, column.eps) == (norm, region, eps)
        } | {
            f"the bare classifier by {member.condition.attack}": member.fooled
            for member in members
            if member.condition.access == "bare"
        }
        seen = [
            self_checks.square_beats_gradients(*_by_gradient_and_square(full)),
            self_checks.fgsm_beats_pgd(own),
            self_checks.more_steps_weaker(own),
            self_checks.transfer_beats_white_box(own, others),
        ]
        for finding in filter(None, seen):
            where = f"{norm}, {region}, ε = {eps:g}: {finding.message}"
            first.setdefault(finding.code, Finding(code=finding.code, message=where))
    return list(first.values())


def _by_gradient_and_square(members: Sequence[Column]) -> tuple[list[Tensor], list[Tensor]]:
    """Returns what attacks by gradients fooled, and what Square did, alone or as a part of an ensemble."""
    gradients, squares = [], []
    for member in members:
        by_square = [place for place, name in enumerate(_parts(member.condition)) if name.startswith("square")]
        part = torch.zeros_like(member.verdict.predictions) if member.verdict.part is None else member.verdict.part
        hit = torch.isin(part, torch.tensor(by_square, dtype=part.dtype)) & member.fooled
        squares.append(hit)
        gradients.append(member.fooled & ~hit)
    return gradients, squares


def _parts(condition: Condition) -> tuple[str, ...]:
    attack = attacks.named(condition.attack)
    return tuple(part.name for part in attack.parts) if isinstance(attack, Ensemble) else (attack.name,)


def table(found: Sequence[Column], test: Split, classes: Sequence[str]) -> pa.Table:
    """Returns a row for each picture × attack × norm × region × access × source × ε, as ``runs.OUTCOME_COLUMNS``."""
    labels = pa.array([classes[label] for label in test.labels.tolist()])
    return pa.concat_tables([_rows(column, test, labels, classes) for column in found])


def _rows(column: Column, test: Split, labels: Any, classes: Sequence[str]) -> pa.Table:
    condition, verdict = column.condition, column.verdict
    by = _parts(condition) if column.eps > 0 and condition.access != "transfer" else ()
    places = [-1] * len(test) if verdict.part is None else verdict.part.tolist()
    same = {
        "attack": condition.attack,
        "norm": condition.norm,
        "region": condition.region,
        "access": condition.access,
        "source": column.source,
    }
    values = {
        "source_id": pa.array(test.ids),
        "source_class": labels,
        **{name: pa.array([value] * len(test)) for name, value in same.items()},
        "eps": pa.array([column.eps] * len(test), pa.float64()),
        "prediction": pa.array([classes[place] for place in verdict.predictions.tolist()]),
        "margin": pa.array(verdict.margins.tolist(), pa.float64()),
        "fooled": pa.array(column.fooled.tolist()),
        "fooled_by": pa.array([by[place] if by and place >= 0 else None for place in places], pa.string()),
    }
    return pa.table({name: values[name] for name in runs.OUTCOME_COLUMNS})


def write_table(path: Path, rows: pa.Table) -> None:
    """Writes outcomes, atomically."""
    with files.atomic_path(path) as temporary:
        pyarrow.parquet.write_table(rows, temporary)


def read_table(path: Path) -> pa.Table:
    """Returns outcomes.

    Raises:
        RunError: no such file, or not outcomes of this version.
    """
    try:
        rows = pyarrow.parquet.read_table(path)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise RunError(f"{path}: expected outcomes, could not read them ({error}); run core.evaluate again") from None
    if tuple(rows.column_names) != runs.OUTCOME_COLUMNS:
        raise RunError(f"{path}: expected other columns than {', '.join(rows.column_names)}; run core.evaluate again")
    return rows


def differences(stored: runs.Evaluation, now: Sequence[Accuracy], kept: pa.Table, rows: pa.Table) -> list[str]:
    """Returns how a card and its outcomes differ from those computed again; margins may by ``MARGIN_TOLERANCE``."""
    found = []
    if len(stored.curve) != len(now):
        found.append(f"the card has {len(stored.curve)} accuracies, computed again {len(now)}")
    for old, new in zip(stored.curve, now, strict=False):
        if _named(old) != _named(new) or old.correct != new.correct or old.pictures != new.pictures:
            found.append(f"{_named(old)}: {old.correct} of {old.pictures} right, again {new.correct} of {new.pictures}")
    if kept.num_rows != rows.num_rows:
        return [*found, f"outcomes: {kept.num_rows} rows, computed again {rows.num_rows}"]
    names = (name for name in runs.OUTCOME_COLUMNS if name != "margin")
    unlike = {name: _unlike(kept[name].to_pylist(), rows[name].to_pylist()) for name in names}
    found += [f"outcomes: {name} differs in {count} of {rows.num_rows} rows" for name, count in unlike.items() if count]
    apart = pyarrow.compute.max(pyarrow.compute.abs(pyarrow.compute.subtract(kept["margin"], rows["margin"]))).as_py()
    if rows.num_rows and not apart <= MARGIN_TOLERANCE:
        found.append(f"outcomes: margins differ by up to {apart:.3g}, expected at most {MARGIN_TOLERANCE:g}")
    return found


def _unlike(first: Sequence[Any], second: Sequence[Any]) -> int:
    return sum(one != other for one, other in zip(first, second, strict=True))


def _named(row: Accuracy) -> str:
    return f"{row.attack}, {row.norm}, {row.region}, {row.access}, {row.source}, ε = {row.eps:g}"
