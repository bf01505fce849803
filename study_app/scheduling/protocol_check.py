"""What a protocol asks of participants and of a stimulus set, before anybody takes part: ``protocol check``."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import numpy as np

from core import config
from core.errors import ConfigError, StudyError
from study_app import registration, scheduling
from study_app.detection import DetectionProtocol
from study_app.scheduling import Cell, Design, power
from study_app.scheduling.power import Assumed, Counts, Effect, Settings

ANSWER_S = 1.5  # stated with the result: what one answer, and one rating, is taken to last
PARTICIPANTS = 40  # where the protocol has no number of places and none is given
LONGER = 1.5  # times the stated minutes, from which on the plan is called long

Rows = dict[tuple[str, Cell | None], int]


@dataclass(frozen=True)
class Asked:
    """What the check is asked for beside the plan; without ``effect`` no power is simulated."""

    participants: int | None = None
    effect: Effect | None = None
    settings: Settings = field(default_factory=Settings)


def read(source: bytes, where: str, rows_of: Callable[[DetectionProtocol], Rows]) -> tuple[DetectionProtocol, Design]:
    """Returns the protocol in a file's contents, and its design on the rows of a stimulus set.

    Raises:
        ConfigError: with the text of every problem that the file has by itself and with the set.
    """
    try:
        table = tomllib.loads(source.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: not valid TOML: {error}") from None
    rest, problems = _mended(table, where)
    if not problems:
        protocol = config.build(DetectionProtocol, rest, where)
        try:
            return protocol, registration.make_design(protocol, rows_of(protocol))
        except StudyError as error:
            problems = str(error).splitlines()
    elif _refusal(rest, where) is None:
        problems += _against_set(rest, where, rows_of)
    raise ConfigError(_listed(where, problems))


def _against_set(rest: dict[str, Any], where: str, rows_of: Callable[[DetectionProtocol], Rows]) -> Iterator[str]:
    """Yields what the set does not have of the keys that are in the file; counts would follow from what is not."""
    protocol = config.build(DetectionProtocol, rest, where)
    try:
        unknown = registration.unknown(protocol, rows_of(protocol))
    except StudyError as error:
        yield str(error)
        return
    for key, problem in unknown:
        table, _, inner = key.partition(".")
        if table in rest and (not inner or inner in rest[table]):
            yield problem


def report(
    protocol: DetectionProtocol, design: Design, asked: Asked, progress: Callable[[int], object] | None = None
) -> Iterator[str]:
    """Yields the lines that ``protocol check`` prints; ``progress`` is told how many studies were simulated."""
    participants = asked.participants or protocol.recruitment.places or PARTICIPANTS
    yield from _plan_lines(protocol, design)
    yield from _cell_lines(design, participants)
    yield from _time_lines(protocol, design)
    if asked.effect is not None:
        yield from _power_lines(protocol, design, participants, asked, progress)


def minutes(protocol: DetectionProtocol, design: Design) -> float:
    """Returns how long the trials take, at ``ANSWER_S`` an answer and a rating."""
    timing = protocol.timing
    shown_s = (timing.fixation_ms + timing.exposure_ms + timing.mask_ms) / 1000 + ANSWER_S
    rating_s = ANSWER_S if protocol.answer.confidence else 0.0
    trials = design.practice_trials + design.trials + design.catch_trials
    feedback_s = design.practice_trials * timing.feedback_ms / 1000
    return (trials * shown_s + (trials - design.instructed) * rating_s + feedback_s) / 60


def cell_counts(design: Design, participants: int) -> list[Counter[Cell | None]]:
    """Returns how many main trials each participant has of each cell, ``None`` for unperturbed pictures."""
    return [
        Counter(
            scheduling.stream(design, position).cell
            for position in range(place * design.trials, (place + 1) * design.trials)
        )
        for place in range(participants)
    ]


def _plan_lines(protocol: DetectionProtocol, design: Design) -> Iterator[str]:
    signals = int(design.trials * design.share)
    yield f"protocol {protocol.name!r}, task {protocol.task}"
    yield (
        f"pictures: {len(design.sources)} usable sources, {len(design.runs)} source models "
        f"({', '.join(sorted(design.runs))}), ε = {', '.join(map(str, sorted(design.eps)))}"
    )
    yield (
        f"each participant: {design.practice_trials} practice and {design.trials} main trials in "
        f"{len(design.block_sizes)} blocks, {signals} perturbed and {design.trials - signals} not; "
        f"catch trials: {design.gross} gross, {design.instructed} instructed"
    )
    spare = len(design.sources) - design.aside - design.trials
    yield f"pictures left to replace one that was seen and not answered: {spare}"
    if protocol.adaptive.method != "none":
        yield f"ε is chosen by {protocol.adaptive.method}: the cells below are what constant stimuli would have"


def _cell_lines(design: Design, participants: int) -> Iterator[str]:
    counts = cell_counts(design, participants)
    width = max(len(run) for run in (*design.runs, "unperturbed"))
    yield f"{'main trials':<{width + 9}} {'each':>8} {f'{participants} participants':>18}"
    for cell in (*sorted(design.cells, key=lambda cell: (cell.run, cell.eps)), None):
        each = [count[cell] for count in counts]
        name = f"{cell.run:<{width}} ε = {cell.eps:<4}" if cell else f"{'unperturbed':<{width}} {'':<8}"
        yield f"{name} {_range(each):>8} {sum(each):>18}"


def _range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _time_lines(protocol: DetectionProtocol, design: Design) -> Iterator[str]:
    expected = minutes(protocol, design)
    rating = " and a rating as long" if protocol.answer.confidence else ""
    yield (
        f"expected time: {expected:.1f} minutes of trials ({ANSWER_S:g} s for an answer{rating}); "
        f"participants are told {protocol.minutes}"
    )
    if expected > LONGER * protocol.minutes:
        yield f"  note: that is more than {LONGER:g} times what they are told; mend the key minutes"


def _power_lines(
    protocol: DetectionProtocol,
    design: Design,
    participants: int,
    asked: Asked,
    progress: Callable[[int], object] | None,
) -> Iterator[str]:
    if len(design.runs) < 2:
        yield "power: a difference needs two source models, and the design has one"
        return
    assert asked.effect is not None
    effect, settings, levels = asked.effect, asked.settings, tuple(sorted(design.eps))
    pair = sorted(design.runs)[:2]
    assumed = Assumed(eps_dprime1=sqrt(levels[0] * levels[-1]))
    counts = pair_counts(design, (pair[0], pair[1]), participants)
    found = power.power(protocol.task, levels, counts, assumed, effect, settings, progress)
    yield (
        f"power to tell {pair[0]} from {pair[1]}, {_effect(effect)}, {participants} participants: "
        f"{found.estimate:.3f} (95 % {found.low:.3f} to {found.high:.3f})"
    )
    yield (
        f"  {settings.simulations} simulated studies, seed {settings.seed}; paired t test over participants of the "
        f"level-adjusted hit rate, two-sided α = {settings.alpha:g}"
    )
    yield f"  assumed: {_assumed(protocol, assumed)}"


def pair_counts(design: Design, pair: tuple[str, str], participants: int) -> Counts:
    """Returns the perturbed main trials of each participant, of two source models, at each level [N, 2, L]."""
    counts = cell_counts(design, participants)
    return np.array([[[count[Cell(run, eps)] for eps in sorted(design.eps)] for run in pair] for count in counts])


def _effect(effect: Effect) -> str:
    parts = [f"thresholds {effect.ratio:g} : 1"] if effect.ratio != 1 else []
    parts += [f"d′ {effect.dprime:g} apart"] if effect.dprime else []
    return ", ".join(parts) or "no difference"


def _assumed(protocol: DetectionProtocol, assumed: Assumed) -> str:
    criterion = {
        "yes-no": f"criterion {assumed.criterion:g} ± {assumed.sd_criterion:g}, ",
        "same-different": f"criterion {assumed.difference_criterion:g} ± {assumed.sd_criterion:g}, ",
        "2afc": "",
    }[protocol.task]
    return (
        f"d′ = (ε / {assumed.eps_dprime1:.3g})^{assumed.exponent:g}, {criterion}lapses {assumed.lapse:g}; over "
        f"participants log2 ε₁ ± {assumed.sd_log2:g}, and ± {assumed.sd_log2_model:g} for each model by itself"
    )


def _mended(table: Mapping[str, Any], where: str) -> tuple[dict[str, Any], list[str]]:
    """Returns the table without the keys at fault, as far as they can be told, and every refusal on the way there."""
    rest, problems = dict(table), []
    if "name" not in table:
        rest["name"] = "unnamed"
        problems.append(f"{where}: missing key 'name'; add it")
    while (problem := _refusal(rest, where)) is not None:
        problems.append(problem)
        without = _without_fault(rest, where, problem)
        if without is None:
            break
        rest = without
    return rest, problems


def _refusal(table: Mapping[str, Any], where: str) -> str | None:
    try:
        config.build(DetectionProtocol, table, where)
    except ConfigError as error:
        return str(error)
    return None


def _without_fault(table: dict[str, Any], where: str, problem: str) -> dict[str, Any] | None:
    """Returns the table without one key, so that ``problem`` is gone: best without any other, else with another."""
    rests = [(rest, _refusal(rest, where)) for rest in _each_without_one(table)]
    clean = [rest for rest, refusal in rests if refusal is None]
    others = [rest for rest, refusal in rests if refusal is not None and _key(refusal) != _key(problem)]
    return next(iter((*clean, *others)), None)


def _each_without_one(table: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the table without each of its values in turn, then without each of its tables; the order is kept."""
    for key, value in table.items():
        for inner in value if isinstance(value, dict) else ():
            yield {**table, key: _without(value, inner)}
        if key == "name":
            yield {**table, "name": "unnamed"}
        elif not isinstance(value, dict):
            yield _without(table, key)
    yield from (_without(table, key) for key, value in table.items() if isinstance(value, dict))


def _without(table: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: kept for name, kept in table.items() if name != key}


def _key(problem: str) -> str:
    """Returns what a refusal is about: what stands before the expectation, or all of it."""
    return problem.partition(" expected ")[0]


def _listed(where: str, problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return "\n".join((f"{where}: {len(problems)} problems", *(f"  - {problem}" for problem in problems)))
