"""The benchmark of consensus over many pictures, on a few."""

from __future__ import annotations

import json

from benchmarks import annotation_scale


def test_the_benchmark_states_memory_and_time_as_ratios_with_their_ground(tmp_path):
    assert annotation_scale.main(["--out", str(tmp_path / "scale.json"), "--pictures", "4", "8"]) == 0
    claims = json.loads((tmp_path / "scale.json").read_text())
    assert [(claim["unit"], claim["n"]) for claim in claims] == [("ratio", 40), ("MiB", 40), ("ratio", 40), ("s", 40)]
    assert 0.8 < claims[0]["value"] < 1.2
    assert claims[2]["value"] > 1
    assert claims[2]["spread"][0] <= claims[2]["value"] <= claims[2]["spread"][1]
    assert claims[2]["compared_with"].startswith("reading and decoding the same mask files")
