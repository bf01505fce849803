"""Reads the export's tables in chunks into compact columns: text as codes of categories, numbers as floats.

Parquet is read where it lies beside the CSV, with the same checks, so that 10⁶ trials stay far below 2 GiB.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from core.errors import ExportError

TRIALS_FILE = "data/table-trials_data.csv"
PARTICIPANTS_FILE = "data/table-participants_data.csv"
NUMBERS = ("trial_index", "position", "eps_asked", "eps_measured", "rt_ms", "confidence", "blur_count")
TRUTHS = ("signal", "correct")
UNKNOWN_ALLOWED = ("position", "rt_ms", "confidence", "blur_count", "correct")
TRIAL_COLUMNS = (
    "session_id", "participant_id", "protocol_hash", "task", "phase", "trial_index", "position", "stimulus_id",
    "source_id", "run", "region", "eps_asked", "eps_measured", "target_side", "signal", "catch", "instructed",
    "response", "correct", "confidence", "rt_ms", "input_type", "blur_count",
)  # fmt: skip
PARTICIPANT_COLUMNS = ("participant_id", "session_id", "status", "excluded", "robot")
TASKS = ("yes-no", "2afc", "same-different")
RESPONSES = {"yes-no": ("yes", "no"), "2afc": ("left", "right"), "same-different": ("same", "different")}
ALLOWED = {
    "task": TASKS,
    "phase": ("practice", "warm-up", "main"),
    "catch": ("", "gross", "instructed"),
    "target_side": ("", "left", "right"),
}
TRUTH = {"true": 1, "1": 1, "false": 0, "0": 0}
AGAIN = "export it again with flask --app study_app export DIR"
BLOCK = 1 << 23
ROWS = 200_000


def table_file(directory: Path, name: str) -> str:
    """Returns the file that a table is read from: its Parquet file where there is one, else the CSV file ``name``."""
    packed = name.removesuffix(".csv") + ".parquet"
    return packed if (directory / packed).is_file() else name


def read_trials(directory: Path) -> pd.DataFrame:
    """Returns the table of trials, a row an answered trial: text columns categorical, truths 1, 0 or −1 (unknown).

    Raises:
        ExportError: a file or column is absent, or a value is not allowed.
    """
    name = table_file(directory, TRIALS_FILE)
    columns: dict[str, Column] = {column: _column(name, column) for column in TRIAL_COLUMNS}
    rows = 0
    for batch in _batches(directory, name, TRIAL_COLUMNS):
        for column, holder in columns.items():
            holder.add(batch.column(column), rows)
        rows += batch.num_rows
    _refuse_empty(name, rows)
    return pd.DataFrame({column: holder.whole() for column, holder in columns.items()})


def read_participants(directory: Path) -> pd.DataFrame:
    """Returns the rows of participants as text, ``robot`` as truth, without those of people who withdrew."""
    name = table_file(directory, PARTICIPANTS_FILE)
    known = set(_header(directory, name))
    extra = tuple(column for column in ("aborted_trials", "checks_failed") if column in known)
    batches = list(_batches(directory, name, PARTICIPANT_COLUMNS, extra))
    _refuse_empty(name, sum(batch.num_rows for batch in batches))
    table = pd.concat(
        [pd.DataFrame({c: _texts(batch.column(c)).to_pylist() for c in batch.schema.names}) for batch in batches],
        ignore_index=True,
    )
    truths = Truths(name, "robot")
    stayed = table["status"] != "withdrawn"  # the others' rows hold nothing
    for row in np.flatnonzero(stayed):
        truths.add(pa.array([table["robot"].iloc[row]]), int(row))
    table = table[stayed].reset_index(drop=True)
    return table.assign(robot=truths.whole() == 1)


class Categories:
    """A text column: codes into a vocabulary that grows with the chunks."""

    def __init__(self, file: str, column: str) -> None:
        self.file, self.column = file, column
        self.vocabulary: dict[str, int] = {}
        self.parts: list[NDArray[np.int32]] = []

    def add(self, array: Any, row: int) -> None:
        """Takes a chunk whose first row is ``row`` of the table."""
        packed = _texts(array).dictionary_encode()
        words = packed.dictionary.to_pylist()
        codes = np.array([self.vocabulary.setdefault(word, len(self.vocabulary)) for word in words], dtype=np.int32)
        own = packed.indices.to_numpy(zero_copy_only=False)
        self._check(words, own, row)
        self.parts.append(codes[own] if len(own) else own.astype(np.int32))

    def _check(self, words: list[str], own: NDArray[np.int32], row: int) -> None:
        allowed = ALLOWED.get(self.column)
        if allowed is None or set(words) <= set(allowed):
            return
        wrong = np.isin(own, [index for index, word in enumerate(words) if word not in allowed])
        refuse(
            wrong, np.array(words)[own], f"expected one of {', '.join(allowed)}", self.column, file=self.file, row=row
        )

    def whole(self) -> pd.Categorical:
        """Returns the column."""
        words = pd.Index(list(self.vocabulary), dtype=object)
        return pd.Categorical.from_codes(np.concatenate(self.parts), categories=words)


class Numbers:
    """A column of numbers, 0 or more; NaN where it is unknown and may be."""

    def __init__(self, file: str, column: str) -> None:
        self.file, self.column = file, column
        self.parts: list[NDArray[np.float64]] = []

    def add(self, array: Any, row: int) -> None:
        """Takes a chunk whose first row is ``row`` of the table."""
        numbers, empty = _parsed(array)
        wrong = ~(np.isfinite(numbers) & (numbers >= 0))
        if self.column in UNKNOWN_ALLOWED:
            wrong &= ~empty
        if wrong.any():
            texts = np.array(_texts(array).to_pylist(), dtype=object)
            refuse(wrong, texts, "expected a number, 0 or more", self.column, file=self.file, row=row)
        self.parts.append(numbers)

    def whole(self) -> NDArray[np.float64]:
        """Returns the column."""
        return np.concatenate(self.parts)


class Truths:
    """A column of truths: 1, 0, or −1 where it is unknown and may be."""

    def __init__(self, file: str, column: str) -> None:
        self.file, self.column = file, column
        self.parts: list[NDArray[np.int8]] = []

    def add(self, array: Any, row: int) -> None:
        """Takes a chunk whose first row is ``row`` of the table."""
        packed = _texts(array).dictionary_encode()
        words = packed.dictionary.to_pylist()
        unknown = -1 if self.column in UNKNOWN_ALLOWED else -2
        values = np.array([TRUTH.get(w.lower(), unknown if w == "" else -2) for w in words], dtype=np.int8)
        own = packed.indices.to_numpy(zero_copy_only=False)
        found = values[own] if len(own) else own.astype(np.int8)
        wrong = found == -2
        if wrong.any():
            refuse(wrong, np.array(words)[own], "expected true or false", self.column, file=self.file, row=row)
        self.parts.append(found)

    def whole(self) -> NDArray[np.int8]:
        """Returns the column."""
        return np.concatenate(self.parts) if self.parts else np.zeros(0, dtype=np.int8)


Column = Categories | Numbers | Truths


def refuse(
    wrong: NDArray[np.bool_], values: Any, expected: str, column: str, *, file: str = TRIALS_FILE, row: int = 0
) -> None:
    """Raises an error about the first wrong row, if there is one.

    Raises:
        ExportError: ``wrong`` holds somewhere; the message names file, row, column, what was expected and what came.
    """
    if not wrong.any():
        return
    first = int(np.flatnonzero(wrong)[0])
    value = values.iloc[first] if isinstance(values, pd.Series) else values[first]
    raise ExportError(
        f"{file}: row {row + first + 2}, column {column!r}: {expected}, got {_plain(value)!r} "
        f"({int(wrong.sum())} such rows); {AGAIN}"
    )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _column(file: str, column: str) -> Column:
    if column in NUMBERS:
        return Numbers(file, column)
    return Truths(file, column) if column in TRUTHS else Categories(file, column)


def _texts(array: Any) -> Any:
    """An array as strings, "" where it is null; Parquet's truths and whole numbers too."""
    strings = array if pa.types.is_string(array.type) else pa.compute.cast(array, pa.string())
    return pa.compute.fill_null(strings, "")


def _parsed(array: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    if not pa.types.is_string(array.type):
        empty = np.asarray(pa.compute.is_null(array).to_numpy(zero_copy_only=False), dtype=bool)
        return np.asarray(pa.compute.cast(array, pa.float64()).to_numpy(zero_copy_only=False)), empty
    empty = np.asarray(pa.compute.equal(array, "").to_numpy(zero_copy_only=False), dtype=bool)
    filled = pa.compute.if_else(pa.array(empty), pa.scalar(None, pa.string()), array)
    try:
        numbers = pa.compute.cast(filled, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:  # word by word, to say which
        numbers = pd.to_numeric(pd.Series(array.to_pylist(), dtype=object), errors="coerce").to_numpy(dtype=float)
    return np.asarray(numbers, dtype=np.float64), empty


def _batches(directory: Path, name: str, columns: tuple[str, ...], extra: tuple[str, ...] = ()) -> Iterator[Any]:
    header = _header(directory, name)
    missing = [column for column in columns if column not in header]
    if missing:
        raise ExportError(f"{name}: missing column {', '.join(map(repr, missing))}; {AGAIN} (has: {', '.join(header)})")
    try:
        yield from _opened(directory / name, [*columns, *extra])
    except (pa.ArrowInvalid, OSError) as problem:
        raise _unreadable(name, problem) from None


def _opened(path: Path, columns: list[str]) -> Iterator[Any]:
    if path.suffix == ".parquet":
        yield from pa.parquet.ParquetFile(path).iter_batches(batch_size=ROWS, columns=columns)
        return
    yield from pa.csv.open_csv(
        path,
        read_options=pa.csv.ReadOptions(block_size=BLOCK),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            include_columns=columns, column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
        ),
    )


def _header(directory: Path, name: str) -> list[str]:
    path = directory / name
    if not path.is_file():
        raise ExportError(f"{directory}: expected the file {name}, found none; {AGAIN}")
    try:
        if path.suffix == ".parquet":
            return list(pa.parquet.read_schema(path).names)
        return list(pd.read_csv(path, nrows=0).columns)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, pa.ArrowInvalid) as problem:
        raise _unreadable(name, problem) from None


def _unreadable(name: str, problem: Exception) -> ExportError:
    kind = "Parquet table" if name.endswith(".parquet") else "CSV table in UTF-8 with a header"
    return ExportError(f"{name}: expected a {kind}, got: {problem}; {AGAIN}")


def _refuse_empty(name: str, rows: int) -> None:
    if rows == 0:
        raise ExportError(f"{name}: expected rows, found only the header; nobody has answered yet")
