"""The settings of an annotation task: what ``task.toml`` may say, and what it means.

The frozen dataclasses are the reference for the file; ``parse`` reads it from its bytes, which are kept as they came.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from core import config
from core.annotations.operations import LEAST_SIZE
from core.errors import ConfigError
from study_app.detection import DetectionProtocol

Tool = Literal["brush", "erase", "polygon", "box"]
MOST_REASON = 100  # letters


@dataclass(frozen=True, kw_only=True)
class Practice:
    """Pictures with known regions that come first and do not count.

    Attributes:
        pictures: how many, drawn by the seed from those with a mask in the ``gold`` folder.
        feedback: whether to show, after each, how well it fits the known regions.
    """

    pictures: int = 0
    feedback: bool = True

    def __post_init__(self) -> None:
        _at_least("practice.pictures", self.pictures, 0)


@dataclass(frozen=True, kw_only=True)
class Gold:
    """Pictures with known regions among the others, by which annotators are checked.

    Attributes:
        share: of an annotator's pictures; which ones they are follows from the seed and the annotator's number.
        minimum_iou: a lower mean IoU with the known regions is marked on the researchers' page.
    """

    share: float = 0.0
    minimum_iou: float = 0.5

    def __post_init__(self) -> None:
        for name in ("share", "minimum_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"gold.{name}: expected a share from 0 to 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class AnnotationTask:
    """``task.toml`` of an annotation task.

    Attributes:
        name: under which it is registered.
        title: shown to the annotator.
        seed: of every random choice.
        minutes: that it takes, as told to the annotator.
        contact: whom to ask, as told to the annotator.
        languages: offered to annotators, the first one by default.
        annotators_per_picture: that are to work on each picture, gold and practice aside.
        pictures_per_annotator: at most, gold among them, practice aside.
        minimum_seconds: since a picture was handed out, before it can be handed in otherwise than by skipping it.
        reservation_minutes: without a stroke, after which a picture is also given to somebody else.
        tools: that the page offers.
        brush_sizes: diameters in picture pixels; empty: the page chooses by the picture's size.
        skip_reasons: among which one is chosen; ``unclear``, ``broken``, ``distressing`` and ``other`` are translated.
        review: whether every submission waits for a reviewer; one may be returned in any case.
        complete_code: the recruiter's code for who finished; empty: a code of each annotator's own.
        practice: see ``Practice``; ``gold``: see ``Gold``.
    """

    name: str
    title: str = "Paint what matters"
    seed: int = 1
    minutes: int = 10
    contact: str = DetectionProtocol.contact
    languages: tuple[Literal["en", "de"], ...] = ("en", "de")
    annotators_per_picture: int = 3
    pictures_per_annotator: int = 20
    minimum_seconds: float = 2.0
    reservation_minutes: float = 30.0
    tools: tuple[Tool, ...] = ("brush", "erase", "polygon", "box")
    brush_sizes: tuple[float, ...] = ()
    skip_reasons: tuple[str, ...] = ("unclear", "broken", "distressing", "other")
    review: bool = False
    complete_code: str = ""
    practice: Practice = field(default_factory=Practice)
    gold: Gold = field(default_factory=Gold)

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("name: expected a name for the task, got an empty one")
        for name in ("languages", "tools", "skip_reasons"):
            if not getattr(self, name):
                raise ConfigError(f"{name}: expected at least one, got none")
        for name in ("minutes", "annotators_per_picture", "pictures_per_annotator"):
            _at_least(name, getattr(self, name), 1)
        _at_least("minimum_seconds", self.minimum_seconds, 0)
        _at_least("reservation_minutes", self.reservation_minutes, 1)
        if any(size < LEAST_SIZE for size in self.brush_sizes):
            raise ConfigError(f"brush_sizes: expected at least {LEAST_SIZE} pixels, got {list(self.brush_sizes)}")
        if any(not 0 < len(reason) <= MOST_REASON for reason in self.skip_reasons):
            raise ConfigError(f"skip_reasons: expected 1 to {MOST_REASON} letters each, got {list(self.skip_reasons)}")


@lru_cache(maxsize=64)
def parse(source: bytes | str, where: str) -> AnnotationTask:
    """Returns the task in a file's contents; the same contents are parsed once.

    Raises:
        ConfigError: not TOML, an unknown key, a wrong type, or a value that we refuse; the message names ``where``.
    """
    try:
        table = tomllib.loads(source.decode() if isinstance(source, bytes) else source)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: not valid TOML: {error}") from None
    return config.build(AnnotationTask, table, where)


def _at_least(key: str, value: float, least: int) -> None:
    if value < least:
        raise ConfigError(f"{key}: expected at least {least}, got {value:g}")
