"""One place to ask for an interval: by profile, posterior, parametric bootstrap or quasi-t, named with its method."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import t as student

from analysis.psychometric.fitting import PsychometricFit, evaluation, probability
from analysis.psychometric.goodness import pearson, refitted
from analysis.psychometric.model import PsychometricModel
from analysis.psychometric.posteriors import Posterior, posterior_of
from analysis.psychometric.profiles import Quantity, profile_interval, value_of
from analysis.psychometric.sigmoids import Floats
from core import rng

Method = Literal["profile", "posterior", "bootstrap", "quasi-t"]
POSTERIOR_DRAWS = 20_000
STEP = 1e-4


@dataclass(frozen=True, kw_only=True)
class CurveInterval:
    """An estimate and its bounds (infinite where the data set none), and in words how they were found."""

    estimate: float
    low: float
    high: float
    level: float
    method: str


def interval(
    fit: PsychometricFit,
    quantity: Quantity | None = None,
    method: Method = "profile",
    *,
    index: int = 0,
    level: float = 0.95,
    samples: int = 1000,
    seed: int = 0,
) -> CurveInterval:
    """Returns the interval of a threshold, width or slope of data set ``index``.

    Args:
        fit: maximum likelihood or a posteriori.
        quantity: by default the threshold m.
        method: ``profile`` likelihood (the default of a single curve); ``posterior`` (equal tails, η integrated out
            where it is free); parametric ``bootstrap`` with refits (percentiles); ``quasi-t``, the standard error
            widened by √max(1, X²/df), with t on df = rows − parameters, for overdispersed answers.
        index: which data set.
        level: of confidence.
        samples: of the bootstrap.
        seed: of bootstrap and posterior draws.
    """
    asked = quantity or Quantity()
    one = single(fit, index)
    at = _shown(one.model, asked, value_of(one.model, asked, one.fit.parameters))[0]
    match method:
        case "profile":
            low, high = (float(each[0]) for each in profile_interval(one, asked, level))
            words = "profile likelihood"
        case "posterior":
            low, high = posterior_interval(one, asked, posterior_of(one), level, seed)
            words = "posterior, equal tails" + (", η integrated out" if one.model.overdispersed else "")
        case "bootstrap":
            again = refitted(one, 0, samples, seed, "interval")
            values = _shown(one.model, asked, value_of(one.model, asked, again.fit.parameters))
            low, high = (float(each) for each in np.quantile(values, [(1 - level) / 2, (1 + level) / 2]))
            words = f"parametric bootstrap, {samples} refits, percentiles"
        case "quasi-t":
            low, high = _quasi_t(one, asked, level)
            words = "quasi-t: standard error × √max(1, X²/df), t(df)"
    return CurveInterval(estimate=float(at), low=low, high=high, level=level, method=words)


def single(fit: PsychometricFit, index: int) -> PsychometricFit:
    """Returns the fit of one data set of a batch."""
    rows = slice(index, index + 1)
    arrays = ("threshold", "width", "guess", "lapse", "eta", "deviance", "hits", "trials")
    inner = dataclasses.replace(
        fit.fit,
        parameters=fit.fit.parameters[rows],
        objective=fit.fit.objective[rows],
        converged=fit.fit.converged[rows],
    )
    return dataclasses.replace(fit, fit=inner, **{name: getattr(fit, name)[rows] for name in arrays})


def _shown(model: PsychometricModel, quantity: Quantity, value: Floats) -> Floats:
    """Values on the scale they are reported on: w, slope and Weibull's thresholds without the logarithm."""
    logged = quantity.name != "threshold" or model.family == "weibull"
    return np.exp(value) if logged else value


def posterior_interval(
    fit: PsychometricFit, quantity: Quantity, found: Posterior, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Returns the credible interval of a quantity; from the marginal where it is a parameter, else from draws."""
    model = fit.model
    if quantity == Quantity() or (quantity == Quantity(name="width")):
        low, high = found.interval("threshold" if quantity.name == "threshold" else "width", level)
        weibull = model.family == "weibull" and quantity.name == "threshold"
        return (float(np.exp(low)), float(np.exp(high))) if weibull else (low, high)
    drawn = found.draws(POSTERIOR_DRAWS, rng.numpy_generator(seed, "posterior draws"))
    asymptotes = [np.log(np.maximum(drawn[name], 1e-12) / (0.5 - drawn[name] + 1e-12)) for name in ("guess", "lapse")]
    theta = np.column_stack([drawn["threshold"], np.log(drawn["width"]), *asymptotes])
    values = _shown(model, quantity, value_of(model, quantity, theta))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _quasi_t(fit: PsychometricFit, quantity: Quantity, level: float) -> tuple[float, float]:
    theta = fit.fit.parameters
    value = float(value_of(fit.model, quantity, theta)[0])
    information = evaluation(fit.model, fit.axis, fit.hits, fit.trials)(theta, np.array([0]))[2][0]
    steps = np.eye(theta.shape[1]) * STEP
    gradient = np.array([
        float(value_of(fit.model, quantity, theta + step)[0] - value_of(fit.model, quantity, theta - step)[0])
        for step in steps
    ]) / (2 * STEP)  # fmt: skip
    used = fit.trials[0] > 0
    degrees = max(int(used.sum()) - fit.free_parameters, 1)
    p = probability(fit, fit.levels)[0][used]
    spread = max(1.0, float(pearson(p, fit.hits[0][used], fit.trials[0][used])) / degrees)
    error = np.sqrt(spread * gradient @ np.linalg.pinv(information + np.eye(len(gradient)) * 1e-9) @ gradient)
    half = float(student.ppf((1 + level) / 2, degrees)) * error
    low, high = _shown(fit.model, quantity, np.array([value - half, value + half]))
    return float(low), float(high)
