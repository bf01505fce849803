"""Training objectives: functions of a batch that return a loss with its parts. The loop alone owns ``backward``.

Each is described, with equations and sources, in docs/methods.md.
"""

from __future__ import annotations

from typing import assert_never

from core.objectives.atop import Atop, atop
from core.objectives.batch import Batch, Loss
from core.objectives.mart import Mart, mart
from core.objectives.part import Part, PartM, PartT, part
from core.objectives.pgd_at import PgdAt, pgd_at
from core.objectives.sip_at import SipAt, sip_at
from core.objectives.standard import Standard, standard
from core.objectives.trades import Trades, trades
from core.tensors import Classifier

Objective = Standard | PgdAt | Trades | Mart | SipAt | Part | PartT | PartM | Atop


def loss(objective: Objective, model: Classifier, batch: Batch) -> Loss:
    """Returns the loss of ``objective`` on one batch; the model's mode and ``requires_grad`` stay as they are."""
    match objective:
        case Standard():
            found = standard(model, batch)
        case PgdAt():
            found = pgd_at(model, batch, objective)
        case Trades():
            found = trades(model, batch, objective)
        case Mart():
            found = mart(model, batch, objective)
        case SipAt():
            found = sip_at(model, batch, objective)
        case Part() | PartT() | PartM():
            found = part(model, batch, objective)
        case Atop():
            found = atop(model, batch, objective)
        case unknown:
            assert_never(unknown)
    return found
