"""The cells of the simulation: what is simulated, how often, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from benchmarks.coverage import (
    agreements,
    bands,
    checks_and_fits,
    demo_design,
    joint_studies,
    machine_studies,
    mixed_model_studies,
    own_thresholds,
    people,
    picture_studies,
    pooled_curves,
    ratings_and_times,
    sensitivities,
    single_curves,
    threshold_studies,
    without_shape,
)
from benchmarks.coverage.cell import Cell
from benchmarks.coverage.people import People
from benchmarks.coverage.single_curves import Curve

PEOPLE = (
    People(participants=8, trials=20, sd=0.875),
    People(participants=20, trials=10, sd=0.25),
    People(participants=20, trials=10, sd=0.875),
    People(participants=20, trials=20, sd=0.875),
    People(participants=40, trials=10, sd=0.875),
    People(participants=20, trials=20, sd=0.875, models=2, shift=0.5),
    People(participants=8, trials=20, sd=0.5, models=3, task="2afc"),
    People(participants=20, trials=20, sd=0.875, models=3, task="2afc"),
    People(participants=20, trials=20, sd=0.25, models=2, shift=0.5, task="2afc"),
    People(participants=8, trials=20, sd=0.5, models=3, task="same-different"),
    People(participants=20, trials=20, sd=0.5, models=3, task="same-different"),
)


CURVES = (
    *(Curve(task=task, trials=n, lapse=lapse, tested=(task, n, lapse) == ("yes-no", 10, 0.05))
      for task in ("2afc", "yes-no") for n in (10, 20, 40) for lapse in (0.0, 0.05)),
    *(Curve(task=task, trials=20, tested=True, integrated=True) for task in ("2afc", "yes-no")),
    *(Curve(task=task, trials=40, tested=task == "yes-no") for task in ("2afc", "yes-no")),
    *(Curve(task=task, trials=40, upper_half=True, tested=task == "yes-no") for task in ("2afc", "yes-no")),
    *(Curve(task=task, trials=20, lapse=0.05, upper_half=True) for task in ("2afc", "yes-no")),
    Curve(task="yes-no", trials=40, family="gumbel", fitted="gumbel"),
    *(Curve(task=task, trials=40, wide=True) for task in ("2afc", "yes-no")),
    *(Curve(task=task, trials=40, eta=0.2, integrated=True) for task in ("2afc", "yes-no")),
    *(Curve(task="yes-no", trials=n, family="student-t", tested=True) for n in (40, 160)),
)  # fmt: skip


PRINTED = (
    *joint_studies.CELLS, *threshold_studies.CELLS, *picture_studies.CELLS, *machine_studies.CELLS,
    *sensitivities.CELLS, *ratings_and_times.CELLS, *own_thresholds.CELLS,
    *checks_and_fits.CELLS, *agreements.CELLS, *pooled_curves.CELLS, *bands.CELLS, *without_shape.CELLS,
)  # fmt: skip


def cells(scale: float = 1.0) -> list[Cell]:
    """Returns all cells; ``scale`` multiplies how many studies each simulates."""
    return [
        *(_curve(curve, scale) for curve in CURVES),
        *(_people(design, scale) for design in PEOPLE),
        *(_demo(scenario, scale) for scenario in demo_design.SCENARIOS),
        *(replace(cell, times=_times(cell.times, scale)) for cell in PRINTED),
        *(_crossed(design, scale) for design in mixed_model_studies.CROSSED),
        Cell(
            name="calibration", words="parameters drawn from the prior, one curve, 2afc, 7 levels × 40 trials",
            times=_times(single_curves.PRIOR_BATCHES, scale), one=single_curves.ranks, shares=single_curves.rank_shares,
        ),
    ]  # fmt: skip


def _people(design: People, scale: float) -> Cell:
    short = f"p{design.participants}-n{design.trials}-sd{design.sd:g}-m{design.models}-shift{design.shift:g}"
    return Cell(
        name=f"people-{design.task}-{short}", words=design.words, times=_times(400, scale),
        one=partial(people.one, design), shares=partial(people.shares, design),
    )  # fmt: skip


def _crossed(design: mixed_model_studies.Crossed, scale: float) -> Cell:
    return Cell(
        name=design.name, words=design.words, times=_times(300, scale),
        one=partial(mixed_model_studies.one, design), shares=partial(mixed_model_studies.shares, design),
    )  # fmt: skip


def _demo(scenario: demo_design.Scenario, scale: float) -> Cell:
    return Cell(
        name=f"demo-p{scenario.participants}-sd{scenario.sd_log2:g}", words=f"the demo's design: {scenario.words}",
        times=_times(400, scale), one=partial(demo_design.one, scenario), shares=demo_design.shares,
    )  # fmt: skip


def _curve(curve: Curve, scale: float) -> Cell:
    return Cell(
        name=f"curve-{curve.name}", words=curve.words, times=_times(single_curves.BATCHES, scale),
        one=partial(single_curves.batch, curve), shares=partial(single_curves.shares, curve),
    )  # fmt: skip


def _times(number: int, scale: float) -> int:
    return max(2, round(number * scale))
