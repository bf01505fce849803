"""Curves in TensorBoard, for who has it installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from core.errors import MachineError

Show = Callable[[Mapping[str, float], int], None]


def board(directory: Path) -> Show:
    """Returns a function that adds the values of an epoch to the curves in ``directory``.

    Raises:
        MachineError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  # optional, and slow to import
    except ImportError:
        raise MachineError("--tensorboard: expected the package tensorboard; run pip install tensorboard") from None
    writer = SummaryWriter(directory)

    def show(values: Mapping[str, float], epoch: int) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, epoch)
        writer.flush()

    return show
