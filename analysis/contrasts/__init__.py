"""Differences between source models, and the section of the report that shows them."""

from analysis.contrasts.comparing import (
    Contrast,
    Difference,
    Equivalence,
    Settings,
    all_pairs,
    compare,
    equivalence_p,
    families,
)
from analysis.contrasts.showing import planned_pairs, section

__all__ = [
    "Contrast",
    "Difference",
    "Equivalence",
    "Settings",
    "all_pairs",
    "compare",
    "equivalence_p",
    "families",
    "planned_pairs",
    "section",
]
