"""The columns of the export, as data: the tables' schema and their data dictionary are both made from these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

Kind = Literal["text", "whole", "number", "truth"]
ARROW = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64(), "truth": pa.bool_()}
MEASURED = {"text": "string", "whole": "integer", "number": "number", "truth": "boolean"}


@dataclass(frozen=True)
class Column:
    """One column: what it means, in what unit, and what may stand in it (``allowed`` is empty when anything may)."""

    name: str
    kind: Kind
    description: str
    unit: str = ""
    allowed: tuple[str, ...] = ()


TRIALS = (
    Column("session_id", "text", "Random id of the session."),
    Column("participant_id", "text", "Random id of the participant."),
    Column("protocol_hash", "text", "SHA-256 of protocol.toml."),
    Column("app_version", "text", "Version of the study server at the start of the session."),
    Column("task", "text", "What the participant judged.", allowed=("yes-no",)),
    Column("phase", "text", "Practice trials give feedback, main trials do not.", allowed=("practice", "main")),
    Column("block", "whole", "Block of trials between two breaks, from 0."),
    Column("trial_index", "whole", "Place of the trial in the session, from 0."),
    Column("stimulus_id", "text", "The picture shown, as in the manifest."),
    Column("source_id", "text", "The picture that it was made from."),
    Column("source_class", "text", "Class of the source picture."),
    Column("run", "text", "Source model: name of its run; empty for an unperturbed picture."),
    Column("method", "text", "Training method of the source model; empty for an unperturbed picture."),
    Column("attack", "text", "Attack that made the picture; empty for an unperturbed picture."),
    Column("region", "text", "Where the perturbation was allowed.", allowed=("full", "salient", "background")),
    Column("eps_asked", "whole", "Largest change that was allowed.", "grey level"),
    Column("eps_measured", "whole", "Largest change in the file that was shown.", "grey level"),
    Column("sha256", "text", "SHA-256 of the PNG file shown."),
    Column("signal", "truth", "Whether the picture was perturbed."),
    Column("response", "text", "Answer to the question whether the picture was changed.", allowed=("yes", "no")),
    Column("correct", "truth", "Whether the answer was right."),
    Column("rt_ms", "number", "From the painted onset of the picture to the input event.", "ms"),
    Column("onset_ms", "number", "Painted onset, since the page was opened.", "ms"),
    Column("frames_planned", "whole", "Frames that the picture was to be shown; empty: until the answer.", "frame"),
    Column("frames_shown", "whole", "Frames from onset to answer.", "frame"),
    Column("long_frames", "whole", "Frames between onset and answer that took more than 1.5 refresh periods.", "frame"),
    Column("refresh_hz", "number", "Refresh rate, estimated before onset.", "Hz"),
    Column("device_pixel_ratio", "number", "Device pixels per CSS pixel."),
    Column("css_px", "number", "Side of the picture as shown.", "CSS pixel"),
    Column("scale", "whole", "Device pixels per picture pixel along a side.", "device pixel"),
    Column(
        "input_type", "text", "What the answer was given with.", allowed=("keyboard", "mouse", "touch", "pen", "robot")
    ),
    Column("yes_side", "text", "Side of the yes answer for this participant.", allowed=("left", "right")),
    Column("blur_count", "whole", "How often the page lost the focus during the trial."),
    Column("hidden_count", "whole", "How often the page was hidden during the trial."),
    Column("attempt", "whole", "How often the trial was begun; more than 1 after a reload."),
    Column("client_uuid", "text", "Random id of the answer, made by the browser."),
    Column("received_at", "text", "When the server stored the answer.", "ISO 8601, UTC"),
)

PARTICIPANTS = (
    Column("participant_id", "text", "Random id of the participant."),
    Column("session_id", "text", "Random id of the session."),
    Column("protocol_hash", "text", "SHA-256 of protocol.toml."),
    Column(
        "status",
        "text",
        "How far the participant came; abandoned: silent for longer than the protocol allows.",
        allowed=("finished", "started", "abandoned"),
    ),
    Column("locale", "text", "Language that the browser asked for; empty if it did not."),
    Column("consented_at", "text", "When consent was given.", "ISO 8601, UTC"),
    Column("started_at", "text", "When the session began.", "ISO 8601, UTC"),
    Column("finished_at", "text", "When the last answer was in; empty if it is not.", "ISO 8601, UTC"),
    Column("practice_trials", "whole", "Practice trials answered."),
    Column("main_trials", "whole", "Main trials answered."),
    Column("robot", "truth", "Whether the client said that it is a robot."),
)


def schema(columns: tuple[Column, ...]) -> pa.Schema:
    """Returns the columns as an Arrow schema."""
    return pa.schema([pa.field(column.name, ARROW[column.kind]) for column in columns])


def dictionary(*tables: tuple[Column, ...]) -> list[dict[str, Any]]:
    """Returns the data dictionary of the tables as schema.org ``PropertyValue`` objects, each name once."""
    merged = {column.name: column for table in tables for column in table}
    return [_property(column) for column in merged.values()]


def _property(column: Column) -> dict[str, Any]:
    value: dict[str, Any] = {
        "@type": "PropertyValue",
        "name": column.name,
        "description": column.description,
        "dataType": MEASURED[column.kind],
    }
    if column.unit:
        value["unitText"] = column.unit
    if column.allowed:
        value["valueReference"] = [{"@type": "PropertyValue", "value": allowed} for allowed in column.allowed]
    return value
