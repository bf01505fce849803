"""Evaluations of runs: opened, measured batch by batch, written whole or not at all, computed again."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch

from core import (
    datasets,
    evaluation_card,
    evaluation_maps,
    evaluation_minimal,
    files,
    models,
    progress,
    recipe,
    runs,
    self_checks,
)
from core.attacks import autoattack
from core.datasets import Data
from core.datasets.split import Dataset, Split
from core.devices import deterministic
from core.errors import ConfigError, RunError
from core.evaluation import Batch, Outcome, climb
from core.evaluation_card import Column, columns
from core.evaluation_conditions import CLEAN, EOT, Condition, transferred, white_box
from core.evaluation_maps import RegionMaps
from core.evaluation_minimal import Least
from core.evaluation_partial import Partial, until_written
from core.evaluation_settings import EvaluationSettings
from core.evaluation_subjects import Subject
from core.runs import Evaluation, Finding, RunRecord
from core.tensors import to_unit

_log = logging.getLogger(__name__)
_CHECKED = 64  # pictures that the self-checks look at


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A finished run, ready to be evaluated: its settings resolved, test pictures and maps at hand."""

    run: Path
    settings: EvaluationSettings
    record: RunRecord
    subject: Subject
    weights_sha256: str
    data: Dataset
    fingerprint: str
    test: Split
    maps: RegionMaps | None

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.run.name


@dataclass(kw_only=True)
class Measured:
    """What was found of one run so far."""

    outcomes: list[Outcome] = field(default_factory=list)
    least: list[Least] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """A run's evaluation as it was written."""

    run: Path
    card: Evaluation
    columns: tuple[Column, ...]


Datasets = dict[Data, tuple[Dataset, str]]


def open_run(run: Path, settings: EvaluationSettings, device: torch.device, known: Datasets | None = None) -> Opened:
    """Returns a finished run ready to be evaluated.

    Args:
        run: its directory.
        settings: with paths as seen from it.
        device: where to compute.
        known: data sets that were loaded before, and their fingerprints; gets those that are loaded now.

    Raises:
        RunError: the run is not finished, or the data are not those that it was trained with.
        ConfigError: regions without maps.
    """
    record, model = runs.read_run(run), models.load_classifier(run, device, settings.weights)
    data, fingerprint = _data(run, record, {} if known is None else known)
    if settings.precision == "bfloat16":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stub
    test, maps = data.test.to(device), None
    if settings.regions != ("full",):
        found = evaluation_maps.origin(run, None if settings.salience is None else run / settings.salience)
        maps = evaluation_maps.load(found, test, settings.threshold, device)
    return Opened(
        run=run,
        settings=settings,
        record=record,
        subject=Subject(name=run.name, model=model, votes=settings.votes),
        weights_sha256=files.sha256_file(runs.weights_path(run, settings.weights)),
        data=data,
        fingerprint=fingerprint,
        test=test,
        maps=maps,
    )


def _data(run: Path, record: RunRecord, known: Datasets) -> tuple[Dataset, str]:
    wanted = recipe.read(run).data
    if wanted not in known:
        data = datasets.load(wanted)
        known[wanted] = (data, data.fingerprint())
    data, fingerprint = known[wanted]
    if fingerprint != record.dataset_fingerprint:
        raise RunError(
            f"{run}: expected the data it was trained with (fingerprint {record.dataset_fingerprint[:12]}), "
            f"got {fingerprint[:12]}; restore the data or train again"
        )
    return data, fingerprint


def check_alike(opened: Sequence[Opened]) -> None:
    """Checks that runs can be compared picture by picture.

    Raises:
        RunError: two have the same name, or other pictures, or other maps of the regions.
    """
    first = opened[0]
    for other in opened[1:]:
        if other.fingerprint != first.fingerprint:
            raise RunError(
                f"{other.run}: expected the same pictures as {first.run}, got others; train both on the same data"
            )
        if (other.maps and first.maps) and other.maps.record["maps_sha256"] != first.maps.record["maps_sha256"]:
            raise RunError(
                f"{other.run}: expected the same salience maps as {first.run}, got others; name one source for all "
                "runs by --salience"
            )
        if other.maps and first.maps and other.maps.threshold != first.maps.threshold:
            raise RunError(
                f"{other.run}: expected the threshold {first.maps.threshold:g} of {first.run}, got "
                f"{other.maps.threshold:g}; name one for all runs by --threshold"
            )


def evaluate(opened: Sequence[Opened], *, transfer: bool = False) -> list[Evaluated]:
    """Evaluates runs against attacks on themselves and writes their cards and outcomes.

    Finished units of all runs are kept until the last card is written, so that the same command goes on after a kill;
    of an evaluation that is refused nothing is kept.

    Args:
        opened: the runs.
        transfer: score the pictures made against each run on every other too; no card is written before all are.
    """
    measured = {run.name: Measured() for run in opened}
    partials = [_partial(run, opened if transfer else [run]) for run in opened]
    written = []
    with until_written(partials):
        for run, kept in zip(opened, partials, strict=True):
            others = [other.subject for other in opened if transfer and other is not run]
            started = time.monotonic()
            _collect(run, [run.subject], others, measured, kept)
            measured[run.name].seconds = time.monotonic() - started
            written += [] if transfer else [_written(run, measured.pop(run.name))]
        written += [_written(run, measured[run.name]) for run in opened if transfer]
    return written


def verify(run: Opened, sources: Sequence[Opened], stored: Evaluation) -> list[str]:
    """Returns how a stored card and its outcomes differ from those computed again with its settings; none: equal."""
    if stored.weights_sha256 != run.weights_sha256:
        return [f"weights: the card is of {stored.weights_sha256[:12]}, the run has {run.weights_sha256[:12]}"]
    if stored.dataset_fingerprint != run.fingerprint:
        return [f"pictures: the card is of {stored.dataset_fingerprint[:12]}, the run has {run.fingerprint[:12]}"]
    if (now := _maps_sha256(run.maps)) != (then := (stored.maps or {}).get("maps_sha256")):
        return [f"maps: the card is of {str(then)[:12]}, the source gives {str(now)[:12]}"]
    measured = {run.name: Measured()}
    _collect(run, [run.subject], [], measured, None)
    for source in sources:
        _collect(source, [], [run.subject], measured, None)
    found, suffix = columns(measured[run.name].outcomes), run.settings.suffix
    kept = evaluation_card.read_table(run.run / f"outcomes{suffix}.parquet")
    rows = evaluation_card.table(found, run.test, run.data.classes)
    unlike = evaluation_card.differences(stored, evaluation_card.curve(found, run.name), kept, rows)
    if stored.minimal != _summary(run, measured[run.name]):
        unlike.append("minimal: other levels than in the card")
    return unlike


def _collect(
    run: Opened, own: Sequence[Subject], others: Sequence[Subject], measured: dict[str, Measured], kept: Partial | None
) -> None:
    """Measures one source run; ``own`` is itself if attacks on itself are wanted."""
    plan = _plan(run, own, others)
    smallest = _conditions_of_minimal(run) if own else []
    total = len(run.test) * (sum(len(condition.eps) for condition, _ in plan) + len(smallest))
    with deterministic(), _said_once(), progress.bar(f"evaluate {run.name}", total, "pictures") as bar:
        for outcome in _outcomes(run, plan, kept, bar.update):
            measured[outcome.defender].outcomes.append(outcome)
        for condition in smallest:
            for batch, pixels in _batches(run):
                found = evaluation_minimal.least(run.subject, batch, pixels, condition, run.settings, kept)
                measured[run.name].least.append(found)
                bar.update(len(batch.x))


@contextmanager
def _said_once() -> Iterator[None]:
    """Lets what ensembles have to say, batch after batch, be said once."""
    logger, said = logging.getLogger(autoattack.__name__), set[str]()

    def new(record: logging.LogRecord) -> bool:
        known = record.getMessage() in said
        said.add(record.getMessage())
        return not known

    logger.addFilter(new)
    try:
        yield
    finally:
        logger.removeFilter(new)


Plan = list[tuple[Condition, Sequence[Subject]]]


def _plan(run: Opened, own: Sequence[Subject], others: Sequence[Subject]) -> Plan:
    randomised, plan = run.subject.randomised, []
    if own:
        plan = [(condition, own) for condition in (CLEAN, *white_box(run.settings, randomised=randomised))]
    if others:
        plan += [(condition, others) for condition in transferred(run.settings, randomised=randomised)]
    return plan


def _outcomes(run: Opened, plan: Plan, kept: Partial | None, advance: Callable[[int], object]) -> Iterator[Outcome]:
    for condition, defenders in plan:
        for batch, _ in _batches(run):
            for outcome in climb(run.subject, defenders, batch, condition, run.settings, kept):
                yield outcome
                if outcome.defender == defenders[-1].name:
                    advance(len(batch.x))


def _batches(run: Opened) -> Iterator[tuple[Batch, torch.Tensor]]:
    for first in range(0, len(run.test), run.settings.batch_size):
        chosen = slice(first, first + run.settings.batch_size)
        pixels, x = run.test.pixels[chosen], to_unit(run.test.pixels[chosen])
        if run.settings.precision == "bfloat16":
            x = x.contiguous(memory_format=torch.channels_last)
        yield (
            Batch(
                first=first,
                x=x,
                y=run.test.labels[chosen],
                salience=None if run.maps is None else to_unit(run.maps.levels[chosen]),
                threshold=0.5 if run.maps is None else run.maps.threshold,
            ),
            pixels,
        )


def _conditions_of_minimal(run: Opened) -> list[Condition]:
    if not run.settings.minimal:
        return []
    found = white_box(run.settings, randomised=run.subject.randomised)
    return [condition for condition in found if condition.norm == "linf" and condition.access == "full"]


def _partial(run: Opened, together: Sequence[Opened]) -> Partial:
    place = run.test.pixels.device
    identity = [
        dataclasses.asdict(run.settings),
        [(one.name, one.weights_sha256) for one in (run, *together)],
        run.fingerprint,
        None if run.maps is None else run.maps.record,
        [str(place), torch.__version__, torch.get_num_threads()],
    ]
    digest = files.sha256_bytes(json.dumps(identity, default=str).encode())
    return Partial(run.run / f"evaluation{run.settings.suffix}.partial", digest, place)


def _written(run: Opened, measured: Measured) -> Evaluated:
    """Writes the outcomes and then the card of a run."""
    found, suffix = columns(measured.outcomes), run.settings.suffix
    curve = evaluation_card.curve(found, run.name)
    card = Evaluation(
        schema_version=runs.EVALUATION_VERSION,
        run=run.name,
        method=run.record.method,
        weights_sha256=run.weights_sha256,
        dataset_fingerprint=run.fingerprint,
        seconds=round(measured.seconds, 3),
        device=str(run.test.pixels.device),
        versions={name: version(name) for name in ("torch", "numpy")},
        settings=run.settings,
        randomised=run.subject.randomised,
        curve=curve,
        maps=None if run.maps is None else run.maps.record,
        warnings=tuple(_warnings(run, found)),
        minimal=_summary(run, measured),
    )
    rows = evaluation_card.table(found, run.test, run.data.classes)
    evaluation_card.write_table(run.run / f"outcomes{suffix}.parquet", rows)
    if measured.least:
        levels = evaluation_minimal.table(measured.least, run.test, evaluation_minimal.highest(run.settings))
        evaluation_card.write_table(run.run / f"minimal{suffix}.parquet", levels)
    runs.write_record(run.run / f"evaluation{suffix}.json", card)
    _tell(run, card)
    return Evaluated(run=run.run, card=card, columns=tuple(found))


def _summary(run: Opened, measured: Measured) -> tuple[runs.MinimalEps, ...]:
    if not measured.least:
        return ()
    return evaluation_minimal.summary(measured.least, evaluation_minimal.highest(run.settings))


def _warnings(run: Opened, found: Sequence[Column]) -> list[Finding]:
    """Returns what the self-checks say, of the model on pictures spread over the test split and of the outcomes."""
    every = max(1, len(run.test) // _CHECKED)
    x, y = to_unit(run.test.pixels[::every][:_CHECKED]), run.test.labels[::every][:_CHECKED]
    subject = run.subject
    model = subject.attacked("full", run.settings.seed) if subject.randomised else subject.model
    averaged = subject.randomised and all(_draws(column.condition) >= EOT for column in found)
    with deterministic():
        return [
            *self_checks.of_model(model, x, y, chance_allowed=averaged),
            *evaluation_card.findings(found, run.name),
        ]


def _draws(condition: Condition) -> int:
    """Returns over how many draws an attack averages; enough where it needs no average."""
    name = condition.attack
    if condition.access in ("fixed", "bare", "transfer") or name.startswith(("square", "none")):
        return EOT
    return int(name.rpartition("-eot")[2]) if "-eot" in name else 1


def _tell(run: Opened, card: Evaluation) -> None:
    for finding in card.warnings:
        _log.warning("%s: %s: %s", run.run, finding.code, finding.message)
    apart = [row for row in card.curve if row.disagreement]
    if apart:
        worst = max(apart, key=lambda row: row.disagreement or 0.0)
        _log.warning(
            "%s: bfloat16 and float32 disagree on up to %.1f %% of the pictures (%s, ε = %g); float32 decided",
            run.run, 100 * (worst.disagreement or 0.0), worst.attack, worst.eps,
        )  # fmt: skip


def _maps_sha256(maps: RegionMaps | None) -> str | None:
    return None if maps is None else str(maps.record["maps_sha256"])


def with_sources(settings: EvaluationSettings, run: Path, others: Sequence[Path]) -> EvaluationSettings:
    """Returns settings that name ``others``, whose pictures are scored on ``run``, as seen from it."""
    return dataclasses.replace(settings, sources=tuple(evaluation_maps.relative(other, run) for other in others))


def refuse_same_names(paths: Sequence[Path]) -> None:
    """Refuses runs that files could not tell apart.

    Raises:
        ConfigError: two have the same name.
    """
    names = [path.resolve().name for path in paths]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"runs: expected different names, got {', '.join(twice)} twice; rename a directory")
