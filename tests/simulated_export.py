"""A study played by the law of observers.toml, trial by trial, written as an export as in docs/contracts.md."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd

from core import rng
from core.manifest import SCHEMA_VERSION, SetRecord, Stimulus, seal
from study_app.export.columns import TABLES

EPS = (1, 2, 4, 8, 16, 32)
FOOLS = {"standard": 2.0, "pgd-at": 9.0, "sip-at": 7.0}  # ε that fools the model on the middle one of the pictures
LAWS = {"standard": (9.0, 1.3, 0.15), "pgd-at": (5.0, 1.2, 0.15), "sip-at": (3.0, 1.5, 0.15)}
CRITERION, LAPSE, PICTURES, DIFFERENCE = (0.7, 0.15), 0.02, 60, 2.0
TRIAL_COLUMNS, PARTICIPANT_COLUMNS = (
    tuple(column.name for column in TABLES[name]) for name in ("trials", "participants")
)

OBSERVERS_TOML = """seed = 7
criterion = { mean = 0.7, sd = 0.15 }
lapse = 0.02
[models.standard]
eps_dprime1 = 9.0
exponent = 1.3
sd_log2 = 0.15
[models.pgd-at]
eps_dprime1 = 5.0
exponent = 1.2
sd_log2 = 0.15
[models.sip-at]
eps_dprime1 = 3.0
exponent = 1.5
sd_log2 = 0.15
[response_time]
mu = 450.0
sigma = 60.0
tau = 180.0
distance_slope = 80.0
"""


def write_export(
    directory: Path,
    *,
    participants: int = 48,
    seed: int = 3,
    laws=LAWS,
    eps=EPS,
    criterion=CRITERION,
    noise=20,
    signal=20,
    task="yes-no",
) -> Path:
    """Writes an export; the last participant left after ten trials. Each answers ``noise`` + ``signal`` main trials."""
    generator = rng.numpy_generator(seed, "simulated export")
    rows, people = [], []
    for person in range(participants + 1):
        finished = person < participants
        played = _session(generator, person, laws, eps, criterion, noise, signal, task)
        rows += played if finished else played[:10]
        people.append(_participant(person, finished=finished))
    _write_table(directory / "data/table-trials_data.csv", TRIAL_COLUMNS, rows)
    _write_table(directory / "data/table-participants_data.csv", PARTICIPANT_COLUMNS, people)
    _write_set(directory / "stimuli" / "demo", laws, eps)
    (directory / "protocol.toml").write_text('title = "demo"\n')
    (directory / "dataset_description.json").write_text("{}\n")
    return directory


def write_evaluation(directory: Path, run: str, *, half: float, pictures: int = 300) -> Path:
    """Writes evaluation.json of a run whose accuracy is halved at ε = ``half``; returns the run directory."""
    return _write_card(
        directory, run, {eps: round(pictures * 0.9 / (1 + (eps / half) ** 2)) for eps in (0, *EPS)}, pictures
    )


def write_outcomes(directory: Path, run: str) -> Path:
    """Writes evaluation.json and outcomes.parquet of a run, the outcomes being those of the set's pictures."""
    rows = []
    for picture, eps in itertools.product(range(PICTURES), (0, *EPS)):
        margin = float(np.log2(least_eps(picture, run) / max(eps, 0.1)))
        rows.append(
            {"source_id": f"test/photograph/{picture:03d}", "source_class": "photograph",
             "attack": "pgd-20" if eps else "none", "norm": "linf", "region": "full", "access": "full", "source": run,
             "eps": float(eps), "prediction": "photograph" if margin > 0 else "drawing", "margin": margin,
             "fooled": margin <= 0, "fooled_by": None}
        )  # fmt: skip
    correct = {eps: sum(not row["fooled"] for row in rows if row["eps"] == eps) for eps in (0, *EPS)}
    _write_card(directory, run, correct, PICTURES)
    pd.DataFrame(rows).to_parquet(directory / "outcomes.parquet")
    return directory


def _write_card(directory: Path, run: str, correct: dict[int, int], pictures: int) -> Path:
    curve = [
        {"attack": "pgd-20", "norm": "linf", "region": "full", "access": "full", "source": run, "eps": float(eps),
         "pictures": pictures, "correct": count, "accuracy": count / pictures, "low": 0.0, "high": 1.0}
        for eps, count in correct.items()
    ]  # fmt: skip
    record = {
        "schema_version": 2, "run": run, "method": run, "weights_sha256": "0" * 64, "dataset_fingerprint": "1" * 64,
        "seconds": 1.0, "device": "cpu", "versions": {}, "settings": {}, "randomised": False, "curve": curve,
    }  # fmt: skip
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "evaluation.json").write_text(json.dumps(record))
    return directory


def _session(generator, person, laws, eps, criterion, noise, signal, task) -> list[dict]:
    k = generator.normal(*criterion)
    deviate = generator.standard_normal()
    cells = [(run, level) for run in laws for level in eps]
    offset = person * signal
    shown = [cells[(offset + index) % len(cells)] for index in range(signal)] if cells else []
    main = [*shown, *[(None, 0)] * noise]
    generator.shuffle(main)
    practice = [(None, 0), *cells[-1:]]
    trials = [("practice", *cell) for cell in practice] + [("main", *cell) for cell in main]
    return [_trial(generator, person, index, trial, k, deviate, laws, task) for index, trial in enumerate(trials)]


def _trial(generator, person, index, trial, k, deviate, laws, task) -> dict:
    phase, run, eps = trial
    d_prime = 0.0
    if run is not None:
        eps_dprime1, exponent, sd_log2 = laws[run]
        d_prime = (eps / (eps_dprime1 * 2 ** (sd_log2 * deviate))) ** exponent
    yes = generator.normal(d_prime, 1) > k
    if generator.random() < LAPSE:
        yes = generator.random() < 0.5
    stimulus = _stimulus(int(generator.integers(PICTURES)), run, eps)
    row = dict.fromkeys(TRIAL_COLUMNS, "")
    row |= {
        "session_id": f"s{person:03d}", "participant_id": f"p{person:03d}", "protocol_hash": "ab" * 32,
        "app_version": "0.1.0", "task": "yes-no", "phase": phase, "block": 0, "trial_index": index,
        "position": index, "adaptive": "false",
        "stimulus_id": stimulus.stimulus_id,
        "source_id": stimulus.source_id, "source_class": stimulus.source_class, "run": run or "", "method": run or "",
        "attack": stimulus.attack or "", "region": "full", "eps_asked": eps, "eps_measured": eps,
        "sha256": stimulus.sha256,
        "signal": str(run is not None).lower(), "response": "yes" if yes else "no",
        "correct": str(bool(yes) == (run is not None)).lower(), "rt_ms": round(float(generator.uniform(300, 900)), 1),
        "input_type": "robot", "client_uuid": f"{person}-{index}",
    }  # fmt: skip
    return row if task == "yes-no" else row | _in_pairs(generator, task, stimulus, d_prime)


def _in_pairs(generator, task, stimulus, d_prime) -> dict:
    """What a trial of two pictures has otherwise: the side of the one in question, and the answer."""
    side = "left" if generator.random() < 0.5 else "right"
    evidence, signal = generator.normal(d_prime, np.sqrt(2)), not stimulus.is_reference
    if task == "2afc":
        response = side if evidence > 0 else {"left": "right", "right": "left"}[side]
        correct = str(response == side).lower() if signal else ""
    else:
        response = "different" if abs(evidence) > DIFFERENCE else "same"
        correct = str((response == "different") == signal).lower()
    pair = f"{stimulus.source_id}/reference"
    return {"task": task, "target_side": side, "pair": pair, "response": response, "correct": correct}


def _participant(person: int, *, finished: bool) -> dict:
    row = dict.fromkeys(PARTICIPANT_COLUMNS, "")
    row |= {
        "participant_id": f"p{person:03d}", "session_id": f"s{person:03d}", "protocol_hash": "ab" * 32,
        "status": "finished" if finished else "started", "language": "en", "practice_trials": 2, "main_trials": 40,
        "robot": "true",
    }  # fmt: skip
    return row


def least_eps(picture: int, run: str) -> float:
    """The ε from which on a picture fools a model: three octaves over the pictures, their order its own."""
    place = (picture * 37 + 11 * len(run)) % PICTURES / PICTURES
    return FOOLS.get(run, 4.0) * 2 ** (3 * (place - 0.5))


def _stimulus(picture: int, run: str | None, eps: int) -> Stimulus:
    source = f"test/photograph/{picture:03d}"
    perturbed = run is not None
    fooled = perturbed and eps >= least_eps(picture, run)
    return Stimulus(
        stimulus_id=f"{source}/{run}/full/{eps}" if perturbed else f"{source}/reference",
        source_id=source, source_class="photograph", run=run, method=run, attack="pgd-20" if perturbed else None,
        norm="linf", region="full", eps_asked=eps, eps_measured=eps,
        prediction_before="photograph" if perturbed else None,
        prediction_after=("drawing" if fooled else "photograph") if perturbed else None,
        fooled=fooled if perturbed else None,
        margin=float(np.log2(least_eps(picture, run) / eps)) if perturbed else None,
        l2=0.0, ssim=1.0, mask_area=float(perturbed), seed=1,
        sha256=f"{picture:064x}", width=48, height=48,
    )  # fmt: skip


def _write_set(directory: Path, laws, eps) -> None:
    directory.mkdir(parents=True)
    cells = [(None, 0), *((run, level) for run in laws for level in eps)]
    stimuli = [_stimulus(picture, run, level) for picture in range(PICTURES) for run, level in cells]
    record = SetRecord(
        schema_version=SCHEMA_VERSION, name=directory.name, seed=1, eps=(0, *eps), runs=tuple(laws),
        attacks=("pgd-20",), sources=PICTURES, stimuli=0, manifest_sha256="",
    )  # fmt: skip
    seal(directory, stimuli, record)


def _write_table(path: Path, columns, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=columns)
        writer.writeheader()
        writer.writerows(rows)
