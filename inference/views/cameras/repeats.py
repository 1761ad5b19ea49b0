"""Pairs of pictures that fit together by things that repeat, found out by all the other pairs.

Two walls or tiles that look the same match as well as one that is seen twice, and no pair of pictures
can tell. Several can: going from picture to picture and back to the first must end with the turn it
began with (Zach, Klopschitz and Pollefeys 2010, Disambiguating Visual Relations Using Loop
Constraints). A pair is strong where its matches are many and lie all over both pictures: what repeats
is seldom more than one patch of them. The cameras' turns come from the strongest spanning tree of the
pairs, not from the majority: a patch that many pictures see is wrong in all of their pairs at once.
Imported by the process that runs pycolmap, thus without anything of the extension.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

GRID = 8  # cells along a picture's longer side in which matches are counted
AGREES = 8.0  # degrees of two turns that are the same, within what a guessed focal length does
CONTRADICTS = 20.0  # degrees that no focal length explains
ROUNDS = 12
COMPARED = 200  # cameras that two sets of turns are laid upon each other by, at most


def strength(first: Doubles, second: Doubles, sizes: tuple[float, float]) -> float:
    """How much a pair of pictures is to be trusted: matches times the cells of a grid they lie in.

    Args:
        first: (M, 2) pixels of the matches in one picture.
        second: (M, 2) pixels in the other.
        sizes: Longer side of each picture in pixels.
    """
    cells = []
    for points, size in zip((first, second), sizes, strict=True):
        column_row = np.floor(points * (GRID / size)).astype(np.int64)
        cells.append(len(np.unique(column_row, axis=0)))
    return float(len(first) * min(cells))


def agreed_turns(pairs: Ints, turns: Doubles, weights: Doubles) -> Doubles:
    """Find the cameras' turns that the strongest pairs agree with.

    Args:
        pairs: (E, 2) numbers of pictures.
        turns: (E, 3, 3) rotations that take directions in the first one's camera to the second's.
        weights: (E,) how much each pair's turn is to be trusted: ``strength``.

    Returns:
        (N, 3, 3) world-to-camera rotations; pictures in no pair have any.
    """
    if not len(pairs):
        return np.empty((0, 3, 3))
    found: Doubles = _along_tree(pairs, turns, weights, int(pairs.max()) + 1)
    for _ in range(ROUNDS):
        # Pairs that are far off count for little.
        trust = weights / (1 + (degrees_off(pairs, turns, found) / AGREES) ** 2) ** 2
        total = 1e-9 * found
        a, b = pairs[:, 0], pairs[:, 1]
        np.add.at(total, b, trust[:, None, None] * (turns @ found[a]))
        np.add.at(total, a, trust[:, None, None] * (turns.transpose(0, 2, 1) @ found[b]))
        left, _, right = np.linalg.svd(total)
        left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
        found = np.matmul(left, right).astype(np.float64)
    return found


def degrees_off(pairs: Ints, turns: Doubles, found: Doubles) -> Doubles:
    """(E,) degrees between each pair's turn and that of the (N, 3, 3) cameras."""
    expected = found[pairs[:, 1]] @ found[pairs[:, 0]].transpose(0, 2, 1)
    cosine = (np.einsum("eij,eij->e", expected, turns) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def degrees_apart(first: Doubles, second: Doubles) -> Doubles:
    """(N,) degrees between the cameras of two worlds that most cameras lay upon each other.

    Args:
        first: (N, 3, 3) world-to-camera rotations.
        second: (N, 3, 3) of the same cameras in another world.
    """
    between = (
        first.transpose(0, 2, 1) @ second
    )  # from the second world to the first, by each camera
    some = between[:: max(1, len(between) // COMPARED)]
    cosine = (np.einsum("aij,bij->ab", some, between) - 1) / 2
    apart = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return apart[int(np.median(apart, axis=1).argmin())]


def _along_tree(pairs: Ints, turns: Doubles, strength: Doubles, count: int) -> Doubles:
    """(N, 3, 3) world-to-camera rotations along the strongest spanning tree (Prim 1957)."""
    neighbours: list[list[int]] = [[] for _ in range(count)]
    for edge, (a, b) in enumerate(pairs):
        neighbours[a].append(edge)
        neighbours[b].append(edge)
    found = np.tile(np.eye(3), (count, 1, 1))
    reached = np.zeros(count, bool)
    for start in range(count):
        if reached[start]:
            continue
        reached[start] = True
        open_pairs = set(neighbours[start])
        while open_pairs:
            edge = max(open_pairs, key=lambda number: strength[number])
            open_pairs.discard(edge)
            a, b = pairs[edge]
            if reached[a] and reached[b]:
                continue
            new = b if reached[a] else a
            found[new] = turns[edge] @ found[a] if new == b else turns[edge].T @ found[b]
            reached[new] = True
            open_pairs.update(neighbours[new])
    return found
