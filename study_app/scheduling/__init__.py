"""Which picture a participant sees when: pure functions of the design, the seed and the participant's place.

The main trials of all participants are one long stream that is dealt out in order, ``trials`` at a time. The stream
goes through the sources in passes (each source once a pass, in one seeded order), so that nobody sees a source twice
and the sources' counts never differ by more than one. Within a pass the stream alternates perturbed and unperturbed
trials in the stated share and deals the conditions in turn; from pass to pass both rotate, so that a source meets every
condition equally often: a cyclic Latin square, laid along the stream. A condition is a cell (source model × ε) and, in
tasks with two pictures, the side of the perturbed one; sides alternate along the stream.

A participant's trials are then dealt to blocks, each with the stated share and as even a mixture of levels as there
can be, shuffled within the blocks, and the catch trials are put in between.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from core import rng
from core.errors import StudyError
from study_app.detection import ANSWERS, Task

Phase = Literal["practice", "warm-up", "main"]
Side = Literal["left", "right"]
CatchKind = Literal["gross", "instructed"]
SIDES: tuple[Side, Side] = ("left", "right")


@dataclass(frozen=True)
class Cell:
    """A source model and an ε (grey levels, above 0)."""

    run: str
    eps: int


class Condition(NamedTuple):
    """What is dealt to perturbed trials: a cell and, in tasks with two pictures, the side of the perturbed one."""

    cell: Cell
    side: Side | None


class Dealt(NamedTuple):
    """One place of the stream; ``cell`` is ``None`` when the picture is shown unperturbed."""

    source_id: str
    cell: Cell | None
    side: Side | None


@dataclass(frozen=True)
class Placement:
    """One planned trial.

    Attributes:
        phase: practice, warm-up or main.
        block: between two breaks, from 0.
        source_id: the source picture.
        cell: ``None`` when the picture is shown unperturbed.
        side: in tasks with two pictures, the side of the picture in question.
        catch: the kind of a catch trial.
        instructed: the answer that an instructed trial asks for.
    """

    phase: Phase
    block: int
    source_id: str
    cell: Cell | None
    side: Side | None = None
    catch: CatchKind | None = None
    instructed: str | None = None


@dataclass(frozen=True, kw_only=True)
class Design:
    """What the plans are made from.

    Attributes:
        sources: ids of the source pictures that every cell has, in any order.
        runs: source models.
        eps: levels above 0, grey levels.
        trials: main trials of a participant, catch trials aside; a multiple of the share's denominator.
        share: of perturbed main trials, in each block.
        block_trials: main trials between two breaks; a multiple of the share's denominator.
        practice_trials: how many.
        practice_eps: level of the perturbed practice trials.
        seed: of the study.
        task: what is asked.
        gross: catch trials with a perturbation that nobody misses.
        instructed: catch trials that say which answer to give.
        catch_eps: level of the gross ones.
        catch_after: main trials before the first catch trial.
        warm_up_trials: after a long gap, on the sources of the practice.
    """

    sources: Sequence[str]
    runs: Sequence[str]
    eps: Sequence[int]
    trials: int
    share: Fraction
    block_trials: int
    practice_trials: int
    practice_eps: int
    seed: int
    task: Task = "yes-no"
    gross: int = 0
    instructed: int = 0
    catch_eps: int = 32
    catch_after: int = 3
    warm_up_trials: int = 0

    def __post_init__(self) -> None:
        if problems := tuple(self._problems()):
            raise StudyError("\n".join(problems))

    def _problems(self) -> Iterator[str]:
        if not self.runs or not self.eps:
            yield "the design has no perturbed pictures; expected at least one source model and one ε above 0"
        room = self.trials - self.catch_after
        if self.catch_trials > max(room, 0):
            yield (
                f"protocol: catch: {self.catch_trials} catch trials do not fit among the {max(room, 0)} main trials "
                f"after the first {self.catch_after}; expected no more than that: ask for fewer, or lower catch.after"
            )
        needed, found = self.aside + self.trials, len(self.sources)
        if found < needed:
            yield (
                f"the stimulus set has {found} usable source pictures; expected at least {needed} "
                f"({self.practice_sources} practice, {self.catch_trials} catch and {self.trials} main trials, each on "
                "a picture of its own): make a larger set or ask for fewer trials"
            )

    @property
    def catch_trials(self) -> int:
        """Catch trials of a participant."""
        return self.gross + self.instructed

    @property
    def practice_sources(self) -> int:
        """Sources that are kept for practice and warm-up."""
        return max(self.practice_trials, self.warm_up_trials)

    @property
    def aside(self) -> int:
        """Sources that are kept for practice and catch trials."""
        return self.practice_sources + self.catch_trials

    @property
    def two_pictures(self) -> bool:
        """Whether a reference stands beside the picture in question."""
        return self.task != "yes-no"

    @cached_property
    def shuffled(self) -> tuple[str, ...]:
        """The sources in the study's order: first those of the practice, then of the catch trials, then the others."""
        order = rng.numpy_generator(self.seed, "sources").permutation(len(self.sources))
        ordered = sorted(self.sources)
        return tuple(ordered[index] for index in order)

    @cached_property
    def pool(self) -> tuple[str, ...]:
        """The sources of the main trials; their number is a multiple of the share's denominator."""
        main = self.shuffled[self.aside :]
        return main[: len(main) - len(main) % self.share.denominator]

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Source models vary fastest, so that neighbours in the stream compare models at one ε."""
        return tuple(Cell(run, eps) for eps in sorted(self.eps) for run in sorted(self.runs))

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """The cells; with two pictures twice, each once on either side, in an order in which the sides alternate."""
        if not self.two_pictures:
            return tuple(Condition(cell, None) for cell in self.cells)
        count = len(self.cells)
        again = [index if count % 2 else index ^ 1 for index in range(count)]  # an even number: neighbours swap
        order = [*range(count), *again]
        return tuple(Condition(self.cells[index], SIDES[turn % 2]) for turn, index in enumerate(order))

    @property
    def signals_per_pass(self) -> int:
        """Perturbed trials in one pass through the pool."""
        return len(self.pool) * self.share.numerator // self.share.denominator

    @cached_property
    def skip(self) -> int:
        """Conditions left out after each round of passes: the fewest with which a source comes to meet every one."""
        advance, count = self.signals_per_pass * self.share.denominator, len(self.conditions)
        return next(skip for skip in range(count + 1) if math.gcd(advance + skip, count) == 1)

    @property
    def cycle(self) -> int:
        """Passes after which every source has met every condition equally often."""
        return self.share.denominator * len(self.conditions)

    @cached_property
    def block_sizes(self) -> tuple[int, ...]:
        """Main trials of each block; all are as long as ``block_trials`` but perhaps the last."""
        whole, rest = divmod(self.trials, self.block_trials)
        return (self.block_trials,) * whole + ((rest,) if rest else ())


def plan(design: Design, place: int) -> tuple[Placement, ...]:
    """Returns the trials of the participant at this ``place`` (from 0), practice first, in the order of showing."""
    return (*_practice(design, place), *_with_catch_trials(design, place, _main(design, place)))


def yes_side(seed: int, place: int) -> Side:
    """Returns the side of the signal's answer: of each two neighbours in place one has it left, by a seeded toss."""
    first_left = bool(rng.numpy_generator(seed, "yes side", place // 2).integers(2))
    return "left" if first_left == (place % 2 == 0) else "right"


def stream(design: Design, position: int) -> Dealt:
    """Returns what stands at a ``position`` (from 0) of the stream of all main trials."""
    passed, index = divmod(position, len(design.pool))
    turn = (index + passed) % design.share.denominator
    signals = _signals_before(design, passed, index)
    if turn >= design.share.numerator:
        side = SIDES[(position - signals) % 2] if design.two_pictures else None
        return Dealt(design.pool[index], None, side)
    number = signals + design.skip * (passed // design.share.denominator)
    return Dealt(design.pool[index], *design.conditions[number % len(design.conditions)])


def warm_up(design: Design, place: int, shown: int) -> tuple[Placement, ...]:
    """Returns the trials after a long gap: strong and unperturbed ones in turn (2afc: strong), after ``shown`` others.

    They show the sources of the practice again and stand in block 0; the caller knows the right one.
    """
    sources = design.shuffled[: design.practice_sources]
    trials = []
    for index in range(shown, shown + design.warm_up_trials):
        turn = index + place
        perturbed = design.task == "2afc" or turn % 2 == 0
        trials.append(_training(design, "warm-up", sources[turn % len(sources)], turn // 2, perturbed=perturbed))
    return tuple(trials)


def spares(design: Design, place: int, used: Iterable[str]) -> tuple[str, ...]:
    """Returns the main sources that are not ``used``, in an order of this place's own: replacements of its trials."""
    order = rng.numpy_generator(design.seed, "spares", place).permutation(len(design.shuffled) - design.aside)
    main, seen = design.shuffled[design.aside :], set(used)
    return tuple(main[index] for index in order if main[index] not in seen)


def _signals_before(design: Design, passed: int, index: int) -> int:
    """Returns how many signal trials precede this place of the stream."""
    period, signals = design.share.denominator, design.share.numerator
    whole, rest = divmod(index, period)
    before = sum((step + passed) % period < signals for step in range(rest))
    return passed * design.signals_per_pass + whole * signals + before


def _main(design: Design, place: int) -> list[Placement]:
    positions = range(place * design.trials, (place + 1) * design.trials)
    dealt = [stream(design, position) for position in positions]
    signals = _sides_evened([trial for trial in dealt if trial.cell is not None])
    noise = _sides_evened([trial for trial in dealt if trial.cell is None])
    generator = rng.numpy_generator(design.seed, "order", place)
    first_block = 1 if design.practice_trials else 0
    return [
        Placement("main", first_block + block, *trial)
        for block, trials in enumerate(_blocks(design, signals, noise, generator))
        for trial in _shuffled(trials, generator)
    ]


def _sides_evened(trials: list[Dealt]) -> list[Dealt]:
    """Turns the last trial of a side that has two more than the other, as happens where the stream skips."""
    left = sum(trial.side == "left" for trial in trials)
    if not trials or trials[0].side is None or abs(2 * left - len(trials)) < 2:
        return trials
    more: Side = "left" if 2 * left > len(trials) else "right"
    last = max(index for index, trial in enumerate(trials) if trial.side == more)
    turned = trials[last]._replace(side="right" if more == "left" else "left")
    return [*trials[:last], turned, *trials[last + 1 :]]


def _blocks(
    design: Design, signals: list[Dealt], noise: list[Dealt], generator: np.random.Generator
) -> list[list[Dealt]]:
    """Deals a participant's trials to the blocks, level by level, so that each block has the share and the levels."""
    blocks: list[list[Dealt]] = [[] for _ in design.block_sizes]
    for trials, share in ((signals, design.share), (noise, 1 - design.share)):
        by_level = sorted(_shuffled(trials, generator), key=lambda trial: trial.cell.eps if trial.cell else 0)
        sizes = [int(size * share) for size in design.block_sizes]
        for trial, block in zip(by_level, _spread(sizes, [generator.random() for _ in sizes]), strict=True):
            blocks[block].append(trial)
    return blocks


def _spread(sizes: Sequence[int], offsets: Sequence[float]) -> list[int]:
    """Returns each index as often as its size says, evenly spread, such as 0 1 0 1 0 for sizes 3 and 2."""
    places = [
        ((turn + offset) / size, index)
        for index, (size, offset) in enumerate(zip(sizes, offsets, strict=True))
        for turn in range(size)
    ]
    return [index for _, index in sorted(places)]


def _shuffled(trials: Sequence[Dealt], generator: np.random.Generator) -> list[Dealt]:
    return [trials[index] for index in generator.permutation(len(trials))]


def _practice(design: Design, place: int) -> list[Placement]:
    sources = design.shuffled[: design.practice_trials]
    signals = len(sources) if design.task == "2afc" else len(sources) // 2
    trials = []
    for index, source_id in enumerate(sources):
        turn = (index + place) % len(sources)
        trials.append(_training(design, "practice", source_id, turn + place, perturbed=turn < signals, side=turn % 2))
    order = rng.numpy_generator(design.seed, "practice order", place).permutation(len(trials))
    return [trials[index] for index in order]


def _training(
    design: Design, phase: Phase, source_id: str, turn: int, *, perturbed: bool, side: int | None = None
) -> Placement:
    cell = Cell(sorted(design.runs)[turn % len(design.runs)], design.practice_eps) if perturbed else None
    shown = SIDES[(turn if side is None else side) % 2] if design.two_pictures else None
    return Placement(phase, 0, source_id, cell, shown)


def _with_catch_trials(design: Design, place: int, main: list[Placement]) -> list[Placement]:
    """Puts one catch trial into each of as many equal stretches of the main trials, at a place drawn within it."""
    generator, after = rng.numpy_generator(design.seed, "catch places", place), design.catch_after
    catches, room = _catch_trials(design, place), design.trials - after
    before = {}
    for number, trial in enumerate(catches):
        first, end = (after + edge * room // len(catches) for edge in (number, number + 1))
        before[int(generator.integers(first, end))] = trial
    shown = []
    for index, trial in enumerate(main):
        if index in before:
            shown.append(replace(before[index], block=trial.block))
        shown.append(trial)
    return shown


def _catch_trials(design: Design, place: int) -> list[Placement]:
    """Returns the catch trials in order: both kinds evenly spread, sources, models, sides and answers in turn."""
    sources = design.shuffled[design.practice_sources : design.aside]
    kinds = _spread((design.gross, design.instructed), (0.5, 0.5))
    counts, trials = [0, 0], []
    for slot, kind in enumerate(reversed(kinds) if place % 2 else kinds):
        turn = counts[kind] + place
        source_id = sources[(slot + place) % len(sources)]
        side = SIDES[turn % 2] if design.two_pictures else None
        if kind == 0:
            run = sorted(design.runs)[(counts[kind] + place // len(sources)) % len(design.runs)]
            trials.append(Placement("main", 0, source_id, Cell(run, design.catch_eps), side, "gross"))
        else:
            answer = ANSWERS[design.task][turn % 2]
            trials.append(Placement("main", 0, source_id, None, side, "instructed", answer))
        counts[kind] += 1
    return trials
