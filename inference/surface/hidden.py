"""Continue what lies behind a foreground, so that a relief seen from aside has no holes.

Layered depth (Shade et al. 1998; Shih et al. 2020): along every depth jump the background gets a second
sheet that goes on under the foreground. Its inverse depth continues the plane that fits the background
beside the jump, since planes are affine in inverse depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..field.two_sided import nearest_inside
from ..stopping import chance_to_stop

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

ASIDE = 0.4  # of the median depth: how far a camera that turns by 20 degrees moves
WINDOW = 10  # grid steps around a place at a jump from which its background is learnt
ALIKE = 0.12  # difference in log depth at which background counts for 1/e
FLAT = 0.02  # how firmly the continued plane is held to constant depth, in samples of the window
STRAY = 0.5  # share of the background's own nearness that its continuation may lose or gain
APART = 0.995  # of the foreground's nearness: a hidden sheet lies behind it
GAP = 9  # grid points of a gap in a sheet that is closed
SETTLING = 24  # rounds in which neighbouring continuations agree


@dataclass(frozen=True, slots=True)
class Jumps:
    """Where a depth grid is cut.

    Attributes:
        across: (H, W - 1) whether the depth jumps between a vertex and its right neighbour.
        down: (H - 1, W) the same for its lower neighbour.
        near: (H, W) vertices on the near side of a jump.
        far: (H, W) vertices on the far side of one.
    """

    across: Mask
    down: Mask
    near: Mask
    far: Mask


def jumps_of(is_cut: Mask, is_near: Mask) -> Jumps:
    """Find the cut edges of a grid.

    Args:
        is_cut: (H - 1, W - 1) cells that are cut.
        is_near: (H - 1, W - 1, 4) which corners of a cell are near: upper left, lower left, lower
            right, upper right.
    """
    rows, columns = is_cut.shape[0] + 1, is_cut.shape[1] + 1
    across, down = np.zeros((rows, columns - 1), bool), np.zeros((rows - 1, columns), bool)
    across[:-1] |= is_cut & (is_near[..., 0] != is_near[..., 3])
    across[1:] |= is_cut & (is_near[..., 1] != is_near[..., 2])
    down[:, :-1] |= is_cut & (is_near[..., 0] != is_near[..., 1])
    down[:, 1:] |= is_cut & (is_near[..., 3] != is_near[..., 2])
    near, far = np.zeros((rows, columns), bool), np.zeros((rows, columns), bool)
    for corner, (row, column) in enumerate(((0, 0), (1, 0), (1, 1), (0, 1))):
        block = np.s_[row : rows - 1 + row, column : columns - 1 + column]
        near[block] |= is_cut & is_near[..., corner]
        far[block] |= is_cut & ~is_near[..., corner]
    return Jumps(across, down, near, far)


def _under(depth: Floats, jumps: Jumps, reach: int) -> Mask:
    """(H, W) foreground that a sheet goes on under: as far as a camera that moves aside will see.

    Grown from the near sides of the jumps by grid steps that cross no jump. Moved by ``ASIDE`` median
    depths, a camera sees behind a jump as many pixels as that times the difference of the inverse depths.
    """
    far = depth.ravel()[nearest_inside(jumps.far)]
    bared = ASIDE * max(depth.shape) * np.median(depth) * (1 / depth - 1 / np.maximum(far, depth))
    left = np.where(jumps.near, np.clip(np.ceil(bared), 2, reach), 0).astype(np.int32)
    return grown(left, jumps) > 0


def grown(steps: NDArray[np.int32], jumps: Jumps) -> NDArray[np.int32]:
    """(H, W) grid steps left to go at each vertex when those of ``steps`` walk without crossing jumps."""
    left = steps
    for _ in range(int(steps.max())):
        chance_to_stop()
        after = left.copy()
        for to, come, cut in (
            (np.s_[:, 1:], np.s_[:, :-1], jumps.across),
            (np.s_[:, :-1], np.s_[:, 1:], jumps.across),
            (np.s_[1:], np.s_[:-1], jumps.down),
            (np.s_[:-1], np.s_[1:], jumps.down),
        ):
            after[to] = np.maximum(after[to], np.where(cut, 0, left[come] - 1))
        left = after
    return left


def depth_behind(depth: Floats, jumps: Jumps, reach: int) -> Floats:
    """Depth of the hidden sheet.

    Args:
        depth: (H, W), > 0.
        jumps: Where it is cut.
        reach: Grid steps that the sheet goes under the foreground at most.

    Returns:
        (H, W); 0 where no sheet is hidden.
    """
    result = np.zeros_like(depth)
    if not (jumps.near & ~jumps.far).any() or not jumps.far.any():
        return result
    nearness = 1 / depth
    under = _under(depth, jumps, reach)
    places, plane = _planes(nearness, jumps)
    row, column = np.nonzero(under)
    index = np.full(depth.size, -1, np.int32)
    index[places] = np.arange(len(places), dtype=np.int32)
    beside = np.zeros(depth.size, bool)
    beside[places] = True
    mine = index[nearest_inside(beside.reshape(depth.shape))[row, column]]
    y, x = row - places[mine] // depth.shape[1], column - places[mine] % depth.shape[1]
    level = plane[mine, 0]
    guess = level + plane[mine, 1] * x + plane[mine, 2] * y
    guess = np.clip(guess, level * (1 - STRAY), level * (1 + STRAY))
    sheet = np.where(jumps.far, nearness, 0).astype(np.float32)
    sheet[row, column] = guess
    sheet = _settled(sheet, under, jumps.far & ~under)
    is_behind = (under & (sheet < APART * nearness)).astype(np.uint8)
    whole = cv2.morphologyEx(is_behind, cv2.MORPH_CLOSE, np.ones((GAP, GAP), np.uint8)) > 0
    whole &= under
    result[whole] = 1 / np.minimum(sheet, APART * nearness)[whole]
    return result


def _planes(nearness: Floats, jumps: Jumps) -> tuple[NDArray[np.intp], Floats]:
    """Fit a plane to the background beside each far vertex of a jump.

    Returns:
        (P,) flat grid indices and (P, 3) level there, slope per column and slope per row.
    """
    height, width = nearness.shape
    places = np.flatnonzero(jumps.far)
    if len(places) > 4096:  # neighbours say the same
        places = places[:: -(-len(places) // 4096)]
    y, x = np.divmod(places, width)
    step = np.arange(-WINDOW, WINDOW + 1)
    dy, dx = (g.ravel() for g in np.meshgrid(step, step, indexing="ij"))
    rows, columns = y[:, None] + dy, x[:, None] + dx
    is_in = (rows >= 0) & (columns >= 0) & (rows < height) & (columns < width)
    values = nearness[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    own = nearness[y, x][:, None]
    away = np.exp(-(dx**2 + dy**2) / (2 * (WINDOW / 2) ** 2))
    weight = is_in * away * np.exp(-((np.log(values / own) / ALIKE) ** 2))
    basis = np.stack([np.ones_like(dx), dx / WINDOW, dy / WINDOW], axis=1).astype(np.float64)
    chance_to_stop()
    normal = np.einsum("pn,ni,nj->pij", weight, basis, basis)
    normal[:, [1, 2], [1, 2]] += FLAT * weight.sum(axis=1)[:, None]
    right = np.einsum("pn,ni->pi", weight * values, basis)
    plane = np.linalg.solve(normal, right[..., None])[..., 0]
    plane[:, 1:] /= WINDOW
    return places, plane.astype(np.float32)


def _settled(sheet: Floats, free: Mask, fixed: Mask) -> Floats:
    """Let neighbours agree inside ``free``, with ``fixed`` values at its border."""
    kernel = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.float32)
    known = (free | fixed).astype(np.float32)
    count = cv2.filter2D(known, -1, kernel, borderType=cv2.BORDER_CONSTANT)
    for _ in range(SETTLING):
        chance_to_stop()
        mean = cv2.filter2D(sheet * known, -1, kernel, borderType=cv2.BORDER_CONSTANT)
        sheet = np.where(free, mean / np.maximum(count, 1), sheet).astype(np.float32)
    return sheet
