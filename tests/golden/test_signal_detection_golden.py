"""SCOOTER's human ratings of adversarial and real pictures (arXiv 2507.07776): rates, d′, c, areas, equivalence."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import signal_detection as sdt
from analysis.rating_difference import rating_difference

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "human" / "scooter"
TABLE = {
    "aca": (0.780, 0.251, 1.44, -0.05), "advpp": (0.590, 0.271, 0.84, 0.19), "cadv": (0.926, 0.190, 2.32, -0.29),
    "cadv_4_6": (0.918, 0.197, 2.24, -0.27), "diffattack": (0.849, 0.185, 1.93, -0.07),
    "ncf": (0.938, 0.162, 2.52, -0.28), "semanticadv": (0.778, 0.205, 1.59, 0.03),
}  # fmt: skip
# means (modified, real), area pooled and mean of participants, H, F, mean d′ of participants, mixed model's difference
# and its standard error (lme4), Welch's standard error
PEERS = {
    "semanticadv": (-1.064, 0.921, 0.8351, 0.8401, 0.7781, 0.2049, 1.6977, 1.9219, 0.0679, 0.0303),
    "ncf": (-1.688, 1.030, 0.9414, 0.9419, 0.9380, 0.1623, 2.7713, 2.7217, 0.0801, 0.0253),
    "cadv": (-1.674, 0.920, 0.9279, 0.9257, 0.9262, 0.1902, 2.5500, 2.5945, 0.0907, 0.0268),
    "diffattack": (-1.386, 1.000, 0.8964, 0.8949, 0.8488, 0.1848, 2.0841, 2.3944, 0.0949, 0.0329),
    "advpp": (-0.519, 0.587, 0.7105, 0.7147, 0.5904, 0.2712, 0.9134, 1.1132, 0.0922, 0.0389),
    "aca": (-1.155, 0.715, 0.8240, 0.8343, 0.7804, 0.2512, 1.6541, 1.8730, 0.0983, 0.0368),
}
SCALE = (2, 1, 0, -1, -2)  # surely real … surely modified

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the SCOOTER ratings are not beside this checkout (../shared/data)"
)


@cache
def ratings(attack: str) -> pd.DataFrame:
    return pd.read_csv(DATA / f"{attack}.csv")


def counts(attack: str) -> np.ndarray:
    """Ratings of each participant, [P, 2, 5]: real pictures, then modified ones; surely real first."""
    table = ratings(attack)
    each = table.groupby(["pid", "image_type", "rating"]).size().unstack(fill_value=0)[list(SCALE)]
    return np.stack([each.xs(kind, level="image_type").to_numpy(dtype=float) for kind in ("real", "modified")], axis=1)


@pytest.mark.parametrize("attack", TABLE)
def test_pooled_rates_d_prime_and_criterion_of_human_ratings(attack):
    noise, signal = counts(attack).sum(axis=0)
    hits, false_alarms = signal[3:].sum(), noise[3:].sum()
    found = sdt.sensitivity(hits, signal.sum(), false_alarms, noise.sum())
    values = (hits / signal.sum(), false_alarms / noise.sum(), float(found.d_prime), float(found.criterion))
    for value, expected, tolerance in zip(values, TABLE[attack], (6e-4, 6e-4, 6e-3, 6e-3), strict=True):
        assert value == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("attack", PEERS)
def test_areas_and_d_prime_pooled_and_of_each_participant(attack):
    _, _, pooled, mean, hit, false_alarm, d_prime, *_ = PEERS[attack]
    each = counts(attack)
    noise, signal = each.sum(axis=0)
    assert float(sdt.area_under_curve(noise, signal)) == pytest.approx(pooled, abs=1e-4)
    assert sdt.area_under_curve(each[:, 0], each[:, 1]).mean() == pytest.approx(mean, abs=1e-4)
    assert signal[3:].sum() / signal.sum() == pytest.approx(hit, abs=1e-4)
    assert noise[3:].sum() / noise.sum() == pytest.approx(false_alarm, abs=1e-4)
    own = sdt.sensitivity(
        each[:, 1, 3:].sum(axis=1), each[:, 1].sum(axis=1), each[:, 0, 3:].sum(axis=1), each[:, 0].sum(axis=1)
    )
    assert own.d_prime.mean() == pytest.approx(d_prime, abs=1e-3)


def test_the_equal_variance_model_agrees_with_the_ordered_probit_of_statsmodels():
    noise, signal = counts("advpp").sum(axis=0)
    found = sdt.fit_ratings(noise[None], signal[None], equal_variance=True)
    assert float(found.mu[0]) == pytest.approx(0.8335, abs=1e-3)  # OrderedModel(distr="probit"): 0.8335 (0.0312)
    assert float(np.sqrt(found.mu_variance[0])) == pytest.approx(0.0312, abs=1e-3)


@pytest.mark.parametrize("attack", ["advpp", "ncf"])
def test_clustered_intervals_of_areas_are_wider_than_those_of_independent_ratings(attack):
    each = counts(attack)
    area, draws = sdt.clustered(lambda c: sdt.area_under_curve(c[:, 0], c[:, 1]), each, replicates=500, seed=1)
    found = sdt.clustered_interval(area, draws, len(each))
    independent = np.sqrt(sdt.area_variance(*each.sum(axis=0)))
    assert float(found.standard_error) > 1.5 * float(independent)
    assert found.low < PEERS[attack][3] < found.high


@pytest.mark.parametrize("attack", PEERS)
def test_the_difference_of_ratings_with_its_errors_and_no_equivalence(attack):
    modified, real, *_, mixed, mixed_error, welch = PEERS[attack]
    table = ratings(attack)
    found = rating_difference(
        table["rating"], table["image_type"] == "real", table["pid"], table["image_id"], margin=0.2, replicates=400
    )
    assert found.difference == pytest.approx(real - modified, abs=1.1e-3)
    assert found.welch_error == pytest.approx(welch, abs=1e-4)
    assert found.difference == pytest.approx(mixed, abs=mixed_error)
    assert 1.8 * welch < found.participant_error < found.crossed_error
    assert 0.7 * mixed_error < found.crossed_error < 1.5 * mixed_error
    assert found.p < 1e-6
    assert found.p_equivalence > 0.999  # as published: none of the attacks is equivalent within ± 0.2
