"""A small net with a feature grid that remembers what it was shown, and batches for it; for tests of objectives."""

from __future__ import annotations

import torch
from torch import nn

from core.attacks.pgd import Pgd
from core.objectives.batch import Batch
from core.tensors import generator

EPS, LOW = 8 / 255, 7 / 255
ATTACK = Pgd(eps=EPS, steps=3, step_size=3 / 255)
PART = {"attack": ATTACK, "warm_up_epochs": 0}


class Net(nn.Module):
    """A net with a feature grid, batch norm and dropout; it remembers what it was shown in evaluation mode."""

    def __init__(self, seed=1, classes=4):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU())
            self.head = nn.Linear(6, classes)
        self.head.weight.data.abs_()  # all evidence is positive, so that no class-activation map is blank
        self.drop, self.shown = nn.Dropout(0.0), []

    def features(self, x):
        self.shown.append(x.detach().clone())
        return self.body(x)

    def classify(self, features):
        return self.head(self.drop(features.mean(dim=(2, 3))))

    def forward(self, x):
        return self.classify(self.features(x))


def batch(pictures=6, seed=1, side=12, **more):
    x, maps = (
        torch.rand(pictures, channels, side, side, generator=generator("cpu", seed, channels)) for channels in (3, 1)
    )
    given = {"images": x, "labels": torch.arange(pictures) % 4, "salience": maps, "generator": generator("cpu", seed)}
    return Batch(**(given | more))
