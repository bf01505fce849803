"""Tables written as CSV and Parquet at once, chunk by chunk, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from core import files
from study_app.export import columns
from study_app.export.columns import Column

OPTIONS = pyarrow.csv.WriteOptions(quoting_style="needed")


def write(
    stem: Path, described: tuple[Column, ...], chunks: Iterable[list[tuple[Any, ...]]], advance: Callable[[int], object]
) -> int:
    """Writes ``<stem>.csv`` and ``<stem>.parquet``, a row group a chunk; returns the number of rows.

    Args:
        stem: the files' path without their endings.
        described: the columns.
        chunks: rows, each with its values in the order of the columns.
        advance: called after each chunk with its number of rows.
    """
    schema, total = columns.schema(described), 0
    with ExitStack() as stack:
        text = stack.enter_context(files.atomic_path(stem.with_name(f"{stem.name}.csv")))
        packed = stack.enter_context(files.atomic_path(stem.with_name(f"{stem.name}.parquet")))
        with (
            pyarrow.csv.CSVWriter(text, schema, write_options=OPTIONS) as csv,
            pyarrow.parquet.ParquetWriter(packed, schema) as parquet,
        ):
            for chunk in chunks:
                batch = _batch(chunk, schema)
                csv.write_batch(batch)
                parquet.write_batch(batch)
                total += len(chunk)
                advance(len(chunk))
    return total


def _batch(chunk: list[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    values = zip(*chunk, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
