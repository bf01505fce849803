"""The one training loop: owns the optimiser, ``backward``, checkpoints and resumption; objectives are functions."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor
from tqdm import tqdm

from core import checkpoints, files, models, objectives, optimisation, progress, selection, training_state
from core.averaging import Average
from core.board import Show
from core.datasets import augmentation
from core.datasets.augmentation import Draw
from core.datasets.split import Split
from core.devices import autocast, memory_format
from core.distributed import Group, share_batch_norm
from core.errors import RunError
from core.objectives.batch import Batch, Loss
from core.objectives.explainer import Explainer
from core.objectives.part import PartSettings
from core.recipe import Recipe
from core.selection import Score
from core.tensors import Classifier, Salience, generator, to_unit
from core.training_state import Progress
from core.weight_perturbation import perturbed

_STEPS_BETWEEN_CHECKS = 50


class Training:
    """A training under way in a run directory; ``last/state.safetensors`` always holds its last finished epoch."""

    def __init__(
        self,
        recipe: Recipe,
        run: Path,
        train: Split,
        classes: int,
        salience: Salience | None,
        *,
        held_out: Split | None = None,
        device: torch.device | None = None,
        group: Group | None = None,
        show: Show | None = None,
    ) -> None:
        """Builds classifier and optimiser; goes on from ``last/`` if it is there.

        Args:
            recipe: decides everything about the weights.
            run: directory of the run.
            train: pictures to train on, on the device or in main memory.
            classes: how many.
            salience: maps of ``train`` in the same order, if the objective uses them.
            held_out: pictures by which an epoch is selected, if one is.
            device: where to compute; that of the pictures if not given.
            group: the processes that share this training.
            show: is given the values of each epoch, besides ``metrics.jsonl``.
        """
        self.recipe, self.run, self.train, self.salience, self.held_out = recipe, run, train, salience, held_out
        self.device = device or train.pixels.device
        self.group, self.show = group or Group(), show
        self.layout = memory_format(channels_last=recipe.channels_last)
        self.model = models.new(recipe, classes, (train.pixels.shape[2], train.pixels.shape[3])).to(self.device)
        self.model.to(memory_format=self.layout)  # type: ignore[call-overload]  # missing from torch's stub
        if self.group.size > 1:
            share_batch_norm(self.model)
        if recipe.compile:
            self.model.compile()
        self.optimiser = optimisation.make(recipe.optimiser, self.model)
        self.average = None if recipe.averaging is None else Average(recipe.averaging, self.model)
        self.explainer = _explainer(recipe, self.model)
        self.progress = Progress()
        self.steps = -(-len(train) // recipe.optimiser.batch_size)
        if training_state.path_in(run).is_file():
            self.progress = training_state.restore(run, self.model, self.optimiser, self.average, self.explainer)

    def fit(self) -> None:
        """Trains to the last epoch, or until selection's patience ends; a state and a line of metrics after each."""
        done, total = self.progress.epoch * self.steps, self.recipe.optimiser.epochs * self.steps
        with progress.bar(f"train {self.run.name}", total, "steps", done=done, shown=self.group.leads) as bar:
            while self.progress.epoch < self.recipe.optimiser.epochs and not self._stopped():
                self._epoch(bar)

    def final(self) -> dict[str, Tensor]:
        """Returns the weights that the run is for: their average if the recipe averages, else the last ones."""
        return self.model.state_dict() if self.average is None else self.average.tensors

    def _epoch(self, bar: tqdm[NoReturn]) -> None:
        started = time.monotonic()
        totals: dict[str, Tensor] = {}
        self.model.train()
        for step, batch in enumerate(self._batches()):
            size = min(self.recipe.optimiser.batch_size, len(self.train) - step * self.recipe.optimiser.batch_size)
            _add(totals, self._step(batch, size), batch.labels)
            if (step + 1) % _STEPS_BETWEEN_CHECKS == 0:
                self._check(totals)
            bar.update()
        means = self._means(totals)
        seconds, score = time.monotonic() - started, self._score()
        shown = {name: f"{means[name]:.3f}" for name in ("loss", "train_accuracy")}
        bar.set_postfix(shown | ({"robust": f"{score.robust:.3f}"} if score else {}), refresh=False)
        self._keep(means, seconds, score)

    def _batches(self) -> Iterator[Batch]:
        seed, epoch, size = self.recipe.seed, self.progress.epoch, self.recipe.optimiser.batch_size
        order = torch.randperm(len(self.train), generator=generator("cpu", seed, "order", epoch))
        for step, chosen in enumerate(order.split(size)):
            rate = self.recipe.optimiser.rate(epoch * self.steps + step, self.recipe.optimiser.epochs * self.steps)
            for parameters in self.optimiser.param_groups:
                parameters["lr"] = rate
            yield self._batch(chosen, epoch, step)

    def _batch(self, chosen: Tensor, epoch: int, step: int) -> Batch:
        seed, rank = self.recipe.seed, [self.group.rank] if self.group.rank else []
        drawn = augmentation.draw(
            self.recipe.augmentation, len(chosen), generator(self.device, seed, "augment", epoch, step)
        )
        drawn, ours = self._our_share(drawn), self.group.share(chosen).to(self.train.pixels.device)
        pixels = self.train.pixels[ours].to(self.device, non_blocking=True)
        images = to_unit(drawn.apply(pixels)).contiguous(memory_format=self.layout)
        return Batch(
            images=images,
            labels=self.train.labels[ours].to(self.device),
            salience=None if self.salience is None else drawn.apply(self.salience[ours].to(self.device)),
            generator=generator(self.device, seed, "attack", epoch, step, *rank),
            epoch=epoch,
            step=epoch * self.steps + step,
            explainer=None if self.explainer is None else self.explainer.at(epoch * self.steps + step, self.model),
        )

    def _our_share(self, drawn: Draw) -> Draw:
        if self.group.size == 1:
            return drawn
        share = self.group.share
        return dataclasses.replace(drawn, top=share(drawn.top), left=share(drawn.left), mirrored=share(drawn.mirrored))

    def _step(self, batch: Batch, size: int) -> Loss:
        """Changes the weights by one batch of ``size`` pictures over all processes; returns its loss."""
        loss = self._gradients(batch, size)
        perturbation = self.recipe.weight_perturbation
        if perturbation is not None and self.progress.epoch >= perturbation.from_epoch:
            batch.generator.manual_seed(batch.generator.initial_seed())
            with perturbed(self.model, perturbation.gamma):
                loss = self._gradients(batch, size)
        self.optimiser.step()
        if self.average is not None:
            self.average.update(self.model)
        return loss

    def _gradients(self, batch: Batch, size: int) -> Loss:
        self.optimiser.zero_grad(set_to_none=True)
        with autocast(self.device, self.recipe.precision):
            loss = objectives.loss(self.recipe.objective, self.model, batch)
        (loss.per_picture.sum() / size).backward()
        self.group.sum_gradients(self.model.parameters())
        return loss

    def _means(self, totals: dict[str, Tensor]) -> dict[str, float]:
        self._check(totals)
        summed = self.group.sum(torch.stack([total.double() for total in totals.values()]))
        return dict(zip(totals, (summed / len(self.train)).tolist(), strict=True))

    def _check(self, totals: dict[str, Tensor]) -> None:
        """Stops a training whose loss is no number, before anything of this epoch is saved.

        Raises:
            RunError: the loss became NaN or infinite.
        """
        if not torch.isfinite(totals["loss"]):
            raise RunError(
                f"{self.run}: the loss became {float(totals['loss'])} in epoch {self.progress.epoch + 1}; the state "
                f"after epoch {self.progress.epoch} is kept in last/; lower optimiser.lr (now "
                f"{self.recipe.optimiser.lr}) and train into another directory"
            )

    def _score(self) -> Score | None:
        """Returns how the judged weights do on the held-out pictures; the leading process measures for all."""
        if self.recipe.selection is None or self.held_out is None:
            return None
        accuracies = torch.zeros(2, dtype=torch.float64, device=self.device)
        if self.group.leads:
            kept = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
            self.model.load_state_dict(self.final())
            found = selection.score(self.model, self.held_out.to(self.device), self.recipe.selection, self.recipe.seed)
            self.model.load_state_dict(kept)
            accuracies += torch.tensor([found.clean, found.robust], device=self.device)
        clean, robust = self.group.sum(accuracies).tolist()
        return Score(clean=clean, robust=robust)

    def _stopped(self) -> bool:
        settings, best = self.recipe.selection, self.progress.best_epoch
        if settings is None or settings.patience is None or best is None:
            return False
        return self.progress.epoch - best >= settings.patience

    def _keep(self, means: dict[str, float], seconds: float, score: Score | None) -> None:
        """Saves a line of metrics, the best weights if these are, and last the state after an epoch.

        Whoever is cut off before the state is there does the epoch again and writes the same over the rest.
        """
        now = self.progress
        self.progress = dataclasses.replace(now, epoch=now.epoch + 1, seconds=now.seconds + seconds)
        best = score is not None and (now.best_robust is None or score.robust > now.best_robust)
        if best and score is not None:
            self.progress = dataclasses.replace(self.progress, best_epoch=self.progress.epoch, best_robust=score.robust)
        if self.group.leads:
            if best:
                checkpoints.save(self.run / "best.safetensors", self.final(), {"epoch": str(self.progress.epoch)})
            held_out = {} if score is None else {"held_out_clean": score.clean, "held_out_robust": score.robust}
            values = {**means, **held_out, "images_per_second": len(self.train) / seconds}
            self._log(values)
            training_state.save(self.run, self.model, self.optimiser, self.average, self.explainer, self.progress)
            if self.show is not None:
                self.show(values, self.progress.epoch)
        self.group.wait()

    def _log(self, values: dict[str, float]) -> None:
        path, epoch = self.run / "metrics.jsonl", self.progress.epoch
        earlier = path.read_text().splitlines()[: epoch - 1] if path.exists() else []
        line = json.dumps({"epoch": epoch, **values, "lr": self.optimiser.param_groups[0]["lr"]})
        files.write_text(path, "\n".join([*earlier, line]) + "\n")


def _explainer(recipe: Recipe, model: Classifier) -> Explainer | None:
    objective = recipe.objective
    if isinstance(objective, PartSettings) and objective.recompute_every > 1:
        return Explainer(model, objective.recompute_every)
    return None


def _add(totals: dict[str, Tensor], loss: Loss, labels: Tensor) -> None:
    """Adds a batch's loss, its parts and its correct answers to the sums of the epoch, on the device."""
    found = {
        "loss": loss.per_picture.detach().sum(),
        "train_accuracy": (loss.logits.detach().argmax(1) == labels).sum(),
        **{name: part * len(labels) for name, part in loss.parts.items()},
    }
    for name, value in found.items():
        totals[name] = totals[name] + value if name in totals else value
