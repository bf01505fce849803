"""One script a claim; each writes its results to ``benchmarks/results/<name>.json``."""
