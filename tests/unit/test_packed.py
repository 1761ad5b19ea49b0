"""Weights in 8 bits come back as they were, nearly."""

import pytest
import torch
from image_to_mesh.inference.models.bundled.packed import SCALE, packed, unpacked


def test_matrices_and_kernels_lose_little_and_the_rest_almost_nothing() -> None:
    rng = torch.Generator().manual_seed(0)
    tensors = {
        "kernel": torch.randn((8, 4, 3, 3), generator=rng)
        * torch.logspace(-4, 2, 8)[:, None, None, None],
        "matrix": torch.randn((16, 32), generator=rng),
        "bias": torch.randn(8, generator=rng),
        "token": torch.randn((1, 1, 64), generator=rng),
    }
    small = packed(tensors)
    assert {k for k, v in small.items() if v.dtype == torch.int8} == {"kernel", "matrix"}
    assert small["bias"].dtype == small["token"].dtype == torch.float16
    back = unpacked(small)
    assert back.keys() == tensors.keys()
    for name, value in tensors.items():
        assert back[name].dtype == torch.float32
        error = (back[name] - value).reshape(len(value), -1).norm(dim=1)
        assert (error < 0.008 * value.reshape(len(value), -1).norm(dim=1)).all(), name


def test_zeros_stay_zeros_and_a_single_large_weight_does_not_drown_the_others() -> None:
    rows = torch.zeros(3, 64)
    rows[1] = 1.0
    rows[2] = torch.linspace(-0.3, 0.3, 64)
    rows[2, 0] = 0.4
    back = unpacked(packed({"w": rows}))["w"]
    assert torch.equal(back[0], rows[0])
    torch.testing.assert_close(back[1], rows[1])
    assert (back[2] - rows[2]).abs().max() < 0.4 / 127


def test_files_of_16_bits_are_read_as_they_are() -> None:
    tensors = {"w": torch.rand(4, 4).half()}
    assert torch.equal(unpacked(tensors)["w"], tensors["w"].float())


def test_scales_must_be_there() -> None:
    small = packed({"w": torch.rand(4, 4)})
    del small["w" + SCALE]
    with pytest.raises(KeyError):
        unpacked(small)
