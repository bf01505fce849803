"""Making and verifying stimuli: attacked on the 8-bit lattice, written, read again, and only then described."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from skimage.metrics import structural_similarity

from core import files, pictures, rng
from core.attacks.budget import uniform
from core.attacks.pgd import pgd
from core.datasets.split import Split
from core.errors import ConfigError
from core.evaluation import Verdict, judge
from core.manifest import Stimulus, png_name
from core.pictures import Pixels
from core.tensors import Bytes, Classifier, generator, to_unit


@dataclass(frozen=True, kw_only=True)
class Request:
    """What stimuli to make.

    Attributes:
        name: of the set.
        seed: decides which source pictures are taken and the attacks' random starts.
        sources_per_class: test pictures of each class; the same for all models and ε.
        eps: budgets in grey levels, rising; 0 (the references) is always made.
        steps: of PGD.
        relative_step: step size × steps / ε.
    """

    name: str
    seed: int = 1
    sources_per_class: int = 4
    eps: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    steps: int = 40
    relative_step: float = 2.5

    def __post_init__(self) -> None:
        if not self.eps or list(self.eps) != sorted(set(self.eps)) or not 1 <= self.eps[0] <= self.eps[-1] <= 255:
            raise ConfigError(f"eps: expected rising whole grey levels within 1..255, got {list(self.eps)}")
        if self.sources_per_class < 1 or self.steps < 1:
            raise ConfigError(
                f"sources_per_class, steps: expected at least 1, got {self.sources_per_class}, {self.steps}"
            )

    @property
    def attack(self) -> str:
        """The name of the attack in all files."""
        return f"pgd-{self.steps}"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source model: the name and method of its run, and its classifier."""

    run: str
    method: str
    model: Classifier


def choose(test: Split, classes: int, request: Request) -> Split:
    """Returns ``sources_per_class`` test pictures of each class, chosen by (seed, class).

    Raises:
        ConfigError: a class has fewer.
    """
    chosen: list[int] = []
    for label in range(classes):
        members = torch.nonzero(test.labels == label).flatten().tolist()
        if len(members) < request.sources_per_class:
            raise ConfigError(
                f"sources_per_class: expected at most {len(members)}, the test pictures of class {label}, "
                f"got {request.sources_per_class}"
            )
        order = rng.numpy_generator(request.seed, "sources", label).permutation(len(members))
        chosen += sorted(members[place] for place in order[: request.sources_per_class])
    index = torch.tensor(chosen, device=test.pixels.device)
    return Split(pixels=test.pixels[index], labels=test.labels[index], ids=tuple(test.ids[place] for place in chosen))


def make(
    directory: Path, sources: Split, classes: tuple[str, ...], models: list[Source], request: Request,
    advance: Callable[[int], object],
) -> Iterator[Stimulus]:  # fmt: skip
    """Writes the PNG files into ``directory`` and yields their rows, references first, a batch in memory at a time."""
    references = [write(directory, picture) for picture in _channels_last(sources.pixels)]
    for source_id, label, (sha256, pixels) in zip(sources.ids, sources.labels.tolist(), references, strict=True):
        yield _reference(source_id, classes[label], sha256, pixels, request.seed)
    shown = _tensor([pixels for _, pixels in references], sources.pixels)
    for source in models:
        before = judge(source.model, to_unit(shown), sources.labels)
        for eps in request.eps:
            attacked = attack(source, shown, sources, eps, request)
            yield from _describe(directory, attacked, shown, sources, classes, source, before, eps, request)
            advance(len(sources))


def attack(source: Source, shown: Bytes, sources: Split, eps: int, request: Request) -> Bytes:
    """Returns 8-bit pictures within ``eps`` grey levels of ``shown``: PGD, then the nearest point of the lattice.

    A picture and a whole number of grey levels are points of the lattice, so rounding does not leave the budget.
    """
    x = to_unit(shown)
    adversarial = pgd(
        source.model,
        x,
        sources.labels,
        uniform(eps / 255, x),
        steps=request.steps,
        step_size=request.relative_step * eps / 255 / request.steps,
        generator=generator(x.device, request.seed, "stimuli", source.run, eps),
    )
    return (adversarial * 255).round().clamp(0, 255).to(torch.uint8)


def write(directory: Path, picture: Pixels) -> tuple[str, Pixels]:
    """Writes a picture under its hash; returns the hash and the pixels as read again from the file."""
    data = pictures.encode_png(picture)
    sha256 = files.sha256_bytes(data)
    path = directory / png_name(sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return sha256, pictures.read(path)


def measure(reference: Pixels, picture: Pixels) -> dict[str, float]:
    """Returns ``eps_measured`` (grey levels), ``l2`` ([0, 1] units) and ``ssim`` of a picture to its reference."""
    difference = picture.astype(np.int16) - reference.astype(np.int16)
    side = min(7, *reference.shape[:2])
    similarity = structural_similarity(reference, picture, channel_axis=2, win_size=side - (side + 1) % 2)
    return {
        "eps_measured": int(np.abs(difference).max()),
        "l2": round(float(np.linalg.norm(difference / 255)), 6),
        "ssim": round(float(similarity), 6),
    }


def _describe(
    directory: Path, attacked: Bytes, shown: Bytes, sources: Split, classes: tuple[str, ...], source: Source,
    before: Verdict, eps: int, request: Request,
) -> Iterator[Stimulus]:  # fmt: skip
    written = [write(directory, picture) for picture in _channels_last(attacked)]
    after = judge(source.model, to_unit(_tensor([pixels for _, pixels in written], attacked)), sources.labels)
    for index, reference in enumerate(_channels_last(shown)):
        sha256, pixels = written[index]
        truth = classes[int(sources.labels[index])]
        margin = float(after.margins[index])
        yield Stimulus(
            stimulus_id=f"{sources.ids[index]}/{source.run}/full/{eps}",
            source_id=sources.ids[index],
            source_class=truth,
            run=source.run,
            method=source.method,
            attack=request.attack,
            norm="linf",
            region="full",
            eps_asked=eps,
            prediction_before=classes[int(before.predictions[index])],
            prediction_after=classes[int(after.predictions[index])],
            fooled=margin <= 0,
            margin=margin,
            mask_area=1.0,
            seed=request.seed,
            sha256=sha256,
            width=pixels.shape[1],
            height=pixels.shape[0],
            **measure(reference, pixels),  # type: ignore[arg-type]
        )


def _reference(source_id: str, source_class: str, sha256: str, pixels: Pixels, seed: int) -> Stimulus:
    return Stimulus(
        stimulus_id=f"{source_id}/reference",
        source_id=source_id,
        source_class=source_class,
        run=None,
        method=None,
        attack=None,
        norm="linf",
        region="full",
        eps_asked=0,
        eps_measured=0,
        prediction_before=None,
        prediction_after=None,
        fooled=None,
        margin=None,
        l2=0.0,
        ssim=1.0,
        mask_area=0.0,
        seed=seed,
        sha256=sha256,
        width=pixels.shape[1],
        height=pixels.shape[0],
    )


def _channels_last(pixels: Bytes) -> list[Pixels]:
    return list(pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def _tensor(written: list[Pixels], like: Bytes) -> Bytes:
    return torch.from_numpy(np.stack(written)).permute(0, 3, 1, 2).contiguous().to(like.device)
