"""Orthogonalised momentum."""

from copy import deepcopy

import torch
from torch import nn

from training.network.muon import MixedOptimiser, is_matrix, orthogonal


def test_directions_of_all_strengths_come_out_alike() -> None:
    torch.manual_seed(0)
    for shape in ((64, 300), (300, 64), (32, 32)):
        strengths = torch.diag(torch.logspace(0, -2, min(shape)))
        left = torch.linalg.qr(torch.randn(shape[0], min(shape)))[0]
        right = torch.linalg.qr(torch.randn(shape[1], min(shape)))[0]
        found = orthogonal(left @ strengths @ right.T)
        values = torch.linalg.svdvals(found)
        assert values.max() < 1.3
        assert values.min() > 0.5
        inside = left.T @ found @ right  # same directions: diagonal in the same bases
        assert (inside - torch.diag(inside.diagonal())).abs().max() < 1e-3


def test_the_gram_form_equals_the_usual_iteration() -> None:
    torch.manual_seed(1)
    matrix = torch.randn(24, 90)
    x = (matrix / matrix.norm()).double()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    torch.testing.assert_close(orthogonal(matrix).double(), x, atol=1e-4, rtol=1e-3)


def test_a_small_network_learns_and_resumes_exactly() -> None:
    def make() -> tuple[nn.Module, MixedOptimiser]:
        torch.manual_seed(2)
        net = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 1))
        return net, MixedOptimiser([{"params": list(net.parameters()), "gain": 1.0}])

    x = torch.randn(8, 16, 6, 6, generator=torch.Generator().manual_seed(0))
    target = x[:, :1] * x[:, 1:2]

    def steps(net: nn.Module, optimiser: MixedOptimiser, count: int) -> float:
        loss = torch.zeros(())
        for group in optimiser.param_groups:
            group["lr"] = 1e-2
        for _ in range(count):
            loss = (net(x) - target).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return float(loss.detach())

    net, optimiser = make()
    first = steps(net, optimiser, 1)
    steps(net, optimiser, 40)
    weights, state = deepcopy(net.state_dict()), deepcopy(optimiser.state_dict())
    end = steps(net, optimiser, 20)
    assert end < 0.5 * first
    other, resumed = make()
    other.load_state_dict(weights)
    resumed.load_state_dict(state)
    assert steps(other, resumed, 20) == end


def test_every_parameter_belongs_to_exactly_one_optimiser() -> None:
    net = nn.Sequential(nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32), nn.Conv2d(32, 3, 1))
    groups = [{"params": list(net.parameters()), "gain": 0.5}]
    found = [p for g in MixedOptimiser(groups).param_groups for p in g["params"]]
    assert sorted(map(id, found)) == sorted(map(id, net.parameters()))
    assert [is_matrix(p) for p in net.parameters()] == [True, False, False, False, False, False]
