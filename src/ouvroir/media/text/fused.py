"""Operations of language models that go over memory as seldom as they can, with gradients of their own.

On a processor the products of matrices are half of the work of a small Transformer, and passes over activations the other half.

Axes: n places, V pieces that there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

EPS = 1e-5  # added to the mean square


def normed(x: Tensor) -> Tensor:
    """Each vector of the last axis over its root mean square."""
    if not torch.is_grad_enabled():
        return functional.rms_norm(x, x.shape[-1:], eps=EPS)
    found: Tensor = _Normed.apply(x)  # type: ignore[no-untyped-call]
    return found


class _Normed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        factor = (norm * norm / x.shape[-1] + EPS).rsqrt_()
        found: Tensor = x * factor
        ctx.save_for_backward(found, factor)
        return found

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        found, factor = ctx.saved_tensors
        along = (grad * found).mean(dim=-1, keepdim=True)
        return torch.addcmul(grad, found, along, value=-1).mul_(factor)


def gated(both: Tensor) -> Tensor:
    """silu(gate) · up of (..., 2 D), gate and up side by side: (..., D)."""
    if not torch.is_grad_enabled():
        gate, up = both.chunk(2, dim=-1)
        return functional.silu(gate) * up
    found: Tensor = _Gated.apply(both)  # type: ignore[no-untyped-call]
    return found


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        gate, up = both.chunk(2, dim=-1)
        opened = functional.silu(gate)
        ctx.save_for_backward(both, opened)
        return opened * up

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        both, opened = ctx.saved_tensors
        gate, up = both.chunk(2, dim=-1)
        found = torch.empty_like(both)
        to_gate, to_up = found.chunk(2, dim=-1)
        torch.mul(grad, opened, out=to_up)
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=to_gate)
        return found


def turned(x: Tensor, turns: Tensor) -> Tensor:
    """X (..., E), kept: each pair of neighbours as a complex number, turned by `turns` (..., E/2, 2), cosines and sines."""
    if torch.compiler.is_exporting():  # where complex numbers are not known
        real, imaginary = x[..., ::2], x[..., 1::2]
        cos, sin = turns.unbind(-1)
        return torch.stack([real * cos - imaginary * sin, imaginary * cos + real * sin], dim=-1).flatten(-2)
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2)) * torch.view_as_complex(turns)
    return torch.view_as_real(pairs).flatten(-2).to(x.dtype)


def surprise(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) nats that targets (n,) surprise by and (n,) entropy of what is thought to come, from logits (n, V), float32."""
    found: tuple[Tensor, Tensor] = _Surprise.apply(logits.float(), target)  # type: ignore[no-untyped-call]
    return found


class _Surprise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        log_share = logits.log_softmax(dim=1)
        share = log_share.exp()
        entropy = (share * log_share).sum(dim=1).neg_()
        ctx.save_for_backward(log_share, share, entropy, target)
        return log_share.gather(1, target[:, None])[:, 0].neg_(), entropy

    @staticmethod
    def backward(ctx: Any, of_nats: Tensor, of_entropy: Tensor) -> tuple[Tensor, None]:
        log_share, share, entropy, target = ctx.saved_tensors
        found = log_share + entropy[:, None]
        found.mul_(of_entropy[:, None]).neg_().add_(of_nats[:, None]).mul_(share)
        return found.scatter_add_(1, target[:, None], of_nats[:, None].neg()), None
