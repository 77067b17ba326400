"""The embedded model: its files, the script that trained it, and the log of its training."""

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent


def training_history():
    """How mini's raw scores changed while it was trained: {name: array}, measured by `report.py`.

    step [n]: optimiser steps, log-spaced, 0 being the untrained model. held_out_loss [n]: nats a
    token. share_below_zero, mean, sink_weight [n, layer, head], as in `shift_table`, over causal
    entries. histogram [n, layer, head, bin]: counts of the raw scores between edges [bin + 1], which
    are even in arcsinh. n_scores: how many scores a head's histogram holds.
    """
    with np.load(FOLDER / "history.npz", allow_pickle=False) as file:
        return dict(file)
