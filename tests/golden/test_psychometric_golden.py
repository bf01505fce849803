"""Fits of published data sets beside the answers of independent programs (R's glm, quickpsy, psyphy, psignifit 4).

A: psignifit 4's demonstration data; B, C and HSP: Hecht, Shlaer & Pirenne's frequency-of-seeing data; F: quickpsy's
example data, participant 1, condition 1; H: Geirhos et al.'s human contrast data, pooled over observers (16
alternatives, with lapses).

``MODES`` are the modes of psignifit 4.3's own posterior density, climbed to by Nelder-Mead to 1e-10 from several
starts: what psignifit prints stops at 1e-4 of its search, up to 3e-3 of a width away (``PRINTED``).
"""

from __future__ import annotations

import numpy as np
import pytest

from analysis.psychometric import PsychometricModel, fit_psychometric, level_prior, posterior

QUANTA = {
    "SH R1": ("46.9:0 73.1:3 113.8:12 177.4:26 276.1:35 421.7:35", 35),
    "MHP R1": ("37.6:3 58.6:3 91:12 141.9:33 221.3:44 342.8:50", 50),
}
ORIENTATION = "-250:2 -200:0 -150:1 -100:13 -50:32 0:37 50:36 100:37"
CONTRAST = "1:40 3:96 5:226 10:381 15:470 30:509 50:529 100:548"
DEMONSTRATION = (
    ".0010:45 .0015:50 .0020:44 .0025:44 .0030:52 .0035:53 .0040:62 "
    ".0045:64 .0050:76 .0060:79 .0070:88 .0080:90 .0100:90"
)
WORKED = {  # data, trials of a level, axis in log10, γ
    "A": (DEMONSTRATION, 90, False, 0.5),
    "B": (*QUANTA["SH R1"], True, None),
    "C": (*QUANTA["MHP R1"], True, None),
    "F": (ORIENTATION, 40, False, None),
    "H": (CONTRAST, 640, True, 1 / 16),
}
# m, w, λ, γ, η
MODES = {
    ("A", "normal"): (0.0046478, 0.0046591, 0.0, 0.5, 0.0),
    ("A", "logistic"): (0.0046332, 0.0048169, 0.0, 0.5, 0.0),
    ("A", "gumbel"): (0.0048302, 0.0055925, 0.0, 0.5, 0.0),
    ("A", "reverse-gumbel"): (0.0044962, 0.0043889, 0.0, 0.5, 0.0),
    ("B", "normal"): (2.1168205, 0.5349701, 0.0, 0.0, 0.0),
    ("C", "normal"): (2.1045366, 0.5902355, 0.0, 0.0435113, 0.0),
    ("F", "normal"): (-85.5839548, 100.6179661, 0.0778967, 0.0201244, 0.0),
    ("H", "normal"): (0.8294656, 1.0577799, 0.1646262, 0.0625, 0.0),
    ("H", "logistic"): (0.8327750, 1.1407451, 0.1592141, 0.0625, 0.0),
    ("H", "gumbel"): (0.8557638, 1.0735667, 0.1741245, 0.0625, 0.0516969),
}
PRINTED = {  # m, w
    ("A", "normal"): (0.0046464, 0.0046632), ("A", "logistic"): (0.004633, 0.0048306),
    ("A", "gumbel"): (0.0048295, 0.0055949), ("A", "reverse-gumbel"): (0.0044961, 0.004388),
    ("B", "normal"): (2.1167, 0.53464), ("C", "normal"): (2.1048, 0.58937), ("F", "normal"): (-85.58, 100.62),
    ("H", "normal"): (0.82964, 1.0568), ("H", "logistic"): (0.83275, 1.1407), ("H", "gumbel"): (0.85576, 1.0736),
}  # fmt: skip
# mean and 95 % of a fine grid of psignifit 4.3's own log posterior (midpoints, 1e7 to 3e7 cells, ends of intervals by a
# smooth distribution function); with 0.7 times as many nodes on each axis they move by up to 0.4 % of the interval in A
# and H (η of H gumbel 0.9 %), 1.7 % in C and F, 1 % for m and w
POSTERIORS = {
    ("A", "logistic"): {
        "threshold": (0.0046057, 0.0042681, 0.0049473), "width": (0.0048314, 0.0035309, 0.0063436),
        "lapse": (0.0063489, 0.0001676, 0.0227411), "eta": (0.0415443, 0.0013980, 0.1260908),
    },
    ("A", "gumbel"): {
        "threshold": (0.0047875, 0.0044124, 0.0051592), "width": (0.0055753, 0.0041562, 0.0071739),
        "lapse": (0.0067769, 0.0001839, 0.0237851), "eta": (0.0441150, 0.0014995, 0.1322607),
    },
    ("A", "reverse-gumbel"): {
        "threshold": (0.0044765, 0.0041508, 0.0048049), "width": (0.0043959, 0.0031546, 0.0058378),
        "lapse": (0.0063041, 0.0001655, 0.0227101), "eta": (0.0443188, 0.0015003, 0.1334032),
    },
    ("C", "normal"): {
        "threshold": (2.0964630, 2.0327591, 2.1574049), "width": (0.5856238, 0.3902735, 0.8222223),
        "lapse": (0.0248382, 0.0007062, 0.0821484), "guess": (0.0550995, 0.0085811, 0.1234016),
    },
    ("F", "normal"): {
        "threshold": (-85.0472349, -98.7546476, -70.7042099), "width": (110.4437245, 74.5904801, 163.3212170),
        "lapse": (0.0839119, 0.0388196, 0.1426844), "eta": (0.0628456, 0.0019107, 0.1991368),
    },
    ("H", "logistic"): {
        "threshold": (0.8354708, 0.7849624, 0.8923437), "width": (1.1717224, 0.9645787, 1.4628617),
        "lapse": (0.1566943, 0.1184848, 0.1891284), "eta": (0.0427614, 0.0024833, 0.1164399),
    },
    ("H", "gumbel"): {
        "threshold": (0.8561533, 0.7784765, 0.9352368), "width": (1.1284049, 0.8489358, 1.5696058),
        "lapse": (0.1726366, 0.1239374, 0.2178914), "eta": (0.0869730, 0.0348032, 0.1806977),
    },
}  # fmt: skip


def fit(data: str, trials: int, model: PsychometricModel, *, log10: bool = True):
    pairs = np.array([[float(number) for number in pair.split(":")] for pair in data.split()])
    levels = np.log10(pairs[:, 0]) if log10 else pairs[:, 0]
    return fit_psychometric(model, levels, pairs[None, :, 1], np.full((1, len(pairs)), float(trials)))


@pytest.mark.parametrize(("name", "family"), MODES)
def test_worked_fits_end_at_the_mode_of_psignifits_own_posterior(name, family):
    data, trials, log10, guess = WORKED[name]
    levels = np.array([float(pair.split(":")[0]) for pair in data.split()])
    prior = level_prior(np.log10(levels) if log10 else levels)
    model = PsychometricModel(family=family, guess=guess, levels=prior, overdispersed=True)
    found = fit(data, trials, model, log10=log10)
    m, w, *rest = MODES[name, family]
    assert (found.threshold[0], found.width[0]) == pytest.approx((m, w), rel=1e-4)
    assert (found.lapse[0], found.guess[0], found.eta[0]) == pytest.approx(rest, abs=1e-4)
    assert (found.threshold[0], found.width[0]) == pytest.approx(PRINTED[name, family], rel=3.5e-3)


@pytest.mark.parametrize(("name", "family"), POSTERIORS)
def test_worked_posteriors_have_the_means_and_intervals_of_psignifits_density_on_a_fine_grid(name, family):
    data, trials, log10, guess = WORKED[name]
    pairs = np.array([[float(number) for number in pair.split(":")] for pair in data.split()])
    levels = np.log10(pairs[:, 0]) if log10 else pairs[:, 0]
    model = PsychometricModel(family=family, guess=guess, levels=level_prior(levels), overdispersed=True)
    found = posterior(model, levels, pairs[:, 1], np.full(len(pairs), float(trials)))
    for parameter, (mean, low, high) in POSTERIORS[name, family].items():
        ours = (found.mean(parameter), *found.interval(parameter))
        np.testing.assert_allclose(ours, (mean, low, high), rtol=0, atol=0.02 * (high - low), err_msg=parameter)


def test_the_worked_fit_with_everything_fixed_is_psignifits():
    levels = np.array([float(pair.split(":")[0]) for pair in ORIENTATION.split()])
    model = PsychometricModel(family="normal", guess=0.0, lapse=0.0, levels=level_prior(levels))
    found = fit(ORIENTATION, 40, model, log10=False)
    assert (found.threshold[0], found.width[0]) == pytest.approx((-70.2174742, 258.1811112), rel=1e-5)


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
