"""The section ``curves``: each source model's psychometric function, its fit, and what rests on its shape."""

from analysis.curves.computing import curve_of, curves_of
from analysis.curves.showing import section

__all__ = ["curve_of", "curves_of", "section"]
