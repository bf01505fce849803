"""The maps by which regions are told apart: those of a run's own recipe, or of one that is named."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core import config, files, models, recipe, salience
from core.datasets.split import Split
from core.errors import ConfigError
from core.objectives.sip_at import SipAt
from core.salience import Source
from core.tensors import Bytes

_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class RegionMaps:
    """Maps of the test pictures, uint8 [N, 1, H, W], the threshold above which a pixel is salient, and their record."""

    levels: Bytes
    threshold: float
    record: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where maps come from: a source, its seed, and the threshold that goes with it."""

    source: Source
    seed: int = 1
    threshold: float = _THRESHOLD


@dataclass(frozen=True, kw_only=True)
class _Table:
    salience: Source


def origin(run: Path, named: Path | None) -> Origin:
    """Returns where the maps for ``run`` come from: ``named``, a run or a TOML file, or else its own recipe.

    Raises:
        ConfigError: there is no ``[salience]`` table.
    """
    if named is None:
        found = of_run(run)
        if found is None:
            raise ConfigError(
                f"{run}: regions need salience maps, and its recipe has no [salience] table; add --salience RUN (one "
                "trained with maps) or --salience FILE.toml"
            )
        return found
    found = of_run(named) if named.is_dir() else _of_file(named)
    if found is None:
        raise ConfigError(f"--salience {named}: expected a [salience] table, found none; see docs/salience.md")
    return found


def of_run(run: Path) -> Origin | None:
    """Returns where the maps of a run's recipe come from, if it has any."""
    made = recipe.read(run)
    if made.salience is None:
        return None
    threshold = made.objective.threshold if isinstance(made.objective, SipAt) else _THRESHOLD
    return Origin(source=made.salience, seed=made.seed, threshold=threshold)


def _of_file(path: Path) -> Origin | None:
    table = config.read_toml(path)
    if "salience" not in table:
        return None
    source = config.build(_Table, {"salience": table["salience"]}, path.name).salience
    threshold = table.get("objective", {}).get("threshold", _THRESHOLD)
    return Origin(source=source, seed=int(table.get("seed", 1)), threshold=float(threshold))


def load(found: Origin, test: Split, threshold: float | None, device: torch.device) -> RegionMaps:
    """Returns the maps of the test pictures; ``threshold`` takes the place of the origin's if it is given."""
    maps = salience.load(
        found.source, test, training=False, seed=found.seed, load_classifier=models.load_classifier, device=device
    )
    used = found.threshold if threshold is None else threshold
    salient = float((maps.values() > used).float().mean())
    record = dataclasses.asdict(maps.record) | {
        "threshold": used,
        "share_salient": round(salient, 6),
        "maps_sha256": files.sha256_bytes(maps.levels.cpu().numpy().tobytes()),
    }
    return RegionMaps(levels=maps.levels, threshold=used, record=record)


def relative(path: Path, run: Path) -> str:
    """Returns ``path`` as seen from a run's directory, so that a card stays true where both are moved together."""
    return Path(os.path.relpath(path.resolve(), run.resolve())).as_posix()
