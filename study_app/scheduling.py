"""Which picture a participant sees when: pure functions of the design, the seed and the participant's number.

The main trials of all participants are one long stream that is dealt out in order, ``trials`` at a time. The stream
goes through the sources in passes (each source once a pass, in one seeded order), so that nobody sees a source twice
and the sources' counts never differ by more than one. Within a pass the stream alternates perturbed and unperturbed
trials in the stated share and deals the cells (source model × ε) in turn; from pass to pass both rotate, so that a
source meets every cell equally often: a cyclic Latin square, laid along the stream. At last a participant's trials are
shuffled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

from core import rng
from core.errors import StudyError

Phase = Literal["practice", "main"]
Side = Literal["left", "right"]


@dataclass(frozen=True)
class Cell:
    """A source model and an ε (grey levels, above 0)."""

    run: str
    eps: int


@dataclass(frozen=True)
class Placement:
    """One planned trial; ``cell`` is ``None`` when the picture is shown unperturbed."""

    phase: Phase
    block: int
    source_id: str
    cell: Cell | None


@dataclass(frozen=True, kw_only=True)
class Design:
    """What the plans are made from.

    Attributes:
        sources: ids of the source pictures that every cell has, in any order.
        runs: source models.
        eps: levels above 0, grey levels.
        trials: main trials of a participant; a multiple of the share's denominator.
        share: of perturbed main trials.
        block_trials: main trials between two breaks.
        practice_trials: how many.
        practice_eps: level of the perturbed practice trials.
        seed: of the study.
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

    def __post_init__(self) -> None:
        if not self.runs or not self.eps:
            raise StudyError(
                "the design has no perturbed pictures; expected at least one source model and one ε above 0"
            )
        needed, found = self.practice_trials + self.trials, len(self.sources)
        if found < needed:
            raise StudyError(
                f"the stimulus set has {found} usable source pictures; expected at least {needed} "
                f"({self.practice_trials} practice and {self.trials} main trials, each on a picture of its own): "
                "make a larger set or ask for fewer trials"
            )

    @cached_property
    def shuffled(self) -> tuple[str, ...]:
        """The sources in the study's order; the first ``practice_trials`` are kept for practice."""
        order = rng.numpy_generator(self.seed, "sources").permutation(len(self.sources))
        ordered = sorted(self.sources)
        return tuple(ordered[index] for index in order)

    @cached_property
    def pool(self) -> tuple[str, ...]:
        """The sources of the main trials; their number is a multiple of the share's denominator."""
        main = self.shuffled[self.practice_trials :]
        return main[: len(main) - len(main) % self.share.denominator]

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Source models vary fastest, so that neighbours in the stream compare models at one ε."""
        return tuple(Cell(run, eps) for eps in sorted(self.eps) for run in sorted(self.runs))

    @property
    def signals_per_pass(self) -> int:
        """Perturbed trials in one pass through the pool."""
        return len(self.pool) * self.share.numerator // self.share.denominator

    @cached_property
    def skip(self) -> int:
        """Cells left out after each round of passes: the fewest with which a source comes to meet every cell."""
        advance = self.signals_per_pass * self.share.denominator
        return next(skip for skip in range(len(self.cells) + 1) if math.gcd(advance + skip, len(self.cells)) == 1)

    @property
    def cycle(self) -> int:
        """Passes after which every source has met every cell equally often."""
        return self.share.denominator * len(self.cells)


def plan(design: Design, number: int) -> tuple[Placement, ...]:
    """Returns the trials of the participant with this ``number`` (from 0), practice first, in the order of showing."""
    return (*_practice(design, number), *_main(design, number))


def yes_side(seed: int, number: int) -> Side:
    """Returns the side of the *yes* answer: of each two neighbours in number one has it left, by a seeded toss."""
    first_left = bool(rng.numpy_generator(seed, "yes side", number // 2).integers(2))
    return "left" if first_left == (number % 2 == 0) else "right"


def stream(design: Design, position: int) -> tuple[str, Cell | None]:
    """Returns source and cell at a ``position`` (from 0) of the stream of all main trials."""
    passed, index = divmod(position, len(design.pool))
    turn = (index + passed) % design.share.denominator
    if turn >= design.share.numerator:
        return design.pool[index], None
    return design.pool[index], design.cells[_signal_number(design, passed, index) % len(design.cells)]


def _signal_number(design: Design, passed: int, index: int) -> int:
    """Returns how many signal trials, with those skipped, precede this one in the stream."""
    period, signals = design.share.denominator, design.share.numerator
    whole, rest = divmod(index, period)
    before = sum((step + passed) % period < signals for step in range(rest))
    return passed * design.signals_per_pass + whole * signals + before + design.skip * (passed // period)


def _main(design: Design, number: int) -> list[Placement]:
    positions = range(number * design.trials, (number + 1) * design.trials)
    dealt = [stream(design, position) for position in positions]
    order = rng.numpy_generator(design.seed, "order", number).permutation(len(dealt))
    first_block = 1 if design.practice_trials else 0
    return [
        Placement("main", first_block + place // design.block_trials, *dealt[index])
        for place, index in enumerate(order)
    ]


def _practice(design: Design, number: int) -> list[Placement]:
    sources = design.shuffled[: design.practice_trials]
    signals = len(sources) // 2
    trials = []
    for index, source_id in enumerate(sources):
        turn = (index + number) % len(sources)
        run = sorted(design.runs)[(turn + number) % len(design.runs)]
        cell = Cell(run, design.practice_eps) if turn < signals else None
        trials.append(Placement("practice", 0, source_id, cell))
    order = rng.numpy_generator(design.seed, "practice order", number).permutation(len(trials))
    return [trials[index] for index in order]
