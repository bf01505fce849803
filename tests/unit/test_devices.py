"""Where to compute, and that float32 means float32."""

from __future__ import annotations

import warnings

import pytest
import torch

from core.devices import deterministic, exact_float32, pick
from core.errors import MachineError


def switches():
    """Returns what is set for convolutions, recurrences and products of matrices: by the new switches and the old."""
    backends = torch.backends
    new = (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul)
    return [place.fp32_precision for place in new], backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("context", [deterministic, exact_float32])
def test_no_command_computes_in_tensorfloat_32_and_what_was_set_comes_back(context):
    before = switches()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with context():
            assert switches() == (["ieee", "ieee", "ieee"], False, False)
        assert switches() == before


@pytest.mark.parametrize("allowed", [True, False])
def test_what_the_old_switches_allowed_comes_back(allowed):
    with exact_float32():
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
        before = switches()
        with exact_float32():
            assert switches() == (["ieee", "ieee", "ieee"], False, False)
        assert switches() == before


def test_what_was_set_comes_back_after_an_error():
    before = switches()
    with pytest.raises(ArithmeticError), deterministic():
        raise ArithmeticError
    assert switches() == before
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(MachineError, match="--device cuda: expected a GPU, found none; use --device cpu"):
        pick("cuda")
