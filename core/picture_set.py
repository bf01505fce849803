"""``python -m core.picture_set RECIPE --out DIR``: the pictures of a recipe's [data], for people to annotate."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from core import config, datasets, picture_sets, progress, rng
from core.datasets import Data
from core.datasets.split import Split
from core.errors import ConfigError, exit_code
from core.pictures import Pixels


def main(argv: Sequence[str] | None = None) -> int:
    """Writes pictures of a recipe's [data] as a picture set."""
    arguments = _parser().parse_args(argv)
    table = config.read_toml(arguments.recipe)
    if "data" not in table:
        raise ConfigError(f"{arguments.recipe.name}: expected a [data] table, got none; give a recipe")
    dataset = datasets.load(config.build(Data, table["data"], f"{arguments.recipe.name}: data"))
    split = dataset.train if arguments.split == "train" else dataset.test
    places = _chosen(split, dataset.classes, arguments.per_class, arguments.seed)
    with progress.bar("write pictures", len(places), "pictures") as bar:
        made = picture_sets.write(arguments.out, dataset.classes, _named(split, dataset.classes, places, bar.update))
    print(f"{arguments.out}: {len(made.pictures)} pictures of {len(made.classes)} classes, set {made.sha256[:16]}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m core.picture_set", description=main.__doc__)
    parser.add_argument("recipe", type=Path, help="TOML file with a [data] table; examples in core/configs/")
    parser.add_argument("--out", type=Path, required=True, help="folder of the set, which must not be there yet")
    parser.add_argument("--split", choices=("train", "test"), default="train")
    parser.add_argument("--per-class", type=int, help="so many of each class, drawn by the seed; default: all")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def _chosen(split: Split, classes: Sequence[str], per_class: int | None, seed: int) -> list[int]:
    """Returns the places of the pictures that were asked for, rising."""
    if per_class is None:
        return list(range(len(split)))
    labels, places = split.labels.tolist(), []
    for label, name in enumerate(classes):
        members = [place for place, found in enumerate(labels) if found == label]
        if not 1 <= per_class <= len(members):
            raise ConfigError(f"--per-class: expected 1 to {len(members)}, as many as {name!r} has, got {per_class}")
        order = rng.numpy_generator(seed, "picture set", name).permutation(len(members))
        places += [members[index] for index in order[:per_class]]
    return sorted(places)


def _named(
    split: Split, classes: Sequence[str], places: Sequence[int], update: Callable[[int], object]
) -> Iterator[tuple[str, str, Pixels]]:
    for place in places:
        pixels = split.pixels[place].permute(1, 2, 0).contiguous().numpy()
        yield split.ids[place], classes[int(split.labels[place])], pixels
        update(1)


if __name__ == "__main__":
    sys.exit(exit_code(main))
