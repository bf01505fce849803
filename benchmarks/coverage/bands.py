"""The band of d′ over ε, by the power law of pooled answers of participants who differ.

The truth is the power law of the whole population with unlimited trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from analysis import estimates, signal_detection
from benchmarks.coverage.acceptance import Share, covered
from benchmarks.coverage.cell import Cell
from benchmarks.coverage.people import EPS, People, population, study

PLACES = (0.3, 0.5, 0.7)  # of the way from the least to the largest log2 ε, none of them a level


def one(people: People, seed: int, number: int) -> list[tuple[float, float]]:
    """Returns the band of the first source model at each place of one study."""
    band = estimates.estimates_of(study(people, seed, number)).bands[0]
    _, low, high = band.d_prime
    return [(float(low[place]), float(high[place])) for place in _places(len(band.eps))]


def _places(points: int) -> list[int]:
    return [round(place * (points - 1)) for place in PLACES]


def shares(people: People, rows: Sequence[list[tuple[float, float]]]) -> list[Share]:
    """Returns what the band covers at each place."""
    law = population(people).power_law
    grid = np.linspace(np.log2(EPS[0]), np.log2(EPS[-1]), estimates.CURVE_POINTS)
    found = []
    for number, place in enumerate(_places(len(grid))):
        eps = 2 ** grid[place]
        own = float(signal_detection.d_prime_at(eps, law.log2_eps_dprime1[0, 0], law.exponent[0, 0]))
        found.append(
            covered(f"d′ at ε = {eps:.1f}, band over participants", [row[number] for row in rows], own, "inside")
        )
    return found


CELLS = tuple(
    Cell(name=f"d-prime-band-p{people.participants}-sd{people.sd:g}", times=400, one=partial(one, people),
         shares=partial(shares, people), words=f"the band of d′: {people.words}")
    for people in (
        People(participants=8, trials=20, sd=0.875, models=2),
        People(participants=20, trials=20, sd=0.25, models=2),
        People(participants=20, trials=20, sd=0.875, models=2),
    )
)  # fmt: skip
