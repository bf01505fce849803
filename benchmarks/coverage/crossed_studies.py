"""Studies in which pictures differ too: the mixed model, the undetected attack rate, and the machines' comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr

from analysis import undetected
from analysis.intervals import NORMAL
from analysis.mixed_models import Trials, fit_detection
from analysis.power.settings import FooledLaw
from analysis.power.simulated_studies import Design, Spread, simulated_study
from benchmarks.coverage.acceptance import Share, covered, erred
from benchmarks.coverage.people import EPS, EPS_DPRIME1, EXPONENT, People, law
from core import rng
from core.evaluation_comparisons import mcnemar

PARTICIPANTS, PICTURES, TRIALS = 20, 40, 10
CRITERION, CRITERION_SD, SLOPE_SD, PICTURE_SD = 0.7, 0.3, 0.25, 0.3
SD_PICTURE = 0.3  # octaves
LEVEL = 3  # of the ladder: 8 grey levels
FOOLED = {name: FooledLaw(eps50=6.0, sd_log2=1.0) for name in "ab"}
MANY = 4000
PEOPLE = People(participants=PARTICIPANTS, trials=TRIALS, sd=0.25, models=2)


def mixed(seed: int, number: int) -> dict[str, Any]:
    """Returns the mixed model's intervals of one study that obeys it: criterion k and log2 ε₁ of both models."""
    generator = rng.numpy_generator(seed, "coverage of the mixed model", number)
    person, picture, cell = _crossed(generator)
    eps = np.array([0.0, *EPS, *EPS])[cell]
    d = np.minimum((eps / EPS_DPRIME1) ** EXPONENT, 50.0)
    k = CRITERION + CRITERION_SD * generator.standard_normal(PARTICIPANTS)
    slope = 1 + SLOPE_SD * generator.standard_normal(PARTICIPANTS)
    effect = PICTURE_SD * generator.standard_normal(PICTURES)
    yes = generator.random(len(cell)) < ndtr(slope[person] * d - k[person] + effect[picture])
    model = np.array([-1] + [0] * len(EPS) + [1] * len(EPS))[cell]
    found = fit_detection(
        Trials(participant=person, picture=picture, eps=eps, model=model, yes=yes * 1.0, trials=np.ones(len(yes)))
    )
    errors = np.sqrt(np.diag(found.covariance))
    ratio = found.log2_eps_dprime1[0] - found.log2_eps_dprime1[1]
    ratio_error = np.sqrt(found.covariance[0, 0] + found.covariance[1, 1] - 2 * found.covariance[0, 1])
    k_error = float(np.sqrt(found.fit.covariance[0, 0]))
    return {
        "log2": _wald(float(found.log2_eps_dprime1[0]), float(errors[0])),
        "ratio": _wald(float(ratio), float(ratio_error)),
        "criterion": _wald(found.criterion, k_error),
    }


def _crossed(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Participant, picture and cell of every trial; each participant meets the pictures in an order of their own."""
    own = np.repeat(np.arange(1 + 2 * len(EPS)), [2 * TRIALS] + [TRIALS] * 2 * len(EPS))
    order = [
        np.concatenate([generator.permutation(PICTURES) for _ in range(-(-len(own) // PICTURES))])[: len(own)]
        for _ in range(PARTICIPANTS)
    ]
    return np.repeat(np.arange(PARTICIPANTS), len(own)), np.concatenate(order), np.tile(own, PARTICIPANTS)


def _wald(estimate: float, error: float) -> tuple[float, float]:
    return estimate - NORMAL * error, estimate + NORMAL * error


def mixed_shares(rows: Sequence[dict[str, Any]]) -> list[Share]:
    """Returns the coverage of the mixed model."""
    return [
        covered("ε at d′ = 1 of the typical observer, mixed model", [row["log2"] for row in rows],
                float(np.log2(EPS_DPRIME1)), "inside"),
        covered("ratio of two models' ε at d′ = 1, mixed model", [row["ratio"] for row in rows], 0.0, "inside"),
        covered("criterion of the typical observer, mixed model", [row["criterion"] for row in rows], CRITERION,
                "inside"),
    ]  # fmt: skip


def rate(seed: int, number: int) -> dict[str, Any]:
    """Returns the interval of U(ε) at 8 grey levels and the test of a difference of areas, of one study."""
    found = _study(PARTICIPANTS, PICTURES, rng.numpy_generator(seed, "coverage of U", number), number)
    drawn = undetected.draw(found)
    row = undetected.rates(found, drawn, 0)[LEVEL]["rate"]
    contrast = undetected.contrasts(found, drawn, "area")[0]
    return {"rate": (row["low"], row["high"]), "p": contrast["p"],
            "difference": (contrast["difference"]["low"], contrast["difference"]["high"])}  # fmt: skip


def _study(participants: int, pictures: int, generator: np.random.Generator, seed: int) -> Any:
    design = Design(task="yes-no", participants=participants, models=PEOPLE.names, eps=EPS, trials=TRIALS,
                    noise=2 * TRIALS, pictures=pictures)  # fmt: skip
    spread = Spread(model=0.25, picture=SD_PICTURE)
    return simulated_study(
        design, law(PEOPLE, PEOPLE.sd), spread, generator, fooled=FOOLED, replicates=200, seed=seed
    )  # fmt: skip


def rate_shares(rows: Sequence[dict[str, Any]]) -> list[Share]:
    """Returns the coverage of U; its truth is the rate in one study of very many participants and pictures."""
    whole = _study(MANY, MANY, rng.numpy_generator(0, "population of U"), 0).export.answers
    own = whole.cell == 1 + LEVEL
    truth = float(((whole.fooled[whole.stimulus] == 1) & ~whole.yes)[own].mean())
    return [
        covered(
            "undetected attack rate at one ε, crossed bootstrap", [row["rate"] for row in rows], truth, "not below"
        ),
        covered("difference of areas of U, crossed bootstrap", [row["difference"] for row in rows], 0.0, "not below"),
        erred("test of a difference of areas of U", [row["p"] < 0.05 for row in rows], "not above"),
    ]


def machines(seed: int, number: int) -> list[float]:
    """Returns McNemar p-values of 500 comparisons of two equally robust machines on the same 200 pictures."""
    generator = rng.numpy_generator(seed, "coverage of McNemar's test", number)
    hard = generator.standard_normal((500, 200))
    right = [hard + generator.standard_normal((500, 200)) > 0 for _ in range(2)]
    gained, lost = (right[0] & ~right[1]).sum(axis=1), (~right[0] & right[1]).sum(axis=1)
    return [mcnemar(int(g), int(n)) for g, n in zip(gained, lost, strict=True)]


def machine_shares(rows: Sequence[list[float]]) -> list[Share]:
    """Returns how often McNemar's exact test errs."""
    return [erred("McNemar's exact test of two machines", [p < 0.05 for row in rows for p in row], "not above")]
