"""The benchmark of AToP's protocol, small: every way of attacking, and all of them together."""

from __future__ import annotations

import json

from benchmarks import atop_protocol
from tests.noise_pictures import write_noise_pictures


def test_a_small_run_is_attacked_in_every_way_and_judged_by_its_vote(tmp_path):
    data = write_noise_pictures(tmp_path / "noise", train=6, test=3)
    command = [
        "--data", str(data), "--eps", "16", "--steps", "1", "--votes", "2", "--train-per-class", "6",
        "--test-per-class", "3", "--epochs", "5", "--width", "4", "--purifier-width", "4",
        "--work", str(tmp_path / "work"), "--out", str(tmp_path / "atop.json"),
    ]  # fmt: skip
    assert atop_protocol.main(command) == 0
    claims = json.loads((tmp_path / "atop.json").read_text())
    told = [claim["claim"] for claim in claims]
    assert [words.split(";")[0] for words in told[:3]] == [
        "accuracy of standard, clean",
        "accuracy of standard, pgd-1 at ε = 16, gradients of the classifier",
        "accuracy of atop, clean",
    ]
    ways = dict(zip(("full", "fixed", "bpda", "bare", "all"), claims[3:], strict=True))
    for name, words in atop_protocol.WAYS.items():
        assert words in ways[name]["claim"]
        assert "vote of 2 draws in float32" in ways[name]["claim"]
    assert "pgd-1-eot20 at ε = 16" in ways["full"]["claim"]
    assert "pgd-1-eot20 at ε = 16" in ways["bpda"]["claim"]
    assert "worst-case at ε = 16, a picture counts if it stands all of these" in ways["all"]["claim"]
    assert ways["all"]["value"] <= min(claim["value"] for claim in claims[2:])
    assert {claim["n"] for claim in claims} == {30}
    assert "--eps 16 --steps 1 --votes 2" in claims[0]["command"]
