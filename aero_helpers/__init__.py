"""Isolate and investigate the attention heads of GPT-2, step by step.

    import aero_helpers as aero
    lm = aero.load("auto")
    record = lm.record("some text")
    aero.shift_table(record)

Rooms with one-way doors: attention → recording → models, shift, kde → interventions, plots, exercises.
"""

from aero_helpers import plots
from aero_helpers.attention import attention_weights, causal_mask, merge_heads, raw_scores, split_heads, split_qkv
from aero_helpers.exercises import check
from aero_helpers.interventions import intervention_table
from aero_helpers.kde import Density, density, gaussian_sum
from aero_helpers.language import set_language
from aero_helpers.models import LanguageModel, load
from aero_helpers.recording import AttentionRecord
from aero_helpers.shift import select_entries, shift_table

__all__ = [
    "AttentionRecord",
    "Density",
    "LanguageModel",
    "attention_weights",
    "causal_mask",
    "check",
    "density",
    "gaussian_sum",
    "intervention_table",
    "load",
    "merge_heads",
    "plots",
    "raw_scores",
    "select_entries",
    "set_language",
    "shift_table",
    "split_heads",
    "split_qkv",
]
