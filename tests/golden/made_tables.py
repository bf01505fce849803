"""Simulated studies that other programs have fitted; ``python -m tests.golden.made_tables`` writes them anew.

R's answers (``peers.R``) belong to these tables: who changes a table runs R again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtr

from core import rng

TABLES = Path(__file__).parent / "tables"
EPS = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
SPEEDS = np.array([1.0, 4.0, 7.0, 8.5, 10.0, 13.0, 16.0])  # cm/s


def crossed_answers(people: int = 24, pictures: int = 40) -> pd.DataFrame:
    """Returns yes-no answers: every participant sees every picture once, at one ε of one of two source models.

    Participants differ in criterion and slope, pictures in how well a change shows on them.
    """
    generator = rng.numpy_generator(7, "crossed answers")
    person, picture = (each.ravel() for each in np.meshgrid(np.arange(people), np.arange(pictures), indexing="ij"))
    cell = (person + picture) % (2 * len(EPS))
    model, eps = cell // len(EPS), EPS[cell % len(EPS)]
    criterion, slope = generator.normal(0, 0.6, people), generator.normal(0, 0.4, people)
    salient = generator.normal(0, 0.6, pictures)
    evidence = -1.6 + criterion[person] + (0.8 + slope[person]) * np.log2(eps) - 0.5 * model + salient[picture]
    yes = generator.random(len(person)) < ndtr(evidence)
    return pd.DataFrame(
        {"participant": person, "picture": picture, "model": model, "eps": eps.astype(int), "yes": yes.astype(int)}
    )


def speed_judgements(people: int = 9, trials: int = 40) -> pd.DataFrame:
    """Returns counts of "faster" over a covariate far from 0, in two conditions, where slopes differ by person alone.

    All participants have the same point of equality: the effects of intercept and slope are tied (correlation −1), and
    the covariance of the random effects is singular.
    """
    generator = rng.numpy_generator(7, "speed judgements")
    person, masked, speed = (each.ravel() for each in np.meshgrid(range(people), [0, 1], SPEEDS, indexing="ij"))
    slope = generator.normal(0.25, 0.05, people)[person] - 0.05 * masked
    faster = generator.binomial(trials, ndtr(slope * (speed - 8.5)))
    return pd.DataFrame(
        {"participant": person, "masked": masked, "speed": speed, "faster": faster, "slower": trials - faster}
    ).astype({"masked": int, "participant": int})


MADE = {"crossed_answers": crossed_answers, "speed_judgements": speed_judgements}


def main() -> None:
    """Writes the tables."""
    for name, make in MADE.items():
        make().to_csv(TABLES / f"{name}.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
