"""Draw a sample with a rectified flow (Liu et al. 2023; Lipman et al. 2023).

Along a straight line x(s) = (1 - s) data + s noise, a network has learned the direction from noise
to data. Following it from s = 1 to s = 0 in small steps (Euler) turns noise into a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]


def noise_levels(steps: int, shift: float = 1.0) -> list[float]:
    """The shares of noise that the steps go through, from 1 to 0.

    Args:
        steps: At least 1.
        shift: More than 1 spends more of the steps on the noisy part (Esser et al. 2024).

    Returns:
        ``steps`` + 1 numbers.
    """
    even = [1 - i / steps for i in range(steps)]
    return [shift * s / (1 + (shift - 1) * s) for s in even] + [0.0]


def start_noise(shape: Sequence[int], seed: int, device: torch.device) -> Tensor:
    """Float32 noise that depends on the seed alone, whatever the device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tuple(shape), generator=generator).to(device)


def follow_flow(
    noise: Tensor, levels: Sequence[float], velocity: Velocity, advance: Callable[[float], None]
) -> Tensor:
    """Walk from noise to a sample.

    Args:
        noise: (...) float32, where to start.
        levels: From ``noise_levels``.
        velocity: From a state and its share of noise to the direction towards the data.
        advance: Called with the finished share before each step; raises to cancel.

    Returns:
        (...) float32.
    """
    state = noise
    steps = len(levels) - 1
    for step in range(steps):
        advance(step / steps)
        change = velocity(state, levels[step]).float()
        state = state + (levels[step] - levels[step + 1]) * change
    return state


def guided(conditional: Velocity, free: Velocity, guidance: float) -> Velocity:
    """Follow a condition more closely than the network would (Ho and Salimans 2022).

    Args:
        conditional: Direction under the condition.
        free: Direction without it.
        guidance: 1 follows the condition as learned, and ``free`` is not asked; 0 ignores it.
    """
    if guidance == 1:
        return conditional

    def direction(state: Tensor, level: float) -> Tensor:
        without = free(state, level).float()
        return without + guidance * (conditional(state, level).float() - without)

    return direction
