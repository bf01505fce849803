"""The page on real answers of people, from data of the same form (the published files are not part of the project)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.human_data import geirhos, networks, scooter
from benchmarks.human_data.__main__ import main
from core import rng
from core.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
CONTRASTS = ("c01", "c03", "c05", "c10", "c15", "c30", "c50", "c100")
NOISES = ("0.00", "0.03", "0.05", "0.10", "0.20", "0.35", "0.60", "0.90")
NAMES = [f"object{number}" for number in range(16)]


def write_ratings(path: Path, generator: np.random.Generator) -> None:
    rows = ["rating,pid,image_type,image_id"]
    for person in range(6):
        for kind, middle in (("real", 0.8), ("modified", -0.8)):
            ratings = np.clip(np.round(generator.normal(middle, 1, 30)), -2, 2).astype(int)
            rows += [f"{rating},{person},{kind},{number}" for number, rating in enumerate(ratings)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_names(path: Path, levels: tuple[str, ...], seen: np.ndarray, generator: np.random.Generator) -> None:
    rows = ["subj, session,trial,rt,object_response,category,condition,imagename"]
    for person in range(5):
        for trial in range(160):
            place = trial % 8
            truth = NAMES[trial % 16]
            knows = generator.random() < 0.85 * seen[place]
            said = "na" if trial == 7 else truth if knows else NAMES[int(generator.integers(16))]
            time = "NaN" if said == "na" else "0.6"
            name = f"{trial:04d}_x_s{person}_{levels[place]}_{truth}_10_n{person}_{trial}.JPEG"
            rows.append(f"subject-{person},1,{trial + 1},{time},{said},{truth},{levels[place]},{name}")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory, generator = tmp_path_factory.mktemp("human"), rng.numpy_generator(1, "human data")
    (directory / "scooter").mkdir()
    (directory / "geirhos").mkdir()
    for name in scooter.NOTE:
        write_ratings(directory / "scooter" / f"{name}.csv", generator)
    rising = np.array([0, 0.1, 0.4, 0.8, 0.9, 1, 1, 1])
    write_names(directory / "geirhos" / "contrast.csv", CONTRASTS, rising, generator)
    write_names(directory / "geirhos" / "noise.csv", NOISES, rising[::-1], generator)
    return directory


def test_the_command_writes_claims_a_page_figures_and_two_reports(data, tmp_path):
    out = [f"--{name}={tmp_path / path}" for name, path in (("out", "h.json"), ("docs", "docs"), ("reports", "r"))]
    (tmp_path / "docs").mkdir()
    assert main([str(data), *out]) == 0
    claims = {row["claim"]: row for row in json.loads((tmp_path / "h.json").read_text())}
    assert claims["SCOOTER: numbers of the research note's table 3.4 that come out to the last digit"]["met"] is False
    assert len(claims) == 1 + 5 * 6 + 5 * 2 + 1 + 3 * 2
    page = (tmp_path / "docs" / "human_data.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in page
    assert "MIT" in page
    assert "5 `na`" in page
    assert "ResNet-152" in page
    assert {"human_geirhos.svg", "human_networks.svg", "human_scooter.svg"} == {
        path.name for path in (tmp_path / "docs" / "figures").iterdir()
    }
    report = (tmp_path / "r" / "contrast" / "index.html").read_text(encoding="utf-8")
    assert "one of several alternatives was right" in report
    assert "Half of the trials" not in report
    assert "ε is the contrast in %." in report
    assert "ε (%)" in report
    assert "grey levels" not in report
    results = json.loads((tmp_path / "r" / "contrast" / "results.json").read_text())
    assert results["source_models"]["contrast"]["psychometric"]["guess_rate"] == pytest.approx(1 / 16)
    advpp = json.loads((tmp_path / "r" / "advpp" / "results.json").read_text())
    assert advpp["source_models"]["advpp"]["threshold"]["eps50"]["not_estimable"]["reason"] == "no_signal_trials"


def test_the_published_answers_are_missing_in_one_message(tmp_path):
    with pytest.raises(DataError, match=r"expected scooter/semanticadv.csv \(8 of 8 files missing\); get the data"):
        main([str(tmp_path)])


def test_the_pages_numbers_are_those_of_the_published_answers():
    """The table in the repository was made from them: its rows keep the note's peers to the last digit."""
    claims = json.loads((ROOT / "benchmarks" / "results" / "human_data.json").read_text())
    assert claims[0]["value"] == claims[0]["aim"] == 42
    published = next(claim for claim in claims if "the published one" in claim["claim"])
    assert published["value"] == published["aim"] == 16


def test_errors_of_naming_come_back_from_both_distortions(data):
    for which, file in (("contrast", "contrast.csv"), ("noise", "noise.csv")):
        found = geirhos.curve(geirhos.read(data / "geirhos" / file, which, unanswered="left out"), "normal")
        assert found.naming_errors == pytest.approx(0.15 * 15 / 16, abs=0.05)


def test_networks_have_the_accuracies_that_were_published():
    """Geirhos et al. 2018: ResNet-152 names .968 at full contrast, VGG-19 .282 at a noise of .10."""
    right, trials = networks.counts("contrast", "resnet152")
    assert right[-1] / trials[-1] == pytest.approx(0.967857142857143, abs=1e-12)
    right, trials = networks.counts("noise", "vgg19")
    assert right[3] / trials[3] == pytest.approx(0.282142857142857, abs=1e-12)


def test_thresholds_of_networks_are_compared_with_those_of_people(data):
    people = geirhos.read(data / "geirhos" / "noise.csv", "noise", unanswered="wrong")
    curve = geirhos.curve(people, networks.FAMILY)
    for network in networks.networks(people, curve, participants=5):
        assert network.ratio == pytest.approx(10 ** (network.curve.m - curve.m))
        assert network.ratio_interval[0] < network.ratio < network.ratio_interval[1]
        assert np.log10(network.ratio_interval[1] / network.ratio) > (network.curve.m_interval[1] - network.curve.m) / 2
