"""What is connected to what, and whether a mesh is closed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..stopping import bands, chance_to_stop

Ints = NDArray[np.int32]

SEARCH = 8  # steps of a search in a sorted list, in numbers worked on


def connected_components(pairs: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """Number the connected components of an undirected graph.

    Each round hooks every node's root to the smallest root next to it and then flattens the trees
    (Shiloach and Vishkin 1982), so the number of rounds grows with the logarithm of the graph.

    Args:
        pairs: (E, 2) node indices.
        count: Number of nodes.

    Returns:
        (count,) component of each node, numbered from 0.
    """
    root = np.arange(count)
    a, b = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)
    while True:
        chance_to_stop()
        ra, rb = root[a], root[b]
        differ = ra != rb
        if not differ.any():
            return np.unique(root, return_inverse=True)[1].reshape(-1)
        a, b, ra, rb = a[differ], b[differ], ra[differ], rb[differ]
        np.minimum.at(root, np.maximum(ra, rb), np.minimum(ra, rb))
        while True:
            flat = root[root]
            if np.array_equal(flat, root):
                break
            root = flat


def face_components(faces: Ints, vertex_count: int) -> NDArray[np.int64]:
    """Connected part of each face of a mesh; faces are connected through shared vertices."""
    pairs = np.concatenate([faces[:, [0, i]] for i in range(1, faces.shape[1])])
    return connected_components(pairs, vertex_count)[faces[:, 0]]


def half_edges(corners: Ints, face_sizes: Ints) -> tuple[Ints, Ints]:
    """Start and end vertex of each face corner's edge, in face order.

    Args:
        corners: (C,) vertices of the faces, one face after another.
        face_sizes: (F,) corners of each face.
    """
    starts = np.concatenate([[0], np.cumsum(face_sizes)[:-1]])
    following = np.arange(1, len(corners) + 1)
    following[starts + face_sizes - 1] = starts
    return corners, corners[following]


def is_watertight(corners: Ints, face_sizes: Ints) -> bool:
    """True when every edge has exactly two faces that run along it in opposite directions."""
    if not len(corners):
        return False
    start, end = (e.astype(np.int64) for e in half_edges(corners, face_sizes))
    stride = int(corners.max()) + 1
    chance_to_stop()
    forward = np.sort(start * stride + end)
    chance_to_stop()
    backward = np.sort(end * stride + start)
    return bool((np.diff(forward) > 0).all() and np.array_equal(forward, backward))


def face_neighbours(faces: Ints) -> Ints:
    """The face on the other side of each edge of a closed mesh.

    Args:
        faces: (F, K) of a watertight mesh, all with K corners.

    Returns:
        (F, K) face behind the edge from corner i to corner i + 1.
    """
    size = faces.shape[1]
    start = faces.astype(np.int64)
    end = np.roll(start, -1, axis=1)
    stride = int(faces.max()) + 1
    forward, backward = (start * stride + end).ravel(), (end * stride + start).ravel()
    chance_to_stop()
    order = np.argsort(forward)
    mate = np.empty_like(order)
    for some in bands(len(order), SEARCH):
        mate[some] = order[np.searchsorted(forward, backward[some], sorter=order)]
    return (mate // size).reshape(-1, size).astype(np.int32)


def is_manifold(faces: Ints) -> bool:
    """True when a mesh is watertight and the faces around every vertex form one fan.

    Args:
        faces: (F, 3) or (F, 4).
    """
    sides = faces.shape[1]
    if not is_watertight(faces.ravel(), np.full(len(faces), sides, np.int32)):
        return False
    start = faces.astype(np.int64).ravel()
    end = np.roll(faces, -1, axis=1).astype(np.int64).ravel()
    stride = int(faces.max()) + 1
    forward = start * stride + end
    order = np.argsort(forward)
    mate = order[np.searchsorted(forward, end * stride + start, sorter=order)]
    # The corner after the mate's start is at the same vertex as the edge's own start.
    beside = mate - mate % sides + (mate + 1) % sides
    fan = connected_components(np.stack([np.arange(len(start)), beside], axis=1), len(start))
    return int(fan.max()) + 1 == len(np.unique(start))


def split_faces(corners: NDArray) -> NDArray:
    """(F, K, ...) faces as (F * (K - 2), 3, ...) triangles, those of one face in a row."""
    if corners.shape[1] == 3:
        return corners
    pair = np.stack([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]], axis=1)
    return pair.reshape(-1, 3, *corners.shape[2:])
