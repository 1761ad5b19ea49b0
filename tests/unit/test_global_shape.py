"""The second look at the whole: what it sees, and that it changes shapes only when trained to."""

from __future__ import annotations

import pytest
import torch
from image_to_mesh.inference.models.global_shape import (
    Evidence,
    GlobalShape,
    evidence_of,
    masked_cells,
)


def evidence(count: int = 2) -> Evidence:
    torch.manual_seed(0)
    x = torch.rand(count, 4, 256, 256) * 2 - 1
    shape = torch.randn(count, 2, 256, 256)
    return evidence_of(x, shape, torch.randn(count, 128, 16, 16), torch.randn(count, 512))


def test_cells_average_only_what_the_mask_covers() -> None:
    values = torch.tensor([[1.0, 100.0], [3.0, 100.0]])[None, None]
    mask = torch.tensor([[1.0, 0.0], [1.0, 0.0]])[None, None]
    assert masked_cells(values, mask, 2).item() == pytest.approx(2.0, abs=1e-3)


def test_cells_without_subject_are_zero() -> None:
    assert masked_cells(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), 2).item() == 0


def test_an_untrained_look_changes_nothing() -> None:
    change = GlobalShape()(evidence())
    assert change.shape == (2, 2, 32, 32)
    assert change.abs().max() == 0


def test_the_plane_tilts_the_front_and_lifts_the_thickness() -> None:
    net = GlobalShape()
    with torch.no_grad():
        net.plane.bias[:] = torch.tensor([0.5, -1.0, 0.25])
        change = net(evidence(1))[0]
    assert (change[0, :, 31] - change[0, :, 0]).mean() == pytest.approx(0.5 * 31 / 16, abs=1e-5)
    assert (change[0, 31] - change[0, 0]).mean() == pytest.approx(-31 / 16, abs=1e-5)
    torch.testing.assert_close(change[1], torch.full((32, 32), 0.25))


def test_cells_stay_where_they_are() -> None:
    """A token's correction lands on the token's own part of the crop."""
    net = GlobalShape(layers=0)
    torch.manual_seed(1)
    torch.nn.init.normal_(net.cells.weight)
    before = evidence(1)
    changed = before.picture.clone()
    changed[..., 8:16, 48:56] += 1.0  # token in row 1, column 6
    after = Evidence(before.middle, before.summary, before.shape, before.weight, changed)
    with torch.no_grad():
        moved = (net(after) - net(before)).abs().sum((0, 1)) > 1e-6
    rows, columns = torch.nonzero(moved, as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 7, 24, 27)


def test_every_kind_of_evidence_matters() -> None:
    net = GlobalShape()
    torch.nn.init.normal_(net.cells.weight)
    base = evidence(1)
    with torch.no_grad():
        said = net(base)
        for name in ("middle", "summary", "shape", "weight", "picture"):
            fields = {
                n: getattr(base, n) for n in ("middle", "summary", "shape", "weight", "picture")
            }
            fields[name] = fields[name] + torch.randn_like(fields[name])
            assert (net(Evidence(**fields)) - said).abs().max() > 1e-4, name
