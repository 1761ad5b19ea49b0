"""Cut-out, enlarging and filling networks with small random weights: what needs no reference."""

import numpy as np
import pytest
import torch
from image_to_mesh.inference.errors import RunCancelled, WeightsError
from image_to_mesh.inference.models.backbones import swin
from image_to_mesh.inference.models.backbones.deform_conv import deform_conv2d
from image_to_mesh.inference.models.cut_out import birefnet, isnet
from image_to_mesh.inference.models.matte import MatteEstimator
from image_to_mesh.inference.models.pixels import lama, realesrgan
from safetensors.torch import save_file

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def nothing():
    pass


def cancel():
    raise RunCancelled("Cancelled")


def seeded(net, seed=0):
    """Weights that keep signals up, batch norms that do something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if name.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            elif value.is_floating_point():
                fan = value[0].numel() if value.ndim > 1 else 100
                value.copy_(torch.randn(value.shape, generator=generator) * (2 / fan) ** 0.5)
                if value.ndim == 1 and name.endswith("weight"):
                    value.add_(1)
    return net.eval()


def colours(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def small_birefnet():
    return seeded(birefnet.BiRefNet(16, (1, 1, 2, 1), (1, 1, 2, 2), 4))


def small_matte():
    return seeded(isnet.NestedUNet(is_light=True))


@pytest.mark.parametrize("side", [1, 3, 7])
def test_without_offsets_it_is_a_convolution(side):
    generator = torch.Generator().manual_seed(side)
    x = torch.randn(2, 5, 13, 9, generator=generator)
    weight = torch.randn(4, 5, side, side, generator=generator)
    taps = side * side
    offset, factor = torch.zeros(2, 2 * taps, 13, 9), torch.full((2, taps, 13, 9), 0.5)
    wanted = 0.5 * torch.nn.functional.conv2d(x, weight, padding=side // 2)
    assert torch.allclose(deform_conv2d(x, offset, weight, factor), wanted, atol=1e-4)


def test_offsets_move_taps_down_and_right():
    x = torch.arange(48.0).view(1, 1, 6, 8)
    offset = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 6, 8)
    moved = deform_conv2d(x, offset, torch.ones(1, 1, 1, 1), torch.ones(1, 1, 6, 8))
    assert torch.allclose(moved[0, 0, :5, :6], x[0, 0, 1:, 2:], atol=1e-4)
    assert moved[0, 0, 5].abs().max() < 1e-4
    half = deform_conv2d(x, offset / 4, torch.ones(1, 1, 1, 1), torch.ones(1, 1, 6, 8))
    assert half[0, 0, 2, 3] == pytest.approx(2.25 * 8 + 3.5, abs=1e-3)


def test_shifted_windows_do_not_look_across_the_seam():
    block = seeded(swin.Block(8, 2, 4, 2))
    x = torch.randn(1, 12, 12, 8, generator=torch.Generator().manual_seed(1))
    changed = x.clone()
    changed[:, :2] += 5
    with torch.inference_mode():
        difference = (block(changed) - block(x)).abs().amax(dim=(0, 2, 3))
    assert difference[:2].min() > 1e-3
    assert difference[2:].max() == 0


@pytest.mark.parametrize("make", [small_matte, small_birefnet])
@pytest.mark.parametrize("size", [(1, 1), (3, 50), (71, 40)])
def test_alpha_has_the_pictures_size_and_range(make, size):
    estimator = MatteEstimator(make(), 64, 32, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
    alpha = estimator.estimate(colours(*size), nothing)
    assert alpha.shape == size
    assert alpha.dtype == np.float32
    assert alpha.min() >= 0
    assert alpha.max() <= 1
    assert np.array_equal(alpha, estimator.estimate(colours(*size), nothing))


def test_a_smaller_side_sees_less_detail():
    estimator = MatteEstimator(small_matte(), 96, 32, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
    picture = colours(96, 96)
    full, half = (estimator.estimate(picture, nothing, max_side=s) for s in (200, 40))
    assert np.array_equal(full, estimator.estimate(picture, nothing))
    assert not np.allclose(full, half, atol=1e-3)


@pytest.mark.parametrize("make", [small_matte, small_birefnet])
def test_fused_norms_change_nothing(make):
    net = make()
    x = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        before = net(x, nothing)
        net.fuse()
        after = net(x, nothing)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules())
    assert (before - after).abs().max() < 1e-3 * before.std()


@pytest.mark.parametrize(
    ("module", "make"),
    [
        (isnet, lambda: isnet.NestedUNet(is_light=True)),
        (birefnet, lambda: birefnet.BiRefNet(16, (1, 1, 2, 1), (1, 1, 2, 2), 4)),
        (realesrgan, lambda: realesrgan.CompactNet(8, 3, 4)),
        (realesrgan, lambda: realesrgan.LargeNet(16, 2, 2)),
    ],
)
def test_files_say_which_network_they_are_for(module, make, tmp_path):
    net = seeded(make())
    path = tmp_path / "weights.safetensors"
    save_file(net.state_dict(), path)
    estimator = module.load(path, CPU)
    assert sum(p.numel() for p in estimator._network.parameters()) > 0
    save_file({"unlike": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="another network"):
        module.load(path, CPU)
    path.write_bytes(b"cut off")
    with pytest.raises(WeightsError, match="damaged"):
        module.load(path, CPU)


@pytest.mark.parametrize(("scale", "size"), [(4, (1, 1)), (4, (9, 30)), (2, (7, 11))])
def test_enlarged_sizes(scale, size):
    for net in (realesrgan.CompactNet(8, 2, scale), realesrgan.LargeNet(8, 1, scale)):
        large = realesrgan.UpscaleEstimator(seeded(net)).estimate(colours(*size), nothing)
        assert large.shape == (size[0] * scale, size[1] * scale, 3)
        assert large.dtype == np.uint8


def test_tiles_leave_no_seam():
    picture = colours(40, 53)
    compact = realesrgan.UpscaleEstimator(seeded(realesrgan.CompactNet(8, 4, 2)))
    whole, tiled = (compact.estimate(picture, nothing, tile=t) for t in (100, 13))
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    assert whole.std() > 20


def carrier(groups):
    """A large network whose every dense block hands a fifth of its input on, five pixels along."""
    net = realesrgan.LargeNet(4, groups, 4).eval().requires_grad_(False)
    for weights in net.parameters():
        weights.zero_()
    for name in ("conv_first", "conv_body", "conv_up1", "conv_up2", "conv_hr"):
        net.get_submodule(name).weight[0, 0, 1, 1] = 1
    # Three blocks in a row double what they get, and a fifth of that comes on top.
    net.conv_last.weight[:, 0, 1, 1] = 1 / (1 + 0.2 * 2**3) ** groups
    for block in (b for b in net.modules() if isinstance(b, realesrgan.DenseBlock)):
        for index in range(5):
            source = 4 + (index - 1) * realesrgan.GROWTH if index else 0
            gain = 5.0 if index == 4 else 1.0
            block.get_submodule(f"conv{index + 1}").weight[0, source, 1, 0] = gain
    return net


def test_tiles_of_the_large_network_leave_no_seam_where_it_sees_sixty_pixels_far():
    picture = colours(6, 260)
    estimator = realesrgan.UpscaleEstimator(carrier(4))
    whole, tiled = (estimator.estimate(picture, nothing, tile=t) for t in (260, 130))
    assert whole.std() > 20
    assert np.abs(whole.astype(int) - tiled).max() == 0
    estimator._network.halo = 24  # what this test is to notice
    assert np.abs(whole - estimator.estimate(picture, nothing, tile=130).astype(int)).max() > 1


@pytest.mark.parametrize("scale", [4, 2])
def test_the_window_that_is_kept_is_cut_from_the_whole(scale):
    for net in (realesrgan.CompactNet(8, 2, scale), realesrgan.LargeNet(8, 1, scale)):
        seeded(net)
        picture = torch.from_numpy(colours(24, 31)).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            whole = net(picture, nothing)
            for rows, columns in ((slice(0, 24), slice(9, 14)), (slice(7, 12), slice(13, 31))):
                part = net(picture, nothing, (rows, columns))
                wanted = whole[
                    :,
                    :,
                    rows.start * scale : rows.stop * scale,
                    columns.start * scale : columns.stop * scale,
                ]
                assert torch.allclose(part, wanted, atol=1e-4)


def test_denoise_mixes_two_files(tmp_path):
    clean, noisy = (seeded(realesrgan.CompactNet(8, 2, 4), seed) for seed in (1, 2))
    paths = tmp_path / "clean.safetensors", tmp_path / "noisy.safetensors"
    for path, net in zip(paths, (clean, noisy), strict=True):
        save_file(net.state_dict(), path)
    for strength, wanted in ((0.0, noisy), (1.0, clean)):
        mixed = realesrgan.load(paths[0], CPU, noisy_path=paths[1], denoise=strength)
        for key, value in mixed._network.state_dict().items():
            assert torch.allclose(value, wanted.state_dict()[key])


@pytest.mark.parametrize("size", [(1, 1), (5, 30), (40, 24)])
def test_filling_touches_only_the_hole(size):
    net = seeded(lama.LaMa(1))
    net.fuse()
    estimator = lama.FillEstimator(net)
    picture = colours(*size)
    hole = np.random.default_rng(1).random(size) > 0.7
    hole[0, 0] = True
    filled = estimator.estimate(picture, hole, nothing)
    assert np.array_equal(filled[~hole], picture[~hole])
    other = np.where(hole[..., None], np.uint8(200), picture)
    assert np.array_equal(filled, estimator.estimate(other, hole, nothing))
    small = estimator.estimate(picture, hole, nothing, max_side=20)
    assert np.array_equal(small[~hole], picture[~hole])
    assert np.array_equal(estimator.estimate(picture, np.zeros(size, bool), nothing), picture)


@pytest.mark.parametrize(
    "start",
    [
        lambda: MatteEstimator(small_matte(), 64, 32, (0, 0, 0), (1, 1, 1)).estimate(
            colours(9, 9), cancel
        ),
        lambda: realesrgan.UpscaleEstimator(seeded(realesrgan.LargeNet(8, 1, 4))).estimate(
            colours(9, 9), cancel
        ),
        lambda: lama.FillEstimator(seeded(lama.LaMa(1))).estimate(
            colours(9, 9), np.ones((9, 9), bool), cancel
        ),
    ],
)
def test_every_network_can_be_cancelled(start):
    with pytest.raises(RunCancelled):
        start()
