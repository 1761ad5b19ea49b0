"""Orthogonalised momentum (Muon, K. Jordan 2024) for matrices and kernels, AdamW for the rest.

Every direction of a layer's update gets the same length, however rarely the pictures ask for it: the
same step teaches more than AdamW's (experiment 9), for a tenth more time on a processor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SMALLEST = 16  # rows and columns from which on a matrix has directions worth evening out
QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan's coefficients
STEPS = 5
ADAM_SIZE = 0.2  # root mean square of AdamW's updates (Liu et al. 2025, arXiv:2502.16982)


def is_matrix(parameter: Tensor) -> bool:
    """Whether a parameter is a matrix or a bank of kernels, large enough to be evened out."""
    return parameter.ndim in (2, 4) and min(parameter.shape[:2]) >= SMALLEST


def orthogonal(matrix: Tensor) -> Tensor:
    """Bring all singular values of (m, n) near 1 (about 0.7 to 1.2) by Newton and Schulz's iteration.

    It runs on the smaller side's Gram matrix, in which the factors commute: for wide kernels a fifth
    of the work of the usual form.
    """
    is_tall = len(matrix) > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    x = x / x.norm().clamp_min(1e-7)
    a, b, c = QUINTIC
    one = torch.eye(len(x), dtype=x.dtype, device=x.device)
    gram, total = x @ x.T, one
    for _ in range(STEPS):
        factor = torch.addmm(a * one + b * gram, gram, gram, alpha=c)
        total = factor @ total
        gram = factor @ gram @ factor
    x = total @ x
    return x.T if is_tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, as long as AdamW's steps at the same rate."""

    def __init__(
        self,
        params: list[dict[str, Any]],
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter.grad)
                momentum = state["momentum"]
                momentum.lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(momentum, group["momentum"])
                flat = orthogonal(ahead.reshape(len(ahead), -1))
                size = ADAM_SIZE * max(flat.shape) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(flat.view(ahead.shape), alpha=-group["lr"] * size)


class MixedOptimiser:
    """Muon and AdamW behind the part of an optimiser's interface that the loop uses."""

    def __init__(self, groups: list[dict[str, Any]], weight_decay: float = 0.01) -> None:
        def part(wanted: bool) -> list[dict[str, Any]]:
            return [
                group | {"params": [p for p in group["params"] if is_matrix(p) is wanted]}
                for group in groups
            ]

        self._parts: tuple[torch.optim.Optimizer, ...] = (
            Muon(part(True), weight_decay=weight_decay),
            torch.optim.AdamW(part(False), lr=1e-3, weight_decay=weight_decay),
        )

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both, whose "lr" may be changed."""
        return [group for part in self._parts for group in part.param_groups]

    def zero_grad(self) -> None:
        for part in self._parts:
            part.zero_grad()

    def step(self) -> None:
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {str(k): part.state_dict() for k, part in enumerate(self._parts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for k, part in enumerate(self._parts):
            part.load_state_dict(state[str(k)])
