"""The section ``sensitivity``: seeing apart from saying, for each ε and source model, in the task of the study."""

from analysis.sensitivity.cells import by_cell, by_rating
from analysis.sensitivity.showing import section

__all__ = ["by_cell", "by_rating", "section"]
