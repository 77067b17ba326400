"""The embedded model: its files, the script that trained it, and the log of its training."""

import os
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent


def training_history() -> dict[str, np.ndarray]:
    """How mini's raw scores changed while it was trained: {name: array}, measured by `report.py`.

    step [n]: optimiser steps, log-spaced, 0 being the untrained model. held_out_loss [n]: nats a
    token. share_below_zero, mean, sink_weight [n, layer, head], as in `shift_table`, over causal
    entries. histogram [n, layer, head, bin]: counts of the raw scores between edges [bin + 1], which
    are even in arcsinh. n_scores: how many scores a head's histogram holds.

    >>> history = training_history()
    >>> history["share_below_zero"].shape  # 30 steps, 6 layers, 4 heads
    (30, 6, 4)
    """
    return read_history(FOLDER / "history.npz")


def read_history(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The history in a file; ValueError where the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            history = dict(file)
        n, n_bins = len(history["step"]), len(history["edges"]) - 1
        shape = history["mean"].shape
        if shape[0] != n or len(shape) != 3 or history["histogram"].shape != (*shape, n_bins):
            raise ValueError(f"shapes {shape} and {history['histogram'].shape} of {n} steps")
    except Exception as error:  # zipfile and numpy raise nearly anything
        raise ValueError(
            f"{path}: expected mini's history, got a damaged file ({error!s:.300}); reinstall the package"
        ) from error
    return history
