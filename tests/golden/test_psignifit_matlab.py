"""Simulated answers that psignifit 4 for MATLAB fitted (its own test cases of 2021; numbers alone are taken).

Ten levels from 0.25 to 1.75, ten answers each; for Weibull and logn the stimuli are e to these powers, the axis their
logarithm. MATLAB ends its search where fminsearch does, up to 5e-3 of w from the mode: so the posterior density
there is compared as well, and ours must not be lower.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logit

from analysis.psychometric import LOGIT_BOX, PsychometricModel, fit_psychometric, level_prior
from analysis.psychometric.fitting import evaluation

LEVELS = 0.25 + np.arange(10) / 6
# task, family: hits of ten at each level; m, w, λ, γ; deviance
CASES = {
    ("2afc", "normal"): ((6, 7, 8, 7, 5, 8, 8, 10, 10, 10), (0.912425, 1.480736, 0.0, 0.5), 8.458944),
    ("2afc", "logistic"): ((5, 5, 5, 6, 5, 7, 9, 9, 8, 10), (1.189541, 1.345906, 0.0, 0.5), 4.125011),
    ("2afc", "gumbel"): ((4, 8, 7, 5, 6, 6, 10, 10, 10, 10), (1.116346, 0.321731, 0.0, 0.5), 6.654977),
    ("2afc", "reverse-gumbel"): ((7, 4, 6, 3, 8, 7, 10, 9, 10, 10), (1.019791, 0.708205, 0.0, 0.5), 9.291930),
    ("2afc", "student-t"): ((6, 8, 6, 7, 6, 9, 7, 10, 9, 10), (1.024673, 2.419552, 0.0, 0.5), 9.691158),
    ("2afc", "weibull"): ((4, 6, 7, 6, 6, 10, 9, 9, 9, 9), (0.941412, 0.326461, 0.069052, 0.5), 4.958078),
    ("2afc", "logn"): ((5, 5, 7, 7, 6, 7, 8, 9, 9, 9), (1.120199, 1.883878, 0.0, 0.5), 1.659462),
    ("yes-no", "normal"): ((0, 2, 2, 3, 7, 7, 8, 8, 9, 10), (0.897274, 1.434103, 0.0, 0.0), 4.810484),
    ("yes-no", "logistic"): ((1, 1, 4, 6, 5, 6, 7, 9, 7, 10), (0.879924, 2.056311, 0.0, 0.0), 7.585687),
    ("yes-no", "gumbel"): ((3, 1, 2, 4, 4, 6, 9, 9, 9, 8), (0.846949, 1.563264, 0.087996, 0.0), 5.834108),
    ("yes-no", "reverse-gumbel"): ((2, 0, 2, 2, 2, 6, 8, 10, 9, 10), (1.081235, 0.665021, 0.0, 0.118502), 7.214567),
    ("yes-no", "student-t"): ((0, 1, 1, 1, 1, 7, 8, 10, 10, 10), (1.049857, 0.739737, 0.0, 0.017451), 5.308427),
    ("yes-no", "weibull"): ((0, 0, 0, 2, 3, 6, 7, 7, 10, 9), (1.114878, 1.030743, 0.045567, 0.0), 7.643658),
    ("equal", "normal"): ((0, 0, 0, 6, 5, 9, 8, 10, 10, 9), (0.865828, 0.756807, 0.021428, 0.021428), 12.952176),
    ("equal", "gumbel"): ((2, 2, 2, 4, 4, 7, 8, 8, 9, 10), (0.941119, 1.896847, 0.0, 0.0), 2.184751),
}


@pytest.mark.parametrize(("task", "family"), CASES)
def test_modes_are_those_of_psignifit_for_matlab_or_a_little_higher(task, family):
    hits, (m, w, lapse, guess), deviance = CASES[task, family]
    model = PsychometricModel(
        family={"weibull": "gumbel", "logn": "normal"}.get(family, family), guess=0.5 if task == "2afc" else None,
        equal_asymptotes=task == "equal", levels=level_prior(LEVELS), overdispersed=True,
    )  # fmt: skip
    counts = np.array([hits], dtype=float), np.full((1, 10), 10.0)
    found = fit_psychometric(model, LEVELS, *counts)
    assert found.threshold[0] == pytest.approx(m, abs=2e-3)
    assert found.width[0] == pytest.approx(w, abs=5e-3)
    assert (found.lapse[0], found.guess[0]) == pytest.approx((lapse, guess), abs=1e-3)
    assert found.eta[0] < 1e-3
    assert found.deviance[0] == pytest.approx(deviance, abs=0.02)
    logits = np.clip(logit(np.array([guess, lapse]) / 0.5), -LOGIT_BOX, LOGIT_BOX)
    theirs = np.array([[m, np.log(w), *logits, -LOGIT_BOX]])
    assert found.fit.objective[0] > evaluation(model, LEVELS, *counts)(theirs, np.array([0]))[0][0] - 1e-5
