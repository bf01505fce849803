"""Studies in which pictures differ too: the undetected attack rate, and the machines' comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis import undetected
from analysis.power.settings import FooledLaw
from analysis.power.simulated_studies import Design, Spread, simulated_study
from benchmarks.coverage.acceptance import Share, covered, erred
from benchmarks.coverage.people import EPS, People, law
from core import rng
from core.evaluation_comparisons import mcnemar

PARTICIPANTS, PICTURES, TRIALS = 20, 40, 10
SD_PICTURE = 0.3  # octaves
LEVEL = 3  # of the ladder: 8 grey levels
FOOLED = {name: FooledLaw(eps50=6.0, sd_log2=1.0) for name in "ab"}
MANY = 4000
PEOPLE = People(participants=PARTICIPANTS, trials=TRIALS, sd=0.25, models=2)


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
