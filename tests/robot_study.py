"""A study that robots play through the real server on SQLite, from its protocol to its export."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from core import manifest
from study_app import robots, simulate
from study_app.observers import Observers
from tests.study_site import close, make_app, set_up


def play(
    place: Path,
    make_server,
    stimulus_set: Path,
    source: str,
    law: Observers,
    *,
    participants: int,
    workers: int = 3,
    **task,
) -> tuple[simulate.Tally, Path]:
    """Lets robots play the protocol ``source`` in a new directory; returns how they ended and the export."""
    place.mkdir()
    (place / "protocol.toml").write_text(source)
    url = f"sqlite:///{place / 'study.sqlite'}"
    set_up(url, stimulus_set, place / "protocol.toml")
    server = make_server(url)
    shown = manifest.read_set(stimulus_set).by_hash()
    everybody = robots.Task(url=server.address, law=law, shown=shown, wait_s=30, **task)
    memory = robots.Memory(place / "robots.json")
    tally = simulate.simulate(everybody, participants=participants, workers=workers, memory=memory)
    server.kill()
    app = make_app(url)
    result = app.test_cli_runner().invoke(args=["export", str(place / "export")])
    close(app)
    assert result.exit_code == 0, result.output
    return tally, place / "export"


def table(export: Path, name: str) -> pd.DataFrame:
    """A table of an export, with ``None`` where it is empty."""
    read = pd.read_parquet(export / "data" / f"table-{name}_data.parquet").astype(object)
    return read.where(read.notna(), None)
