"""SCOOTER: people rated pictures from −2 (surely modified) to 2 (surely real); github DrenFazlija/SCOOTER, MIT.

A modified picture is the signal, a rating below 0 the answer "modified". Published and peer numbers: research note 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t as student

from analysis.contrasts import comparing
from analysis.intervals import t_quantile
from analysis.likelihood import Floats
from analysis.signal_detection import (
    Sensitivity,
    area_under_curve,
    clustered,
    clustered_interval,
    fit_ratings,
    sensitivity,
)

RATINGS = (2, 1, 0, -1, -2)  # from the surest "real" to the surest "modified"
MODIFIED = slice(3, 5)  # ratings below 0
MARGIN = 0.2  # of the rating, SCOOTER's own for "as real as real ones"
REPLICATES, SEED = 2000, 1
NOTE = {  # attack: mean modified, mean real, AUC pooled, AUC of participants, hit, false alarm, d′ of participants
    "semanticadv": (-1.064, 0.921, 0.8351, 0.8401, 0.7781, 0.2049, 1.6977),
    "ncf": (-1.688, 1.030, 0.9414, 0.9419, 0.9380, 0.1623, 2.7713),
    "cadv": (-1.674, 0.920, 0.9279, 0.9257, 0.9262, 0.1902, 2.5500),
    "diffattack": (-1.386, 1.000, 0.8964, 0.8949, 0.8488, 0.1848, 2.0841),
    "advpp": (-0.519, 0.587, 0.7105, 0.7147, 0.5904, 0.2712, 0.9134),
    "aca": (-1.155, 0.715, 0.8240, 0.8343, 0.7804, 0.2512, 1.6541),
}
MIXED = {  # lme4: rating ~ image_type + (1 + image_type | pid) + (1 | image_id): real − modified, standard error
    "semanticadv": (1.9219, 0.0679), "ncf": (2.7217, 0.0801), "cadv": (2.5945, 0.0907), "diffattack": (2.3944, 0.0949),
    "advpp": (1.1132, 0.0922), "aca": (1.8730, 0.0983),
}  # fmt: skip
NOTE_NAMES = ("mean_modified", "mean_real", "auc", "auc_participants", "hit", "false_alarm", "d_prime_participants")


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What people's ratings say of one attack; intervals at 95 % over participants.

    Attributes:
        d_prime: pooled answers, with ``d_prime_interval``; ``d_prime_participants``: mean of participants'.
        criterion: mean of participants'; above 0 they rather say "real".
        d_a: of the unequal-variance model of the ratings.
        difference: mean over participants of their mean rating of real less that of modified pictures.
        equivalence_p: two one-sided t tests that |difference| < 0.2.
    """

    name: str
    ratings: int
    participants: int
    mean_modified: float
    mean_real: float
    hit: float
    false_alarm: float
    d_prime: float
    d_prime_interval: tuple[float, float]
    d_prime_participants: float
    criterion: float
    auc: float
    auc_interval: tuple[float, float]
    auc_participants: float
    d_a: float
    zroc_slope: float
    difference: float
    difference_interval: tuple[float, float]
    difference_p: float
    equivalence_p: float


def read(directory: Path) -> dict[str, Floats]:
    """Returns counts by attack: participants × (real, modified) × 5 ratings; ids of pictures are not used.

    ``image_id`` of real and of modified pictures are two key spaces: the same number means two pictures.
    """
    return {name: counts(pd.read_csv(directory / f"{name}.csv")) for name in NOTE}


def counts(table: pd.DataFrame) -> Floats:
    """Returns the counts of one table, [P, 2, 5]."""
    person = np.unique(table["pid"], return_inverse=True)[1]
    found = np.zeros((person.max() + 1, 2, len(RATINGS)))
    place = (person, (table["image_type"] == "modified").to_numpy().astype(int), 2 - table["rating"].to_numpy())
    np.add.at(found, place, 1.0)
    return found


def attack(name: str, table: Floats) -> Attack:
    """Returns what the counts [P, 2, 5] of one attack say."""
    pooled = table.sum(axis=0)
    own = _sensitivity(table)
    d = clustered_interval(*clustered(lambda c: _sensitivity(c).d_prime, table, replicates=REPLICATES, seed=SEED),
                           len(table))  # fmt: skip
    area = clustered_interval(*clustered(_area, table, replicates=REPLICATES, seed=SEED), len(table))
    normal = fit_ratings(pooled[:1], pooled[1:])
    means = table @ np.array(RATINGS) / table.sum(axis=2)
    difference = means[:, 0] - means[:, 1]
    error, df = float(difference.std(ddof=1) / np.sqrt(len(table))), len(table) - 1
    middle = float(difference.mean())
    overall = pooled @ np.array(RATINGS) / pooled.sum(axis=1)
    rates = pooled[:, MODIFIED].sum(axis=1) / pooled.sum(axis=1)
    half = t_quantile(len(table)) * error
    return Attack(
        name=name, ratings=int(table.sum()), participants=len(table), mean_modified=float(overall[1]),
        mean_real=float(overall[0]), hit=float(rates[1]), false_alarm=float(rates[0]), d_prime=float(d.estimate),
        d_prime_interval=(float(d.low), float(d.high)), d_prime_participants=float(own.d_prime.mean()),
        criterion=float(own.criterion.mean()), auc=float(area.estimate),
        auc_interval=(float(area.low), float(area.high)), auc_participants=float(_area(table).mean()),
        d_a=float(normal.d_a[0]), zroc_slope=float(normal.zroc_slope[0]), difference=middle,
        difference_interval=(middle - half, middle + half), difference_p=float(2 * student.sf(abs(middle) / error, df)),
        equivalence_p=float(comparing.equivalence_p(np.array(middle), np.array(error), np.array(df), MARGIN)),
    )  # fmt: skip


def _sensitivity(table: Floats) -> Sensitivity:
    said, shown = table[..., MODIFIED].sum(axis=-1), table.sum(axis=-1)
    return sensitivity(said[..., 1], shown[..., 1], said[..., 0], shown[..., 0])


def _area(table: Floats) -> Floats:
    return area_under_curve(table[..., 0, :], table[..., 1, :])


def compared(found: Attack) -> Sequence[tuple[str, float, float, float]]:
    """Returns (name, ours, the note's, half a unit of its last digit) of each number of the note's table."""
    units = (0.0005, 0.0005, *[0.00005] * 5)
    return [(key, getattr(found, key), value, unit)
            for key, value, unit in zip(NOTE_NAMES, NOTE[found.name], units, strict=True)]  # fmt: skip
