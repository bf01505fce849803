"""A request with all that it names: pictures, source models and maps, and what the set's record will say of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from core import config, datasets, files, models, recipe, runs
from core.datasets.split import Dataset, Split
from core.distributed import Group
from core.errors import RunError
from core.manifest import SCHEMA_VERSION, SetRecord
from core.stimulus_partial import Partial
from core.stimulus_plan import Draw
from core.stimulus_regions import Maps, maps_of
from core.stimulus_request import Request
from core.stimulus_sets import Source, Workshop, make_batch


@dataclass(frozen=True, kw_only=True)
class Job:
    """A request with all that it names, and the record of the set to come."""

    request: Request
    data: Dataset
    sources: tuple[Source, ...]
    maps: Maps | None
    record: SetRecord
    device: torch.device

    def fill(self, here: Partial, group: Group, advance: Callable[[int], object]) -> SetRecord:
        """Makes our share of the batches that are not finished yet, round by round; returns the record.

        ``advance`` is told how many sources are done.

        Raises:
            ConfigError: a class has too few sources that can be kept.
        """
        group.wait()
        draw = Draw(self.data.test, self.data.classes, self.request)
        for number, chosen in enumerate(iter(draw.round, [])):
            batches = list(self._batches(number, chosen))
            for name, places in batches[group.rank :: group.size]:
                self._make(here, name, places, advance)
            group.wait()
            for name, places in batches:
                labels = (int(self.data.test.labels[place]) for place in places)
                draw.note(zip(labels, (tried.left_out for tried in here.tried(name)), strict=True))
        return dataclasses.replace(self.record, sources=draw.kept, left_out=dict(sorted(draw.left_out.items())))

    def _batches(self, number: int, chosen: list[int]) -> Iterator[tuple[str, list[int]]]:
        """Yields the batches of a round, with names in the order of the set."""
        size = self.request.batch_size
        for place, first in enumerate(range(0, len(chosen), size)):
            yield f"{number:04d}-{place:06d}", chosen[first : first + size]

    def _make(self, here: Partial, name: str, places: list[int], advance: Callable[[int], object]) -> None:
        test = self.data.test
        ids = tuple(test.ids[place] for place in places)
        if here.finished(name, ids):
            advance(len(ids))
            return
        index = torch.tensor(places)
        pictures = Split(pixels=test.pixels[index], labels=test.labels[index], ids=ids).to(self.device)
        workshop = Workshop(
            directory=here.set,
            classes=self.data.classes,
            sources=self.sources,
            request=self.request,
            maps=self.maps,
        )
        here.keep(name, make_batch(workshop, pictures, name, advance))


def prepare(request: Request, device: torch.device) -> Job:
    """Returns the job of a request: runs are loaded, and checked to share the pictures that they were trained on.

    Raises:
        ConfigError: a class has fewer pictures than are asked for.
        RunError: a run is not finished, or was trained on other data.
    """
    data = _shared_data(request.runs)
    Draw(data.test, data.classes, request)
    maps = maps_of(request, data.test, device)
    return Job(
        request=request,
        data=data,
        sources=tuple(load_source(run, device) for run in request.runs),
        maps=maps,
        record=_record(request, data, maps),
        device=device,
    )


def load_source(run: Path, device: torch.device) -> Source:
    """Returns the source model of a finished run."""
    model = models.load_classifier(run, device)
    return Source(run=run.name, method=runs.read_run(run).method, model=model)


def _shared_data(run_paths: tuple[Path, ...]) -> Dataset:
    records = [runs.read_run(run) for run in run_paths]
    for run, record in zip(run_paths, records, strict=True):
        if record.dataset_fingerprint != records[0].dataset_fingerprint:
            raise RunError(
                f"{run}: expected the same pictures as {run_paths[0]}, got others; train both on the same data"
            )
    data = datasets.load(recipe.read(run_paths[0]).data)
    if (found := data.fingerprint()) != records[0].dataset_fingerprint:
        raise RunError(
            f"{run_paths[0]}: expected the data it was trained with (fingerprint "
            f"{records[0].dataset_fingerprint[:12]}…), got {data.name} ({found[:12]}…); restore the data"
        )
    return data


def _record(request: Request, data: Dataset, maps: Maps | None) -> SetRecord:
    """Returns what is known before anything is made; counts and hashes follow."""
    salience = {} if maps is None else {**maps.inputs, "threshold": request.threshold}
    weights = tuple(files.sha256_file(runs.weights_path(run)) for run in request.runs)
    fingerprint = data.fingerprint()
    wanted = config.dumps(dataclasses.replace(request, runs=()))
    asked = json.dumps([wanted, request.run_names, weights, fingerprint, salience], sort_keys=True)
    return SetRecord(
        schema_version=SCHEMA_VERSION,
        name=request.name,
        seed=request.seed,
        eps=(0, *request.levels),
        runs=request.run_names,
        attacks=request.attack_names,
        regions=request.regions,
        selected_on=request.require,
        sources=0,
        stimuli=0,
        manifest_sha256="",
        weights_sha256=weights,
        dataset_fingerprint=fingerprint,
        salience=salience,
        asked_sha256=files.sha256_bytes(asked.encode()),
    )
