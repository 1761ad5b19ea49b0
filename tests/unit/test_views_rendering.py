"""A surface refined by volume rendering, and what it is made of."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import synthetic_orbit as synthetic
import torch
from image_to_mesh.inference.contracts import CameraArrays
from image_to_mesh.inference.engines.views import refines
from image_to_mesh.inference.errors import RunCancelled
from image_to_mesh.inference.field.grid import GridField
from image_to_mesh.inference.surface.topology import is_watertight
from image_to_mesh.inference.views.contracts import SparsePoints, View, ViewsRequest
from image_to_mesh.inference.views.geometry import Frame, project
from image_to_mesh.inference.views.placement.region import Region
from image_to_mesh.inference.views.surface import contouring, photometric, rays, rendering
from image_to_mesh.inference.views.surface.fusion import Grid
from image_to_mesh.inference.views.surface.photometric import Training, refine
from image_to_mesh.inference.views.surface.radiance import Radiance, contracted

CELLS = 28
SMALL = Training(steps=60, rays=1024, side=64)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """So little work is done fastest by one thread, above all on a busy machine."""
    kept = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(kept)


def silent(*_arguments: object) -> None:
    pass


def box_distance(points: np.ndarray, half: float | np.ndarray) -> np.ndarray:
    """Exact signed distance to a cube, or a box of (3,) half sides, around the origin."""
    beyond = np.abs(points) - half
    outer = np.linalg.norm(np.maximum(beyond, 0), axis=1)
    return outer + np.minimum(beyond.max(axis=1), 0)


def box_field(half: float | np.ndarray) -> GridField:
    grid = Grid.over(np.full(3, 0.7, np.float32), CELLS)
    distance = box_distance(grid.points(0, grid.size), half)
    limit = 3 * grid.spacing
    cube = np.clip(distance, -limit, limit).reshape(grid.shape).astype(np.float32)
    return GridField(cube, grid.origin, grid.spacing)


@pytest.fixture(scope="module")
def region() -> Region:
    shots = synthetic.orbit(12, 64, (25.0, -20.0), floor=False)
    views = []
    for index, shot in enumerate(shots):
        camera = CameraArrays(shot.matrix, shot.fov_x, 64, 64)
        mask = shot.mask.astype(np.float32) / 255
        views.append(View(str(index), shot.pixels, mask, None, camera, None))
    frame = Frame(np.eye(3), np.zeros(3), 1.0)
    half = np.full(3, 0.7, np.float32)
    return Region(frame, half, "object", tuple(views), SparsePoints.empty(), None, True)


def offsets(field: GridField, half: float | np.ndarray = 0.5) -> np.ndarray:
    """Signed distance to the true box, in cells, of the field's surface."""
    far = contouring.reaching_far(field, 3.0, silent)
    positions, _ = contouring.contoured(far, field.spacing, silent)
    return box_distance(positions.astype(np.float64), half) / field.spacing


def box_mask(camera: CameraArrays, half: np.ndarray) -> np.ndarray:
    """(H, W) float32 coverage of a box around the origin."""
    signs = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3), axis=-1).reshape(-1, 3)
    outline = cv2.convexHull(8 * project(camera, signs * half)[0] - 0.5)
    fine = np.zeros((8 * camera.height, 8 * camera.width), np.float32)
    cv2.fillConvexPoly(fine, np.rint(outline).astype(np.int32), (1.0,))
    size = (camera.width, camera.height)
    return np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), np.float32)


@pytest.mark.parametrize("half", [0.44, 0.56])
def test_a_wrong_surface_becomes_that_of_the_pictures(region, half):
    start = box_field(half)
    before = np.abs(offsets(start)).mean()
    refined = refine(region, start, replace(SMALL, steps=100), "cpu", 0, silent)
    after = offsets(refined.field)
    assert before > 0.9
    assert np.abs(after).mean() < 0.5 * before
    assert refined.losses[-10:].mean() < 0.4 * refined.losses[:3].mean()


def test_a_right_surface_stays(region):
    refined = refine(region, box_field(0.5), SMALL, "cpu", 0, silent)
    # A pixel is 0.7 cells wide: a surface is not known much better than half of one.
    assert abs(offsets(refined.field).mean()) < 0.3
    assert np.abs(offsets(refined.field)).mean() < 0.4


def test_thin_walls_do_not_swell(region):
    half = np.array([0.45, 0.045, 0.35])  # not two cells thick
    side = 192
    views = []
    for view in region.views:
        camera = replace(view.camera, width=side, height=side)
        bare = np.full((side, side, 3), 128, np.uint8)
        views.append(replace(view, pixels=bare, mask=box_mask(camera, half), camera=camera))
    plate, training = replace(region, views=tuple(views)), replace(SMALL, side=side)
    refined = refine(plate, box_field(half), training, "cpu", 0, silent)
    assert np.median(offsets(refined.field, half)) < 0.33


def test_what_was_measured_stays_where_the_pictures_say_nothing(region):
    """Noise in all pictures: nothing in it tells of a surface, and none of it must bend one."""
    random = np.random.default_rng(0)
    noisy = [
        replace(v, mask=None, pixels=random.integers(90, 160, v.pixels.shape).astype(np.uint8))
        for v in region.views
    ]
    start = box_field(0.5)
    everywhere = np.ones(start.distance.size, bool)
    moved = []
    for measured in (None, everywhere):
        training = replace(SMALL, steps=40)
        region_of_noise = replace(region, views=tuple(noisy))
        found = refine(region_of_noise, start, training, "cpu", 0, silent, None, measured)
        moved.append(np.abs(offsets(found.field)).mean())
    assert moved[1] < 0.7 * moved[0]


def test_the_seed_decides_everything(region):
    short = replace(SMALL, steps=6)
    first, second, other = (
        refine(region, box_field(0.5), short, "cpu", seed, silent).field.distance
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_each_views_exposure_is_found(region):
    gains = np.linspace(-0.2, 0.2, len(region.views))
    views = [
        replace(v, pixels=np.clip(v.pixels * 0.8 * np.exp(g), 0, 255).astype(np.uint8))
        for v, g in zip(region.views, gains, strict=True)
    ]
    exposed = replace(region, views=tuple(views))
    refined = refine(exposed, box_field(0.5), replace(SMALL, steps=80), "cpu", 0, silent)
    found = refined.gains.mean(axis=1)
    assert np.corrcoef(found, gains)[0, 1] > 0.95
    assert np.ptp(found) > 0.25


def test_shifted_cameras_move_back(region):
    random = np.random.default_rng(2)
    off = random.normal(0, 0.02, (len(region.views), 3))
    off -= off.mean(axis=0)
    views = []
    for view, shift in zip(region.views, off, strict=True):
        matrix = view.camera.matrix.copy()
        matrix[:3, 3] += shift
        views.append(replace(view, camera=replace(view.camera, matrix=matrix)))
    moved = replace(region, views=tuple(views))
    training = replace(SMALL, steps=100, moves_cameras=True)
    refined = refine(moved, box_field(0.5), training, "cpu", 0, silent)
    left = [
        found.camera.matrix[:3, 3] - true.camera.matrix[:3, 3]
        for found, true in zip(refined.views, region.views, strict=True)
    ]
    # Along its own axis a camera's shift hardly shows, so not all of it can be found.
    assert np.linalg.norm(left, axis=1).mean() < 0.75 * np.linalg.norm(off, axis=1).mean()
    stayed = refine(moved, box_field(0.5), replace(SMALL, steps=2), "cpu", 0, silent)
    assert stayed.views is moved.views


def test_a_refinement_is_cancelled_at_once_and_ended_early_with_its_result(region):
    def cancel(share: float) -> None:
        if share > 0.3:
            raise RunCancelled("Cancelled")

    with pytest.raises(RunCancelled):
        refine(region, box_field(0.5), SMALL, "cpu", 0, cancel)
    shown = []

    def look(share: float, sample: photometric.Sample) -> bool:
        shown.append((share, *sample()))
        return len(shown) == 7

    refined = refine(region, box_field(0.56), SMALL, "cpu", 0, silent, look)
    assert len(shown) == len(refined.losses) == 7
    share, field, colours = shown[-1]
    assert share == pytest.approx(7 / SMALL.steps)
    np.testing.assert_array_equal(refined.field.distance, field.distance)
    assert colours.shape == (3, *field.distance.shape)


def test_without_memory_fewer_rays_are_taken(region, monkeypatch):
    tried = []
    train = photometric._Run.train

    def limited(self, report, look):
        tried.append(self.training.rays)
        if self.training.rays > 400:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return train(self, report, look)

    monkeypatch.setattr(photometric._Run, "train", limited)
    refined = refine(region, box_field(0.5), replace(SMALL, steps=4), "cpu", 0, silent)
    assert tried == [1024, 512, 256]
    assert len(refined.losses) == 9
    monkeypatch.setattr(photometric, "FEWEST_RAYS", 512)
    with pytest.raises(RuntimeError, match="allocate"):
        refine(region, box_field(0.5), replace(SMALL, steps=4), "cpu", 0, silent)


def test_a_backdrop_is_learned_where_there_are_no_masks(region):
    bare = replace(region, views=tuple(replace(v, mask=None) for v in region.views))
    refined = refine(bare, box_field(0.5), replace(SMALL, steps=40), "cpu", 0, silent)
    assert refined.losses[-10:].mean() < 0.35 * refined.losses[:3].mean()
    assert np.abs(offsets(refined.field)).mean() < 0.5


def test_only_things_with_masks_are_refined_unasked():
    assert refines(ViewsRequest(), has_masks=True)
    assert not refines(ViewsRequest(), has_masks=False)
    assert refines(ViewsRequest(surface="refined"), has_masks=False)
    assert not refines(ViewsRequest(surface="fused"), has_masks=True)


# --- what it is made of -------------------------------------------------------------------------


def test_light_that_a_surface_stops_is_all_the_light():
    wall = torch.linspace(6, -6, 25)[None]
    share = rendering.opacity(wall, 0.5)
    stopped = 1 - torch.prod(1 - share, dim=1)
    assert stopped.item() == pytest.approx(1.0, abs=1e-4)
    grazing = torch.tensor([[3.0, 1.0, 0.0, 1.0, 3.0]])
    covered = 1 - torch.prod(1 - rendering.opacity(grazing, 0.2), dim=1)
    assert covered.item() == pytest.approx(0.5, abs=1e-3)  # a ray along an outline


def test_only_places_near_the_surface_are_sampled():
    radiance = Radiance(box_field(0.5), 1, with_backdrop=False)
    origin = torch.tensor([[0.1, 0.05, -3.0], [0.1, 0.05, -3.0], [0.65, 0.0, -3.0]])
    ahead, away = torch.tensor([0.0, 0, 1]), torch.tensor([0.0, 0, -1])
    direction = torch.stack([ahead, away, ahead])
    half = torch.full((3,), 0.7)
    draw = torch.Generator().manual_seed(0)
    chosen = rendering.sections(radiance, origin, direction, half, 0.3, draw)
    assert chosen.rays.tolist() == [0]  # one looks away, one passes by
    assert (chosen.ends.diff(dim=1) >= 0).all()
    inner = chosen.ends[0, 1:-1] - 3.0
    assert (inner + 0.5).abs().max() < 5 * radiance.spacing  # the near side only, at z = -0.5
    seen = rendering.render(radiance, chosen, origin, direction, 0.3, 0.1)
    assert seen.cover[0].item() == pytest.approx(1.0, abs=0.01)
    assert seen.cover[1:].tolist() == [0, 0]
    assert seen.surface[0, 2].item() == pytest.approx(-0.5, abs=radiance.spacing)


def test_nothing_stays_behind_on_the_processor():
    """On the device "meta" nothing is computed, but mixing it with tensors elsewhere is an error."""
    radiance = Radiance(box_field(0.5), 3, with_backdrop=True).to("meta")
    origin = torch.zeros(5, 3, device="meta")
    direction, half = torch.ones_like(origin), torch.ones(3, device="meta")
    ends = torch.ones(4, 10, device="meta")
    chosen = rendering.Sections(torch.zeros(4, dtype=torch.long, device="meta"), ends)
    seen = rendering.render(radiance, chosen, origin, direction, 0.3, 0.1)
    draw = torch.Generator().manual_seed(0)
    behind = rendering.render_backdrop(radiance, origin, direction, half, draw)
    which = torch.zeros(5, dtype=torch.long, device="meta")
    cameras = torch.zeros(3, 3, 4, device="meta")
    results = [
        seen.colour,
        seen.cover,
        seen.outline,
        seen.surface,
        behind,
        radiance.nearest(origin),
    ]
    results += [radiance.exposed(behind, which), radiance.corrected(cameras)]
    assert all(found.device.type == "meta" for found in results)
    (seen.colour.sum() + seen.cover.sum() + seen.outline.sum() + behind.sum()).backward()
    assert radiance.cells.grad is not None
    step = photometric._CellAdam(radiance.cells)
    step.active = which
    step.step((0.1, 0.1), 2)


def test_all_of_space_fits_into_a_ball():
    points = torch.tensor([[0.3, 0.4, 0.0], [2.0, 0, 0], [0, -1e6, 0]])
    found = contracted(points)
    np.testing.assert_allclose(found[0], points[0])
    np.testing.assert_allclose(found[1], [1.5, 0, 0])
    np.testing.assert_allclose(found[2], [0, -2, 0], atol=1e-5)


def test_rays_are_those_of_the_subject_and_a_little_around(region):
    found = rays.gathered_rays(region.views, 64, 0, silent)
    view = region.views[0]
    mine = found.view == 0
    assert 0.95 < (found.mask[mine] > 0.5).sum() / (view.mask > 0.5).sum() <= 1.0
    assert 0 < (found.mask[mine] == 0).sum() < 0.5 * (view.mask == 0).sum()
    focal = view.focal_px
    column = found.direction[mine, 0] * focal + 32 - 0.5
    row = found.direction[mine, 1] * focal + 32 - 0.5
    where = np.rint(row).astype(int), np.rint(column).astype(int)
    np.testing.assert_array_equal(found.colour[mine], view.pixels[where])


def test_cut_off_distances_go_on_without_being_overstated():
    field = box_field(0.5)
    far = contouring.reaching_far(field, 3.0, silent)
    grid = Grid.over(np.full(3, 0.7, np.float32), CELLS)
    true = box_distance(grid.points(0, grid.size), 0.5).reshape(field.distance.shape)
    assert (np.abs(far.distance) <= np.abs(true) + 1.01 * field.spacing).all()
    assert np.abs(far.distance).max() > 2 * np.abs(field.distance).max()
    near = np.abs(field.distance) < 2 * field.spacing
    np.testing.assert_array_equal(far.distance[near], field.distance[near])


def test_a_contoured_grid_is_closed_and_where_the_surface_is():
    field = contouring.reaching_far(box_field(0.5), 3.0, silent)
    positions, faces = contouring.contoured(field, field.spacing, silent)
    assert is_watertight(faces.ravel(), np.full(len(faces), 4, np.int32))
    assert np.abs(box_distance(positions, 0.5)).max() < 0.3 * field.spacing
