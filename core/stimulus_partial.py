"""A set in the making: a directory beside its place, in which finished batches are kept and from which it goes on."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core import files
from core.errors import ConfigError, MachineError, PercepsilonError, StimulusError
from core.manifest import Stimulus, map_name, png_name
from core.stimulus_sets import Tried


@dataclass(frozen=True, kw_only=True)
class Partial:
    """``.<set>.partial``: the set itself, and what came of each finished batch, which makes it final."""

    directory: Path

    @property
    def set(self) -> Path:
        """The directory that becomes the set."""
        return self.directory / "set"

    def keep(self, batch: str, tried: Sequence[Tried]) -> None:
        """Marks a batch as finished: its files are all written."""
        lines = [json.dumps(dataclasses.asdict(one), allow_nan=False) + "\n" for one in tried]
        files.write_text(self._path(batch), "".join(lines))

    def finished(self, batch: str, source_ids: Sequence[str]) -> bool:
        """Returns whether a batch of these sources was finished and its files are whole; else it is made again."""
        try:
            tried = list(self.tried(batch))
            return [one.source_id for one in tried] == list(source_ids) and all(map(self._whole, tried))
        except (OSError, ValueError, TypeError, KeyError):
            return False

    def tried(self, batch: str) -> Iterator[Tried]:
        """Yields what came of each source of a finished batch."""
        with self._path(batch).open(encoding="utf-8") as file:
            for line in file:
                table = json.loads(line)
                yield Tried(**{**table, "stimuli": tuple(Stimulus(**row) for row in table["stimuli"])})

    def batches(self) -> Iterator[str]:
        """Yields the names of the finished batches, in the order of the set."""
        yield from (path.stem for path in sorted((self.directory / "batches").glob("*.jsonl")))

    def _path(self, batch: str) -> Path:
        return self.directory / "batches" / f"{batch}.jsonl"

    def _whole(self, tried: Tried) -> bool:
        """Returns whether the files of a source have the hashes that its rows state."""
        wanted = {png_name(row.sha256): row.sha256 for row in tried.stimuli}
        wanted |= {map_name(row.map_sha256): row.map_sha256 for row in tried.stimuli if row.map_sha256 is not None}
        return all(files.sha256_file(self.set / name) == sha256 for name, sha256 in wanted.items())


@contextmanager
def partial(out: Path, asked_sha256: str, *, leads: bool) -> Iterator[Partial]:
    """Yields the set in the making of ``out``: a new one, or one that was interrupted and was asked for as this one is.

    It is kept if the work breaks off, unless nothing was finished yet or the request cannot be fulfilled at all.

    Args:
        out: the set's place.
        asked_sha256: of all that decides the set.
        leads: whether this process writes what is not a batch; of several processes one does, and first.

    Raises:
        StimulusError: what lies there was asked for otherwise.
        MachineError: another command is making it.
    """
    here = Partial(directory=out.with_name(f".{out.name}.partial"))
    if not leads:
        yield here
        return
    here.set.mkdir(parents=True, exist_ok=True)
    with (here.directory / "lock").open("w") as lock:
        _lock(lock.fileno(), here.directory)
        _claim(here.directory, asked_sha256)
        try:
            yield here
        except PercepsilonError as error:
            if isinstance(error, ConfigError) or not any(here.batches()):
                shutil.rmtree(here.directory)
            raise


def _lock(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise MachineError(f"{directory}: another command is making this set; wait for it, or end it") from None


def _claim(directory: Path, asked_sha256: str) -> None:
    path = directory / "asked.json"
    if not path.exists():
        files.write_json(path, {"asked_sha256": asked_sha256})
    elif files.read_json(path, StimulusError, f"remove {directory}").get("asked_sha256") != asked_sha256:
        raise StimulusError(
            f"{directory}: holds an unfinished set of another request, other runs or other pictures; finish that one, "
            "or remove the directory to begin anew"
        )
