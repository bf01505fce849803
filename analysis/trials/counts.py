"""What is left of an export: compact answers, and counts by participant × source model × ε.

What follows works on these, so that its cost grows with cells, not with trials.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.likelihood import Floats
from analysis.trials.checks import says_signal
from analysis.trials.leaving_out import Exclusion, order
from core.manifest import Stimulus

Task = Literal["yes-no", "2afc", "same-different"]
Ints = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Counts of answers: P participants × L cells; the first cell is ε = 0, which belongs to no source model.

    Attributes:
        models: names of the M source models, sorted.
        eps: ε of each cell in grey levels, [L].
        model: index of each cell's source model, −1 where ε = 0, [L].
        yes: answers "yes" ("different"; in 2afc: right ones), [P, L].
        trials: answered trials, [P, L].
        choices: alternatives of a forced choice, of which chance finds one in ``choices``; 2 in our own studies.
    """

    models: tuple[str, ...]
    participants: tuple[str, ...]
    eps: Floats
    model: NDArray[np.int64]
    yes: Floats
    trials: Floats
    choices: int = 2

    def columns(self, model: int) -> NDArray[np.int64]:
        """Returns the cells of one source model, the one without signal first."""
        return np.concatenate([np.flatnonzero(self.model == -1), np.flatnonzero(self.model == model)])


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """The N answers that entered the analysis, by participant and in the order of showing; each array [N].

    Attributes:
        participant: index into ``cells.participants``; ``cell``: into ``cells.eps`` (0: ε = 0).
        cell: see there.
        picture: index into ``pictures``, the source ids; ``stimulus``: into ``stimuli``, the stimulus ids.
        stimulus: see there.
        yes: the answer is "yes" or "different"; in 2afc: it names the picture in question.
        rating: confidence, negative with a "no"; 0 where it was not asked.
        rt_ms: reaction time, NaN where unknown.
        order: place of the trial in its session.
        side: of the picture in question, −1 left, 1 right, 0 none (yes-no).
        picked_left: the answer was "left" (2afc alone).
        fooled: by stimulus, [S]: whether it fools its source model, 1 or 0; −1: a reference, or unknown.
        margin: by stimulus, [S]: of its source model, negative when fooled; NaN for a reference.
    """

    participant: Ints
    cell: NDArray[np.int16]
    picture: Ints
    stimulus: Ints
    yes: NDArray[np.bool_]
    rating: NDArray[np.int8]
    rt_ms: NDArray[np.float32]
    order: Ints
    side: NDArray[np.int8]
    picked_left: NDArray[np.bool_]
    pictures: tuple[str, ...]
    stimuli: tuple[str, ...]
    fooled: NDArray[np.int8]
    margin: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Export:
    """What an export says, after the exclusions.

    Attributes:
        files: every file that was read, by its path inside the export.
        cells: counts of the answers left in; ``without_optional``: those without the plan's optional rules, ``None``
            where it has none.
        trials: every row of the table, compact (text as categories); ``kept``: which of them are left in.
        people: rows of the table of participants, without those who withdrew.
        selected_on: by what the stimulus sets kept their pictures: ``none``, ``fooled``, ``minimal``.
        robots: sessions whose client said that it is a robot, among those left in.
        reaction_time_ms: quartiles of the reaction time of the trials left in; ``None`` where none is known.
        largest_eps_difference: largest |measured ε − asked ε| in grey levels.
        level_name, level_unit: what ε is in another program's table (contrast, %), where its map says so.
    """

    directory: Path
    files: tuple[str, ...]
    protocol_hash: str
    task: Task
    cells: Cells
    without_optional: Cells | None
    answers: Answers
    exclusions: tuple[Exclusion, ...]
    trials: pd.DataFrame
    kept: NDArray[np.bool_]
    people: pd.DataFrame
    selected_on: tuple[str, ...]
    pictures: int
    stimuli: int
    sessions: int
    robots: int
    reaction_time_ms: tuple[float | None, float | None, float | None]
    largest_eps_difference: float
    level_name: str = ""
    level_unit: str = ""

    @property
    def eps_unit(self) -> str:
        """The unit of ε: grey levels of 255 in our stimulus sets; of another program's table what its map says."""
        return "grey levels" if self.selected_on else self.level_unit


def run_of(model: str) -> str:
    """Returns the run of a source model's name, which is ``<run>`` or, with several regions, ``<run>/<region>``."""
    return model.partition("/")[0]


def count(trials: pd.DataFrame, task: Task, stimuli: Mapping[str, Stimulus]) -> tuple[Cells, Answers]:
    """Returns the counts and the compact answers of trials; which rows come first changes nothing."""
    owner, models = _owners(trials)
    eps = trials["eps_asked"].to_numpy()
    keys, cell = _keys(owner, eps)
    people, person = _index(trials["participant_id"])
    yes = says_signal(trials, task)
    shape = (len(people), len(keys))
    flat = person.astype(np.int64) * shape[1] + cell
    cells = Cells(
        models=models,
        participants=people,
        eps=np.array([level for _, level in keys]),
        model=np.array([index for index, _ in keys]),
        yes=np.bincount(flat, yes, minlength=shape[0] * shape[1]).reshape(shape).astype(float),
        trials=np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape).astype(float),
    )
    return cells, _answers(trials, person, cell, yes, stimuli)


def _owners(trials: pd.DataFrame) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Index of each trial's source model, −1 without signal, and the models' names."""
    run, region = trials["run"].cat, trials["region"].cat
    signal = trials["eps_asked"].to_numpy() > 0
    regions = np.unique(region.codes.to_numpy()[signal])
    several = len(regions) > 1
    pair = run.codes.to_numpy().astype(np.int64) * len(region.categories) + several * region.codes.to_numpy()
    found = np.unique(pair[signal])
    names = {}
    for code in found:
        first, second = divmod(int(code), len(region.categories))
        names[int(code)] = run.categories[first] + (f"/{region.categories[second]}" if several else "")
    models = tuple(sorted(names.values()))
    place = np.array([models.index(names[int(code)]) for code in found])
    return np.where(signal, place[np.searchsorted(found, pair).clip(max=len(found) - 1)], -1), models


def _keys(owner: NDArray[np.int64], eps: Floats) -> tuple[list[tuple[int, float]], NDArray[np.int16]]:
    levels = np.unique(np.append(eps, 0.0))
    code = (owner + 1) * len(levels) + np.searchsorted(levels, eps)
    found = np.unique(np.append(code, 0))
    keys = [(int(value // len(levels)) - 1, float(levels[value % len(levels)])) for value in found]
    return keys, np.searchsorted(found, code).astype(np.int16)


def _index(values: pd.Series) -> tuple[tuple[str, ...], Ints]:
    """The words that occur, sorted, and each row's index among them."""
    codes = values.cat.codes.to_numpy()
    used = np.unique(codes)
    words = np.array([values.cat.categories[code] for code in used], dtype=object)
    rank = np.argsort(words, kind="stable")
    place = np.empty(len(values.cat.categories), dtype=np.int32)
    place[used[rank]] = np.arange(len(used), dtype=np.int32)
    return tuple(map(str, words[rank])), place[codes]


def _answers(
    trials: pd.DataFrame, person: Ints, cell: NDArray[np.int16], yes: NDArray[np.bool_], stimuli: Mapping[str, Stimulus]
) -> Answers:
    pictures, picture = _index(trials["source_id"])
    names, stimulus = _index(trials["stimulus_id"])
    place = order(trials).astype(np.int32)
    rows = np.lexsort((trials["trial_index"].to_numpy(), place, person))
    confidence = np.nan_to_num(trials["confidence"].to_numpy()).astype(np.int8)
    fooled = [stimuli[name].fooled if name in stimuli else None for name in names]
    margin = [stimuli[name].margin if name in stimuli else None for name in names]
    return Answers(
        participant=person[rows],
        cell=cell[rows],
        picture=picture[rows],
        stimulus=stimulus[rows],
        yes=yes[rows],
        rating=np.where(yes, confidence, -confidence).astype(np.int8)[rows],
        rt_ms=trials["rt_ms"].to_numpy().astype(np.float32)[rows],
        order=place[rows],
        side=_words(trials["target_side"], {"left": -1, "right": 1}).astype(np.int8)[rows],
        picked_left=_words(trials["response"], {"left": 1}).astype(bool)[rows],
        pictures=pictures,
        stimuli=names,
        fooled=np.array([-1 if value is None else int(value) for value in fooled], dtype=np.int8),
        margin=np.array([np.nan if value is None else value for value in margin], dtype=np.float32),
    )


def _words(values: pd.Series, numbers: Mapping[str, int]) -> NDArray[np.int64]:
    table = np.array([numbers.get(word, 0) for word in values.cat.categories], dtype=np.int64)
    return table[values.cat.codes.to_numpy()]
