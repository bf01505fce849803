"""Stimulus sets on disk: what a row says, how a set is written, read and listed. Torch-free.

A set is a directory: ``set.json`` (schema, seed, ε ladder, runs, SHA-256 of the manifest), ``manifest.jsonl`` (a row a
stimulus) and ``png/<sha256[:2]>/<sha256>.png``. Intensities and ε are grey levels (0..255). See docs/contracts.md.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import config, files
from core.errors import ConfigError, StimulusError

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Stimulus:
    """One picture that people may be shown, with everything that is known of it.

    A reference (ε = 0) belongs to no model: ``run``, ``method``, ``attack`` and the outcome fields are ``None``.

    Attributes:
        stimulus_id: unique in the set, as ``<source_id>/<run>/<region>/<ε>`` or ``<source_id>/reference``.
        source_id: the picture that it was made from; the same in runs, evaluations, sets and exports.
        source_class: name of the class of the source picture.
        run: name of the run directory of the source model.
        method: training method of that run, such as ``"pgd-at"``.
        attack: attack that made it, such as ``"pgd-40"``.
        norm: ``"linf"``.
        region: ``"full"``, ``"salient"`` or ``"background"``.
        eps_asked: budget in grey levels.
        eps_measured: largest absolute difference from the reference in grey levels, from the two re-read files.
        prediction_before: class that the model gives the re-read reference.
        prediction_after: class that the model gives the re-read stimulus (float32).
        fooled: ``prediction_after`` is not ``source_class``.
        margin: logit of the true class less the largest other logit; negative when fooled.
        l2: Euclidean norm of the difference in [0, 1] units.
        ssim: structural similarity to the reference (Wang et al. 2004), 1 for the reference itself.
        mask_area: share of pixels that were allowed to change, 0..1.
        seed: seed from which the attack's random numbers were derived.
        sha256: of the PNG file; also its name.
        width: in pixels.
        height: in pixels.
    """

    stimulus_id: str
    source_id: str
    source_class: str
    run: str | None
    method: str | None
    attack: str | None
    norm: str
    region: str
    eps_asked: int
    eps_measured: int
    prediction_before: str | None
    prediction_after: str | None
    fooled: bool | None
    margin: float | None
    l2: float
    ssim: float
    mask_area: float
    seed: int
    sha256: str
    width: int
    height: int

    @property
    def is_reference(self) -> bool:
        """Whether this is the unperturbed picture of its source."""
        return self.run is None


@dataclass(frozen=True, kw_only=True)
class SetRecord:
    """``set.json``: what a stimulus set was asked for, and the hash that seals its manifest."""

    schema_version: int
    name: str
    seed: int
    eps: tuple[int, ...]
    runs: tuple[str, ...]
    attack: str
    sources: int
    stimuli: int
    manifest_sha256: str


@dataclass(frozen=True, kw_only=True)
class StimulusSet:
    """A stimulus set that was read from ``directory``; its manifest matched the hash in ``set.json``."""

    directory: Path
    record: SetRecord
    stimuli: tuple[Stimulus, ...]

    def png(self, stimulus: Stimulus) -> Path:
        """Returns the path of a stimulus' PNG file."""
        return self.directory / png_name(stimulus.sha256)

    def by_hash(self) -> dict[str, list[Stimulus]]:
        """Returns the rows that share each PNG, by the SHA-256 of the file."""
        rows: dict[str, list[Stimulus]] = {}
        for stimulus in self.stimuli:
            rows.setdefault(stimulus.sha256, []).append(stimulus)
        return rows


def png_name(sha256: str) -> str:
    """Returns a PNG's path inside its set, from its hash."""
    return f"png/{sha256[:2]}/{sha256}.png"


def dump_rows(stimuli: Iterable[Stimulus]) -> Iterator[str]:
    """Yields the lines of ``manifest.jsonl``, each with its newline."""
    for stimulus in stimuli:
        yield json.dumps(dataclasses.asdict(stimulus), allow_nan=False) + "\n"


def seal(directory: Path, stimuli: Iterable[Stimulus], record: SetRecord) -> SetRecord:
    """Writes ``manifest.jsonl`` and ``set.json``; returns the record with count and hash filled in."""
    lines = list(dump_rows(stimuli))
    data = "".join(lines).encode()
    sealed = dataclasses.replace(record, stimuli=len(lines), manifest_sha256=files.sha256_bytes(data))
    files.write_bytes(directory / "manifest.jsonl", data)
    files.write_json(directory / "set.json", dataclasses.asdict(sealed))
    return sealed


def read_set(directory: Path) -> StimulusSet:
    """Returns the stimulus set in ``directory``; the manifest's hash is checked, the pictures are not.

    Raises:
        StimulusError: a file is absent, of another schema, or the manifest is not the one that was sealed.
    """
    record = _read_record(directory)
    path = directory / "manifest.jsonl"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise StimulusError(f"{path}: no such file; make the set again with python -m core.stimuli") from None
    if (found := files.sha256_bytes(data)) != record.manifest_sha256:
        raise StimulusError(
            f"{path}: expected SHA-256 {record.manifest_sha256}, got {found}; the manifest was changed after the "
            "set was made: restore it or make the set again"
        )
    return StimulusSet(directory=directory, record=record, stimuli=tuple(_rows(path, data)))


def _read_record(directory: Path) -> SetRecord:
    path = directory / "set.json"
    table = files.read_json(path, StimulusError, "is it the directory of a stimulus set?")
    if (version := table.get("schema_version")) != SCHEMA_VERSION:
        raise StimulusError(f"{path}: expected schema version {SCHEMA_VERSION}, got {version}; make the set again")
    return _checked(SetRecord, table, str(path))


def _rows(path: Path, data: bytes) -> Iterator[Stimulus]:
    for number, line in enumerate(data.decode().splitlines(), start=1):
        try:
            yield Stimulus(**json.loads(line))
        except (TypeError, json.JSONDecodeError) as error:
            raise StimulusError(
                f"{path}: line {number}: expected a stimulus, got {error}; make the set again"
            ) from None


def _checked(kind: type[SetRecord], table: dict[str, Any], where: str) -> SetRecord:
    try:
        return config.build(kind, table, where)
    except ConfigError as error:
        raise StimulusError(str(error)) from None
