"""What the precision "auto" means on a processor and on a GPU."""

import pytest
import torch

from lib.models.precision import PRECISIONS, resolved_precision


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, "float32"),
        ({"avx512_bf16": False}, "float32"),
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
        ({"bf16": True}, "bfloat16"),
    ],
)
def test_auto_is_bfloat16_where_the_processor_multiplies_it(found, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True} | found)
    assert resolved_precision("auto") == expected


@pytest.mark.parametrize(("in_hardware", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_a_gpu_is_asked_whether_it_only_imitates_bfloat16(in_hardware, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or in_hardware)
    assert resolved_precision("auto") == expected


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_named_precision_stays_whatever_the_hardware(precision, monkeypatch):
    for bfloat16 in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=bfloat16: {"avx512_bf16": found})
        assert resolved_precision(precision) == precision
