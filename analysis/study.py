"""What a section of the report may look at: the export, the plan, the machines' outcomes and the settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.foreign_tables import read_foreign
from analysis.machine import evaluation_file, outcomes_file, read_evaluations, read_outcomes, read_training, record_file
from analysis.observers import Observers, read_observers
from analysis.plan import Plan, read_plan
from analysis.trials import Export, read_export
from core import files
from core.annotations.sets import read_record
from core.runs import Evaluation, read_evaluation


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """What was measured and what was decided beforehand.

    Attributes:
        evaluations: cards by run; none if none were given.
        outcomes: rows of ``outcomes.parquet`` by run (docs/contracts.md), of those runs that have the file.
        observers: the law of robot participants, if they were robots.
        training: what is known of each run's training, by run.
        replicates: bootstrap draws.
        seed: of all random numbers.
        progress: show bars on stderr.
        annotations: folders of annotation sets (docs/contracts.md), where salient regions were annotated.
        evaluation_paths: run directories or evaluation.json files that ``evaluations`` were read from.
    """

    export: Export
    plan: Plan
    evaluations: dict[str, Evaluation]
    outcomes: dict[str, pd.DataFrame]
    observers: Observers | None
    training: dict[str, dict[str, Any]]
    replicates: int
    seed: int
    progress: bool = True
    annotations: tuple[Path, ...] = ()
    evaluation_paths: tuple[Path, ...] = ()


def read_study(
    export: Path,
    *,
    columns: Path | None = None,
    annotations: Sequence[Path] = (),
    evaluations: Sequence[Path] = (),
    observers: Path | None = None,
    plan: Path | None = None,
    replicates: int = 2000,
    seed: int = 1,
    progress: bool = True,
) -> Study:
    """Returns the study that the arguments of the command line name, everything read and checked.

    With ``columns`` (a map of columns) ``export`` is a table that another program wrote.

    Raises:
        PercepsilonError: a file is absent, contradicts another or itself, or holds what is not allowed.
    """
    decided = read_plan(plan)
    for directory in annotations:
        read_record(directory)
    return Study(
        export=read_export(export, decided) if columns is None else read_foreign(export, columns, decided),
        plan=decided,
        evaluations=read_evaluations(list(evaluations)),
        outcomes=read_outcomes(evaluations),
        observers=None if observers is None else read_observers(observers),
        training=read_training(list(evaluations)),
        replicates=replicates,
        seed=seed,
        progress=progress,
        annotations=tuple(annotations),
        evaluation_paths=tuple(evaluations),
    )


def input_hashes(
    study: Study,
    *,
    evaluations: Sequence[Path] = (),
    observers: Path | None = None,
    plan: Path | None = None,
    columns: Path | None = None,
) -> dict[str, str]:
    """Returns the SHA-256 of every file that the study was read from, by a name without machine paths."""
    directory = study.export.directory
    hashes = {f"export/{name}": files.sha256_file(directory / name) for name in study.export.files}
    for path in evaluations:
        run = read_evaluation(path).run
        record = record_file(path)
        recipe = None if record is None else record.with_name("config.toml")
        named = (("evaluation.json", evaluation_file(path)), ("record.json", record))
        known = recipe if recipe is not None and recipe.is_file() else None
        for name, file in (*named, ("config.toml", known), ("outcomes.parquet", outcomes_file(path))):
            if file is not None:
                hashes[f"{run}/{name}"] = files.sha256_file(file)
    for annotated in study.annotations:
        for file in (annotated / "annotations.json", annotated / "agreement.json"):
            if file.is_file():
                hashes[f"annotations/{annotated.name}/{file.name}"] = files.sha256_file(file)
    for name, file in (("observers.toml", observers), ("plan.toml", plan), ("columns.toml", columns)):
        if file is not None:
            hashes[name] = files.sha256_file(file)
    return hashes
