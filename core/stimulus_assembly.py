"""From finished batches to a set: merged in order, sealed, proved from disk, and only then given its name."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

from core import contact_sheet, files, progress
from core.manifest import SetRecord, Stimulus, map_name, png_name, seal
from core.stimulus_index import index
from core.stimulus_partial import Partial
from core.stimulus_verification import verify_pictures


def assemble(partial: Partial, record: SetRecord, out: Path, sheet_sources: int) -> SetRecord:
    """Makes the set of the finished batches and moves it to ``out``; returns its record.

    Raises:
        StimulusError: a file is not what was written.
    """
    record = seal(partial.set, _kept(partial), record)
    _remove_strangers(partial)
    sheet = contact_sheet.write(partial.set, record, sheet_sources)
    record = dataclasses.replace(record, sheet_sha256=files.sha256_file(sheet))
    files.write_json(partial.set / "set.json", dataclasses.asdict(record))
    with progress.bar("verify stimuli", record.stimuli, "stimuli") as bar:
        verify_pictures(partial.set, record, bar.update)
    partial.set.rename(out)
    shutil.rmtree(partial.directory)
    return record


def _kept(partial: Partial) -> Iterator[Stimulus]:
    for batch in partial.batches():
        for tried in partial.tried(batch):
            yield from tried.stimuli


def _remove_strangers(partial: Partial) -> None:
    """Removes pictures of sources that were not kept, and of batches that were cut off."""
    with index() as known:
        for row in _kept(partial):
            known.note_file(png_name(row.sha256))
            if row.map_sha256 is not None:
                known.note_file(map_name(row.map_sha256))
        for stranger in known.strangers(partial.set):
            stranger.unlink()
