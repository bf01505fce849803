"""What rows of an export have to agree in: with each other, with the participants, and with the sealed manifests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.trials.tables import AGAIN, PARTICIPANTS_FILE, RESPONSES, TRIALS_FILE, refuse
from core.errors import ExportError
from core.manifest import Stimulus, duplicate, read_record, rows

Truth = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the manifests say of the stimuli that were shown, by ``stimulus_id``; ``files`` are those that were read.

    ``selected_on``: by what the sets kept their pictures (``core.manifest.SetRecord``), sorted.
    """

    files: tuple[str, ...]
    selected_on: tuple[str, ...]
    stimuli: dict[str, Stimulus]


def check_trials(trials: pd.DataFrame, file: str = TRIALS_FILE) -> None:
    """Refuses trials that contradict the contract.

    Raises:
        ExportError: with the first row that does, and why.
    """
    tasks = trials["task"]
    refuse(_is_not(tasks, str(tasks.iloc[0])), tasks, "expected one task in an export", "task", file=file)
    _check_signal(trials, file)
    _check_answers(trials, str(tasks.iloc[0]), file)
    twice = trials.duplicated(["session_id", "trial_index"]).to_numpy()
    expected = "expected one row for each session_id and trial_index"
    refuse(twice, trials["trial_index"].astype(int), expected, "trial_index", file=file)
    hashes = trials["protocol_hash"]
    wrong = _is_not(hashes, str(hashes.iloc[0]))
    refuse(wrong, hashes, "expected one protocol in an export", "protocol_hash", file=file)


def _check_signal(trials: pd.DataFrame, file: str) -> None:
    signal = trials["eps_asked"].to_numpy() > 0
    wrong = (trials["signal"].to_numpy() == 1) != signal
    refuse(wrong, trials["signal"] == 1, "expected signal to be true where eps_asked > 0", "signal", file=file)
    wrong = _is_not(trials["run"], "") != signal
    refuse(wrong, trials["run"], "expected a run where eps_asked > 0 and none at 0", "run", file=file)


def _check_answers(trials: pd.DataFrame, task: str, file: str) -> None:
    responses = RESPONSES[task]
    expected = f"expected one of {', '.join(responses)}"
    refuse(~_among(trials["response"], responses), trials["response"], expected, "response", file=file)
    told = _is_not(trials["instructed"], "")
    wrong = told != ~_is_not(trials["catch"], "instructed")
    expected = "expected an answer where catch is instructed, and only there"
    refuse(wrong, trials["instructed"], expected, "instructed", file=file)
    wrong = told & ~_among(trials["instructed"], responses)
    refuse(wrong, trials["instructed"], f"expected one of {', '.join(responses)}", "instructed", file=file)
    if task == "2afc":
        sides = trials["target_side"]
        refuse(~_among(sides, ("left", "right")), sides, "expected one of left, right", "target_side", file=file)
    _check_correct(trials, task, told, file)


def _check_correct(trials: pd.DataFrame, task: str, told: Truth, file: str) -> None:
    signal, correct = trials["eps_asked"].to_numpy() > 0, trials["correct"].to_numpy()
    right = np.where(told, same(trials["response"], trials["instructed"]), says_signal(trials, task) == signal)
    expected = right.astype(int)
    if task == "2afc":
        expected = np.where(told | signal, np.where(told, right, says_signal(trials, task)), -1)
    words = pd.Series(np.where(correct == 1, "true", np.where(correct == 0, "false", "")))
    wrong = correct != expected
    refuse(wrong, words, "expected correct to follow from response and signal", "correct", file=file)


def says_signal(trials: pd.DataFrame, task: str) -> Truth:
    """Returns whether each answer says that there was a change; in 2afc: whether it names the picture in question."""
    if task == "2afc":
        return same(trials["response"], trials["target_side"])
    return ~_is_not(trials["response"], "yes" if task == "yes-no" else "different")


def same(first: pd.Series, second: pd.Series) -> Truth:
    """Returns where two categorical columns hold the same word."""
    codes = second.cat.categories.get_indexer(first.cat.categories)
    return np.asarray(codes[first.cat.codes.to_numpy()] == second.cat.codes.to_numpy())


def _is_not(values: pd.Series, word: str) -> Truth:
    return ~_among(values, (word,))


def _among(values: pd.Series, words: tuple[str, ...]) -> Truth:
    return np.asarray(np.isin(values.cat.categories.to_numpy(), words)[values.cat.codes.to_numpy()])


def check_sessions(trials: pd.DataFrame, participants: pd.DataFrame) -> None:
    """Refuses trials of sessions that are not among the participants', and sessions that are there twice.

    Raises:
        ExportError: there are such.
    """
    unknown = sorted(set(trials["session_id"].cat.categories) - set(participants["session_id"]))
    if unknown:
        raise ExportError(
            f"{TRIALS_FILE}: session {unknown[0]!r} is not in {PARTICIPANTS_FILE} ({len(unknown)} such); {AGAIN}"
        )
    if participants["session_id"].duplicated().any():
        raise ExportError(f"{PARTICIPANTS_FILE}: expected one row a session, found a session twice; {AGAIN}")


def check_stimuli(directory: Path, trials: pd.DataFrame) -> Shown:
    """Compares each trial with the row of its stimulus in the sealed manifests; returns those rows.

    Raises:
        ExportError: there is no manifest, or a trial's stimulus is not in it with that run and ε.
        StimulusError: a manifest is not the one that its ``set.json`` seals.
    """
    sets = sorted(path.parent for path in directory.glob("stimuli/*/set.json"))
    if not sets:
        raise ExportError(f"{directory}: expected stimuli/<set>/set.json and manifest.jsonl, found none; {AGAIN}")
    wanted = set(trials["stimulus_id"].cat.categories)
    stimuli: dict[str, Stimulus] = {}
    selected = {read_record(path).selected_on for path in sets}
    for path in sets:
        stimuli.update(_rows_of(path, wanted))
    keys = trials[["stimulus_id", "run", "eps_asked"]].drop_duplicates()
    for stimulus_id, run, eps in keys.itertuples(index=False):
        row = stimuli.get(stimulus_id)
        if row is None or (row.run or "") != run or row.eps_asked != eps:
            raise ExportError(
                f"{TRIALS_FILE}: stimulus {stimulus_id!r} of run {run!r} at ε = {eps:g} is not in the exported "
                f"manifest with that run and ε; {AGAIN}"
            )
    files = tuple(f"stimuli/{path.name}/{name}" for path in sets for name in ("set.json", "manifest.jsonl"))
    return Shown(files=files, selected_on=tuple(sorted(selected)), stimuli=stimuli)


def _rows_of(directory: Path, wanted: set[str]) -> dict[str, Stimulus]:
    found: dict[str, Stimulus] = {}
    for stimulus in rows(directory):
        if stimulus.stimulus_id in found:
            raise duplicate(directory, stimulus.stimulus_id)
        if stimulus.stimulus_id in wanted:
            found[stimulus.stimulus_id] = stimulus
    return found
