"""The one way in for numbers that somebody brings: arrays, tensors, columns, lists.

`np.asarray` and `torch.as_tensor` take nearly everything, and strip it of its meaning on the way: a masked array of
its mask, a complex number of its imaginary part, a date of being one.
"""

from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
import torch

Numbers = Any  # an array, a tensor, a column, a list, nested ones: whatever holds numbers, and is looked at below


def real_numbers(values: Numbers, name: str = "values") -> np.ndarray:
    """All numbers in `values`, of any shape: a flat float64 array. Masked ones are left out.

    Raises ValueError for what holds no plain real numbers, for none, and for NaN or infinity.
    """
    numbers = _unmasked(values, name)
    if not numbers.size:
        raise ValueError(f"{name}: expected at least one number, got none{' that is not masked' * is_masked(values)}")
    if not np.isfinite(numbers).all():
        raise ValueError(
            f"{name}: expected finite numbers, got {np.isnan(numbers).sum()} NaN and {np.isinf(numbers).sum()} infinite"
            f" among {len(numbers)} (masked scores are −∞: leave them out first)"
        )
    return numbers


def same_places(values: Numbers, name: str, others: Numbers, other_name: str) -> tuple[np.ndarray, np.ndarray]:
    """`real_numbers` of two that belong together: what is masked in one is left out of both.

    Raises what `real_numbers` raises, and ValueError where they are not of one size.
    """
    if is_masked(values) or is_masked(others):
        values, others = (np.ma.asarray(x).ravel() for x in (values, others))
        if values.shape == others.shape:
            mask = np.ma.getmaskarray(values) | np.ma.getmaskarray(others)
            values, others = (np.ma.array(x, mask=mask) for x in (values, others))
    shapes = {tuple(x.shape) for x in (values, others) if getattr(x, "ndim", 1) > 1}
    one_index = not all(hasattr(x, "index") and hasattr(x, "iloc") for x in (values, others))
    if len(shapes) > 1 or not (one_index or values.index.equals(others.index)):
        raise ValueError(f"{other_name}: expected one for each of {name}, in its place, got another shape or index")
    first, second = real_numbers(values, name), real_numbers(others, other_name)
    if len(first) != len(second):
        raise ValueError(f"{other_name}: expected {len(first)} numbers, as many as {name}, got {len(second)}")
    return first, second


def plain_tensor(x: Numbers, name: str) -> torch.Tensor:
    """`x` as a torch tensor on the processor, outside autograd, its precision kept; no gap and no mask in it.

    Raises ValueError for what holds no plain real numbers and for a masked array.
    """
    require_unmasked(name, x)
    if not isinstance(x, torch.Tensor):
        try:
            x = torch.as_tensor(x, device="cpu")  # whatever torch's default device is
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{name}: expected numbers, got {type(x).__name__} ({error})") from error
    if x.is_complex() or x.layout != torch.strided or x.is_quantized or x.is_meta:
        raise ValueError(
            f"{name}: expected a plain tensor of real numbers, got one of {x.dtype}, {x.layout}, {x.device}"
        )
    return x.detach().cpu()


def require_unmasked(name: str, values: object) -> None:
    """Raise ValueError where a mask lies on a value: what has a place of its own can't be left out."""
    if is_masked(values):
        raise ValueError(f"{name}: expected a number everywhere, got a masked array; leave the masked part out first")


def heads_of(shape: Iterable[int]) -> dict[str, np.ndarray]:
    """The first columns of a table of one row a (layer, head), in the order of an array [layer, head]."""
    return dict(zip(("layer", "head"), np.indices(tuple(shape)).reshape(2, -1)))


def is_masked(values: object) -> bool:
    """Whether numpy's mask lies on some of the values, or on one in a list of them."""
    if isinstance(values, (list, tuple)):
        return any(is_masked(x) for x in values if isinstance(x, (list, tuple, np.ma.MaskedArray)))
    return isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values)


def _unmasked(values, name):
    if isinstance(values, torch.Tensor):
        values = plain_tensor(values, name).double()  # float64 holds what numpy has no kind for, as bfloat16
    elif is_masked(values):
        if any(is_masked(x) for x in values if isinstance(x, (list, tuple))):
            raise ValueError(f"{name}: expected masked arrays by themselves or in one list, got lists of lists of them")
        values = np.ma.asarray(values).compressed()
    if getattr(values, "ndim", 1) == 2 and hasattr(values, "columns"):
        columns = ", ".join(map(repr, values.columns[:9]))
        raise ValueError(f"{name}: expected one kind of numbers, got a table; take one of its columns {columns}")
    try:
        given = np.asarray(values)
        is_object = given.dtype.kind == "O"
        if given.dtype.kind not in "biufO" or (is_object and not all(isinstance(x, Real) for x in given.flat)):
            raise TypeError(f"of {given.dtype}")
        return given.astype(np.float64).ravel()
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ValueError(f"{name}: expected numbers, got {type(values).__name__} ({error})") from error
