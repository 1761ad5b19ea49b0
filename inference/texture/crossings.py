"""Find line segments in the plane that cross each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..stopping import chance_to_stop

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def crossing_segments(first: Floats, second: Floats, group: NDArray[np.int32]) -> NDArray[np.int64]:
    """Pairs of segments of one group that cross; sharing an end is not crossing.

    Args:
        first: (S, 2) start of each segment.
        second: (S, 2) its end. Ends that segments share must be equal to the last bit.
        group: (S,) only segments of the same group are compared.

    Returns:
        (N, 2) indices. Segments that lie on each other, or touch elsewhere than at a common end,
        count as crossing.
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    found = [np.empty((0, 2), np.int64)]
    for one, two in _candidates(a, b, group):
        shared = np.zeros(len(one), bool)
        for p in (a, b):
            for q in (a, b):
                shared |= (p[one] == q[two]).all(axis=1)
        one, two = one[~shared], two[~shared]
        apart = _same_side(a[one], b[one], a[two], b[two])
        apart |= _same_side(a[two], b[two], a[one], b[one])
        found.append(np.stack([one[~apart], two[~apart]], axis=1))
    return np.concatenate(found)


def _same_side(a: Doubles, b: Doubles, p: Doubles, q: Doubles) -> NDArray[np.bool_]:
    """Whether p and q lie strictly on one side of the line through a and b."""
    along = b - a
    left = along[:, 0] * (p - a)[:, 1] - along[:, 1] * (p - a)[:, 0]
    right = along[:, 0] * (q - a)[:, 1] - along[:, 1] * (q - a)[:, 0]
    return left * right > 0


def _candidates(
    a: Doubles, b: Doubles, group: NDArray[np.int32]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Index pairs of segments of one group whose boxes meet, found through a grid of cells."""
    if not len(a):
        return
    low, high = np.minimum(a, b), np.maximum(a, b)
    size = 2 * float((high - low).max(axis=1).mean()) + 1e-12
    origin = low.min(axis=0)
    first = np.floor((low - origin) / size).astype(np.int64)
    span = np.floor((high - origin) / size).astype(np.int64) - first + 1
    count = span.prod(axis=1)
    owner = np.repeat(np.arange(len(a)), count)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    column = first[owner, 0] + number % span[owner, 0]
    row = first[owner, 1] + number // span[owner, 0]
    columns, rows = int(column.max()) + 1, int(row.max()) + 1
    key = (group[owner].astype(np.int64) * rows + row) * columns + column
    order = np.argsort(key, kind="stable")
    owner, key = owner[order], key[order]
    # Compare each entry with the one `step` places on, as long as both lie in the same cell.
    alive, step = np.arange(len(owner)), 1
    while True:
        chance_to_stop()
        alive = alive[alive + step < len(owner)]
        alive = alive[key[alive] == key[alive + step]]
        if not len(alive):
            return
        one, two = owner[alive], owner[alive + step]
        meet = ((low[one] <= high[two]) & (low[two] <= high[one])).all(axis=1)
        yield one[meet], two[meet]
        step += 1
