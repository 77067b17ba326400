"""What a function asks of its arguments: each check raises an error that names what was expected and what came."""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

MOST = 10**9  # of anything that is counted here
LABELS = ("text", "kind")  # columns of whatever names its rows; all others hold numbers


def is_whole(value: object) -> bool:
    """Whether a value is a whole number of any kind; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def require_count(name: str, value: Any) -> None:
    """Raise ValueError unless `value` is a whole number of at least 1."""
    if not is_whole(value) or int(value) < 1:
        raise ValueError(f"{name}: expected a whole number of at least 1, got {value!r:.80}")
    if int(value) > MOST:
        raise ValueError(f"{name}: expected a whole number up to {MOST:,}, got one of {len(str(value))} digits")


def require_number(name: str, value: Any) -> None:
    """Raise ValueError unless `value` is one finite real number."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or abs(value) == np.inf or value != value:  # NaN alone is not itself
        raise ValueError(f"{name}: expected a finite number, got {value!r:.80}")


def require_one_of(name: str, value: object, allowed: Iterable[object]) -> None:
    """Raise ValueError unless `value` is one of a few allowed ones."""
    if not isinstance(value, (str, Integral)) or value not in tuple(allowed):
        raise ValueError(f"{name}: expected one of {', '.join(map(str, allowed))}, got {value!r:.80}")


def require_kind(name: str, value: object, kind: type) -> None:
    """Raise TypeError unless a value is of one of the package's own classes; say so where it is of a reloaded one."""
    if isinstance(value, kind):
        return
    got = type(value).__name__
    if got == kind.__name__:
        got += " made before aero_helpers was loaded anew; restart the kernel, or make it again"
    raise TypeError(f"{name}: expected {'an' if kind.__name__[0] in 'AEIO' else 'a'} {kind.__name__}, got {got}")


def require_several(name: str, values: object, kind: str) -> None:
    """Raise TypeError for what cannot be gone through, or gives names instead of things of that kind (a word)."""
    if isinstance(values, (str, bytes, Mapping)) or hasattr(values, "columns") or not hasattr(values, "__iter__"):
        got = type(values).__name__
        raise TypeError(f"{name}: expected several {kind}s, as in a list, got {'one alone' if got == kind else got}")


def require_heads(name: str, table: Any, columns: Sequence[str], key: Sequence[str] = ("layer", "head")) -> None:
    """Raise what `require_table` raises, and ValueError where several rows have one (layer, head), or `key`."""
    require_table(name, table, (*key, *columns))
    if table.duplicated(list(key)).any():
        raise ValueError(
            f"{name}: expected one row a ({', '.join(key)}), got several; those of several texts go through"
            " mean_over_texts or link_shares first"
        )


def require_no_gap(name: str, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise ValueError where a number or name is missing: sums and groups of pandas pass over it without a word."""
    missing = table[list(columns)].isna().to_numpy().any(axis=0)
    if missing.any():
        short = [column for column, is_missing in zip(columns, missing) if is_missing]
        raise ValueError(
            f"{name}: expected no gap, got NaN in {', '.join(map(str, short))}: of texts too short for it?"
        )


def require_table(name: str, table: Any, columns: Sequence[str] = ()) -> None:
    """Raise TypeError for anything but a pandas table, ValueError for one without rows or one of these columns.

    Layers and heads are whole numbers, other columns but the LABELS are numbers of numpy's own kinds: numpy,
    seaborn and pandas each make something else of categories and of pandas' nullable numbers.
    """
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"{name}: expected a pandas DataFrame, got {type(table).__name__}")
    missing = [column for column in columns if column not in table]
    if missing or not len(table):
        got = f"{', '.join(map(str, table)):.300}" if missing else "no rows"
        raise ValueError(f"{name}: expected the columns {', '.join(map(str, columns))}, and rows, got {got}")
    if not table.columns.is_unique:
        raise ValueError(f"{name}: expected each column once, got {', '.join(map(str, table)):.300}")
    for column in (each for each in columns if each not in LABELS):
        kind, kinds = ("int", "iu") if column in ("layer", "head") else ("float", "biuf")
        values = table[column]
        if not isinstance(values.dtype, np.dtype) or values.dtype.kind not in kinds:
            makes = f'.astype({{"{column}": {kind}}})'
            raise ValueError(f"{name}: expected {kind}s in {column!r}, got {values.dtype}; {makes} makes them")
        if np.isinf(values.to_numpy()).any():  # NaN: there is no number; infinity would be drawn, averaged, ranked
            raise ValueError(f"{name}: expected finite numbers or NaN in {column!r}, got infinity")
