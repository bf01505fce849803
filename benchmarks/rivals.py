"""The attacks of other libraries by the settings of ours: what we are measured against. Installed by ``make bench``."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType
from typing import Any, assert_never

import torch

from core.attacks.apgd import Apgd
from core.attacks.autoattack import Ensemble
from core.attacks.fab import Fab
from core.attacks.pgd import RelativePgd
from core.attacks.square import Square
from core.errors import ConfigError, MachineError
from core.tensors import Classifier, Images, Labels
from core.torchvision_cpu import torchvision

Compared = RelativePgd | Apgd | Fab | Square | Ensemble
PACKAGES = ("torchattacks", "foolbox")


def library(name: str) -> ModuleType:
    """Returns the module of another library.

    Raises:
        MachineError: it is not installed.
    """
    torchvision()  # first, since these import it, and on a torch for the CPU only we can
    try:
        with warnings.catch_warnings(
            action="ignore", category=DeprecationWarning
        ):  # of names of SciPy that they import
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MachineError(
            f"{name}: expected it to be installed for this comparison, found no module {error.name!r}; install it as "
            "the target 'rivals' of the Makefile does: make rivals"
        ) from None


def by_torchattacks(attack: Compared, model: Classifier, x: Images, y: Labels, eps: float, seed: int) -> Images:
    """Returns what torchattacks finds with the settings of ``attack`` in the L∞ budget ``eps`` ([0, 1] units)."""
    made = _torchattacks(library("torchattacks"), attack, model, eps, seed)
    with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
        torch.manual_seed(seed)
        found: Images = made(x, y)
    return found.detach()


def by_foolbox(attack: RelativePgd, model: Classifier, x: Images, y: Labels, eps: float, seed: int) -> Images:
    """Returns what foolbox's PGD finds with the settings of ``attack``; of those compared here it has no other."""
    foolbox = library("foolbox")
    made = foolbox.attacks.LinfPGD(abs_stepsize=attack.relative_step * eps / attack.steps, steps=attack.steps)
    with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
        torch.manual_seed(seed)
        _, found, _ = made(foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device), x, y, epsilons=eps)
    return torch.as_tensor(found).detach()


def _torchattacks(library: Any, attack: Compared, model: Classifier, eps: float, seed: int) -> Any:
    """Returns torchattacks' object; it aims at ``n_classes`` − 1 classes in turn and reads nothing else off that."""
    common = {"eps": eps, "seed": seed}
    match attack:
        case Ensemble():
            parts = [_torchattacks(library, compared(part), model, eps, seed) for part in attack.parts]
            return library.MultiAttack(parts)
        case RelativePgd():
            return library.PGD(model, eps=eps, alpha=attack.relative_step * eps / attack.steps, steps=attack.steps)
        case Apgd() if attack.targets:
            return library.APGDT(model, steps=attack.steps, n_classes=attack.targets + 1, **common)
        case Apgd():
            return library.APGD(model, steps=attack.steps, loss=attack.loss, **common)
        case Fab():
            return library.FAB(model, steps=attack.steps, multi_targeted=True, n_classes=attack.targets + 1, **common)
        case Square():
            return library.Square(model, n_queries=attack.queries, **common)
        case unknown:
            assert_never(unknown)


def compared(part: Any) -> Compared:
    """Returns an attack that the others have too.

    Raises:
        ConfigError: they do not.
    """
    if isinstance(part, Compared):
        return part
    raise ConfigError(
        f"{part.name}: expected an attack that torchattacks has too: pgd, apgd, fab-t, square, or these in turn"
    )
