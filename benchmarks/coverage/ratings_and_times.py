"""Studies without graded ε in which perturbed and real pictures are rated, and how long people take.

Ratings: participant, picture and participant × kind effects, pictures nested in kind. Times: an ex-Gaussian law whose
place differs between participants, by ε and answer; the truth of a median is that of the law at every participant's
place, averaged. Speed and accuracy: the evidence comes sooner the stronger it is, as in the robots' law.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from scipy.stats import exponnorm

from analysis import ex_gaussian
from analysis.plan import Plan
from analysis.rating_difference import rating_difference
from analysis.reaction_times import by_eps, mean_over, speed_accuracy, trimmed_times
from benchmarks.coverage.acceptance import Share, covered, erred
from benchmarks.coverage.answered import export_of, shown
from benchmarks.coverage.cell import Cell
from core import rng

# ---- ratings ----

PICTURES, RATED = 40, 20  # pictures of each kind; of them each participant rates so many
MARGIN = 0.5
SD_PERSON, SD_KIND, SD_PICTURE, SD_RATING = 0.6, 0.3, 0.3, 0.9
REPLICATES = 200


def rated(participants: int, difference: float, seed: int, number: int) -> dict[str, Any]:
    """Returns interval and p-values of the difference of mean ratings, whose truth is ``difference``."""
    generator = rng.numpy_generator(seed, "coverage of mean ratings", participants, str(difference), number)
    person = np.repeat(np.arange(participants), 2 * RATED)
    second = np.tile(np.repeat([False, True], RATED), participants)
    picture = np.concatenate([generator.permutation(PICTURES)[:RATED] for _ in range(2 * participants)])
    own = generator.normal(0, SD_PERSON, participants)[person]
    contrary = generator.normal(0, SD_KIND, participants)[person] * np.where(second, 0.5, -0.5)
    material = generator.normal(0, SD_PICTURE, (2, PICTURES))[second.astype(int), picture]
    rating = 3 + difference * second + own + contrary + material + generator.normal(0, SD_RATING, len(person))
    found = rating_difference(rating, second, person, picture, margin=MARGIN, replicates=REPLICATES, seed=number)
    return {"interval": (found.low, found.high), "p": found.p, "p_equivalence": found.p_equivalence}


def rated_shares(rows: Sequence[dict[str, dict[str, Any]]]) -> list[Share]:
    """Returns coverage and errors; ``rows`` hold a study without difference and one at the margin."""
    return [
        covered("difference of mean ratings, crossed bootstrap", [row["none"]["interval"] for row in rows], 0.0,
                "not below"),
        erred("test of a difference of mean ratings", [row["none"]["p"] < 0.05 for row in rows], "not above"),
        erred("equivalence of mean ratings at the margin", [row["margin"]["p_equivalence"] < 0.05 for row in rows],
              "not above"),
    ]  # fmt: skip


def both_rated(participants: int, seed: int, number: int) -> dict[str, dict[str, Any]]:
    """Returns a study without difference and one whose difference lies at the margin of equivalence."""
    return {
        "none": rated(participants, 0.0, seed, number), "margin": rated(participants, MARGIN, seed, number),
    }  # fmt: skip


# ---- times ----

EPS = (0.0, 2.0, 8.0)
TRIALS = np.array([120, 60, 60])
P_YES = np.array([0.25, 0.4, 0.9])
SD_YES = 0.08  # of participants' shares of "yes"
SIGMA, TAU = 60.0, 180.0
MU, SD_MU = np.array([520.0, 500.0, 430.0]), 60.0  # by cell, and over participants
SLOWER_NO = 40.0  # ms
JUDGED = ((0, "no"), (1, "yes"), (2, "yes"))
PLAN = Plan(rt_min_ms=1.0, rt_max_ms=60_000.0)  # nothing is trimmed


def timed(participants: int, seed: int, number: int) -> dict[str, Any]:
    """Returns the intervals of one study: medians by ε and answer, ex-Gaussian parameters, speed and accuracy."""
    generator = rng.numpy_generator(seed, "coverage of times", participants, number)
    person, cell = shown(participants, TRIALS)
    share = np.clip(P_YES[cell] + SD_YES * generator.standard_normal(participants)[person], 0.02, 0.98)
    yes = generator.random(len(cell)) < share
    place = MU[cell] + SLOWER_NO * ~yes + SD_MU * generator.standard_normal(participants)[person]
    rt = np.maximum(place + SIGMA * generator.standard_normal(len(cell)) + generator.exponential(TAU, len(cell)), 1.0)
    export = export_of("yes-no", EPS, person, cell, yes, rt_ms=rt)
    times = trimmed_times(export, PLAN)[0]
    medians = {(row["eps"], row["answer"]): _bounds(row["median"]) for row in by_eps(export, times)}
    return {f"median at ε = {EPS[index]:g}, “{said}”": medians[EPS[index], said] for index, said in JUDGED}


def _bounds(found: dict[str, Any]) -> tuple[float, float]:
    return found["low"], found["high"]


def time_shares(rows: Sequence[dict[str, Any]]) -> list[Share]:
    """Returns the coverage of the medians."""
    return [
        covered(f"{name}, mean over participants", [row[name] for row in rows], median(index, said), "inside")
        for name, (index, said) in zip(rows[0], JUDGED, strict=True)
    ]


def median(index: int, said: str) -> float:
    """Returns the population's mean of participants' medians; the law is moved by participants, not changed."""
    place = MU[index] + SLOWER_NO * (said == "no")
    return float(exponnorm.ppf(0.5, TAU / SIGMA, loc=place, scale=SIGMA))


# ---- ex-Gaussian parameters ----

FITTED = 120  # answers of a participant
SD_LOG = 0.2  # of participants' σ and τ


def fitted(participants: int, seed: int, number: int) -> dict[str, tuple[float, float]]:
    """Returns the intervals of the mean ex-Gaussian parameters of one study."""
    generator = rng.numpy_generator(seed, "coverage of the ex-Gaussian", participants, number)
    mu, log_sigma, log_tau = generator.standard_normal((3, participants, 1))
    sigma, tau = SIGMA * np.exp(SD_LOG * log_sigma), TAU * np.exp(SD_LOG * log_tau)
    size = (participants, FITTED)
    rt = 450 + SD_MU * mu + sigma * generator.standard_normal(size) + tau * generator.exponential(size=size)
    good = [found for own in rt if (found := ex_gaussian.fit(own)) is not None and found.converged]
    return {
        name: _bounds(mean_over(np.array([getattr(found, name) for found in good]))) for name in ("mu", "sigma", "tau")
    }


def fitted_shares(rows: Sequence[dict[str, Any]]) -> list[Share]:
    """Returns the coverage of the ex-Gaussian parameters' means."""
    mean = float(np.exp(SD_LOG**2 / 2))
    words = {"mu": ("μ", 450.0), "sigma": ("σ", SIGMA * mean), "tau": ("τ", TAU * mean)}
    return [
        covered(f"ex-Gaussian {symbol}, mean over participants", [row[name] for row in rows], value, "inside")
        for name, (symbol, value) in words.items()
    ]


# ---- speed and accuracy ----

CRITERION, D_PRIME, SLOPE = 0.7, 1.6, 80.0
SD_D, SD_K = 0.4, 0.3
HALF = 60  # trials of each kind
FIFTHS = (0, 4)  # judged: the fastest and the slowest
MANY = 3000


def _law(participants: int, generator: np.random.Generator) -> Any:
    """A study of observers who answer sooner the farther their evidence lies from the criterion."""
    person, cell = shown(participants, np.array([HALF, HALF]))
    d, k = generator.standard_normal((2, participants))[:, person]
    evidence = generator.standard_normal(len(cell)) + np.where(cell == 1, D_PRIME + SD_D * d, 0)
    distance = evidence - CRITERION - SD_K * k
    tail = generator.exponential(TAU, len(cell))
    rt = np.maximum(600 - SLOPE * np.abs(distance), 200) + SIGMA * generator.standard_normal(len(cell)) + tail
    export = export_of("yes-no", (0.0, 8.0), person, cell, distance > 0, rt_ms=np.maximum(rt, 1.0))
    return speed_accuracy(export, trimmed_times(export, PLAN)[0])


def hurried(participants: int, seed: int, number: int) -> dict[str, tuple[float, float]]:
    """Returns the intervals of the share right in the fastest and slowest fifths of one study."""
    rows = _law(participants, rng.numpy_generator(seed, "coverage of speed and accuracy", participants, number))
    return {_name(row): _bounds(row["right"]) for row in rows if row["fifth"] - 1 in FIFTHS}


def _name(row: dict[str, Any]) -> str:
    return f"right of {row['pictures']}, {'fastest' if row['fifth'] == 1 else 'slowest'} fifth"


@lru_cache(maxsize=1)
def _population() -> dict[str, float]:
    rows = _law(MANY, rng.numpy_generator(0, "population of speed and accuracy"))
    return {_name(row): row["right"]["estimate"] for row in rows}


def hurried_shares(rows: Sequence[dict[str, Any]]) -> list[Share]:
    """Returns the coverage of shares by speed; the truth is that of one study of very many participants."""
    return [covered(name, [row[name] for row in rows], _population()[name], "inside") for name in rows[0]]


CELLS = tuple(
    Cell(name=f"{name}-p{people}", words=f"{words}, {people} participants", times=400, one=partial(one, people),
         shares=shares)
    for name, words, one, shares in (
        ("mean-ratings", f"ratings of {RATED} perturbed and {RATED} real pictures", both_rated, rated_shares),
        ("times-medians", "reaction times by ε and answer", timed, time_shares),
        ("times-ex-gaussian", f"{FITTED} reaction times each of an ex-Gaussian law", fitted, fitted_shares),
        ("times-accuracy", "answers sooner the surer the evidence", hurried, hurried_shares),
    )
    for people in (8, 20)
)  # fmt: skip
