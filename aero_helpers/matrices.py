"""The matrices of each head of a GPT-2, and what they say without running the model.

A raw score is (x W_Q + b_Q) · (y W_K + b_K), so W_Q W_Kᵀ is what a head asks of a pair of tokens; what
it then moves from one to the other is W_V W_O (Elhage et al. 2021, "A Mathematical Framework for
Transformer Circuits"). Both are D × D and of rank head_size at most.

A GPT-2 multiplies these matrices with what ln_1 gives out, and ln_1's own scale and bias are a part of
the product: norms of layers can be compared only once they are folded in (`HeadMatrices.folded`).
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from safetensors.torch import load_file

from aero_helpers.arrays import heads_of, plain_tensor
from aero_helpers.attention import require_tensor, split_qkv
from aero_helpers.require import require_count, require_kind

TOP = 8  # one singular value in TOP counts as a top one


class HeadMatrices(NamedTuple):
    """The parameters of every head, float32.

    w_q, w_k, w_v: [layer, head, D, head_size], so that q = x W_Q + b_Q.
    w_o: [layer, head, head_size, D]. b_q, b_k, b_v: [layer, head, head_size].
    ln_scale, ln_bias: [layer, D], of the ln_1 before them: x = x̂ · ln_scale + ln_bias, where x̂ has
        mean 0 and variance 1 over its D numbers.
    """

    w_q: torch.Tensor
    w_k: torch.Tensor
    w_v: torch.Tensor
    w_o: torch.Tensor
    b_q: torch.Tensor
    b_k: torch.Tensor
    b_v: torch.Tensor
    ln_scale: torch.Tensor
    ln_bias: torch.Tensor

    def __repr__(self):
        n_layers, n_heads, _, head_size = self.w_q.shape
        return f"HeadMatrices({n_layers} layers × {n_heads} heads × {head_size})"

    def folded(self) -> "HeadMatrices":
        """The matrices that act on x̂ itself: W with its rows scaled by ln_1, and b + ln_bias W. The same q, k, v."""
        changed = {"ln_scale": torch.ones_like(self.ln_scale), "ln_bias": torch.zeros_like(self.ln_bias)}
        for name in "qkv":
            w, b = getattr(self, f"w_{name}"), getattr(self, f"b_{name}")
            changed[f"w_{name}"] = self.ln_scale[:, None, :, None] * w
            changed[f"b_{name}"] = b + torch.einsum("lD,lhDd->lhd", self.ln_bias, w)
        return self._replace(**changed)


def head_matrices(tensors: dict[str, torch.Tensor], n_heads: int) -> HeadMatrices:
    """Cut the fused tensors of a GPT-2 into its heads: HeadMatrices, copies.

    `tensors`: {name: tensor} with the names of a GPT-2 checkpoint, `h.0.attn.c_attn.weight` and so on;
    others are passed over. Conv1D stores W as [in, out]: q = x W. The columns of c_attn are Q, K, V, and
    each of these the heads one after the other; the rows of c_proj are the heads.

    Raises ValueError where a tensor is missing, or n_heads does not divide the width.
    """
    require_count("n_heads", n_heads)
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    n_layers = 1 + max((int(name.split(".")[1]) for name in tensors if re.match(r"h\.\d+\.", name)), default=0)
    parts: dict = {}
    for part in ("attn.c_attn.weight", "attn.c_attn.bias", "attn.c_proj.weight", "ln_1.weight", "ln_1.bias"):
        parts[part] = []
        for layer in range(n_layers):
            name = f"h.{layer}.{part}"
            if name not in tensors:
                some = ", ".join(sorted(tensors)[:3])
                raise ValueError(f"tensors: expected a GPT-2's, with {name}, got {len(tensors)} names: {some:.200}, …")
            tensor = plain_tensor(tensors[name], name)
            if not tensor.is_floating_point() or not tensor.isfinite().all():
                raise ValueError(f"{name}: expected finite floating-point numbers, got {tensor.dtype}, NaN or infinity")
            parts[part].append(tensor.float())
    width = parts["ln_1.weight"][0].numel()
    if width % n_heads:
        raise ValueError(f"tensors: expected a width that {n_heads} heads divide, got {width}")
    shapes = (width, 3 * width), (3 * width,), (width, width), (width,), (width,)
    for (part, layers), shape in zip(parts.items(), shapes):
        for layer, tensor in enumerate(layers):
            if tensor.shape != shape:
                raise ValueError(f"h.{layer}.{part}: expected {list(shape)}, got {list(tensor.shape)}")
    parts = {part: torch.stack(layers) for part, layers in parts.items()}
    heads = (n_heads, width // n_heads)
    w_q, w_k, w_v = (x.unflatten(-1, heads).movedim(-2, 1) for x in split_qkv(parts["attn.c_attn.weight"]))
    b_q, b_k, b_v = (x.unflatten(-1, heads) for x in split_qkv(parts["attn.c_attn.bias"]))
    w_o = parts["attn.c_proj.weight"].unflatten(1, heads)
    return HeadMatrices(w_q, w_k, w_v, w_o, b_q, b_k, b_v, parts["ln_1.weight"], parts["ln_1.bias"])


def read_head_matrices(path: str | os.PathLike, n_heads: int) -> HeadMatrices:
    """The HeadMatrices in a GPT-2's safetensors file, be it whole or its attention tensors alone.

    Nothing of the rest is needed, and a file without it can be read here but not run. n_heads is 12
    for GPT-2 Small; the file does not say. Raises FileNotFoundError, ValueError as `head_matrices`
    does or for a damaged file.

    >>> from aero_helpers.mini import FOLDER
    >>> read_head_matrices(FOLDER / "model.safetensors", n_heads=4)
    HeadMatrices(6 layers × 4 heads × 32)
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: expected a safetensors file, found none")
    if re.search(r"-\d+-of-\d+", Path(path).name):
        raise ValueError(f"{path}: expected a whole model in one file, got a part of one; `aero.load` reads its folder")
    try:
        tensors = load_file(path)
    except Exception as error:  # the library raises nearly anything on a damaged file
        raise ValueError(
            f"{path}: expected a safetensors file, got a damaged or different one ({error!s:.300})"
        ) from error
    return head_matrices(tensors, n_heads)


def singular_values(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The singular values of a bᵀ, largest first: [..., d] for a and b [..., D, d], without forming D × D.

    With a = U R and b = V S (orthonormal columns times d × d), a bᵀ = U (R Sᵀ) Vᵀ has those of R Sᵀ.

    Raises ValueError where a and b differ in shape or d exceeds D.

    >>> singular_values(torch.eye(3, 2), 2 * torch.eye(3, 2))
    tensor([2., 2.], dtype=torch.float64)
    """
    require_tensor("a", a, least_dims=2)
    require_tensor("b", b, least_dims=2)
    if not (a.isfinite().all() and b.isfinite().all()):
        raise ValueError("a and b: expected finite numbers, got NaN or infinity")
    if a.shape != b.shape or a.shape[-1] > a.shape[-2]:
        raise ValueError(f"a and b: expected [..., D, d] twice, d ≤ D, got {list(a.shape)} and {list(b.shape)}")
    r, s = (torch.linalg.qr(x.double(), mode="r").R for x in (a, b))
    return torch.linalg.svdvals(r @ s.mT)


def matrix_table(matrices: HeadMatrices) -> pd.DataFrame:
    """What the matrices of each head are like: a pandas table, one row a (layer, head).

    norm_w_q, norm_w_k, norm_w_v, norm_b_q, norm_b_k: Frobenius norms, √Σ entries².
    norm_qk, norm_ov: those of W_Q W_Kᵀ and of W_V W_O.
    qk_top_share, ov_top_share: how much of their squared norm, Σσ², the largest eighth of the
        singular values, rounded up, holds (8 of 64): 8/64 if all are equal, 1 if these are all there is.

    >>> import aero_helpers as aero
    >>> table = aero.matrix_table(aero.load("mini").head_matrices())
    >>> len(table), list(table)[:5]
    (24, ['layer', 'head', 'norm_w_q', 'norm_w_k', 'norm_w_v'])
    """
    require_kind("matrices", matrices, HeadMatrices)
    squares = {
        "qk": singular_values(matrices.w_q, matrices.w_k) ** 2,
        "ov": singular_values(matrices.w_v, matrices.w_o.mT) ** 2,
    }
    n_top = -(-matrices.w_q.shape[-1] // TOP)
    columns = {f"norm_{name}": getattr(matrices, name).double().norm(dim=(-2, -1)) for name in ("w_q", "w_k", "w_v")}
    columns |= {f"norm_{name}": getattr(matrices, name).double().norm(dim=-1) for name in ("b_q", "b_k")}
    columns |= {f"norm_{pair}": square.sum(-1).sqrt() for pair, square in squares.items()}
    columns |= {f"{pair}_top_share": sq[..., :n_top].sum(-1) / sq.sum(-1) for pair, sq in squares.items()}
    return pd.DataFrame(
        heads_of(matrices.w_q.shape[:2]) | {name: x.detach().numpy().ravel() for name, x in columns.items()}
    )
