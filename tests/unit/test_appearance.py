"""Colour, gloss and certainty of the bundled network: ranges, and that each output says something."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from image_to_mesh.inference.camera import CropView, PinholeCamera
from image_to_mesh.inference.engines.archive import Archive, pack, unpack
from image_to_mesh.inference.field.observation import Observation, WorldFrame
from image_to_mesh.inference.models.bundled import appearance, two_sided
from image_to_mesh.inference.texture.delight import light_beyond, without_light
from numpy.typing import NDArray

SIDE = 160
PAINT = (0.7, 0.3, 0.12)
COLOURS = ("albedo", "hidden")


def ball(paint: tuple[float, float, float]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw a ball that is lit from the upper left: (S, S, 3) sRGB on grey and its (S, S) mask."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j] / 0.8
    squared = x * x + y * y
    mask = (squared < 1).astype(np.float32)
    z = -np.sqrt(np.clip(1 - squared, 0, 1))
    shade = np.clip(np.stack([x, y, z], -1) @ np.array([-0.6, -0.5, -0.62]), 0, 1)
    linear = (0.12 + 0.88 * shade)[..., None] * np.array(paint)
    linear = linear * mask[..., None] + 0.3 * (1 - mask[..., None])
    return (linear ** (1 / 2.2)).astype(np.float32), mask


@pytest.fixture(scope="module")
def network() -> two_sided.TwoSidedNetwork:
    return two_sided.load("cpu")


@pytest.fixture(scope="module")
def seen(network: two_sided.TwoSidedNetwork) -> two_sided.ObjectAppearance:
    return network.estimate_appearance(*ball(PAINT))


@pytest.fixture(scope="module")
def inside() -> NDArray[np.bool_]:
    y, x = np.mgrid[-1:1:128j, -1:1:128j] / 0.8
    return x * x + y * y < 0.8


def test_every_map_has_its_shape_and_range(seen: two_sided.ObjectAppearance) -> None:
    for name in COLOURS:
        colour = getattr(seen, name)
        assert colour.shape == (128, 128, 3)
        assert colour.min() >= 0
        assert colour.max() <= 1
    for name in ("roughness", "metallic", "front_error", "back_error"):
        plane = getattr(seen, name)
        assert plane.shape == (128, 128)
        assert plane.dtype == np.float32
        assert plane.min() >= 0
    assert seen.roughness.max() <= 1
    assert seen.metallic.max() <= 1
    assert 3 < np.degrees(2 * np.arctan(seen.half_field)) < 90
    assert 0 < seen.half_field_error < 2


def test_paint_is_more_even_than_the_picture(
    seen: two_sided.ObjectAppearance, inside: NDArray[np.bool_]
) -> None:
    rgb, _ = ball(PAINT)
    small = np.asarray(torch.nn.functional.interpolate(
        torch.from_numpy(rgb).permute(2, 0, 1)[None], size=(128, 128), mode="area"
    )[0].permute(1, 2, 0))  # fmt: skip

    def spread(colour: NDArray[np.float32]) -> float:
        return float(np.std(np.log(np.maximum(colour[inside].mean(-1), 0.02))))

    assert spread(seen.albedo) < 0.9 * spread(small)


def test_the_far_side_has_colours_of_the_near_side(
    network: two_sided.TwoSidedNetwork, seen: two_sided.ObjectAppearance, inside: NDArray[np.bool_]
) -> None:
    other = network.estimate_appearance(*ball(PAINT[::-1]))
    warm, cold = (got.hidden[inside].mean(0) for got in (seen, other))
    assert warm[0] > warm[2] + 0.15
    assert cold[2] > cold[0] + 0.15


def test_the_back_is_less_certain_than_the_front(
    seen: two_sided.ObjectAppearance, inside: NDArray[np.bool_]
) -> None:
    assert seen.back_error[inside].mean() > 1.1 * seen.front_error[inside].mean() > 0.01


def test_a_mirrored_picture_has_mirrored_looks(
    network: two_sided.TwoSidedNetwork, seen: two_sided.ObjectAppearance
) -> None:
    rgb, mask = ball(PAINT)
    turned = network.estimate_appearance(rgb[:, ::-1].copy(), mask[:, ::-1].copy())
    np.testing.assert_allclose(turned.albedo[:, ::-1], seen.albedo, atol=2e-3)
    np.testing.assert_allclose(turned.hidden[:, ::-1], seen.hidden, atol=2e-3)


def test_every_layer_of_the_decoder_has_a_say() -> None:
    """Silencing any one layer changes what is said: none of them is a leftover."""
    network = two_sided.load("cpu")
    rgb, mask = ball(PAINT)
    x = torch.from_numpy(np.concatenate([rgb, mask[..., None]], -1)).permute(2, 0, 1)[None]
    x = torch.nn.functional.interpolate(x, size=(128, 128), mode="area") * 2 - 1

    def said() -> list[torch.Tensor]:
        with torch.inference_mode():
            features = network._of_objects.features(x)
            found = network._decoder(
                x, features.fine, features.skips, features.decoded, features.summary
            )
        return [getattr(found, name) for name in found.__slots__]

    before = said()
    for name, parameter in network._decoder.named_parameters():
        if not name.endswith("weight"):
            continue
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.zero_()
            after = said()
            parameter.copy_(kept)
        assert any(float((a - b).abs().max()) > 1e-4 for a, b in zip(before, after, strict=True)), (
            name
        )


def test_each_output_of_the_decoder_depends_on_the_picture(
    network: two_sided.TwoSidedNetwork, seen: two_sided.ObjectAppearance, inside: NDArray[np.bool_]
) -> None:
    rgb, mask = ball((0.15, 0.5, 0.8))
    rgb = np.where((np.arange(SIDE) // 8 % 2 == 0)[:, None, None], rgb, rgb * 0.3)
    other = network.estimate_appearance(rgb.astype(np.float32), mask)
    for name in ("albedo", "hidden", "roughness", "metallic", "front_error", "back_error"):
        change = np.abs(getattr(other, name) - getattr(seen, name))[inside].mean()
        assert change > 0.002, name
    assert abs(np.log(other.half_field / seen.half_field)) > 0.002


def test_light_is_what_the_paint_does_not_explain() -> None:
    _, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    light = np.exp(0.5 * x).astype(np.float32)
    paint = np.full((64, 64, 3), 0.5, np.float32)
    picture = ((0.5**2.2 * light)[..., None].repeat(3, -1) ** (1 / 2.2)).astype(np.float32)
    inside = np.full((SIDE, SIDE), 9, np.float32)
    found = light_beyond(picture, paint, inside)
    middle = (slice(20, -20), slice(20, -20))
    np.testing.assert_allclose(found[middle], (0.5 * x)[middle], atol=0.06)
    even = without_light(picture, found, 1.0)
    assert np.ptp(even[middle]) < 0.3 * np.ptp(picture[middle])
    assert not light_beyond(picture, paint, -inside).any()


def test_paint_stays_with_an_object() -> None:
    view = CropView.of(PinholeCamera(64, 64, 100.0), 0, 0, 64)
    plane = np.zeros((16, 16), np.float32)
    albedo = np.full((128, 128, 3), (0.8, 0.4, 0.2), np.float32)
    normals = np.tile(np.array([0, 0, -1], np.float32), (16, 16, 1))
    up = np.array([0, -1, 0], np.float32)
    colour = np.full((32, 32, 3), 0.5, np.float32)
    observation = Observation(view, plane, plane + 1, normals, up, plane + 1, colour, None, albedo)
    frame = WorldFrame(np.eye(3), 1.0, np.zeros(3))
    kept = unpack(pack(Archive(observation, frame, "net"))).observation.albedo
    assert kept is not None
    np.testing.assert_allclose(kept, albedo, atol=0.02)


@pytest.mark.parametrize("part", [two_sided.OBJECT, two_sided.PICTURE, two_sided.APPEARANCE])
def test_a_file_without_one_of_its_networks_is_refused(tmp_path: Path, part: str) -> None:
    from image_to_mesh.inference.errors import WeightsError
    from safetensors.torch import load_file, save

    tensors = {k: v for k, v in load_file(two_sided.WEIGHTS).items() if not k.startswith(part)}
    file = tmp_path / "two_sided.safetensors"
    shutil.copy(two_sided.WEIGHTS.with_suffix(".json"), tmp_path)
    content = save(tensors)
    file.write_bytes(content)
    import hashlib

    card = json.loads(file.with_suffix(".json").read_text())
    card["sha256"] = hashlib.sha256(content).hexdigest()
    file.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(WeightsError, match="another version"):
        two_sided.load("cpu", file)


def test_untrained_colours_are_copied_from_the_picture() -> None:
    """Before training the far side is a mixture of what is seen, and paint is the picture."""
    torch.manual_seed(0)
    decoder = appearance.AppearanceDecoder().eval()
    net = two_sided.TwoSidedNet().eval()
    x = torch.zeros(1, 4, 128, 128)
    x[:, :3] = torch.tensor([0.6, 0.0, -0.6])[:, None, None]
    x[:, 3, 32:96, 32:96] = 1
    x[:, 3, :32] = x[:, 3, 96:] = -1
    x[:, 3, :, :32] = x[:, 3, :, 96:] = -1
    with torch.inference_mode():
        features = net.features(x)
        found = decoder(x, features.fine, features.skips, features.decoded, features.summary)
    middle = found.hidden[0, :, 24:40, 24:40].mean((1, 2)), found.albedo[0, :, 32, 32]
    for colour in middle:
        torch.testing.assert_close(colour, torch.tensor([0.8, 0.5, 0.2]), atol=0.03, rtol=0)


def test_shadow_of_the_near_side_stays_off_the_far_side() -> None:
    """A ball lit from the left is as bright behind its dark side as behind its bright side."""
    from image_to_mesh.inference.texture import charts, material, pack

    angle, turn = np.mgrid[0 : np.pi : 24j, 0 : 2 * np.pi : 49j]
    unit = np.stack([np.sin(angle) * np.cos(turn), np.cos(angle), np.sin(angle) * np.sin(turn)], -1)
    row, column = np.mgrid[:23, :48]
    corner = row * 49 + column
    faces = np.stack([corner, corner + 1, corner + 50, corner + 49], -1).reshape(-1, 4)
    view = CropView.of(PinholeCamera(128, 128, 240.0), 0, 0, 128)
    points = unit.reshape(-1, 3).astype(np.float32) * np.float32(0.8)
    points = points + np.array([0, 0, view.distance], np.float32)
    outward = np.cross(points[faces[300, 1]] - points[faces[300, 0]],
                       points[faces[300, 3]] - points[faces[300, 0]])  # fmt: skip
    if outward @ (points[faces[300, 0]] - [0, 0, view.distance]) < 0:
        faces = faces[:, ::-1]
    faces = np.ascontiguousarray(faces, np.int32)
    atlas = pack.pack_charts(charts.cut_into_charts(points, faces), 128, 2, lambda share: None)
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    inside = ((0.8 - np.hypot(x, y)) * 64).astype(np.float32)
    shade = np.clip(0.45 - 0.4 * x, 0.02, 1)[..., None] ** (1 / 2.2) * np.array([0.9, 0.6, 0.4])

    def sides(**finish: object) -> float:
        made = material.make_material(
            points, faces, atlas, view, shade.astype(np.float32), inside, lambda share: None,
            finish=material.Finish(**finish),
        ).base_color.astype(np.float32)  # fmt: skip
        surface = material.map_surface(faces, atlas)
        here = surface.of_vertices(points).reshape(*surface.covered.shape, 3)
        texel = made.mean(-1)[:: surface.factor, :: surface.factor][: len(here), : len(here)]
        far = surface.covered & (here[..., 2] > view.distance + 0.5)
        left, right = far & (here[..., 0] < -0.2), far & (here[..., 0] > 0.2)
        return float(texel[left].mean() / texel[right].mean())

    seen = float(shade[64, 30].mean() / shade[64, 98].mean())
    assert seen > 1.5
    assert 0.8 < sides() < 1.25
