"""SCOOTER's human ratings of adversarial and real pictures (arXiv 2507.07776): pooled rates, d′ and c."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.signal_detection import sensitivity

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "human" / "scooter"
TABLE = {
    "aca": (0.780, 0.251, 1.44, -0.05), "advpp": (0.590, 0.271, 0.84, 0.19), "cadv": (0.926, 0.190, 2.32, -0.29),
    "cadv_4_6": (0.918, 0.197, 2.24, -0.27), "diffattack": (0.849, 0.185, 1.93, -0.07),
    "ncf": (0.938, 0.162, 2.52, -0.28), "semanticadv": (0.778, 0.205, 1.59, 0.03),
}  # fmt: skip


@pytest.mark.skipif(not DATA.is_dir(), reason="the SCOOTER ratings are not beside this checkout (../shared/data)")
@pytest.mark.parametrize("attack", TABLE)
def test_pooled_rates_d_prime_and_criterion_of_human_ratings(attack):
    ratings = pd.read_csv(DATA / f"{attack}.csv")
    modified = ratings["image_type"] == "modified"
    said = ratings["rating"] < 0
    hits, false_alarms = float(said[modified].sum()), float(said[~modified].sum())
    signal, noise = float(modified.sum()), float((~modified).sum())
    found = sensitivity(np.array(hits), np.array(signal), np.array(false_alarms), np.array(noise))
    values = (hits / signal, false_alarms / noise, float(found.d_prime), float(found.criterion))
    for value, (expected, tolerance) in zip(
        values, zip(TABLE[attack], (6e-4, 6e-4, 6e-3, 6e-3), strict=True), strict=True
    ):
        assert value == pytest.approx(expected, abs=tolerance)
