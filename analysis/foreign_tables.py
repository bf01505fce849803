"""Reads trials that another program wrote (jsPsych, PsychoPy, any table with a header) by a map of its columns.

The map is a TOML file: which column says what, and what its words mean (docs/foreign_tables.md has three of them). The
result is the ``Export`` of ``analysis.trials``, so that the whole report runs on it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.plan import Plan
from analysis.trials import Exclusion, Export, Task
from analysis.trials.checks import Shown
from analysis.trials.reducing import reduce_rows
from analysis.trials.tables import RESPONSES, TRIAL_COLUMNS
from core import config, files
from core.errors import ConfigError, ExportError

UNKNOWN_TIME = ("", "na", "nan", "null", "none")
TRUE, FALSE = ("1", "true", "yes", "1.0"), ("0", "false", "no", "0.0")
SIGNAL = {"yes-no": "yes", "same-different": "different"}
Truth = NDArray[np.bool_]
Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of the table's columns; ``None`` where it has none.

    Attributes:
        participant: who answered; ``picture``: what the stimulus was made of; ``level``: its strength, 0 for none.
        response: the answer; ``correct``: whether it was right. One will do; with both, ``correct`` decides.
        expected: the right answer, where it and ``response`` tell what is right.
        model: condition, which is the source model of the report.
        rt: reaction time; ``trial``: name of the trial in its session, unique there; ``confidence``: from 1.
        target_side: 2afc: left or right, the side of the picture in question; ``response`` is then left or right.
    """

    participant: str
    picture: str
    level: str
    response: str | None = None
    correct: str | None = None
    expected: str | None = None
    model: str | None = None
    session: str | None = None
    rt: str | None = None
    trial: str | None = None
    confidence: str | None = None
    target_side: str | None = None

    def __post_init__(self) -> None:
        if self.correct is None and self.response is None:
            raise ConfigError("expected 'response' or 'correct', got neither")
        if sum(name is not None for name in (self.correct, self.expected, self.target_side)) > 1:
            raise ConfigError(
                "expected one of 'correct', 'expected' and 'target_side'; each says which answer is right"
            )

    def named(self) -> dict[str, str]:
        """Returns the columns that the table has, by their meaning."""
        return {key: name for key, name in vars(self).items() if name is not None}


@dataclass(frozen=True, kw_only=True)
class ColumnMap:
    """What a table means.

    Attributes:
        task: yes-no, 2afc (one of ``choices`` alternatives is right) or same-different.
        columns: names of the columns.
        choices: alternatives of a forced choice, each as likely as the others by chance.
        model: source model of all trials, where no column says it.
        missing: words in ``response`` or ``correct`` that are no answer; such rows are left out and counted.
        rt_unit: unit of the reaction times.
        level_name: what the level is, as the report says it: contrast, noise; ``level_unit``: its unit, %.
        separator: of the table's columns.
        only_where: a column that is empty in rows that are no trials (instructions, feedback).
        keep: words by column; rows with other words in it are no trials.
        values: what the words of a column mean, by meaning: ``[values.level]`` c05 = 5.
    """

    task: Task
    columns: Columns
    choices: int = 2
    model: str | None = None
    missing: tuple[str, ...] = ("",)
    rt_unit: Literal["ms", "s"] = "ms"
    level_name: str = ""
    level_unit: str = ""
    separator: str = ","
    only_where: str | None = None
    keep: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.choices < 2 or (self.choices > 2 and self.task != "2afc"):
            raise ConfigError(f"choices: expected 2, or with task '2afc' 2 or more, got {self.choices}")
        if (self.model is None) == (self.columns.model is None):
            raise ConfigError('expected columns.model or, where all trials have one source model, model = "name"')
        decides = (self.columns.correct, self.columns.expected, self.columns.target_side)
        if self.task == "2afc" and not any(decides):
            raise ConfigError("columns: with task '2afc' expected 'correct', 'expected' or 'target_side'; add one")
        if self.columns.target_side is not None and (self.task != "2afc" or self.choices > 2):
            raise ConfigError("columns.target_side: expected with task '2afc' and 2 choices alone")
        for key, words in self.values.items():
            if key not in self.columns.named() or not isinstance(words, dict):
                known = ", ".join(self.columns.named())
                raise ConfigError(f"values.{key}: expected a table of words for one of the columns {known}")


def read_foreign(table: Path, columns: Path, plan: Plan | None = None) -> Export:
    """Returns the trials of ``table`` as its map says, after the exclusions of ``plan``.

    Args:
        table: CSV in UTF-8 with a header.
        columns: the map, TOML.
        plan: without one, nothing but rows without an answer is left out.

    Raises:
        ConfigError: the map says something that is unknown or contradicts itself.
        ExportError: a column is absent or a value is not what the map allows; the message names row and column.
    """
    meaning = config.load(ColumnMap, columns)
    raw = _Raw(table.name, _read(table, meaning.separator))
    raw.need([*meaning.columns.named().values(), *meaning.keep, *filter(None, [meaning.only_where])])
    trials, steps = _trials(raw, meaning, files.sha256_file(columns))
    shown = Shown(files=(), selected_on=(), stimuli={})
    export = reduce_rows(table.parent, trials, _people(trials), shown, plan or Plan(), read=(table.name,))
    side = np.zeros_like(export.answers.side) if meaning.columns.target_side is None else export.answers.side
    return replace(
        export,
        cells=replace(export.cells, choices=meaning.choices),
        answers=replace(export.answers, side=side, picked_left=export.answers.picked_left & (side != 0)),
        exclusions=(*steps, *export.exclusions), level_name=meaning.level_name, level_unit=meaning.level_unit,
    )  # fmt: skip


def _read(path: Path, separator: str) -> pd.DataFrame:
    if not path.is_file():
        raise ExportError(f"{path}: no such table; give the path of a CSV file")
    try:
        text = path.read_text(encoding="utf-8-sig")
        table = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as problem:
        raise ExportError(f"{path.name}: expected a CSV table in UTF-8 with a header, got: {problem}") from None
    table.columns = table.columns.str.strip()
    if table.empty:
        raise ExportError(f"{path.name}: expected rows, found only the header; nobody has answered yet")
    return table


@dataclass(frozen=True)
class _Raw:
    """A table as text, and the file's name for messages; the index of ``table`` is the row in the file, from 0."""

    file: str
    table: pd.DataFrame

    def need(self, names: list[str]) -> None:
        """Refuses a table that lacks a column."""
        missing = [name for name in names if name not in self.table]
        if missing:
            raise ExportError(
                f"{self.file}: missing column {', '.join(map(repr, missing))}; name the columns of this table in the "
                f"map (has: {', '.join(self.table.columns)})"
            )

    def where(self, rows: Truth) -> _Raw:
        """Returns the table with the rows where ``rows`` holds."""
        return _Raw(self.file, self.table[rows])

    def refuse(self, wrong: Truth, column: str, expected: str, remedy: str = "mend the table or its map") -> None:
        """Raises an error about the first wrong row, if there is one."""
        if not wrong.any():
            return
        first = int(np.flatnonzero(wrong)[0])
        raise ExportError(
            f"{self.file}: row {self.table.index[first] + 2}, column {column!r}: {expected}, got "
            f"{self.table[column].iloc[first]!r} ({int(wrong.sum())} such rows); {remedy}"
        )


def _trials(raw: _Raw, meaning: ColumnMap, digest: str) -> tuple[pd.DataFrame, tuple[Exclusion, ...]]:
    """The table in the columns of an export, and what was left out because it is no trial or no answer."""
    raw, other = _left(raw, _is_trial(raw.table, meaning), meaning, "rows that are no trials", "other-rows")
    answer = str(meaning.columns.response or meaning.columns.correct)
    answered = ~raw.table[answer].str.strip().isin(meaning.missing).to_numpy()
    raw, unanswered = _left(raw, answered, meaning, "trials without an answer", "no-answer")
    if raw.table.empty:
        raise ExportError(f"{raw.file}: no row is left; look at 'keep', 'only_where' and 'missing' in the map")
    steps = tuple(step for step in (other, unanswered) if step.trials_removed)
    return _columns(raw, meaning, digest), steps


def _is_trial(table: pd.DataFrame, meaning: ColumnMap) -> Truth:
    rows = np.ones(len(table), dtype=bool)
    if meaning.only_where is not None:
        rows &= (table[meaning.only_where].str.strip() != "").to_numpy()
    for column, words in meaning.keep.items():
        wanted = words if isinstance(words, list) else [words]
        rows &= table[column].str.strip().isin([str(word) for word in wanted]).to_numpy()
    return rows


def _left(raw: _Raw, rows: Truth, meaning: ColumnMap, rule: str, kind: str) -> tuple[_Raw, Exclusion]:
    left = raw.where(rows)
    people = [part.table[meaning.columns.participant].nunique() for part in (raw, left)]
    return left, Exclusion(
        rule=rule, kind=kind, optional=False, trials_removed=int((~rows).sum()),
        participants_removed=people[0] - people[1], trials_left=len(left.table), participants_left=people[1],
    )  # fmt: skip


def _columns(raw: _Raw, meaning: ColumnMap, digest: str) -> pd.DataFrame:
    words = _Words(raw, meaning)
    level = words.numbers("level", "a number, 0 or more; give [values.level] for levels in words")
    signal = level > 0
    response, side, right = _answers(words, meaning, signal)
    people, pictures = words.named("participant"), words.named("picture")
    session = people + "/" + words.named("session") if meaning.columns.session else people
    model = words.named("model", signal) if meaning.columns.model else np.full(len(level), meaning.model, dtype=object)
    run = np.where(signal, model, "").astype(object)
    strength = np.array([f"/{value:g}" for value in level], dtype=object)
    stimulus = pictures + np.where(signal, "/" + run + strength, "/reference")
    index = _trial_index(words, session)
    texts = {
        "session_id": session, "participant_id": people, "protocol_hash": digest, "task": meaning.task,
        "phase": "main", "stimulus_id": stimulus, "source_id": pictures, "run": run, "region": "full",
        "target_side": side, "catch": "", "instructed": "", "response": response, "input_type": "",
    }  # fmt: skip
    numbers = {
        "trial_index": index, "position": index, "eps_asked": level, "eps_measured": level,
        "confidence": words.confidence(), "rt_ms": words.times(), "blur_count": np.nan,
        "signal": signal.astype(np.int8), "correct": np.where(right, 1, 0).astype(np.int8),
    }  # fmt: skip
    made = pd.DataFrame({**{key: pd.Categorical(_full(value, len(level))) for key, value in texts.items()},
                         **{key: _full(value, len(level)) for key, value in numbers.items()}})  # fmt: skip
    return made[list(TRIAL_COLUMNS)]


def _full(value: Any, size: int) -> Any:
    return np.full(size, value) if np.ndim(value) == 0 else value


@dataclass(frozen=True)
class _Words:
    """Columns by their meaning, with their words replaced as the map says."""

    raw: _Raw
    meaning: ColumnMap

    def column(self, key: str) -> str:
        """Returns the name of the table's column."""
        return str(getattr(self.meaning.columns, key))

    def texts(self, key: str) -> pd.Series:
        """Returns a column; words for which the map has no other stay."""
        words = {str(word): _plain(value) for word, value in self.meaning.values.get(key, {}).items()}
        return self.raw.table[self.column(key)].str.strip().map(lambda text: words.get(text, text))

    def named(self, key: str, where: Truth | bool = True) -> NDArray[np.object_]:
        """Returns a column of names, none of them empty ``where`` one is due."""
        texts = self.texts(key)
        self.raw.refuse((texts == "").to_numpy() & where, self.column(key), "expected a name")
        return texts.to_numpy(dtype=object)

    def numbers(self, key: str, expected: str) -> Values:
        """Returns a column of numbers, 0 or more."""
        numbers = pd.to_numeric(self.texts(key), errors="coerce").to_numpy(dtype=float)
        self.raw.refuse(~(np.isfinite(numbers) & (numbers >= 0)), self.column(key), f"expected {expected}")
        return numbers

    def choice(self, key: str, allowed: tuple[str, ...]) -> NDArray[np.object_]:
        """Returns a column whose words are ``allowed``."""
        texts = self.texts(key)
        remedy = f"give [values.{key}] that turns the table's words into these"
        wrong = ~texts.isin(allowed).to_numpy()
        self.raw.refuse(wrong, self.column(key), f"expected one of {', '.join(allowed)}", remedy)
        return texts.to_numpy(dtype=object)

    def truths(self, key: str) -> Truth:
        """Returns a column of truths."""
        texts = self.texts(key).str.lower()
        remedy = f"give [values.{key}] with true and false"
        self.raw.refuse(~texts.isin(TRUE + FALSE).to_numpy(), self.column(key), "expected true or false", remedy)
        return texts.isin(TRUE).to_numpy()

    def times(self) -> Values:
        """Returns reaction times in ms; NaN where unknown."""
        if self.meaning.columns.rt is None:
            return np.full(len(self.raw.table), np.nan)
        texts = self.texts("rt")
        unknown = texts.str.lower().isin(UNKNOWN_TIME).to_numpy()
        times = pd.to_numeric(texts.where(~unknown, "nan"), errors="coerce").to_numpy(dtype=float)
        wrong = ~unknown & ~(np.isfinite(times) & (times >= 0))
        self.raw.refuse(wrong, self.column("rt"), f"expected a time in {self.meaning.rt_unit}, 0 or more")
        return times * (1000.0 if self.meaning.rt_unit == "s" else 1.0)

    def confidence(self) -> Values:
        """Returns confidence from 1; NaN where none was asked."""
        if self.meaning.columns.confidence is None:
            return np.full(len(self.raw.table), np.nan)
        numbers = self.numbers("confidence", "a whole number from 1 to 100")
        wrong = (numbers < 1) | (numbers > 100) | (numbers % 1 != 0)
        self.raw.refuse(wrong, self.column("confidence"), "expected a whole number from 1 to 100")
        return numbers


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _answers(words: _Words, meaning: ColumnMap, signal: Truth) -> tuple[Any, Any, Truth]:
    """The answer and the side in the words of an export, and whether the answer was right."""
    if meaning.task == "2afc":
        return _forced_choice(words, meaning)
    yes, no = SIGNAL[meaning.task], next(word for word in RESPONSES[meaning.task] if word != SIGNAL[meaning.task])
    if meaning.columns.correct is None:
        said = words.choice("response", RESPONSES[meaning.task]) == yes
    else:
        said = words.truths("correct") == signal
    return np.where(said, yes, no), "", said == signal


def _forced_choice(words: _Words, meaning: ColumnMap) -> tuple[Any, Any, Truth]:
    """Where no side is known, "left" stands for the right answer; ``read_foreign`` takes the sides out again."""
    if meaning.columns.target_side is not None:
        side, said = (words.choice(key, RESPONSES["2afc"]) for key in ("target_side", "response"))
        return said, side, side == said
    if meaning.columns.correct is not None:
        right = words.truths("correct")
    else:
        right = (words.texts("response") == words.texts("expected")).to_numpy()
    return np.where(right, "left", "right"), "left", right


def _trial_index(words: _Words, session: NDArray[np.object_]) -> Values:
    """The name of each trial in its session: the table's own, or its place among the session's rows."""
    sessions = pd.Series(session)
    place: Values = sessions.groupby(sessions).cumcount().to_numpy().astype(np.float64)
    if words.meaning.columns.trial is None:
        return place
    names = words.numbers("trial", "a number, 0 or more")
    twice = pd.DataFrame({"session": session, "trial": names}).duplicated().to_numpy()
    remedy = "one row a trial; name a column columns.session where trials are numbered anew in each session"
    words.raw.refuse(twice, words.column("trial"), "expected each number once in a session", remedy)
    return names


def _people(trials: pd.DataFrame) -> pd.DataFrame:
    pairs = trials[["participant_id", "session_id"]].astype(object).drop_duplicates().reset_index(drop=True)
    return pairs.assign(status="finished", excluded="", robot=False)
