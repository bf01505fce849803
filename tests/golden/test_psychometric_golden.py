"""Fits of published data sets beside the answers of independent programs (R's glm, quickpsy, psyphy, psignifit 4).

HSP: Hecht, Shlaer & Pirenne's frequency-of-seeing data; F: quickpsy's example data, participant 1, condition 1;
H: Geirhos et al.'s human contrast data, pooled over observers (16 alternatives, with lapses).
"""

from __future__ import annotations

import numpy as np
import pytest

from analysis.psychometric import PsychometricModel, fit_psychometric

QUANTA = {
    "SH R1": ("46.9:0 73.1:3 113.8:12 177.4:26 276.1:35 421.7:35", 35),
    "MHP R1": ("37.6:3 58.6:3 91:12 141.9:33 221.3:44 342.8:50", 50),
}
ORIENTATION = "-250:2 -200:0 -150:1 -100:13 -50:32 0:37 50:36 100:37"
CONTRAST = "1:40 3:96 5:226 10:381 15:470 30:509 50:529 100:548"


def fit(data: str, trials: int, model: PsychometricModel, *, log10: bool = True):
    pairs = np.array([[float(number) for number in pair.split(":")] for pair in data.split()])
    levels = np.log10(pairs[:, 0]) if log10 else pairs[:, 0]
    return fit_psychometric(model, levels, pairs[None, :, 1], np.full((1, len(pairs)), float(trials)))


def test_probit_regression_of_r_is_matched():
    found = fit(*QUANTA["SH R1"], PsychometricModel(family="normal", guess=0.0, lapse=0.0))
    assert found.threshold[0] == pytest.approx(2.11682, abs=1e-5)
    assert found.width[0] == pytest.approx(0.53497, abs=1e-5)


def test_another_probit_regression_of_r_is_matched_with_its_deviance():
    found = fit(*QUANTA["MHP R1"], PsychometricModel(family="normal", guess=0.0, lapse=0.0))
    assert found.threshold[0] == pytest.approx(2.06987, abs=1e-5)
    assert found.width[0] == pytest.approx(0.75170, abs=1e-5)
    assert found.deviance[0] == pytest.approx(8.14, abs=0.005)


def test_free_asymptotes_that_the_data_do_not_need_stay_at_zero():
    found = fit(*QUANTA["SH R1"], PsychometricModel(family="normal"))
    assert found.threshold[0] == pytest.approx(2.1167, abs=2e-4)
    assert found.width[0] == pytest.approx(0.53464, abs=5e-4)
    assert max(found.guess[0], found.lapse[0]) < 1e-4


def test_a_free_guess_rate_agrees_with_psignifit():
    found = fit(*QUANTA["MHP R1"], PsychometricModel(family="normal"))
    assert found.threshold[0] == pytest.approx(2.1048, abs=5e-4)
    assert found.width[0] == pytest.approx(0.58937, abs=1e-3)
    assert found.guess[0] == pytest.approx(0.0439, abs=5e-4)


def test_maximum_likelihood_of_quickpsy_is_matched():
    found = fit(ORIENTATION, 40, PsychometricModel(family="normal", guess=0.0, lapse=0.0), log10=False)
    assert found.threshold[0] == pytest.approx(-70.217, abs=2e-3)
    assert found.width[0] / 3.2897073 == pytest.approx(78.48, abs=5e-3)


def test_a_lapse_rate_mends_the_fit_as_in_psignifit():
    found = fit(ORIENTATION, 40, PsychometricModel(family="normal"), log10=False)
    assert found.threshold[0] == pytest.approx(-85.58, abs=1e-2)
    assert found.width[0] == pytest.approx(100.62, abs=1e-2)
    assert found.lapse[0] == pytest.approx(0.0779, abs=1e-4)
    assert found.guess[0] == pytest.approx(0.0201, abs=1e-4)


def test_sixteen_alternatives_with_a_known_lapse_rate_agree_with_psyphy():
    found = fit(CONTRAST, 640, PsychometricModel(family="normal", guess=1 / 16, lapse=0.1646))
    assert found.threshold[0] == pytest.approx(0.82950, abs=1e-4)
    assert found.width[0] == pytest.approx(1.05793, abs=1e-4)
    assert found.deviance[0] == pytest.approx(8.588, abs=1e-3)


def test_leaving_lapses_out_is_as_bad_as_psyphy_says():
    found = fit(CONTRAST, 640, PsychometricModel(family="normal", guess=1 / 16, lapse=0.0))
    assert found.deviance[0] == pytest.approx(173.5, abs=0.05)


@pytest.mark.parametrize(
    ("family", "threshold", "width", "lapse"),
    [("normal", 0.82964, 1.0568, 0.16458), ("logistic", 0.83275, 1.1407, 0.15921)],
)
def test_sixteen_alternatives_with_a_free_lapse_rate_agree_with_psignifit(family, threshold, width, lapse):
    found = fit(CONTRAST, 640, PsychometricModel(family=family, guess=1 / 16))
    assert found.threshold[0] == pytest.approx(threshold, abs=5e-4)
    assert found.width[0] == pytest.approx(width, abs=2e-3)
    assert found.lapse[0] == pytest.approx(lapse, abs=5e-4)
