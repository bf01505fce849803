"""Which test pictures become sources: drawn class by class in seeded order, in rounds until every class has enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch

from core import rng
from core.datasets.split import Split
from core.errors import ConfigError
from core.stimulus_request import Request


class Draw:
    """The sources of a set as they are drawn: equal requests draw equal ones, however many processes try them.

    Attributes:
        left_out: how many sources were drawn and not kept, by reason.
    """

    def __init__(self, test: Split, classes: Sequence[str], request: Request) -> None:
        """Puts the test pictures of each class in an order of its own, made from (seed, class).

        Raises:
            ConfigError: a class has fewer than are asked for.
        """
        self._classes, self._wanted = classes, request.sources_per_class
        self._orders = [_order(test, label, request.seed) for label in range(len(classes))]
        self._drawn, self._kept = [0] * len(classes), [0] * len(classes)
        self.left_out: Counter[str] = Counter()
        for name, order in zip(classes, self._orders, strict=True):
            if len(order) < self._wanted:
                raise ConfigError(
                    f"sources_per_class: expected at most {len(order)}, the test pictures of class {name}, "
                    f"got {self._wanted}"
                )

    @property
    def kept(self) -> int:
        """How many sources were kept so far."""
        return sum(self._kept)

    def round(self) -> list[int]:
        """Returns the places of the pictures to try next, as many of each class as it lacks; none: there are enough.

        Raises:
            ConfigError: a class has too few that can be kept.
        """
        chosen: list[int] = []
        for label, order in enumerate(self._orders):
            missing = self._wanted - self._kept[label]
            if missing > len(order) - self._drawn[label]:
                raise ConfigError(self._exhausted(label))
            chosen += sorted(order[self._drawn[label] : self._drawn[label] + missing])
            self._drawn[label] += missing
        return chosen

    def note(self, outcomes: Iterable[tuple[int, str | None]]) -> None:
        """Notes of tried pictures their class, and why they were left out if they were."""
        for label, left_out in outcomes:
            if left_out is None:
                self._kept[label] += 1
            else:
                self.left_out[left_out] += 1

    def _exhausted(self, label: int) -> str:
        reason, count = self.left_out.most_common(1)[0]
        return (
            f"sources_per_class: expected {self._wanted} pictures of class {self._classes[label]} that can be kept, "
            f"found {self._kept[label]} among the first {self._drawn[label]} of {len(self._orders[label])}; the "
            f"commonest reason: {reason} ({count} pictures); ask for fewer sources, "
            "for larger ε, or for require = 'none'"
        )


def _order(test: Split, label: int, seed: int) -> list[int]:
    members = torch.nonzero(test.labels == label).flatten().tolist()
    return [members[place] for place in rng.numpy_generator(seed, "sources", label).permutation(len(members))]
