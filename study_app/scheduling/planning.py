"""The plan of a session as rows of the database: what the pure functions of ``scheduling`` say, with opaque tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.pool import Pool

from study_app import detection, registration, scheduling, security
from study_app.detection import DetectionProtocol
from study_app.models import PlannedTrial, Protocol
from study_app.scheduling import Cell, Design, Placement, adaptive
from study_app.scheduling.adaptive import Law

POSITION_STEP = 100_000  # room for trials that are put in between two others later
REPLACED_STEP = 100  # from a trial to the one that stands in for it; the room between is for warm-up trials
KEPT_PROTOCOLS = 4  # whose material is kept in memory


@dataclass(frozen=True)
class Material:
    """What plans are made from: the protocol, its design, and the set's row of each (source, cell)."""

    settings: DetectionProtocol
    design: Design
    rows: dict[tuple[str, Cell | None], int]


_KEPT: WeakKeyDictionary[Pool, dict[tuple[str, int], Material]] = WeakKeyDictionary()


def material(database: DatabaseSession, protocol: Protocol) -> Material:
    """Returns the material of a registered protocol, read once for each pool of connections: sets do not change."""
    kept = _KEPT.setdefault(database.connection().engine.pool, {})
    key = (protocol.source, protocol.set_id)
    if key not in kept:
        while len(kept) >= KEPT_PROTOCOLS:
            kept.pop(next(iter(kept)), None)
        kept[key] = _read(database, protocol)
    return kept[key]


def _read(database: DatabaseSession, protocol: Protocol) -> Material:
    settings = detection.parse(protocol.source, protocol.name)
    rows = registration.usable(database, protocol.set_id, settings.region, settings.attack)
    return Material(settings, registration.make_design(settings, rows), rows)


def planned(of: Material, place: int) -> list[PlannedTrial]:
    """Returns the whole plan of the participant at this place."""
    trials = scheduling.plan(of.design, place)
    rows = [planned_trial(of, trial, index, index * POSITION_STEP) for index, trial in enumerate(trials)]
    if rows and not rows[0].placed and (cell := trials[0].cell) is not None:
        level = adaptive.next_level(law(of.settings, of.design.eps), ())
        rows[0].stimulus_id, rows[0].placed = of.rows[trials[0].source_id, Cell(cell.run, level)], True
    return rows


def planned_trial(of: Material, trial: Placement, index: int, position: int) -> PlannedTrial:
    """Returns one planned trial with new tokens; an adaptive one is not placed yet and has its ε provisionally."""
    paired = of.design.two_pictures
    return PlannedTrial(
        trial_index=index,
        position=position,
        phase=trial.phase,
        block=trial.block,
        stimulus_id=of.rows[trial.source_id, trial.cell],
        signal=trial.cell is not None,
        pair_stimulus_id=of.rows[trial.source_id, None] if paired else None,
        target_side=trial.side,
        catch=trial.catch,
        instructed=trial.instructed,
        placed=not is_adaptive(of.settings, trial),
        **new_tokens(paired=paired),
    )


def new_tokens(*, paired: bool) -> dict[str, str | None]:
    """Returns names of a trial's pictures that tell nothing: of the one in question, and of the one beside it."""
    return {"token": security.new_token(), "pair_token": security.new_token() if paired else None}


def is_adaptive(settings: DetectionProtocol, trial: Placement) -> bool:
    """Returns whether the ε of a trial is chosen from the answers before it."""
    perturbed = trial.phase == "main" and trial.catch is None and trial.cell is not None
    return perturbed and settings.adaptive.method != "none"


def law(settings: DetectionProtocol, levels: Iterable[int]) -> Law:
    """Returns what adaptive placement assumes of the observer."""
    chosen, forced = settings.adaptive, settings.task == "2afc"
    return adaptive.law_of(levels, chosen.guess, chosen.lapse, forced_choice=forced)
