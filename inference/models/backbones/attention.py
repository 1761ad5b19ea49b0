"""Attention between two sets of tokens, with the names that diffusion transformers publish."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

KeysValues = tuple[Tensor, Tensor]

NORM_EPS = 1e-6  # of the root-mean-square norms of queries and keys


class _Gain(nn.Module):
    """A learned gain per channel, named as the norm that it belongs to."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


class Attention(nn.Module):
    """Multi-head attention of tokens to a context, which may be the tokens themselves.

    Keys and values can be computed once and used for many sets of queries.
    """

    norm_q: _Gain | None
    norm_k: _Gain | None
    norm_cross: nn.LayerNorm | None

    def __init__(
        self,
        width: int,
        heads: int,
        context_width: int | None = None,
        *,
        is_packed: bool = False,
        has_query_norm: bool = False,
        has_context_norm: bool = False,
    ) -> None:
        """Make the layer with meaningless weights.

        Args:
            width: Channels of a token.
            heads: Divides ``width``.
            context_width: Channels of the context's tokens; None where tokens attend to themselves.
            is_packed: Whether the projections of a token are laid end to end before they are dealt
                out to the heads, instead of each being dealt out on its own. Head 0 then gets the
                first channels of the queries as its queries, keys and values. Some published
                weights were trained so.
            has_query_norm: Whether queries and keys are normalised in each head (Henry et al. 2020).
            has_context_norm: Whether the context passes a layer norm first.
        """
        super().__init__()
        self.heads = heads
        self.attends_itself = context_width is None
        self.is_packed = is_packed
        context_width = width if context_width is None else context_width
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_width, width, bias=False)
        self.to_v = nn.Linear(context_width, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        self.norm_q = _Gain(width // heads) if has_query_norm else None
        self.norm_k = _Gain(width // heads) if has_query_norm else None
        self.norm_cross = nn.LayerNorm(context_width) if has_context_norm else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, width) tokens that attend to themselves."""
        q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
        if self.is_packed:
            q, k, v = torch.cat([q, k, v], 2).unflatten(2, (self.heads, 3, -1)).unbind(3)
        else:
            q, k, v = (part.unflatten(2, (self.heads, -1)) for part in (q, k, v))
        return self._mix(self._queries(q), (self._keys(k), v.transpose(1, 2)))

    def keys_values(self, context: Tensor) -> KeysValues:
        """What ``attend`` needs to know of a context (B, M, context_width)."""
        if self.norm_cross is not None:
            context = self.norm_cross(context)
        k, v = self.to_k(context), self.to_v(context)
        if self.is_packed:
            k, v = torch.cat([k, v], 2).unflatten(2, (self.heads, 2, -1)).unbind(3)
        else:
            k, v = (part.unflatten(2, (self.heads, -1)) for part in (k, v))
        return self._keys(k), v.transpose(1, 2)

    def attend(self, x: Tensor, context: KeysValues) -> Tensor:
        """(B, N, width) tokens that attend to a context."""
        return self._mix(self._queries(self.to_q(x).unflatten(2, (self.heads, -1))), context)

    def of_nothing(self) -> Tensor:
        """(width,) what ``attend`` gives for a context of zeros.

        Without biases its values are zero, too, so that whatever is attended to, the output's bias
        is all that is left. Needs a layer without ``has_context_norm``.
        """
        return self._out.bias

    @property
    def _out(self) -> nn.Linear:
        layer = self.to_out[0]
        assert isinstance(layer, nn.Linear)
        return layer

    def _queries(self, q: Tensor) -> Tensor:
        return _normed(q, self.norm_q).transpose(1, 2)

    def _keys(self, k: Tensor) -> Tensor:
        return _normed(k, self.norm_k).transpose(1, 2)

    def _mix(self, q: Tensor, context: KeysValues) -> Tensor:
        mixed = F.scaled_dot_product_attention(q, *context)
        return self._out(mixed.transpose(1, 2).flatten(2))


def _normed(x: Tensor, gain: _Gain | None) -> Tensor:
    if gain is None:
        return x
    return F.rms_norm(x, (x.shape[-1],), gain.weight, NORM_EPS)


class _Projection(nn.Module):
    """A linear layer, named as inside of an activation."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class FeedForward(nn.Module):
    """Two linear layers around an exact GELU, or around a gate of two halves (Shazeer 2020)."""

    def __init__(self, width: int, is_gated: bool = False) -> None:
        super().__init__()
        self.is_gated = is_gated
        hidden = 4 * width
        first = _Projection(width, 2 * hidden if is_gated else hidden)
        self.net = nn.ModuleList([first, nn.Identity(), nn.Linear(hidden, width)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.net[0](x)
        if self.is_gated:
            x, gate = x.chunk(2, dim=-1)
            x = x * F.gelu(gate)
        else:
            x = F.gelu(x)
        return self.net[2](x)
