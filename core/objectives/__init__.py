"""Training objectives: functions of a batch that return a loss with its parts. The loop alone owns ``backward``."""

from __future__ import annotations

from typing import assert_never

from core.objectives.batch import Batch, Loss
from core.objectives.pgd_at import PgdAt, pgd_at
from core.objectives.sip_at import SipAt, sip_at
from core.objectives.standard import Standard, standard
from core.tensors import Classifier

Objective = Standard | PgdAt | SipAt


def loss(objective: Objective, model: Classifier, batch: Batch) -> Loss:
    """Returns the loss of ``objective`` on one batch."""
    match objective:
        case Standard():
            return standard(model, batch.images, batch.labels)
        case PgdAt():
            return pgd_at(model, batch.images, batch.labels, objective.attack, batch.generator)
        case SipAt():
            return sip_at(model, batch, objective)
        case unknown:
            assert_never(unknown)
