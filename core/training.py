"""The one training loop: owns the optimiser, ``backward``, checkpoints and resumption; objectives are functions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from tqdm import tqdm

from core import checkpoints, files, networks, objectives, progress
from core.datasets import augmentation
from core.datasets.split import Split
from core.devices import autocast
from core.objectives.batch import Batch
from core.recipe import Recipe
from core.tensors import Classifier, Salience, generator, to_unit


@dataclass
class Progress:
    """What lasts from epoch to epoch: epochs done, seconds spent."""

    epoch: int = 0
    seconds: float = 0.0


class Training:
    """A training under way in a run directory; ``last/state.safetensors`` always holds its last finished epoch."""

    def __init__(self, recipe: Recipe, run: Path, train: Split, classes: int, salience: Salience | None) -> None:
        """Builds the classifier and the optimiser on the device of ``train``; goes on from ``last/`` if it is there."""
        self.recipe, self.run, self.train, self.salience = recipe, run, train, salience
        self.device = train.pixels.device
        self.model: Classifier = networks.build(recipe.network, classes, recipe.seed).to(self.device)
        settings = recipe.optimiser
        self.optimiser = torch.optim.SGD(
            self.model.parameters(),
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=True,
        )
        self.progress = Progress()
        self.steps = -(-len(train) // settings.batch_size)
        if (run / "last" / "state.safetensors").is_file():
            self._restore()

    def fit(self) -> None:
        """Trains to the last epoch of the recipe, with a state and a line of metrics after each."""
        total = self.recipe.optimiser.epochs * self.steps
        with progress.bar(f"train {self.run.name}", total, "steps", done=self.progress.epoch * self.steps) as bar:
            while self.progress.epoch < self.recipe.optimiser.epochs:
                self._epoch(bar)

    def _epoch(self, bar: tqdm[NoReturn]) -> None:
        started, loss, correct = time.monotonic(), 0.0, 0
        self.model.train()
        for batch in self._batches():
            with autocast(self.device, self.recipe.precision):
                result = objectives.loss(self.recipe.objective, self.model, batch)
            self._step(result.per_picture.mean())
            loss += float(result.per_picture.detach().sum())
            correct += int((result.logits.argmax(1) == batch.labels).sum())
            bar.update()
        seconds, pictures = time.monotonic() - started, len(self.train)
        bar.set_postfix(refresh=False, loss=f"{loss / pictures:.3f}", accuracy=f"{correct / pictures:.3f}")
        self.progress = Progress(self.progress.epoch + 1, self.progress.seconds + seconds)
        self._save()
        self._log(
            {"loss": loss / pictures, "train_accuracy": correct / pictures, "images_per_second": pictures / seconds}
        )

    def _batches(self) -> Iterator[Batch]:
        seed, epoch, size = self.recipe.seed, self.progress.epoch, self.recipe.optimiser.batch_size
        order = torch.randperm(len(self.train), generator=generator("cpu", seed, "order", epoch)).to(self.device)
        for step, chosen in enumerate(order.split(size)):
            self._set_rate(epoch * self.steps + step)
            drawn = augmentation.draw(
                self.recipe.augmentation, len(chosen), generator(self.device, seed, "augment", epoch, step)
            )
            yield Batch(
                images=to_unit(drawn.apply(self.train.pixels[chosen])),
                labels=self.train.labels[chosen],
                salience=None if self.salience is None else drawn.apply(self.salience[chosen]),
                generator=generator(self.device, seed, "attack", epoch, step),
            )

    def _step(self, loss: torch.Tensor) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()

    def _set_rate(self, step: int) -> None:
        settings = self.recipe.optimiser
        for group in self.optimiser.param_groups:
            group["lr"] = settings.rate(step, settings.epochs * self.steps)

    def _save(self) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            tensors[f"momentum.{name}"] = self.optimiser.state[parameter]["momentum_buffer"]
        metadata = {"epoch": str(self.progress.epoch), "seconds": str(self.progress.seconds)}
        checkpoints.save(self.run / "last" / "state.safetensors", tensors, metadata)

    def _restore(self) -> None:
        tensors, metadata = checkpoints.read(self.run / "last" / "state.safetensors")
        self.model.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")})
        for name, parameter in self.model.named_parameters():
            self.optimiser.state[parameter]["momentum_buffer"] = tensors[f"momentum.{name}"].to(self.device)
        self.progress = Progress(int(metadata["epoch"]), float(metadata["seconds"]))

    def _log(self, values: dict[str, float]) -> None:
        path, epoch = self.run / "metrics.jsonl", self.progress.epoch
        earlier = path.read_text().splitlines()[: epoch - 1] if path.exists() else []
        line = json.dumps({"epoch": epoch, **values, "lr": self.optimiser.param_groups[0]["lr"]})
        files.write_text(path, "\n".join([*earlier, line]) + "\n")
