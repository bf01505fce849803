"""Signs that a robustness number cannot be trusted, each with a code; docs/evaluation.md says what to do about it.

Each check is a function of any model, or of what attacks did to it, and returns what it found or ``None``. Most of them
are the classic mistakes that AutoAttack flags (Croce & Hein 2020, arXiv 2003.01690) and that Athalye et al. 2018
(arXiv 1802.00420) and Carlini et al. 2019 (arXiv 1902.06705) list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from scipy.stats import binomtest
from torch import Tensor

from core import attacks
from core.attacks.budget import uniform
from core.attacks.losses import Kind, raised
from core.networks.mode import frozen
from core.runs import Finding
from core.tensors import Classifier, Images, Labels, Logits, generator

POINTS = 0.002  # by which Square may lower the accuracy that gradients leave: 0.2 points
LARGE = 128  # grey levels: every picture can be made grey, so nothing but chance should be left
LEFT = 0.05  # share of the pictures that may stand there
_REPEATS = 3
_CHANGES = 1e-4  # between two forward passes, of logits divided by their length
_SUM = 1e-3  # by which probabilities may miss 1
_SILENT = 0.1  # share of the pictures that may have no gradient
_BETTER = 0.1  # share of the pictures that another range must name right in addition
_ALPHA = 0.05
_LOSSES: tuple[Kind, ...] = ("ce", "margin")


def of_model(model: Classifier, x: Images, y: Labels, *, chance_allowed: bool = False) -> list[Finding]:
    """Returns what is wrong with a model that is about to be attacked.

    Args:
        model: maps images to logits.
        x: some pictures, [B, C, H, W]: a few dozen do.
        y: their classes.
        chance_allowed: do not report random output: the attack averages over it and the verdict is a vote.
    """
    found = [
        training_mode(model),
        None if chance_allowed else random_output(model, x),
        probabilities(model, x),
        input_range(model, x, y),
        zero_gradients(model, x, y),
        large_budget(model, x, y),
    ]
    return [finding for finding in found if finding is not None]


def training_mode(model: Classifier) -> Finding | None:
    """Returns ``training-mode`` if a part of the model is not in evaluation mode."""
    names = [name or type(model).__name__ for name, module in model.named_modules() if module.training]
    if not names:
        return None
    return Finding(
        code="training-mode",
        message=f"{len(names)} parts are in training mode, such as {names[-1]}: dropout draws and batch norms follow "
        "the batch; call model.eval()",
    )


def random_output(model: Classifier, x: Images) -> Finding | None:
    """Returns ``random-output`` if the same pictures get other logits when asked again."""
    logits = [_unit(_logits(model, x)) for _ in range(_REPEATS)]
    change = max(float((later - logits[0]).norm(dim=1).max()) for later in logits[1:])
    if change <= _CHANGES:
        return None
    return Finding(
        code="random-output",
        message=f"the same picture gets other logits when asked again (they differ by {change:.1g} of their length); "
        "attack with -eot20 or aa-rand, and let a vote decide",
    )


def probabilities(model: Classifier, x: Images) -> Finding | None:
    """Returns ``probabilities`` if the outputs lie within 0..1 and sum to 1."""
    outputs = _logits(model, x)
    inside = bool((outputs >= 0).all() and (outputs <= 1).all())
    if not inside or float((outputs.sum(dim=1) - 1).abs().max()) > _SUM:
        return None
    return Finding(
        code="probabilities",
        message="outputs lie within 0..1 and sum to 1: probabilities, whose gradients vanish; take the softmax off the "
        "model",
    )


def input_range(model: Classifier, x: Images, y: Labels) -> Finding | None:
    """Returns ``input-range`` if pictures leave [0, 1], use little of it, or are named better in another range."""
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 1 or high <= 2 / 255:
        return Finding(
            code="input-range",
            message=f"pictures are within {low:.3g}..{high:.3g}, expected 0..1: scale them before the attack, and "
            "leave normalisation to a layer of the model",
        )
    share = {name: _right(model, moved, y) for name, moved in _ranges(x).items()}
    best = max(share, key=lambda name: share[name])
    if share[best] <= share["0..1"] + _BETTER:
        return None
    return Finding(
        code="input-range",
        message=f"the model names {share['0..1']:.0%} right of pictures within 0..1 and {share[best]:.0%} of the same "
        f"within {best}: it was trained for that range; put the scaling into the model",
    )


def zero_gradients(model: Classifier, x: Images, y: Labels) -> Finding | None:
    """Returns ``zero-gradients`` if a loss has no gradient at all at more than a tenth of the pictures."""
    silent = {kind: _silent(model, x, y, kind) for kind in _LOSSES}
    worst = max(_LOSSES, key=lambda kind: silent[kind])
    if silent[worst] <= _SILENT:
        return None
    return Finding(
        code="zero-gradients",
        message=f"the gradient of the {worst} loss is zero at {silent[worst]:.0%} of the pictures: gradients cannot "
        "attack there; add square-5000 or aa-standard, and look for rounding, thresholds or huge logits",
    )


def large_budget(model: Classifier, x: Images, y: Labels) -> Finding | None:
    """Returns ``large-budget-survived`` if PGD leaves more than 5 % right at ε = 128, where all can be grey."""
    attack = attacks.named("pgd-20")
    adversarial = attacks.run(attack, model, x, y, uniform(LARGE / 255, x), generator(x.device, 1, "self-check"))
    left = _right(model, adversarial, y)
    if left <= LEFT:
        return None
    return Finding(
        code="large-budget-survived",
        message=f"{attack.name} leaves {left:.0%} right at ε = {LARGE} grey levels, where any picture can be made "
        "grey: its gradients are masked; add square-5000 or aa-standard",
    )


Fooled = Mapping[str, Tensor]  # name of an attack → which of the same pictures it fooled, bool [N]


def square_beats_gradients(gradients: Sequence[Tensor], squares: Sequence[Tensor]) -> Finding | None:
    """Returns ``square-beats-gradients`` if Square takes more than 0.2 points from what gradient attacks leave.

    A single picture is no sign, however few there are.

    Args:
        gradients: which pictures each attack by gradients fooled, of an ensemble its parts that use them; bool [N].
        squares: which pictures Square fooled, alone or as a part; with the same norm, region and ε.
    """
    if not gradients or not squares:
        return None
    alone = torch.stack(list(squares)).any(dim=0) & ~torch.stack(list(gradients)).any(dim=0)
    share = float(alone.float().mean())
    if share <= POINTS or int(alone.sum()) < 2:
        return None
    return Finding(
        code="square-beats-gradients",
        message=f"Square, which sees no gradient, fools {share:.1%} of the pictures that gradients do not: gradients "
        "are masked; believe the lower number, and attack the model adaptively",
    )


def fgsm_beats_pgd(fooled: Fooled) -> Finding | None:
    """Returns ``fgsm-beats-pgd`` if one step fools more pictures than many do, beyond chance."""
    steps = [name for name in fooled if _kind(name) == "pgd"]
    for one in (name for name in fooled if _kind(name) == "fgsm"):
        for many in steps:
            if _beats(fooled[one], fooled[many]):
                return _weaker("fgsm-beats-pgd", one, many, fooled, "gradients mislead over several steps")
    return None


def more_steps_weaker(fooled: Fooled) -> Finding | None:
    """Returns ``more-steps-weaker`` if an attack fools fewer pictures with more steps, beyond chance."""
    by_kind: dict[str, list[str]] = {}
    for name in fooled:
        if (steps := _steps(name)) is not None:
            by_kind.setdefault(f"{_kind(name)} {name.partition(str(steps))[2]}", []).append(name)
    for names in by_kind.values():
        ordered = sorted(names, key=lambda name: _steps(name) or 0)
        for few, many in ((few, many) for place, few in enumerate(ordered) for many in ordered[place + 1 :]):
            if _beats(fooled[few], fooled[many]):
                return _weaker("more-steps-weaker", few, many, fooled, "the attack does not converge")
    return None


def transfer_beats_white_box(white: Fooled, transferred: Fooled) -> Finding | None:
    """Returns ``transfer-beats-white-box`` if pictures made elsewhere fool more than the strongest attack on the model.

    Args:
        white: by attacks on the model itself.
        transferred: by pictures made against others, by what they are called.
    """
    if not white:
        return None
    own = torch.stack(list(white.values())).any(dim=0)
    for name, hit in transferred.items():
        if _beats(hit, own):
            return Finding(
                code="transfer-beats-white-box",
                message=f"pictures made against {name} fool {float(hit.float().mean()):.1%}, attacks on the model "
                f"itself {float(own.float().mean()):.1%}: its gradients are masked; add square-5000 or aa-standard",
            )
    return None


def _weaker(code: str, weak: str, strong: str, fooled: Fooled, reason: str) -> Finding:
    shares = (
        f"{float(fooled[weak].float().mean()):.1%} of the pictures, {strong} {float(fooled[strong].float().mean()):.1%}"
    )
    return Finding(code=code, message=f"{weak} fools {shares}: {reason}, a sign of masked gradients; add aa-standard")


def _beats(first: Tensor, second: Tensor) -> bool:
    """Returns whether ``first`` fools more pictures, by more than 0.2 points and more than chance (exact sign test)."""
    more, fewer = int((first & ~second).sum()), int((second & ~first).sum())
    if (more - fewer) / len(first) <= POINTS:
        return False
    return bool(binomtest(more, more + fewer, 0.5, alternative="greater").pvalue < _ALPHA)


def _kind(name: str) -> str:
    """Returns what comes before the numbers of an attack's name: ``apgd-ce`` of ``apgd-ce-100``."""
    words = name.split("-")
    return "-".join(word for word in words if not word[:1].isdigit() and not (word[:1] == "r" and word[1:].isdigit()))


def _steps(name: str) -> int | None:
    numbers = [word for word in name.split("-") if word[:1].isdigit()]
    return int(numbers[0].split("x")[0]) if numbers else None


@torch.no_grad()
def _logits(model: Classifier, x: Images) -> Logits:
    logits: Logits = model(x).float()
    return logits


def _unit(logits: Logits) -> Logits:
    unit: Logits = logits / logits.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return unit


def _right(model: Classifier, x: Images, y: Labels) -> float:
    return float((_logits(model, x).argmax(1) == y).float().mean())


def _ranges(x: Images) -> dict[str, Images]:
    mean, deviation = x.mean(dim=(0, 2, 3), keepdim=True), x.std(dim=(0, 2, 3), keepdim=True).clamp(min=1e-6)
    return {"0..1": x, "0..255": 255 * x, "−1..1": 2 * x - 1, "mean 0, deviation 1": (x - mean) / deviation}


def _silent(model: Classifier, x: Images, y: Labels, kind: Kind) -> float:
    with frozen(model), torch.enable_grad():
        leaf = x.detach().requires_grad_()
        value = raised(kind, model(leaf), y, None).sum()
        if not value.requires_grad:
            return 1.0
        (gradient,) = torch.autograd.grad(value, leaf)
    return float((gradient.flatten(1).abs().amax(dim=1) == 0).float().mean())
