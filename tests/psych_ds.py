"""What Psych-DS 1.5 asks of a data set, as far as files alone can show it, written from its public schema."""

from __future__ import annotations

import csv
import json
import re
from fnmatch import fnmatch
from pathlib import Path

DATA_FILE = re.compile(r"([a-z]+-[a-zA-Z0-9]+)(_[a-z]+-[a-zA-Z0-9]+)*_data\.csv")
KNOWN = {"dataset_description.json", "README.md", "CHANGES.md", ".psychds-ignore"}
REQUIRED = {"@context", "@type", "name", "description", "variableMeasured"}
PROPERTY_VALUE = {"@type", "name", "description", "additionalType", "unitText", "value", "valueReference"}


def problems(directory: Path) -> list[str]:
    """Everything that a validator would object to."""
    description = json.loads((directory / "dataset_description.json").read_text(encoding="utf-8"))
    tables = sorted((directory / "data").rglob("*.csv"))
    return [
        *(f"no {key} in dataset_description.json" for key in sorted(REQUIRED - set(description))),
        *([] if description.get("@type") == "Dataset" else ["not a Dataset"]),
        *([] if re.fullmatch("https?://schema.org/?", description.get("@context", "")) else ["not of schema.org"]),
        *(f"no table in {directory / 'data'}" for _ in range(not tables)),
        *(problem for table in tables for problem in _of_table(table)),
        *_of_variables(description.get("variableMeasured", []), tables),
        *_of_other_files(directory),
    ]


def _read(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def _of_table(path: Path) -> list[str]:
    header, *rows = _read(path)
    found = [] if DATA_FILE.fullmatch(path.name) else [f"{path.name}: not a name of keywords and values"]
    if not header or len(set(header)) < len(header) or "" in header:
        found.append(f"{path.name}: a header with empty or repeated names")
    if any(len(row) != len(header) for row in rows):
        found.append(f"{path.name}: rows of another length than the header")
    if "row_id" in header and len({row[header.index("row_id")] for row in rows}) < len(rows):
        found.append(f"{path.name}: row_id repeats")
    return found


def _of_variables(variables: list, tables: list[Path]) -> list[str]:
    names = [variable["name"] for variable in variables]
    columns = {name for table in tables for name in _read(table)[0]}
    return [
        *(f"column {name} is not in variableMeasured" for name in sorted(columns - set(names))),
        *(f"variable {name} is in no table" for name in sorted(set(names) - columns)),
        *(f"variable {name} is described twice" for name in sorted({name for name in names if names.count(name) > 1})),
        *(f"{variable['name']}: {key} is no property of a PropertyValue"
          for variable in variables for key in sorted(set(variable) - PROPERTY_VALUE)),
        *(f"{variable['name']}: no type" for variable in variables if variable.get("@type") != "PropertyValue"),
    ]  # fmt: skip


def _of_other_files(directory: Path) -> list[str]:
    ignored = (directory / ".psychds-ignore").read_text().split()
    others = [path.relative_to(directory) for path in directory.rglob("*") if path.is_file()]
    return [
        f"{path} is neither known nor ignored"
        for path in others
        if path.as_posix() not in KNOWN
        and not (path.parts[0] == "data" and path.suffix == ".csv")
        and not any(fnmatch(path.name, rule) or f"{path.parts[0]}/" == rule for rule in ignored)
    ]
