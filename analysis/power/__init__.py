"""Sample size by simulation: how often a study of a design would find what it looks for.

Studies are simulated trial by trial from the law of observers (observers.toml) and put through the estimators and tests
of the report. ``python -m analysis.power SETTINGS.toml`` prints the table; docs/power.md has an example.
"""

from analysis.power.finding import Finding, findings, power
from analysis.power.settings import FooledLaw, Settings, read_settings
from analysis.power.simulated_studies import Design, Spread, design_of, simulated_study

__all__ = [
    "Design",
    "Finding",
    "FooledLaw",
    "Settings",
    "Spread",
    "design_of",
    "findings",
    "power",
    "read_settings",
    "simulated_study",
]
