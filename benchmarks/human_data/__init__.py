"""Real answers of people, put through the report's own functions: ``python -m benchmarks.human_data DIRECTORY``."""
