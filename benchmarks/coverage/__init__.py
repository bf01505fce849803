"""What the report's intervals cover and how often its tests err, in simulated studies whose law is known."""

from benchmarks.coverage.demo_design import SCENARIOS, empty_study, law

__all__ = ["SCENARIOS", "empty_study", "law"]
