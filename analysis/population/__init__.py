"""What people are like: thresholds over participants, mixed models, and the section that shows them."""

from analysis.population.censored_normal import NormalFit, fit_normal
from analysis.population.showing import section
from analysis.population.two_stage import ParticipantThresholds, participant_thresholds

__all__ = ["NormalFit", "ParticipantThresholds", "fit_normal", "participant_thresholds", "section"]
