"""The report's tables as CSV with full precision, made from results.json."""

from __future__ import annotations

import csv
import io
from typing import Any

Row = dict[str, Any]
BOUNDS = ("estimate", "low", "high")


def csv_tables(results: dict[str, Any]) -> dict[str, str]:
    """Returns the text of each table by its file name; empty tables are left out."""
    tables = {
        "detection.csv": detection_rows(results),
        "thresholds.csv": threshold_rows(results),
        "machine.csv": machine_rows(results),
        "recovery.csv": recovery_rows(results),
        "exclusions.csv": results["exclusions"],
    }
    return {name: _dump(rows) for name, rows in tables.items() if rows}


def detection_rows(results: dict[str, Any]) -> list[Row]:
    """Returns a row a source model × ε, the trials without signal first (source model empty)."""
    rows: list[Row] = []
    if false_alarms := results["observers"]["false_alarms"]:
        rate = {"estimate": false_alarms["rate"], "low": false_alarms["low"], "high": false_alarms["high"]}
        rows.append(_detection_row("", 0.0, false_alarms["trials"], false_alarms["yes"], rate, None, None))
    for name, model in results["source_models"].items():
        rows += [
            _detection_row(name, p["eps"], p["trials"], p["hits"], p["hit_rate"], p["d_prime"], p["criterion"])
            for p in model["by_eps"]
        ]
    return rows


def _detection_row(
    name: str, eps: float, trials: int, yes: int, rate: Row, d_prime: Row | None, criterion: Row | None
) -> Row:
    return {
        "source_model": name, "eps": eps, "trials": trials, "yes": yes, **_bounds("rate", rate),
        **_bounds("d_prime", d_prime), **_bounds("criterion", criterion),
    }  # fmt: skip


def threshold_rows(results: dict[str, Any]) -> list[Row]:
    """Returns a row a source model × threshold; where there is no estimate, ``reason`` says why."""
    return [
        {
            "source_model": name, "threshold": kind, "n_participants": model["n_participants"],
            "n_trials": model["n_trials"], **_bounds("eps", threshold),
            "reason": (threshold["not_estimable"] or {}).get("reason", ""),
        }
        for name, model in results["source_models"].items()
        for kind, threshold in model["threshold"].items()
    ]  # fmt: skip


def machine_rows(results: dict[str, Any]) -> list[Row]:
    """Returns a row a source model × attack × region × ε of machine accuracy; clean accuracy has no attack."""
    rows = []
    for name, model in results["source_models"].items():
        if (machine := model["machine"]) is not None:
            clean = {"attack": "", "region": "", "eps": 0.0, **machine["clean_accuracy"]}
            rows += [
                {"source_model": name, "method": machine["method"], **row}
                for row in (clean, *machine["robust_accuracy"])
            ]
    return rows


def recovery_rows(results: dict[str, Any]) -> list[Row]:
    """Returns a row a quantity whose true value the observers' law gives."""
    shared = results["observers"].get("recovery", {})
    rows = [{"source_model": "", "quantity": name, **found} for name, found in shared.items()]
    for name, model in results["source_models"].items():
        recovery = model.get("recovery", {})
        rows += [
            {
                "source_model": name,
                "quantity": kind,
                **{key: recovery[kind][key] for key in ("true", *BOUNDS, "covered")},
            }
            for kind in ("eps_dprime1", "eps50")
            if recovery.get(kind)
        ]
    return rows


def _bounds(prefix: str, values: Row | None) -> Row:
    return {
        f"{prefix}_{key}" if key != "estimate" else prefix: None if values is None else values[key] for key in BOUNDS
    }


def _dump(rows: list[Row]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
