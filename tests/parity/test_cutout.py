"""BiRefNet, IS-Net and U2-Net against what the authors' code said with the same weights.

The stored answers come from make_cutout_golden.py. Deformable convolution also against its
definition.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from image_to_mesh.inference.models import checkpoint
from image_to_mesh.inference.models.backbones.deform_conv import deform_conv2d
from image_to_mesh.inference.models.cut_out import birefnet, isnet
from image_to_mesh.inference.models.matte import MatteEstimator
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))

import cutout_state

pytestmark = pytest.mark.parity
GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "cutout.npz"
CPU = torch.device("cpu")
NETWORKS = {"isnet": isnet, "u2net": isnet, "u2netp": isnet, "birefnet_lite": birefnet}


def nothing() -> None:
    pass


def our_net(name: str) -> torch.nn.Module:
    module = NETWORKS.get(name, birefnet)
    state = module.map_checkpoint(cutout_state.published_state(name))
    net = checkpoint.build(lambda: module.make_network(state))
    checkpoint.take_on(net, state, Path(name), CPU, torch.float32)
    return net


@pytest.mark.parametrize("name", NETWORKS)
def test_the_authors_answers(name: str, difference: Callable) -> None:
    says = np.load(GOLDEN)
    net = our_net(name)
    with torch.inference_mode():
        plain = {key: net(cutout_state.look(s), nothing) for key, s in cutout_state.LOOKS.items()}
        net.fuse()
        fused = {key: net(cutout_state.look(s), nothing) for key, s in cutout_state.LOOKS.items()}
    for key in cutout_state.LOOKS:
        wanted = torch.from_numpy(says[f"{name}_{key}"])
        for logits in (plain[key], fused[key]):
            seen = logits.sigmoid()[..., :: cutout_state.STEP, :: cutout_state.STEP]
            assert difference(seen, wanted) < 1e-4


@pytest.mark.parametrize("name", [*NETWORKS, "birefnet"])
def test_every_published_key_is_taken(name: str) -> None:
    module: ModuleType = NETWORKS.get(name, birefnet)
    shapes = {key: value.shape for key, value in cutout_state.published_state(name).items()}
    with torch.device("meta"):
        mapped = module.map_checkpoint({key: torch.empty(s) for key, s in shapes.items()})
        net = module.make_network(mapped)
    assert {k: v.shape for k, v in mapped.items()} == {
        k: v.shape for k, v in net.state_dict().items()
    }
    only_for_training = shapes.keys() - mapped.keys()
    assert all(
        key.startswith(("side", "decoder.conv_ms_spvn_", "decoder.gdt_convs_pred_"))
        for key in only_for_training
    )


def test_published_and_mapped_files_load_alike(tmp_path: Path) -> None:
    picture = np.random.default_rng(2).integers(0, 255, (50, 70, 3), np.uint8)
    published = cutout_state.published_state("isnet")
    alphas = []
    for state in (published, isnet.map_checkpoint(published)):
        path = tmp_path / "isnet.safetensors"
        save_file(state, path)
        estimator = isnet.load(path, CPU)
        assert isinstance(estimator, MatteEstimator)
        alphas.append(estimator.estimate(picture, nothing, max_side=64))
    assert np.array_equal(*alphas)


def bilinear(x: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(C, H, W) read at (H, W) places between pixels; zero outside."""
    height, width = x.shape[1:]
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    total = np.zeros_like(x)
    for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
        row, column = top + down, left + across
        share = (1 - np.abs(rows - row)) * (1 - np.abs(columns - column))
        is_inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        picked = x[:, row.clip(0, height - 1), column.clip(0, width - 1)]
        total += np.where(is_inside, share, 0) * picked
    return total


@pytest.mark.parametrize("side", [1, 3, 7])
@pytest.mark.parametrize("shape", [(9, 9), (24, 17)])
def test_deformable_convolution(side: int, shape: tuple[int, int], difference: Callable) -> None:
    """Against its definition (Zhu et al. 2019, equation 1), tap by tap in double precision."""
    generator = torch.Generator().manual_seed(side)
    x = torch.randn(2, 8, *shape, generator=generator)
    offset = 3 * torch.randn(2, 2 * side * side, *shape, generator=generator)
    factor = torch.rand(2, side * side, *shape, generator=generator)
    weight = torch.randn(5, 8, side, side, generator=generator)
    exact = [value.double().numpy() for value in (x, offset, factor, weight)]
    places = np.indices(shape)
    wanted = np.zeros((2, 5, *shape))
    for picture, moves, factors, total in zip(*exact[:3], wanted, strict=True):
        for tap in range(side * side):
            rows = places[0] + tap // side - side // 2 + moves[2 * tap]
            columns = places[1] + tap % side - side // 2 + moves[2 * tap + 1]
            read = factors[tap] * bilinear(picture, rows, columns)
            total += np.einsum("oc,chw->ohw", exact[3][:, :, tap // side, tap % side], read)
    assert difference(deform_conv2d(x, offset, weight, factor), torch.from_numpy(wanted)) < 1e-4
