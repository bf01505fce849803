"""Batched fits by Newton's method beside Fisher scoring from several starts, which finds the same optima slowly."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import likelihood
from analysis.estimates import PSYCHOMETRIC
from analysis.psychometric import SIGMOIDS, PsychometricModel, fit_psychometric, level_prior
from analysis.psychometric import model as models
from analysis.psychometric.fitting import evaluation
from core import rng

LEVELS = np.array([-1.25, -0.75, -0.25, 0.25, 0.75, 1.25])
REPORT_LEVELS = np.concatenate([[-np.inf], np.arange(6.0)])
P_REPORT = np.array([0.1, 0.11, 0.16, 0.36, 0.78, 0.95, 0.98])
P_YES_NO = np.array([0.03, 0.04, 0.16, 0.7, 0.95, 0.98])


def answers(p, trials, number, *purpose):
    generator = rng.numpy_generator(7, "newton", *purpose)
    hits = generator.binomial(trials, p, size=(number, len(p))).astype(float)
    return hits, np.full_like(hits, trials)


def fisher(model, levels, hits, trials):
    """The best log posterior of three starts and of nine more with other widths and lapse rates."""
    low, high = models.box(model, levels)
    found = []
    for start in models.starts(model, levels):
        for log_w, lapse in ((0.0, -3.0), (0.6, -8.0), (-0.6, -1.5), (-1.2, -2.0)):
            begin = np.tile(start + np.array([0, log_w, 0, lapse + 3]), (len(hits), 1))
            found.append(likelihood.climb(evaluation(model, levels, hits, trials), begin, low, high, steps=400))
    return likelihood.best_of(found).objective


def test_of_the_reports_own_curves_next_to_none_misses_its_optimum():
    hits, trials = answers(P_REPORT, 20, 600, "report")
    fit = fit_psychometric(PSYCHOMETRIC, REPORT_LEVELS, hits, trials)
    missed = fit.fit.objective < fisher(PSYCHOMETRIC, REPORT_LEVELS, hits, trials) - 1e-5
    assert fit.fit.converged.all()
    assert missed.sum() <= 1


MODELS = {
    **{shape: PsychometricModel(family=shape, width_prior=(1.2, 1.0)) for shape in SIGMOIDS},
    "equal asymptotes": PsychometricModel(family="normal", equal_asymptotes=True, width_prior=(1.2, 1.0)),
    "fixed asymptotes": PsychometricModel(family="normal", guess=0.02, lapse=0.03),
    "another proportion": PsychometricModel(family="logistic", proportion=0.75, width_prior=(1.2, 1.0)),
    "priors of levels": PsychometricModel(family="normal", levels=level_prior(LEVELS)),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_reaches_what_fisher_scoring_reaches(name):
    hits, trials = answers(P_YES_NO, 40, 20, name)
    fit = fit_psychometric(MODELS[name], LEVELS, hits, trials)
    np.testing.assert_array_less(fisher(MODELS[name], LEVELS, hits, trials) - 1e-4, fit.fit.objective)


@pytest.mark.parametrize("shape", SIGMOIDS)
def test_the_slope_of_each_density_is_its_derivative(shape):
    sigmoid = SIGMOIDS[shape]
    z = np.linspace(-3, 3, 31)
    rise = (sigmoid.density(z + 1e-5) - sigmoid.density(z - 1e-5)) / 2e-5
    np.testing.assert_allclose(sigmoid.density_slope(z), rise, atol=1e-8)


def test_a_fit_says_what_its_own_log_posterior_is():
    """What Newton's method maximises is what profiles and Fisher scoring compute."""
    hits, trials = answers(P_YES_NO, 40, 20, "objective")
    fit = fit_psychometric(MODELS["priors of levels"], LEVELS, hits, trials)
    value = evaluation(fit.model, LEVELS, hits, trials)(fit.fit.parameters, np.arange(20))[0]
    np.testing.assert_allclose(fit.fit.objective, value, rtol=0, atol=1e-5)


def test_data_sets_do_not_depend_on_their_neighbours():
    hits, trials = answers(P_REPORT, 20, 300, "neighbours")
    every = fit_psychometric(PSYCHOMETRIC, REPORT_LEVELS, hits, trials)
    one = fit_psychometric(PSYCHOMETRIC, REPORT_LEVELS, hits[100:101], trials[100:101])
    np.testing.assert_allclose(one.fit.parameters[0, :3], every.fit.parameters[100, :3], atol=1e-4)
