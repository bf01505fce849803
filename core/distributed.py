"""Several processes on one training, started by torchrun: each takes its share of every batch, gradients are summed.

The loop reduces gradients itself, in one flat sum after ``backward``. DistributedDataParallel would hook into every
forward and backward pass, and an attack makes dozens of these whose gradients nobody wants to share. See docs/adr/0006.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Group:
    """The processes of this training: our ``rank`` of ``size``; alone without torchrun."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether we write the files and show the progress."""
        return self.rank == 0

    def share(self, chosen: Tensor) -> Tensor:
        """Returns our part of a batch's indices: every ``size``-th, so that parts differ by one picture at most."""
        return chosen[self.rank :: self.size]

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Adds up the gradients of all processes, in one message; afterwards all hold the same."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def sum(self, values: Tensor) -> Tensor:
        """Returns the sum of ``values`` over all processes."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Returns when all processes have come here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Group, torch.device]]:
    """Yields our group and device, taking part in torchrun's group if it started us (NCCL on GPUs, else gloo)."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Group(), device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Group(dist.get_rank(), dist.get_world_size()), device
    finally:
        dist.destroy_process_group()


def leave(code: int) -> NoReturn:
    """Ends one process of several at once, after its output is written.

    The interpreter's own shutdown is left out: threads of gloo that still hold tensors then may crash it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _DifferentiableSum(torch.autograd.Function):
    """The sum over all processes; the gradient of a sum is the sum of the gradients."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm whose training statistics are those of the whole batch over all processes, on any device."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Returns the normalised features."""
        if not self.training:
            return super().forward(input)
        mean, variance, count = self._statistics(input.float())
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += 1
            share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean.detach(), share)
            self.running_var.lerp_(variance.detach() * (count / (count - 1)), share)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shape = (1, -1, 1, 1)
        return (input * scale.view(shape) + (self.bias - mean * scale).view(shape)).to(input.dtype)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns mean and variance of each channel, and the number of values, over all processes."""
        count = x.new_tensor([x.numel() / x.shape[1]])
        sums = torch.cat([count, x.sum(dim=(0, 2, 3)), x.square().sum(dim=(0, 2, 3))])
        total: Tensor = _DifferentiableSum.apply(sums)  # type: ignore[no-untyped-call]
        number, first, second = total.split([1, x.shape[1], x.shape[1]])
        mean = first / number
        return mean, second / number - mean.square(), number


def share_batch_norm(model: nn.Module) -> None:
    """Turns every 2-d batch norm of ``model`` into one over all processes; parameters and names stay."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm
