"""Puts stimulus sets and protocols into the database: all of it after every check, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from tqdm import tqdm

from core import files, manifest
from core.errors import ConfigError, StimulusError, StudyError
from study_app import detection
from study_app.detection import DetectionProtocol
from study_app.models import Participant, Protocol, StimulusRow, StimulusSet
from study_app.scheduling import Cell, Design

COPIED = (
    "stimulus_id", "source_id", "source_class", "run", "method", "attack", "region", "eps_asked", "eps_measured",
    "sha256", "width", "height",
)  # fmt: skip


Value = TypeVar("Value", str, int)


class Registered(NamedTuple):
    """What a registration did; ``new`` is false when it was there already."""

    name: str
    new: bool


def check_pictures(stimuli: manifest.StimulusSet) -> None:
    """Returns if every PNG of the set has the SHA-256 that its manifest states.

    Raises:
        StimulusError: a picture is absent or was changed.
    """
    for stimulus in tqdm(stimuli.stimuli, desc="checking pictures", unit="png"):
        path = stimuli.png(stimulus)
        found = files.sha256_file(path) if path.is_file() else "no file"
        if found != stimulus.sha256:
            raise StimulusError(
                f"{path}: expected SHA-256 {stimulus.sha256}, got {found}; the picture was changed or lost after the "
                "set was made: make the set again with python -m core.stimuli"
            )


def register_set(session: Session, stimuli: manifest.StimulusSet) -> Registered:
    """Adds a checked stimulus set; does nothing when it is there.

    Raises:
        StudyError: another set has its name.
    """
    name, sha256 = stimuli.record.name, stimuli.record.manifest_sha256
    known = session.scalar(select(StimulusSet).where(StimulusSet.name == name))
    if known is None:
        session.add(_set_row(stimuli))
        return Registered(name, new=True)
    if known.manifest_sha256 != sha256:
        raise StudyError(
            f"stimulus set {name!r} is registered with manifest {known.manifest_sha256[:12]}…, got {sha256[:12]}…; "
            "give the new set another name (the name is in its set.json)"
        )
    known.directory = str(stimuli.directory.resolve())
    return Registered(name, new=False)


def _set_row(stimuli: manifest.StimulusSet) -> StimulusSet:
    return StimulusSet(
        name=stimuli.record.name,
        directory=str(stimuli.directory.resolve()),
        manifest_sha256=stimuli.record.manifest_sha256,
        registered_at=datetime.now(UTC),
        rows=[StimulusRow(**{name: getattr(row, name) for name in COPIED}) for row in stimuli.stimuli],
    )


def register_protocol(session: Session, path: Path, set_name: str) -> Registered:
    """Adds the protocol file at ``path`` and makes it the one that new participants get.

    Raises:
        ConfigError: the file cannot be used.
        StudyError: no such set, the set is too small for it, or another protocol of its name was frozen.
    """
    source = read_source(path)
    protocol = detection.parse(source, path.name)
    stimuli = find_set(session, set_name)
    make_design(protocol, usable(session, stimuli.id, protocol.region, protocol.attack))
    return _store(session, protocol.name, source.decode(), stimuli)


def find_set(session: Session, name: str) -> StimulusSet:
    """Returns the registered stimulus set with this name.

    Raises:
        StudyError: there is none.
    """
    stimuli = session.scalar(select(StimulusSet).where(StimulusSet.name == name))
    if stimuli is None:
        raise StudyError(
            f"--set {name}: no such stimulus set; register it with: flask --app study_app register-set DIR"
        )
    return stimuli


def read_source(path: Path) -> bytes:
    """Returns the contents of a protocol file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot read it ({error.strerror}); give the path of a protocol file") from None


def _store(session: Session, name: str, source: str, stimuli: StimulusSet) -> Registered:
    sha256, now = files.sha256_bytes(source.encode()), datetime.now(UTC)
    known = session.scalar(select(Protocol).where(Protocol.name == name))
    if known is None:
        session.add(
            Protocol(
                name=name, sha256=sha256, source=source, set=stimuli, registered_at=now, opened_at=now, frozen_at=None
            )
        )
        return Registered(name, new=True)
    same = known.sha256 == sha256 and known.set_id == stimuli.id
    if not same and known.frozen_at is not None:
        raise StudyError(
            f"protocol {name!r} was frozen on {known.frozen_at:%Y-%m-%d}, when its first participant started; "
            "give the changed file another name"
        )
    known.sha256, known.source, known.set = sha256, source, stimuli
    if known is not current_protocol(session):
        known.opened_at = now
    return Registered(name, new=not same)


def current_protocol(session: Session, *, lock: bool = False) -> Protocol | None:
    """Returns the protocol that new participants get: the one that was opened last; ``lock`` holds its row."""
    query = select(Protocol).order_by(Protocol.opened_at.desc(), Protocol.id.desc()).limit(1)
    return session.scalar(query.with_for_update(key_share=True) if lock else query)


def usable(session: Session, set_id: int, region: str, attack: str) -> dict[tuple[str, Cell | None], int]:
    """Returns row ids by (source, cell) for a set's references and its pictures of one region and attack.

    Raises:
        StudyError: ``attack`` is none of the set's, or left empty though the set has several.
    """
    attack = _attack(session, set_id, attack)
    columns = (StimulusRow.id, StimulusRow.source_id, StimulusRow.run, StimulusRow.eps_asked)
    shown = (StimulusRow.region == region) & (StimulusRow.attack == attack) | StimulusRow.run.is_(None)
    found = session.execute(select(*columns).where(StimulusRow.set_id == set_id, shown))
    return {(source_id, Cell(run, eps) if run else None): row_id for row_id, source_id, run, eps in found}


def _attack(session: Session, set_id: int, attack: str) -> str:
    query = select(StimulusRow.attack).where(StimulusRow.set_id == set_id, StimulusRow.attack.is_not(None)).distinct()
    known = sorted(name for name in session.scalars(query) if name is not None)
    if attack not in known and (attack or len(known) > 1):
        raise StudyError(f"protocol: attack: expected one of {known} (the stimulus set has these), got {attack!r}")
    return attack or "".join(known)


def make_design(protocol: DetectionProtocol, rows: dict[tuple[str, Cell | None], int]) -> Design:
    """Returns the design of a protocol on a set's rows; its sources are those that have every picture asked for.

    Raises:
        StudyError: too few such sources, or a source model or ε that the set does not have; all problems at once.
    """
    cells = {cell for _, cell in rows if cell is not None}
    known_runs, known_levels = {cell.run for cell in cells}, {cell.eps for cell in cells}
    problems = [problem for _, problem in unknown(protocol, rows)]
    runs, levels = _chosen(protocol.runs, known_runs), _chosen(protocol.eps, known_levels)
    strong = known_levels & set(_strong(protocol).values())
    needed = [None, *(Cell(run, eps) for run in runs for eps in {*levels, *strong})]
    sources = [source for source in sorted({source for source, _ in rows}) if all((source, c) in rows for c in needed)]
    try:
        design = _design(protocol, sources, runs, levels)
    except StudyError as error:
        raise StudyError("\n".join((*problems, str(error)))) from None
    if problems:
        raise StudyError("\n".join(problems))
    return design


def _design(protocol: DetectionProtocol, sources: list[str], runs: tuple[str, ...], levels: tuple[int, ...]) -> Design:
    return Design(
        sources=sources,
        runs=runs,
        eps=levels,
        trials=protocol.main.trials,
        share=protocol.main.share,
        block_trials=protocol.main.block_trials,
        practice_trials=protocol.practice.trials,
        practice_eps=protocol.practice.eps,
        seed=protocol.seed,
        task=protocol.task,
        gross=protocol.catch.gross,
        instructed=protocol.catch.instructed,
        catch_eps=protocol.catch.eps,
        catch_after=protocol.catch.after,
        warm_up_trials=protocol.pause.warm_up_trials,
    )


def _strong(protocol: DetectionProtocol) -> dict[str, int]:
    """Returns the levels outside the main trials that a protocol asks for, by their key."""
    found = {}
    if protocol.practice.trials or protocol.pause.warm_up_trials:
        found["practice.eps"] = protocol.practice.eps
    if protocol.catch.gross:
        found["catch.eps"] = protocol.catch.eps
    return found


def unknown(protocol: DetectionProtocol, rows: dict[tuple[str, Cell | None], int]) -> Iterator[tuple[str, str]]:
    """Yields the key and the problem of each source model and ε that a set's rows do not have."""
    cells = {cell for _, cell in rows if cell is not None}
    runs, levels = {cell.run for cell in cells}, {cell.eps for cell in cells}
    yield from _unknown("runs", protocol.runs, runs)
    for key, asked in {"eps": protocol.eps, **{key: (eps,) for key, eps in _strong(protocol).items()}}.items():
        yield from _unknown(key, asked, levels)


def _unknown(key: str, asked: tuple[Value, ...], known: set[Value]) -> Iterator[tuple[str, str]]:
    for value in asked:
        if value not in known:
            yield key, f"protocol: {key}: expected some of {sorted(known)} (the stimulus set has these), got {value!r}"


def _chosen(asked: tuple[Value, ...], known: set[Value]) -> tuple[Value, ...]:
    return tuple(value for value in asked if value in known) or tuple(sorted(known))


def participants_of(session: Session, protocol_id: int) -> int:
    """Returns how many participants a protocol has; also the number of the next one."""
    highest = session.scalar(select(func.max(Participant.number)).where(Participant.protocol_id == protocol_id))
    return 0 if highest is None else highest + 1
