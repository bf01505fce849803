"""Reads an export: checks it, leaves out what the rules say step by step, and reduces it to counts.

What follows works on counts by participant × source model × ε, so that its cost grows with cells, not with trials.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.likelihood import Floats
from core.errors import ExportError
from core.manifest import Stimulus, read_set

TRIALS_FILE = "data/table-trials_data.csv"
PARTICIPANTS_FILE = "data/table-participants_data.csv"
TRIAL_COLUMNS = (
    "session_id", "participant_id", "protocol_hash", "task", "phase", "trial_index", "stimulus_id", "source_id", "run",
    "region", "eps_asked", "eps_measured", "signal", "catch", "instructed", "response", "correct", "rt_ms",
)  # fmt: skip
PARTICIPANT_COLUMNS = ("participant_id", "session_id", "status", "excluded", "robot")
ALLOWED = {
    "phase": ("practice", "warm-up", "main"),
    "response": ("yes", "no"),
    "catch": ("", "gross", "instructed"),
    "instructed": ("", "yes", "no"),
}
TRUTH = {"true": True, "1": True, "false": False, "0": False}
AGAIN = "export it again with flask --app study_app export DIR"


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """One step of leaving out: what the rule says, and how many rows and participants it took away and left."""

    rule: str
    trials_removed: int
    participants_removed: int
    trials_left: int
    participants_left: int


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Counts of answers: P participants × L cells; the first cell is ε = 0, which belongs to no source model.

    Attributes:
        models: names of the M source models, sorted.
        eps: ε of each cell in grey levels, [L].
        model: index of each cell's source model, −1 where ε = 0, [L].
        yes: answers "yes", [P, L].
        trials: answered trials, [P, L].
    """

    models: tuple[str, ...]
    participants: tuple[str, ...]
    eps: Floats
    model: NDArray[np.int64]
    yes: Floats
    trials: Floats

    def columns(self, model: int) -> NDArray[np.int64]:
        """Returns the cells of one source model, the one without signal first."""
        return np.concatenate([np.flatnonzero(self.model == -1), np.flatnonzero(self.model == model)])


@dataclass(frozen=True, kw_only=True)
class Export:
    """What an export says, after the exclusions.

    Attributes:
        files: every file that was read, by its path inside the export.
        robots: sessions whose client said that it is a robot, among those left in.
        reaction_time_ms: quartiles of the reaction time of the trials left in.
        largest_eps_difference: largest |measured ε − asked ε| in grey levels.
    """

    directory: Path
    files: tuple[str, ...]
    protocol_hash: str
    cells: Cells
    exclusions: tuple[Exclusion, ...]
    pictures: int
    stimuli: int
    sessions: int
    robots: int
    reaction_time_ms: tuple[float, float, float]
    largest_eps_difference: float


def read_export(directory: Path) -> Export:
    """Returns the counts of an export and how it came to them.

    Raises:
        ExportError: a file or column is absent, a value is not allowed, rows are duplicated or contradict each other,
            or no trial is left.
    """
    if not directory.is_dir():
        raise ExportError(f"{directory}: no such export directory; make it with flask --app study_app export DIR")
    trials = _read_table(directory, TRIALS_FILE, TRIAL_COLUMNS)
    participants = _read_table(directory, PARTICIPANTS_FILE, PARTICIPANT_COLUMNS)
    trials = _checked_trials(trials)
    participants = participants[participants["status"] != "withdrawn"].copy()  # rows without data
    participants["robot"] = _booleans(participants["robot"], PARTICIPANTS_FILE)
    _check_sessions(trials, participants)
    manifests = _check_stimuli(directory, trials)
    kept, exclusions = _exclude(trials, participants)
    sessions = participants[participants["session_id"].isin(kept["session_id"])]
    quartiles = np.quantile(kept["rt_ms"], [0.25, 0.5, 0.75])
    return Export(
        directory=directory,
        files=(TRIALS_FILE, PARTICIPANTS_FILE, *manifests),
        protocol_hash=str(kept["protocol_hash"].iloc[0]),
        cells=_count(kept),
        exclusions=exclusions,
        pictures=int(kept["source_id"].nunique()),
        stimuli=int(kept["stimulus_id"].nunique()),
        sessions=len(sessions),
        robots=int(sessions["robot"].sum()),
        reaction_time_ms=(float(quartiles[0]), float(quartiles[1]), float(quartiles[2])),
        largest_eps_difference=float((kept["eps_measured"] - kept["eps_asked"]).abs().max()),
    )


def _read_table(directory: Path, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    path = directory / name
    if not path.is_file():
        raise ExportError(f"{directory}: expected the file {name}, found none; {AGAIN}")
    try:
        header = list(pd.read_csv(path, nrows=0).columns)
        missing = [column for column in columns if column not in header]
        if missing:
            raise ExportError(
                f"{name}: missing column {', '.join(map(repr, missing))}; {AGAIN} (has: {', '.join(header)})"
            )
        table = pd.read_csv(path, usecols=list(columns), dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as problem:
        raise ExportError(f"{name}: expected a CSV table in UTF-8 with a header, got: {problem}; {AGAIN}") from None
    if table.empty:
        raise ExportError(f"{name}: expected rows, found only the header; nobody has answered yet")
    return table


def _checked_trials(trials: pd.DataFrame) -> pd.DataFrame:
    _check_task(trials["task"])
    for column, allowed in ALLOWED.items():
        _refuse(~trials[column].isin(allowed), trials[column], f"expected one of {', '.join(allowed)}", column)
    for column in ("trial_index", "eps_asked", "eps_measured", "rt_ms"):
        numbers = pd.to_numeric(trials[column], errors="coerce")
        _refuse(~np.isfinite(numbers) | (numbers < 0), trials[column], "expected a number, 0 or more", column)
        trials[column] = numbers.astype(float)
    for column in ("signal", "correct"):
        trials[column] = _booleans(trials[column], TRIALS_FILE)
    _check_agreement(trials)
    return trials


def _check_task(tasks: pd.Series[str]) -> None:
    others = sorted(set(tasks) - {"yes-no"})
    if others:
        raise ExportError(
            f"{TRIALS_FILE}: the report is made from yes-no studies, this one has the task {', '.join(others)}; "
            "read its table of trials with a program of your own"
        )


def _check_agreement(trials: pd.DataFrame) -> None:
    signal = trials["eps_asked"] > 0
    _refuse(trials["signal"] != signal, trials["signal"], "expected signal to be true where eps_asked > 0", "signal")
    _refuse((trials["run"] != "") != signal, trials["run"], "expected a run where eps_asked > 0 and none at 0", "run")
    told = trials["instructed"] != ""
    _refuse(
        told != (trials["catch"] == "instructed"),
        trials["instructed"],
        "expected an answer where catch is instructed, and only there",
        "instructed",
    )
    right = ((trials["response"] == "yes") == signal).where(~told, trials["response"] == trials["instructed"])
    _refuse(
        trials["correct"] != right, trials["correct"], "expected correct to follow from response and signal", "correct"
    )
    twice = trials.duplicated(["session_id", "trial_index"])
    _refuse(twice, trials["trial_index"], "expected one row for each session_id and trial_index", "trial_index")
    hashes = trials["protocol_hash"]
    _refuse(hashes != hashes.iloc[0], hashes, "expected one protocol in an export", "protocol_hash")


def _refuse(wrong: pd.Series[bool], values: pd.Series[str], expected: str, column: str) -> None:
    if not wrong.any():
        return
    row = int(np.flatnonzero(wrong)[0])
    raise ExportError(
        f"{TRIALS_FILE}: row {row + 2}, column {column!r}: {expected}, got {values.iloc[row]!r} "
        f"({int(wrong.sum())} such rows); {AGAIN}"
    )


def _booleans(values: pd.Series[str], name: str) -> pd.Series[bool]:
    lower = values.str.lower()
    wrong = ~lower.isin(list(TRUTH))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ExportError(
            f"{name}: row {row + 2}, column {values.name!r}: expected true or false, got {values.iloc[row]!r}; {AGAIN}"
        )
    return lower.map(TRUTH).astype(bool)


def _check_sessions(trials: pd.DataFrame, participants: pd.DataFrame) -> None:
    unknown = sorted(set(trials["session_id"]) - set(participants["session_id"]))
    if unknown:
        raise ExportError(
            f"{TRIALS_FILE}: session {unknown[0]!r} is not in {PARTICIPANTS_FILE} ({len(unknown)} such); {AGAIN}"
        )
    if participants["session_id"].duplicated().any():
        raise ExportError(f"{PARTICIPANTS_FILE}: expected one row a session, found a session twice; {AGAIN}")


def _check_stimuli(directory: Path, trials: pd.DataFrame) -> list[str]:
    """Compares each trial with the row of its stimulus in the sealed manifests; returns the files that it read."""
    sets = sorted(path.parent for path in directory.glob("stimuli/*/set.json"))
    if not sets:
        raise ExportError(f"{directory}: expected stimuli/<set>/set.json and manifest.jsonl, found none; {AGAIN}")
    rows: dict[str, Stimulus] = {}
    for path in sets:
        rows.update({stimulus.stimulus_id: stimulus for stimulus in read_set(path).stimuli})
    shown = trials[["stimulus_id", "run", "eps_asked"]].drop_duplicates()
    for stimulus_id, run, eps in shown.itertuples(index=False):
        row = rows.get(stimulus_id)
        if row is None or (row.run or "") != run or row.eps_asked != eps:
            raise ExportError(
                f"{TRIALS_FILE}: stimulus {stimulus_id!r} of run {run!r} at ε = {eps:g} is not in the exported "
                f"manifest with that run and ε; {AGAIN}"
            )
    return [f"stimuli/{path.name}/{name}" for path in sets for name in ("set.json", "manifest.jsonl")]


def _exclude(trials: pd.DataFrame, participants: pd.DataFrame) -> tuple[pd.DataFrame, tuple[Exclusion, ...]]:
    finished = participants.loc[participants["status"] == "finished", "session_id"]
    left_out = participants.loc[participants["excluded"] != "", "session_id"]
    rules = {
        "practice trials": trials["phase"] != "practice",
        "warm-up trials": trials["phase"] != "warm-up",
        "catch trials": trials["catch"] == "",
        "sessions that were not finished": trials["session_id"].isin(finished),
        "participants whom the researcher left out": ~trials["session_id"].isin(left_out),
    }
    kept = pd.Series(True, index=trials.index)
    steps = []
    for rule, passes in rules.items():
        before = trials.loc[kept, "participant_id"].nunique()
        after = trials.loc[kept & passes, "participant_id"].nunique()
        left = int((kept & passes).sum())
        steps.append(
            Exclusion(
                rule=rule,
                trials_removed=int(kept.sum()) - left,
                participants_removed=before - after,
                trials_left=left,
                participants_left=after,
            )
        )
        kept &= passes
    if not kept.any():
        raise ExportError(
            f"{TRIALS_FILE}: no trial is left after leaving out {', '.join(rules)}; let participants finish first"
        )
    if not trials.loc[kept, "signal"].any():
        raise ExportError(f"{TRIALS_FILE}: no trial with a perturbed picture is left, so there is nothing to report")
    return trials[kept], tuple(steps)


def run_of(model: str) -> str:
    """Returns the run of a source model's name, which is ``<run>`` or, with several regions, ``<run>/<region>``."""
    return model.partition("/")[0]


def _count(trials: pd.DataFrame) -> Cells:
    regions = sorted(set(trials["region"][trials["signal"]]))
    names = trials["run"] if len(regions) < 2 else (trials["run"] + "/" + trials["region"]).where(trials["signal"], "")
    models = tuple(sorted(set(names[trials["signal"]])))
    participants = tuple(sorted(set(trials["participant_id"])))
    owner = names.map({name: index for index, name in enumerate(models)}).fillna(-1).astype(int)
    keys = sorted({(-1, 0.0), *zip(owner, trials["eps_asked"], strict=True)})
    column = pd.Series(list(zip(owner, trials["eps_asked"], strict=True)), index=trials.index).map(
        {key: index for index, key in enumerate(keys)}
    )
    row = trials["participant_id"].map({name: index for index, name in enumerate(participants)})
    counts = np.zeros((2, len(participants), len(keys)))
    np.add.at(counts[0], (row.to_numpy(), column.to_numpy()), (trials["response"] == "yes").to_numpy(dtype=float))
    np.add.at(counts[1], (row.to_numpy(), column.to_numpy()), 1.0)
    return Cells(
        models=models,
        participants=participants,
        eps=np.array([eps for _, eps in keys]),
        model=np.array([index for index, _ in keys]),
        yes=counts[0],
        trials=counts[1],
    )
