"""How often the report's tests find something in simulated studies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import numpy as np
from tqdm import tqdm

from analysis import undetected
from analysis.contrasts import comparing
from analysis.intervals import wilson
from analysis.observers import Observers
from analysis.power.settings import Settings
from analysis.power.simulated_studies import Design, Spread, simulated_study
from analysis.study import Study
from analysis.threshold_draws import threshold_draws
from core import rng

Question = Literal["difference", "equivalence", "undetected"]
QUESTIONS: dict[Question, str] = {
    "difference": "thresholds differ (p after Holm < α)",
    "equivalence": "thresholds equivalent (two one-sided tests, p after Holm < α)",
    "undetected": "areas of U(ε) differ (p after Holm < α)",
}
Key = tuple[Question, str]
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One row: the share of ``simulations`` in which the question was answered yes, with its 95 % Wilson interval.

    ``not_estimable`` studies (a threshold beyond the tested range, say) count as not found.
    """

    participants: int
    question: Question
    pair: str
    found: int
    not_estimable: int
    simulations: int
    power: float
    low: float
    high: float


def power(settings: Settings, observers: Observers, *, processes: int = 1, progress: bool = True) -> list[Finding]:
    """Returns the power of every question at every number of participants.

    Args:
        settings: what is assumed and asked.
        observers: their law.
        processes: that share the work; the numbers do not depend on it.
        progress: show a bar on stderr.
    """
    rows: list[Finding] = []
    for participants in settings.participants:
        one = partial(findings, settings, observers, participants)
        studies = list(repeat(one, settings.simulations, processes, f"{participants} participants", progress))
        rows += [_finding(participants, key, [study[key] for study in studies]) for key in studies[0]]
    return rows


def repeat(
    one: Callable[[int], Result], times: int, processes: int, words: str, progress: bool = True
) -> Iterator[Result]:
    """Yields ``one(0)``, ``one(1)``, … in order, computed by several processes, with a bar on stderr."""
    with tqdm(total=times, desc=words, unit="study", disable=not progress) as bar:
        if processes == 1:
            for number in range(times):
                yield one(number)
                bar.update()
            return
        with ProcessPoolExecutor(processes) as pool:
            for result in pool.map(one, range(times), chunksize=max(1, min(20, times // (4 * processes)))):
                yield result
                bar.update()


def findings(settings: Settings, observers: Observers, participants: int, number: int) -> dict[Key, bool | None]:
    """Returns what one simulated study finds, by question and pair; ``None`` where it is not estimable."""
    generator = rng.numpy_generator(settings.seed, "power", participants, number)
    design = Design(
        task=settings.task, participants=participants, models=settings.models, eps=settings.eps,
        trials=settings.trials_per_level, noise=settings.noise_trials if settings.task == "yes-no" else 0,
        pictures=settings.pictures,
    )  # fmt: skip
    spread = Spread(model=settings.sd_log2_model, picture=settings.sd_log2_picture)
    study = simulated_study(
        design, observers, spread, generator, fooled=settings.fooled_laws, replicates=settings.bootstrap, seed=number
    )
    found = _contrasts(study, settings)
    if settings.fooled and settings.task == "yes-no":
        found |= _undetected(study, settings)
    return found


def _contrasts(study: Study, settings: Settings) -> dict[Key, bool | None]:
    export = study.export
    thresholds = threshold_draws(export.cells, export.task, replicates=study.replicates, seed=study.seed)[0]
    judged = comparing.Settings(alpha=settings.alpha, margin=settings.margin, seed=study.seed)
    pairs = [(pair[0], pair[1]) for pair in settings.pairs]
    found: dict[Key, bool | None] = {}
    for contrast in comparing.compare(thresholds, pairs, judged):
        row = contrast.found
        found["difference", contrast.name] = None if row is None else row.p_holm < settings.alpha
        found["equivalence", contrast.name] = None if row is None else row.equivalence.p_holm < settings.alpha
    return found


def _undetected(study: Study, settings: Settings) -> dict[Key, bool | None]:
    rows = undetected.contrasts(study, undetected.draw(study), "area")
    p = {frozenset((row["first"], row["second"])): row["p_holm"] for row in rows}
    return {
        ("undetected", f"{pair[0]}/{pair[1]}"): None
        if frozenset(pair) not in p
        else bool(p[frozenset(pair)] < settings.alpha)
        for pair in settings.pairs
    }


def _finding(participants: int, key: Key, answers: Sequence[bool | None]) -> Finding:
    yes, n = sum(answer is True for answer in answers), len(answers)
    low, high = wilson(np.array(float(yes)), np.array(float(n)))
    return Finding(
        participants=participants, question=key[0], pair=key[1], found=yes,
        not_estimable=sum(answer is None for answer in answers), simulations=n, power=yes / n, low=float(low),
        high=float(high),
    )  # fmt: skip
