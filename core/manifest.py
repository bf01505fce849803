"""Stimulus sets on disk: what a row says, how a set is written, read and listed. Torch-free.

A set is a directory: ``set.json`` (what was asked for, SHA-256 of the manifest), ``manifest.jsonl`` (a row a stimulus,
source by source, the reference first), ``png/<sha256[:2]>/<sha256>.png``, ``maps/<sha256[:2]>/<sha256>.png`` (salience
maps, where regions need them) and ``sheet.html`` to look at. ``read_set`` returns a set whole; ``read_record``,
``rows`` and ``by_source`` read one of any length, a source in memory at a time. Intensities and ε are grey levels
(0..255). See docs/contracts.md.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from core import config, files
from core.errors import ConfigError, StimulusError

SCHEMA_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class Stimulus:
    """One picture that people may be shown, with everything that is known of it.

    A reference (ε = 0) belongs to no model: ``run``, ``method``, ``attack`` and the outcome fields are ``None``.

    Attributes:
        stimulus_id: unique in the set, as ``<source_id>/<run>/<attack>/<region>/<ε>`` or ``<source_id>/reference``.
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
        map_sha256: of the file of the source's salience map, by which the region was told; ``None`` where the region is
            ``"full"``.
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
    map_sha256: str | None = None

    @property
    def is_reference(self) -> bool:
        """Whether this is the unperturbed picture of its source."""
        return self.run is None


Requirement = Literal["none", "fooled", "minimal"]


@dataclass(frozen=True, kw_only=True)
class SetRecord:
    """``set.json``: what a stimulus set was asked for, and the hashes that seal it.

    Attributes:
        eps: ladder in grey levels, 0 (the references) first; of a ``"minimal"`` set 0 and the highest level tried.
        runs: names of the source models; ``weights_sha256``: of their weights, in the same order.
        attacks: names of the attacks.
        regions: where pictures may change.
        selected_on: ``"none"``: sources were drawn whatever came of the attacks; ``"fooled"``: of the sources drawn
            those were kept that every model got right before, and wrong after every attack, region and ε;
            ``"minimal"``: likewise, each picture at the least level that fools, its ``eps_asked``.
        left_out: how many sources were drawn and not kept, by reason.
        sources: how many were kept; ``stimuli``: rows of the manifest, the references among them.
        salience: what the maps of regions were made of, and the ``threshold`` above which a pixel is salient; empty
            without regions.
        asked_sha256: of all that decided the set: request, weights, pictures, maps.
    """

    schema_version: int
    name: str
    seed: int
    eps: tuple[int, ...]
    runs: tuple[str, ...]
    attacks: tuple[str, ...]
    regions: tuple[str, ...] = ("full",)
    selected_on: Requirement = "none"
    left_out: dict[str, int] = field(default_factory=dict)
    sources: int
    stimuli: int
    manifest_sha256: str
    sheet_sha256: str | None = None
    weights_sha256: tuple[str, ...] = ()
    dataset_fingerprint: str = ""
    salience: dict[str, Any] = field(default_factory=dict)
    asked_sha256: str = ""

    @property
    def cells(self) -> tuple[tuple[str, str, str, int], ...]:
        """The (run, attack, region, ε) of every perturbed picture of a source, in the order of the manifest.

        Of a ``"minimal"`` set ε is the highest level that a picture may have.
        """
        return tuple(itertools.product(self.runs, self.attacks, self.regions, (eps for eps in self.eps if eps > 0)))


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


def map_name(sha256: str) -> str:
    """Returns the path of a salience map inside its set, from its hash."""
    return f"maps/{sha256[:2]}/{sha256}.png"


def stimulus_id(source_id: str, run: str, attack: str, region: str, eps: int) -> str:
    """Returns the name of a perturbed picture."""
    return f"{source_id}/{run}/{attack}/{region}/{eps}"


def dump_rows(stimuli: Iterable[Stimulus]) -> Iterator[str]:
    """Yields the lines of ``manifest.jsonl``, each with its newline."""
    for stimulus in stimuli:
        yield json.dumps(dataclasses.asdict(stimulus), allow_nan=False) + "\n"


def seal(directory: Path, stimuli: Iterable[Stimulus], record: SetRecord) -> SetRecord:
    """Writes ``manifest.jsonl`` and ``set.json``; returns the record with count and hash filled in.

    The rows are taken one at a time and never held together.
    """
    digest, count = hashlib.sha256(), 0
    with files.atomic_path(directory / "manifest.jsonl") as temporary, temporary.open("wb") as file:
        for line in dump_rows(stimuli):
            data = line.encode()
            digest.update(data)
            file.write(data)
            count += 1
    sealed = dataclasses.replace(record, stimuli=count, manifest_sha256=digest.hexdigest())
    files.write_json(directory / "set.json", dataclasses.asdict(sealed))
    return sealed


def read_set(directory: Path) -> StimulusSet:
    """Returns the stimulus set in ``directory``; the manifest's hash is checked, the pictures are not.

    Raises:
        StimulusError: a file is absent, of another schema, the manifest is not the one that was sealed, or two of its
            rows have one ``stimulus_id``.
    """
    record = read_record(directory)
    stimuli = tuple(rows(directory))
    names: set[str] = set()
    for stimulus in stimuli:
        if stimulus.stimulus_id in names:
            raise duplicate(directory, stimulus.stimulus_id)
        names.add(stimulus.stimulus_id)
    return StimulusSet(directory=directory, record=record, stimuli=stimuli)


def duplicate(directory: Path, name: str) -> StimulusError:
    """Returns the refusal of a manifest in which two rows have one ``stimulus_id``."""
    return StimulusError(
        f"{directory / 'manifest.jsonl'}: expected each stimulus_id once, got {name!r} again; make the set again"
    )


def read_record(directory: Path) -> SetRecord:
    """Returns ``set.json``, once the manifest has proved to be the one that it seals.

    Raises:
        StimulusError: a file is absent, of another schema, or the manifest is not the one that was sealed.
    """
    record = _read_record(directory)
    path = directory / "manifest.jsonl"
    try:
        found = files.sha256_file(path)
    except FileNotFoundError:
        raise StimulusError(f"{path}: no such file; make the set again with python -m core.stimuli") from None
    if found != record.manifest_sha256:
        raise StimulusError(
            f"{path}: expected SHA-256 {record.manifest_sha256}, got {found}; the manifest was changed after the "
            "set was made: restore it or make the set again"
        )
    return record


def rows(directory: Path) -> Iterator[Stimulus]:
    """Yields the rows of a manifest in order, one in memory at a time.

    Raises:
        StimulusError: a line is no stimulus.
    """
    path = directory / "manifest.jsonl"
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield Stimulus(**json.loads(line))
            except (TypeError, ValueError) as error:
                raise StimulusError(
                    f"{path}: line {number}: expected a stimulus, got {error}; make the set again"
                ) from None


def by_source(stimuli: Iterable[Stimulus]) -> Iterator[list[Stimulus]]:
    """Yields the rows of each source together, as they follow each other."""
    for _, group in itertools.groupby(stimuli, key=lambda stimulus: stimulus.source_id):
        yield list(group)


def _read_record(directory: Path) -> SetRecord:
    path = directory / "set.json"
    table = files.read_json(path, StimulusError, "is it the directory of a stimulus set?")
    if (version := table.get("schema_version")) != SCHEMA_VERSION:
        raise StimulusError(f"{path}: expected schema version {SCHEMA_VERSION}, got {version}; make the set again")
    try:
        return config.build(SetRecord, table, str(path))
    except ConfigError as error:
        raise StimulusError(str(error)) from None
