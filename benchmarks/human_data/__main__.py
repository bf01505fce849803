"""``python -m benchmarks.human_data DIRECTORY``: real answers of people through the report's functions.

Writes benchmarks/results/human_data.json, docs/human_data.md with its figures, and two reports under build/human-data.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis import report
from benchmarks.claims import RESULTS, Claim, versions, write
from benchmarks.human_data import geirhos, networks, page, scooter
from benchmarks.human_data.geirhos import Curve, Distortion
from benchmarks.human_data.scooter import Attack
from core import files
from core.errors import DONE, DataError, exit_code

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "make human-data"
LEVELS = "".join(f"c{level:02d} = {level}\n" for level in (1, 3, 5, 10, 15, 30, 50, 100))
CONTRAST_MAP = f"""task = "2afc"
choices = 16
model = "contrast"
missing = ["na"]
rt_unit = "s"
level_name = "contrast"
level_unit = "%"

[columns]
participant = "subj"
session = "session"
picture = "imagename"
level = "condition"
response = "object_response"
expected = "category"
rt = "rt"
trial = "trial"

[values.level]
{LEVELS}"""
SCOOTER_MAP = """task = "yes-no"
model = "advpp"
level_name = "presence of a modification, 0 or 1"

[columns]
participant = "pid"
picture = "picture"
level = "image_type"
response = "answer"
confidence = "confidence"

[values.level]
real = 0
modified = 1
"""
Fits = tuple[Distortion, Distortion, list[Curve], list[Curve], Curve]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="human_data", description="Put published answers of people through the report."
    )
    parser.add_argument("data", type=Path, metavar="DIRECTORY", help="holds scooter/*.csv and geirhos/*.csv")
    parser.add_argument("--out", type=Path, default=RESULTS / "human_data.json")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the page and the figures go")
    parser.add_argument("--reports", type=Path, default=ROOT / "build" / "human-data", help="where the reports go")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and writes; returns the exit code."""
    arguments = parse(argv)
    needed = [f"scooter/{name}.csv" for name in scooter.NOTE] + ["geirhos/contrast.csv", "geirhos/noise.csv"]
    missing = [name for name in needed if not (arguments.data / name).is_file()]
    if missing:
        raise DataError(
            f"{arguments.data}: expected {missing[0]} ({len(missing)} of {len(needed)} files missing); get the data "
            "as docs/human_data.md says and name their folder: make human-data HUMAN_DATA=DIRECTORY"
        )
    attacks = [scooter.attack(name, table) for name, table in scooter.read(arguments.data / "scooter").items()]
    fits = [fitted(arguments.data / "geirhos" / f"{which}.csv", which) for which in ("contrast", "noise")]
    beside = [(data, curves[0], networks.networks(data, curves[0], len(data.trials))) for data, _, curves, *_ in fits]
    write(arguments.out, [*scooter_claims(attacks), *geirhos_claims(fits), *network_claims(beside)])
    (arguments.docs / "figures").mkdir(parents=True, exist_ok=True)
    files.write_text(arguments.docs / "human_data.md", page.text(attacks, fits, agreed(attacks), networks.text(beside)))
    files.write_text(arguments.docs / "figures" / "human_scooter.svg", page.scooter_figure(attacks))
    files.write_text(arguments.docs / "figures" / "human_geirhos.svg", page.geirhos_figure(fits))
    files.write_text(arguments.docs / "figures" / "human_networks.svg", networks.figure(beside))
    reports(arguments.data, arguments.reports)
    return DONE


def fitted(path: Path, which: geirhos.Which) -> Fits:
    """Returns counts and fits of one distortion, with answers "na" as wrong and left out, and without naming errors."""
    wrong, out = (geirhos.read(path, which, unanswered=means) for means in ("wrong", "left out"))
    bare = geirhos.curve(wrong, "normal", asymptote=0.0)
    return wrong, out, list(geirhos.curves(wrong)), list(geirhos.curves(out)), bare


def agreed(attacks: Sequence[Attack]) -> tuple[int, int]:
    """Returns how many numbers of the note's table come out to the last digit, of how many."""
    pairs = [pair for attack in attacks for pair in scooter.compared(attack)]
    return sum(abs(ours - note) <= 1.01 * unit for _, ours, note, unit in pairs), len(pairs)


def scooter_claims(attacks: Sequence[Attack]) -> list[Claim]:
    """Returns the claims about SCOOTER."""
    same, of = agreed(attacks)
    claims = [
        _claim("SCOOTER: numbers of the research note's table 3.4 that come out to the last digit", same, "numbers",
               sum(a.ratings for a in attacks), aim=of, met=same == of)
    ]  # fmt: skip
    for a in attacks:
        words, note = f"SCOOTER {a.name}, {a.participants} participants", scooter.NOTE[a.name]
        claims += [
            _claim(f"{words}: d′ of pooled answers", a.d_prime, "d′", a.ratings, spread=a.d_prime_interval),
            _claim(f"{words}: mean d′ of participants", a.d_prime_participants, "d′", a.ratings,
                   compared_with=f"research note: {note[6]}"),
            _claim(f"{words}: mean criterion of participants", a.criterion, "c", a.ratings),
            _claim(f"{words}: area under the ROC curve, pooled", a.auc, "area", a.ratings, spread=a.auc_interval,
                   compared_with=f"research note: {note[2]}"),
            _claim(f"{words}: p of equivalence of real and modified pictures within {scooter.MARGIN:g} of the rating",
                   a.equivalence_p, "p", a.ratings),
        ]  # fmt: skip
    return claims


def geirhos_claims(fits: Sequence[Fits]) -> list[Claim]:
    """Returns the claims about contrast and noise."""
    claims = []
    for data, _, curves, _, bare in fits:
        normal, n = curves[0], int(data.trials.sum())
        words = f"Geirhos {data.which}, 16 alternatives, normal function over log10, five participants"
        m, w, lapse = geirhos.NOTE["normal"]
        sister = data.which == "contrast"
        others = [f"other people, same task, psignifit 4.3: {value}" if sister else None for value in (m, w, lapse)]
        claims += [
            _claim(f"{words}: m", normal.m, "log10", n, spread=normal.m_interval, compared_with=others[0]),
            _claim(f"{words}: w", normal.w, "log10", n, spread=normal.w_interval, compared_with=others[1]),
            _claim(f"{words}: errors of naming", normal.naming_errors, "share", n, compared_with=others[2]),
            _claim(f"{words}: deviance on {normal.df} df", normal.deviance, "deviance", n),
            _claim(f"{words}: deviance with errors of naming held at 0, on {bare.df} df", bare.deviance, "deviance", n),
        ]  # fmt: skip
    return claims


def network_claims(beside: Sequence[tuple[Distortion, Curve, Sequence[networks.Network]]]) -> list[Claim]:
    """Returns the claims about networks beside people."""
    same, of = (sum(pair) for pair in zip(*(networks.same_counts(data) for data, *_ in beside), strict=True))
    trials = sum(int(data.trials.sum()) for data, *_ in beside)
    claims = [
        _claim("Geirhos: levels at which our count of people's right answers is the published one", same, "levels",
               trials, aim=of, met=same == of)
    ]  # fmt: skip
    return claims + [
        _claim(f"Geirhos {data.which}: threshold of {network.name} over that of people", network.ratio, "ratio",
               int(network.fit.trials.sum()), spread=network.ratio_interval)
        for data, _, machines in beside for network in machines
    ]  # fmt: skip


def _claim(words: str, value: float, unit: str, n: int, *, spread: tuple[float, float] | None = None,
           compared_with: str | None = None, aim: float | None = None, met: bool | None = None) -> Claim:  # fmt: skip
    return Claim(
        claim=words, value=value, unit=unit, aim=aim, met=met, compared_with=compared_with, spread=spread, n=n,
        seed=scooter.SEED, command=COMMAND, versions=versions("numpy", "scipy", "pandas"),
    )  # fmt: skip


def reports(data: Path, out: Path) -> None:
    """Writes the report of the contrast data, and of the ratings of ``advpp``, through the command line."""
    out.mkdir(parents=True, exist_ok=True)
    files.write_text(out / "contrast.toml", CONTRAST_MAP)
    files.write_text(out / "advpp.toml", SCOOTER_MAP)
    ratings = pd.read_csv(data / "scooter" / "advpp.csv", dtype=str)
    rating = ratings["rating"].astype(int)
    ratings["answer"] = (rating < 0).map({True: "yes", False: "no"})
    ratings["confidence"] = rating.where(rating >= 0, -rating - 1) + 1  # −2 and −1: yes 2, 1; 0 to 2: no 1 to 3
    ratings["picture"] = ratings["image_type"] + "-" + ratings["image_id"]  # two key spaces
    files.write_text(out / "advpp.csv", ratings.to_csv(index=False))
    for name, table in (("contrast", data / "geirhos" / "contrast.csv"), ("advpp", out / "advpp.csv")):
        report.main(["--from-csv", str(table), "--columns", str(out / f"{name}.toml"), "--out", str(out / name)])


if __name__ == "__main__":
    sys.exit(exit_code(main))
