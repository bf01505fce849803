"""A study that obeys the law of observers, made in memory: what ``read_study`` would have read of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from analysis.likelihood import Floats
from analysis.observers import Observers
from analysis.plan import Plan
from analysis.power.settings import FooledLaw
from analysis.signal_detection import d_prime_at, different_rate
from analysis.study import Study
from analysis.trials import Answers, Cells, Export, Task


@dataclass(frozen=True, kw_only=True)
class Design:
    """Who sees what: every participant every ε of every source model ``trials`` times, and ``noise`` references."""

    task: Task
    participants: int
    models: tuple[str, ...]
    eps: tuple[float, ...]
    trials: int
    noise: int
    pictures: int


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Standard deviations of log2 ε₁ beside the observers' shared one: by participant and model, and by picture."""

    model: float = 0.0
    picture: float = 0.0


def design_of(cells: Cells) -> NDArray[np.int64]:
    """Returns the cell of each trial of a participant who sees ``cells.trials[0]``, [N]."""
    return np.repeat(np.arange(len(cells.eps)), cells.trials[0].astype(int))


def simulated_study(
    design: Design,
    observers: Observers,
    spread: Spread,
    generator: np.random.Generator,
    *,
    fooled: Mapping[str, FooledLaw] | None = None,
    replicates: int = 200,
    seed: int = 1,
) -> Study:
    """Returns a study of observers and pictures drawn from their populations.

    Args:
        design: who sees what.
        observers: their law; what it says of response times is not used.
        spread: how they and the pictures differ beside that.
        generator: of every draw.
        fooled: laws of the machines; without them it is not known which pictures fool.
        replicates: bootstrap draws of the report's estimators.
        seed: of those draws.
    """
    cells = _empty(design)
    cell = np.tile(design_of(cells), design.participants)
    person = np.repeat(np.arange(design.participants), len(cell) // design.participants)
    picture = _pictures(design, len(cell) // design.participants, generator)
    yes = generator.random(len(cell)) < _probability(
        design, observers, spread, cells, (person, cell, picture), generator
    )
    counts = np.zeros_like(cells.trials)
    np.add.at(counts, (person, cell), yes)
    played = Cells(
        models=cells.models, participants=cells.participants, eps=cells.eps, model=cells.model, yes=counts,
        trials=cells.trials,
    )  # fmt: skip
    answers = _answers(design, played, (person, cell, picture), yes, _fools(design, played, fooled, generator))
    return Study(
        export=_export(design, played, answers), plan=Plan(), evaluations={}, outcomes={}, observers=None, training={},
        replicates=replicates, seed=seed, progress=False,
    )  # fmt: skip


def _empty(design: Design) -> Cells:
    levels, models = len(design.eps), len(design.models)
    row = np.repeat([float(design.noise), float(design.trials)], [1, levels * models])
    return Cells(
        models=design.models,
        participants=tuple(f"p{person:04d}" for person in range(design.participants)),
        eps=np.array([0.0, *design.eps * models]),
        model=np.repeat(np.arange(-1, models), [1, *[levels] * models]),
        yes=np.zeros((design.participants, len(row))),
        trials=np.tile(row, (design.participants, 1)),
    )


def _pictures(design: Design, trials: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """The picture of each trial: the pictures round and round, each participant's in an order of their own."""
    rounds = -(-trials // design.pictures)
    orders = [
        np.concatenate([generator.permutation(design.pictures) for _ in range(rounds)])[:trials]
        for _ in range(design.participants)
    ]
    return np.concatenate(orders)


def _probability(
    design: Design, observers: Observers, spread: Spread, cells: Cells, place: tuple[np.ndarray, ...],
    generator: np.random.Generator,
) -> Floats:  # fmt: skip
    """P(yes) of each trial; in 2afc of the right answer; in same-different the criterion is that of differences."""
    person, cell, picture = place
    people = design.participants
    laws = [observers.models[name] for name in design.models]
    shared = generator.standard_normal(people)[:, None] * np.array([law.sd_log2 for law in laws])
    middle = np.log2([law.eps_dprime1 for law in laws])
    threshold = middle + shared + spread.model * generator.standard_normal((people, len(laws)))
    deviate = spread.picture * generator.standard_normal(design.pictures)
    criterion = generator.normal(observers.criterion.mean, observers.criterion.sd, size=people)
    owner = np.maximum(cells.model[cell], 0)
    exponent = np.array([law.exponent for law in laws])[owner]
    d = d_prime_at(cells.eps[cell], threshold[person, owner] + deviate[picture], exponent)
    match design.task:
        case "2afc":
            seen = ndtr(d / np.sqrt(2))
        case "same-different":
            seen = different_rate(d, criterion[person])
        case _:
            seen = ndtr(d - criterion[person])
    return np.asarray(observers.lapse / 2 + (1 - observers.lapse) * seen)


def _fools(
    design: Design, cells: Cells, laws: Mapping[str, FooledLaw] | None, generator: np.random.Generator
) -> NDArray[np.int8]:
    """Whether each picture fools in each cell, [L, I]: 1, 0, or −1 where nothing is known."""
    found = np.full((len(cells.eps), design.pictures), -1, dtype=np.int8)
    if not laws:
        return found
    for index, name in enumerate(design.models):
        least = np.log2(laws[name].eps50) + laws[name].sd_log2 * generator.standard_normal(design.pictures)
        own = cells.model == index
        found[own] = np.log2(cells.eps[own])[:, None] >= least
    return found


def _answers(
    design: Design, cells: Cells, place: tuple[np.ndarray, ...], yes: NDArray[np.bool_], fools: NDArray[np.int8]
) -> Answers:
    person, cell, picture = place
    size = len(cell)
    place_in_session = np.arange(size) % (size // design.participants)
    names = tuple(f"i{picture:04d}" for picture in range(design.pictures))
    return Answers(
        participant=person.astype(np.int32), cell=cell.astype(np.int16), picture=picture.astype(np.int32),
        stimulus=(cell * design.pictures + picture).astype(np.int32), yes=yes, rating=np.zeros(size, np.int8),
        rt_ms=np.full(size, np.nan, np.float32), order=place_in_session.astype(np.int32),
        side=np.zeros(size, np.int8), picked_left=np.zeros(size, bool), pictures=names,
        stimuli=tuple(f"{name}/{column}" for column in range(len(cells.eps)) for name in names),
        fooled=fools.ravel(), margin=np.full(fools.size, np.nan, np.float32),
    )  # fmt: skip


def _export(design: Design, cells: Cells, answers: Answers) -> Export:
    return Export(
        directory=Path(), files=(), protocol_hash="", task=design.task, cells=cells, without_optional=None,
        answers=answers, exclusions=(), trials=pd.DataFrame(), kept=np.ones(len(answers.yes), dtype=bool),
        people=pd.DataFrame(), selected_on=("none",), pictures=design.pictures, stimuli=len(answers.stimuli),
        sessions=design.participants, robots=design.participants, reaction_time_ms=(None, None, None),
        largest_eps_difference=0.0,
    )  # fmt: skip
