"""A study to measure the server by: pictures of noise, a protocol, a database of either kind, the real server.

Everything is on this machine; the databases are those of production, with their writes forced to the disk.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import requests

from core import files, manifest, pictures, rng
from core.errors import MachineError, StudyError
from core.manifest import SCHEMA_VERSION, SetRecord, Stimulus
from study_app import create_app
from study_app.settings import ROOT, Settings

Kind = Literal["sqlite", "postgresql"]
KINDS: tuple[Kind, ...] = ("sqlite", "postgresql")
RUN, EPS = "standard", (0, 2, 8, 32)
SIZE, SPARE = 32, 20  # pixels a side; sources beyond the trials, for warm-up and trials seen and not answered
START_S = 60.0
PORTS = range(21_000, 31_000)
_HELD: list[socket.socket] = []
PROTOCOL = """
name = "measured"
seed = 1
[practice]
trials = 0
[main]
trials = {trials}
block_trials = 20
"""


def noise_set(directory: Path, *, sources: int, seed: int) -> Path:
    """Writes a stimulus set: pictures of noise, and ±ε added to each in place of an attack; returns its directory."""
    stimuli = [row for source in range(sources) for row in _source_rows(directory, source, seed)]
    record = SetRecord(
        schema_version=SCHEMA_VERSION, name=directory.name, seed=seed, eps=EPS, runs=(RUN,),
        attacks=("noise",), sources=sources, stimuli=0, manifest_sha256="",
    )  # fmt: skip
    manifest.seal(directory, stimuli, record)
    return directory


def _source_rows(directory: Path, source: int, seed: int) -> Iterator[Stimulus]:
    generator = rng.numpy_generator(seed, "picture", source)
    reference = generator.integers(32, 224, (SIZE, SIZE, 3))
    for eps in EPS:
        shown = reference + eps * generator.choice([-1, 1], size=reference.shape)
        data = pictures.encode_png(shown.astype(np.uint8))
        files.write_bytes(directory / manifest.png_name(files.sha256_bytes(data)), data)
        yield _row(f"noise/{source:04d}", eps, files.sha256_bytes(data), seed)


def _row(source_id: str, eps: int, sha256: str, seed: int) -> Stimulus:
    shown = eps > 0
    return Stimulus(
        stimulus_id=manifest.stimulus_id(source_id, RUN, "noise", "full", eps) if shown else f"{source_id}/reference",
        source_id=source_id, source_class="noise", run=RUN if shown else None, method=RUN if shown else None,
        attack="noise" if shown else None, norm="linf", region="full", eps_asked=eps, eps_measured=eps,
        prediction_before="noise" if shown else None, prediction_after="noise" if shown else None,
        fooled=False if shown else None, margin=1.0 if shown else None, l2=float(np.sqrt(3) * SIZE * eps / 255),
        ssim=1.0, mask_area=float(shown), seed=seed, sha256=sha256, width=SIZE, height=SIZE,
    )  # fmt: skip


@contextmanager
def database(kind: Kind, directory: Path) -> Iterator[str]:
    """Yields the URL of a new, empty database in ``directory``."""
    if kind == "sqlite":
        yield f"sqlite:///{directory / 'study.sqlite'}"
        return
    try:
        from pgserver.postgres_server import get_server  # noqa: PLC0415  (not on every Python: only this needs it)
    except ImportError:
        raise MachineError(
            "PostgreSQL is measured with the package pgserver; install it with: pip install pgserver"
        ) from None
    server = get_server(directory / "postgresql", cleanup_mode="stop")
    try:
        if (found := server.psql("SHOW fsync;")).split()[2] != "on":
            raise MachineError(f"PostgreSQL: expected fsync on, so that commits reach the disk, got {found}")
        server.psql("CREATE DATABASE study;")
        yield server.get_uri(database="study")
    finally:
        server.cleanup()


def set_up(url: str, directory: Path, *, trials: int, seed: int) -> Path:
    """Fills an empty database by the researcher's commands; returns the directory of the stimulus set."""
    stimuli = noise_set(directory / "noise", sources=trials + SPARE, seed=seed)
    protocol = directory / "protocol.toml"
    protocol.write_text(PROTOCOL.format(trials=trials), encoding="utf-8")
    app = create_app(Settings(database_url=url, instance=directory))
    registered = ["register-protocol", str(protocol), "--set", stimuli.name]
    for command in (["init-db"], ["register-set", str(stimuli)], registered):
        done = app.test_cli_runner().invoke(args=command)
        if done.exit_code:
            raise StudyError(f"flask --app study_app {' '.join(command)}: {done.output}")
    app.extensions["percepsilon_database"].engine.dispose()
    return stimuli


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How many processes and threads serve."""

    workers: int = 2
    threads: int = 4


class Server:
    """The study behind ``flask serve`` on loopback, in a process group of its own."""

    def __init__(self, url: str, log: Path, shape: Shape) -> None:
        self.port = free_port()
        self.address, self.log = f"http://127.0.0.1:{self.port}", log
        sizes = ["--port", str(self.port), "--workers", str(shape.workers), "--threads", str(shape.threads)]
        self._command = [sys.executable, "-m", "flask", "--app", "study_app", "serve", *sizes]
        self._environment = {**os.environ, "DATABASE_URL": url, "PERCEPSILON_CONSENTS_PER_MINUTE": "0"}
        self._environment["TMPDIR"] = str(log.parent)  # killed in the end, it cannot tidy up
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True, env=self._environment
            )
        try:
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the server and its workers at once: whatever was acknowledged must be on the disk."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def workers(self) -> list[int]:
        """Returns the process ids of the workers that live now."""
        if self._process is None:
            return []
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text(encoding="ascii")
        return [int(child) for child in children.split()]

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                requests.get(self.address, timeout=START_S)
            except requests.RequestException:
                time.sleep(0.1)
            else:
                return
        raise MachineError(
            f"{self.address}: no server answered; it said: {self.log.read_text(encoding='utf-8')[-1000:]}"
        )


def free_port() -> int:
    """Returns a port of loopback that is this process's alone until it ends, also while the server on it is dead.

    It lies below those that systems give to outgoing connections, one of which could take it in between. What holds it
    against others that ask here is a socket of UDP, beside which TCP's port of the same number stays free.

    Raises:
        MachineError: there is none.
    """
    for port in PORTS:
        holder = socket.socket(type=socket.SOCK_DGRAM)
        with socket.socket() as probe:
            try:
                holder.bind(("127.0.0.1", port))
                probe.bind(("127.0.0.1", port))
            except OSError:
                holder.close()
            else:
                _HELD.append(holder)
                return port
    raise MachineError(f"expected a free port of {PORTS.start} to {PORTS.stop - 1}, found none; stop what uses them")
