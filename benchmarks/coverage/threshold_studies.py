"""Studies of machines where people begin to see: robust accuracy at people's threshold, ratio of both thresholds.

The truth is what the curves say of all participants and pictures with unlimited trials: people's thresholds from P(yes)
by quadrature, machines' accuracies from the normal law of the least ε that fools.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from analysis import at_threshold, machine_curves, undetected
from analysis.at_threshold import THRESHOLDS
from analysis.estimates import point_estimates
from analysis.likelihood import Floats
from analysis.machine_curves import MachineCurve
from analysis.study import Study
from benchmarks.coverage import joint_studies
from benchmarks.coverage.acceptance import Share, covered, erred
from benchmarks.coverage.cell import Cell
from benchmarks.coverage.joint_studies import ALPHA, EPS, NAMES, Together

MANY = 10**6  # trials and pictures of the whole population
WORDS = {"eps_dprime1": "ε at d′ = 1", "eps50": "ε₅₀"}


def machines(study: Study) -> tuple[MachineCurve, ...]:
    """Returns the curves of both machines on the pictures of a study, right wherever they are not attacked."""
    cells, answers = study.export.cells, study.export.answers
    fools = answers.fooled.reshape(len(cells.eps), -1)
    found = []
    for index in range(len(cells.models)):
        attacked = 1.0 - fools[cells.model == index].T
        found.append(_curve(NAMES[index], np.insert(attacked, 0, 1.0, axis=1), answers.pictures))
    return tuple(found)


def _curve(name: str, right: Floats, pictures: tuple[str, ...]) -> MachineCurve:
    return MachineCurve(
        model=name, run=name, attack="pgd", region="full", eps=np.array([0.0, *EPS]), correct=right.sum(axis=0),
        pictures=np.full(1 + len(EPS), float(len(right))), names=pictures, right=right, classes=None,
    )  # fmt: skip


def one(design: Together, seed: int, number: int) -> dict[str, Any]:
    """Returns what one study says; ``None`` where it is not estimable."""
    study = joint_studies.study(design, seed, number)
    fitted = at_threshold.fit(study, undetected.draw(study), machines(study))
    accuracies = at_threshold.accuracies(study, fitted)
    tests = {row["threshold"]: row for row in at_threshold.contrasts(study, fitted, accuracies)}
    ratio = at_threshold.ratios(study, fitted)[0].get("octaves")
    first = {row["threshold"]: row["accuracy"] for row in accuracies if row["model"] == NAMES[0]}
    return {
        "accuracy": {name: _bounds(first[name]) for name in THRESHOLDS},
        "difference": {name: _bounds(tests[name]["difference"] if name in tests else None) for name in THRESHOLDS},
        "p": {name: tests[name]["p"] if name in tests else None for name in THRESHOLDS},
        "ratio": _bounds(ratio),
    }


def _bounds(found: dict[str, Any] | None) -> tuple[float, float] | None:
    return None if found is None or found["low"] is None else (found["low"], found["high"])


def truth(design: Together) -> tuple[dict[str, Floats], float]:
    """Returns both machines' accuracies by threshold of people, and the ratio of thresholds of the first in octaves."""
    study, p = joint_studies.noticed(design)
    trials = np.maximum(study.export.cells.trials.sum(axis=0), 1.0) * MANY
    point = point_estimates(study.export.cells, (p * trials)[None], trials[None])
    people = {
        "eps_dprime1": point.power_law.log2_eps_dprime1[0],
        "eps50": np.array([fit.threshold[0] for fit in point.psychometric if fit is not None]),
    }
    right = np.insert(1 - joint_studies.fooling(design, np.array(EPS)), 0, 1.0, axis=1)
    curves = [replace(_curve(name, own[None], ()), pictures=np.full(1 + len(EPS), float(MANY)))
              for name, own in zip(NAMES, right, strict=True)]  # fmt: skip
    accuracies = {
        name: np.array([
            machine_curves.accuracy_at(curve, own[None], 2.0 ** people[name][[index]])[0]
            for index, (curve, own) in enumerate(zip(curves, right, strict=True))
        ])
        for name in THRESHOLDS
    }  # fmt: skip
    machine = machine_curves.fit(curves[0], right[:1]).log2_eps50[0]
    return accuracies, float(people["eps50"][0] - machine)


def shares(design: Together, rows: Sequence[dict[str, Any]]) -> list[Share]:
    """Returns the coverage of accuracies, their difference and the ratio; studies without an estimate are left out."""
    accuracies, ratio = truth(design)
    found = []
    for name, words in WORDS.items():
        own = accuracies[name]
        single = f"robust accuracy at people's {words}, no closer than Wilson's"
        found.append(covered(single, _known(rows, "accuracy", name), own[0], "not below"))
        compared = f"difference of robust accuracies at people's {words}"
        found.append(covered(compared, _known(rows, "difference", name), float(own[0] - own[1]), "inside"))
        if design.alike:
            found.append(erred(f"test of a {compared}", [p < ALPHA for p in _known(rows, "p", name)], "inside"))
    ratios = [row["ratio"] for row in rows if row["ratio"] is not None]
    return [*found, covered("people's ε₅₀ over the machine's", ratios, ratio, "inside")]


def _known(rows: Sequence[dict[str, Any]], key: str, name: str) -> list[Any]:
    return [row[key][name] for row in rows if row[key][name] is not None]


DESIGNS = tuple(
    replace(design, replicates=100) for design in joint_studies.SHAPES if design.name in ("usual", "unlike")
)
CELLS = tuple(
    Cell(name=f"at-threshold-{design.name}", words=f"machines where people begin to see: {design.words}", times=400,
         one=partial(one, design), shares=partial(shares, design))
    for design in DESIGNS
)  # fmt: skip
