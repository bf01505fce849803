"""The first five losses of each objective: a change of method, order or random numbers shows here first."""

from __future__ import annotations

import pytest
import torch

from core import networks, objectives
from core.attacks.pgd import Pgd
from core.devices import deterministic
from core.errors import ConfigError
from core.networks import Network
from core.objectives.batch import Batch
from core.objectives.mart import Mart
from core.objectives.part import Part, PartM, PartT
from core.objectives.pgd_at import PgdAt
from core.objectives.sip_at import SipAt
from core.objectives.standard import Standard
from core.objectives.trades import Trades
from core.tensors import generator

ATTACK = Pgd(eps=8 / 255, steps=3, step_size=3 / 255)
PART = {"attack": ATTACK, "eps_low": 2 / 255, "warm_up_epochs": 0}
CURVES = {
    "standard": (Standard(), [1.61992, 1.6233, 1.62089, 1.67356, 1.60365]),
    "pgd-at": (PgdAt(attack=ATTACK), [1.85432, 1.89569, 1.83882, 1.85794, 1.80245]),
    "sip-at": (SipAt(attack=ATTACK, threshold=0.5), [1.7516, 1.76429, 1.74722, 1.78284, 1.73108]),
    "trades": (Trades(attack=ATTACK), [1.67955, 1.68553, 1.68485, 1.73701, 1.66395]),
    "mart": (Mart(attack=ATTACK), [2.26494, 2.27229, 2.14193, 2.13536, 2.08072]),
    "sip-at, soft": (SipAt(attack=ATTACK, budget="soft"), [1.76669, 1.79878, 1.77183, 1.79965, 1.74625]),
    "sip-at, random-area": (SipAt(attack=ATTACK, control="random-area"), [1.73966, 1.77281, 1.75112, 1.76783, 1.72442]),
    "sip-at on trades": (SipAt(attack=ATTACK, base="trades", beta=6.0), [1.65608, 1.64869, 1.64725, 1.69726, 1.63036]),
    "part": (Part(**PART), [1.7167, 1.75091, 1.72913, 1.76598, 1.71294]),
    "part, published": (
        Part(**PART, cam="layer-cam", upsampling="bicubic", importance="published"),
        [1.74524, 1.77821, 1.74462, 1.77323, 1.71334],
    ),
    "part-t": (PartT(**PART), [1.63361, 1.63999, 1.63773, 1.68879, 1.62096]),
    "part-m": (PartM(**PART), [2.03356, 2.05974, 2.00145, 2.04474, 1.99188]),
    "sip-at, all salient": (SipAt(attack=ATTACK, threshold=0.0), [1.61992, 1.6233, 1.62089, 1.67356, 1.60365]),
}


def curve(objective):
    model = networks.build(Network(width=4), classes=5, seed=1)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for step in range(5):
        x = torch.rand(16, 3, 16, 16, generator=generator("cpu", 1, "x", step))
        batch = Batch(
            images=x,
            labels=torch.arange(16) % 5,
            salience=torch.linspace(0.01, 1, 256).view(1, 1, 16, 16).expand(16, 1, 16, 16),
            generator=generator("cpu", 1, "attack", step),
        )
        loss = objectives.loss(objective, model, batch).per_picture.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("name", CURVES)
def test_first_five_losses(name):
    objective, expected = CURVES[name]
    with deterministic():
        assert curve(objective) == pytest.approx(expected, abs=2e-4)


def test_attacked_losses_are_higher_and_sparing_everything_is_standard_training():
    assert CURVES["pgd-at"][1][0] > CURVES["sip-at"][1][0] > CURVES["standard"][1][0]
    assert curve(CURVES["sip-at, all salient"][0]) == pytest.approx(curve(Standard()), abs=1e-6)


def test_sip_at_without_maps_is_refused():
    batch = Batch(
        images=torch.rand(2, 3, 8, 8), labels=torch.tensor([0, 1]), salience=None, generator=generator("cpu", 1)
    )
    with pytest.raises(ConfigError, match="sip-at: expected salience maps, got none; add a .salience. table"):
        objectives.loss(SipAt(), networks.build(Network(width=4), 5, 1), batch)
