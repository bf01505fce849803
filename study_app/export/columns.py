"""The columns of the export, as data: the tables' schema and their data dictionary are both made from these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

Kind = Literal["text", "whole", "number", "truth"]
ARROW = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64(), "truth": pa.bool_()}
SCHEMA_ORG = {"text": "Text", "whole": "Integer", "number": "Number", "truth": "Boolean"}
MOMENT = "ISO 8601, UTC"


@dataclass(frozen=True)
class Column:
    """One column: what it means, in what unit, and what may stand in it (``allowed`` is empty when anything may)."""

    name: str
    kind: Kind
    description: str
    unit: str = ""
    allowed: tuple[str, ...] = ()


SESSION = Column("session_id", "text", "Random id of the session.")
PARTICIPANT = Column("participant_id", "text", "Random id of the participant.")
PROTOCOL = Column("protocol_hash", "text", "SHA-256 of protocol.toml.")

TRIALS = (
    SESSION,
    PARTICIPANT,
    PROTOCOL,
    Column("app_version", "text", "Version of the study server at the start of the session."),
    Column("task", "text", "What the participant judged.", allowed=("yes-no", "2afc", "same-different")),
    Column(
        "phase",
        "text",
        "Practice trials give feedback, main trials do not; warm-up trials follow a long gap and are not analysed.",
        allowed=("practice", "warm-up", "main"),
    ),
    Column("block", "whole", "Block of trials between two breaks, from 0."),
    Column("trial_index", "whole", "Name of the trial in its session; a trial that was put in later has a higher one."),
    Column("position", "whole", "Place of the trial among those that the session answered, from 0."),
    Column("stimulus_id", "text", "The picture in question, as in the manifest."),
    Column("source_id", "text", "The picture that it was made from."),
    Column("source_class", "text", "Class of the source picture."),
    Column("run", "text", "Source model: name of its run; empty for an unperturbed picture."),
    Column("method", "text", "Training method of the source model; empty for an unperturbed picture."),
    Column("attack", "text", "Attack that made the picture; empty for an unperturbed picture."),
    Column("region", "text", "Where the perturbation was allowed.", allowed=("full", "salient", "background")),
    Column("eps_asked", "whole", "Largest change that was allowed.", "grey level"),
    Column("eps_measured", "whole", "Largest change in the file that was shown.", "grey level"),
    Column("sha256", "text", "SHA-256 of the PNG file of the picture in question."),
    Column("pair", "text", "The unperturbed picture shown beside it; empty in yes-no."),
    Column("target_side", "text", "Side of the picture in question; empty in yes-no.", allowed=("left", "right")),
    Column("signal", "truth", "Whether the picture in question was perturbed."),
    Column(
        "catch",
        "text",
        "Trials that show who attends: gross, a perturbation that nobody misses; instructed, the answer was given.",
        allowed=("gross", "instructed"),
    ),
    Column(
        "instructed",
        "text",
        "The answer that an instructed trial asked for.",
        allowed=("yes", "no", "left", "right", "same", "different"),
    ),
    Column("adaptive", "truth", "Whether ε was chosen from the answers before this trial."),
    Column(
        "response",
        "text",
        "yes-no: was the picture changed; 2afc: the side of the changed one; same-different: are the two the same.",
        allowed=("yes", "no", "left", "right", "same", "different"),
    ),
    Column(
        "correct", "truth", "Whether the answer was right; empty where none was (2afc of two unperturbed pictures)."
    ),
    Column("confidence", "whole", "How sure the participant was, from 1; empty where it was not asked."),
    Column("confidence_rt_ms", "number", "From the appearance of the rating scale to the rating.", "ms"),
    Column("rt_ms", "number", "From the painted onset of the picture to the input event.", "ms"),
    Column("onset_ms", "number", "Painted onset, since the page was opened.", "ms"),
    Column("frames_planned", "whole", "Refreshes that the picture was to be shown; empty: until the answer.", "frame"),
    Column(
        "frames_shown",
        "whole",
        "Refreshes that the picture was shown, missed ones included; self-paced: until the answer.",
        "frame",
    ),
    Column("mask_frames", "whole", "Refreshes that the mask was shown; empty without a mask.", "frame"),
    Column(
        "long_frames",
        "whole",
        "Frames until the answer and the end of a timed display that took more than 1.5 refreshes.",
        "frame",
    ),
    Column("refresh_hz", "number", "Refresh rate, estimated before onset.", "Hz"),
    Column("device_pixel_ratio", "number", "Device pixels per CSS pixel."),
    Column("css_px", "number", "Side of the picture as shown.", "CSS pixel"),
    Column("scale", "whole", "Device pixels per picture pixel along a side.", "device pixel"),
    Column(
        "input_type", "text", "What the answer was given with.", allowed=("keyboard", "mouse", "touch", "pen", "robot")
    ),
    Column(
        "yes_side",
        "text",
        "Side of the answer that says that there is a change (yes, different); empty in 2afc.",
        allowed=("left", "right"),
    ),
    Column("blur_count", "whole", "How often the page lost the focus during the trial."),
    Column("hidden_count", "whole", "How often the page was hidden during the trial."),
    Column(
        "attempt", "whole", "How often the trial was begun, and its pictures were fitted anew while they stood; else 1."
    ),
    Column("client_uuid", "text", "Random id of the row, made by the browser."),
    Column("received_at", "text", "When the server stored the answer.", MOMENT),
)

PARTICIPANTS = (
    PARTICIPANT,
    SESSION,
    PROTOCOL,
    Column(
        "status",
        "text",
        "How far the participant came; abandoned: silent for longer than the protocol allows; "
        "withdrawn: all other columns are empty, because the data were deleted.",
        allowed=("finished", "started", "abandoned", "screened-out", "timed-out", "withdrawn"),
    ),
    Column("excluded", "text", "Reason code with which a researcher left the participant out; empty if nobody did."),
    Column("place", "whole", "Slice of the design that the participant plays; empty if it was given back."),
    Column("language", "text", "Language of the pages, or the one that the browser asked for."),
    Column("consented_at", "text", "When consent was given.", MOMENT),
    Column("started_at", "text", "When the session began.", MOMENT),
    Column("last_seen_at", "text", "When the session gave its last sign of life.", MOMENT),
    Column("finished_at", "text", "When the last answer was in; empty if it is not.", MOMENT),
    Column("ended_at", "text", "When the session was ended otherwise; empty if it was not.", MOMENT),
    Column("practice_trials", "whole", "Practice trials answered."),
    Column("warm_up_trials", "whole", "Warm-up trials answered."),
    Column("main_trials", "whole", "Main trials answered, catch trials among them."),
    Column("aborted_trials", "whole", "Trials that were seen, not answered, and replaced by others."),
    Column("gross_trials", "whole", "Gross catch trials answered."),
    Column("gross_correct", "whole", "Gross catch trials answered rightly."),
    Column("instructed_trials", "whole", "Instructed trials answered."),
    Column("instructed_correct", "whole", "Instructed trials answered as asked."),
    Column("checks_passed", "whole", "Steps before the task that were passed."),
    Column("checks_failed", "whole", "Steps before the task that were not passed."),
    Column("visits", "whole", "Page loads of the task."),
    Column("longest_gap_s", "number", "Longest silence before a page load; empty without one.", "s"),
    Column("window_width", "number", "Width of the window at the device check.", "CSS pixel"),
    Column("window_height", "number", "Height of the window at the device check.", "CSS pixel"),
    Column("css_px_per_mm", "number", "Measured with a bank card; empty if it was not asked.", "CSS pixel/mm"),
    Column("distance_cm", "number", "Distance from the screen, as stated; empty if it was not asked.", "cm"),
    Column("robot", "truth", "Whether the client said that it is a robot."),
)

VISITS = (
    SESSION,
    PARTICIPANT,
    Column("at", "text", "When it happened.", MOMENT),
    Column("gap_s", "number", "Time since the last sign of life of the session.", "s"),
    Column("seen_index", "whole", "Trial that the page before had shown without an answer; empty if none."),
    Column("client_uuid", "text", "Random id of the row, made by the browser."),
)

CHECKS = (
    SESSION,
    PARTICIPANT,
    Column(
        "check",
        "text",
        "Step before the task.",
        allowed=("about-you", "device", "colour-vision", "calibration"),
    ),
    Column("passed", "truth", "Whether the participant fitted."),
    Column("detail", "text", "What was found, as a JSON object."),
    Column("at", "text", "When it happened.", MOMENT),
)

EXCLUSIONS = (
    PARTICIPANT,
    Column("reason", "text", "Reason code with which a researcher left the participant out."),
    Column("at", "text", "When it happened.", MOMENT),
)

TABLES: dict[str, tuple[Column, ...]] = {
    "trials": TRIALS,
    "participants": PARTICIPANTS,
    "visits": VISITS,
    "checks": CHECKS,
    "exclusions": EXCLUSIONS,
}


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
        "additionalType": f"https://schema.org/{SCHEMA_ORG[column.kind]}",
    }
    if column.unit:
        value["unitText"] = column.unit
    if column.allowed:
        value["valueReference"] = [{"@type": "PropertyValue", "value": allowed} for allowed in column.allowed]
    return value
