"""Isolate and investigate the attention heads of GPT-2, step by step.

    import aero_helpers as aero
    lm = aero.load("auto")
    record = lm.record("some text")
    aero.shift_table(record)

Imports run from left to right: require, language, files, arrays, attention, tokens → recording, capture, matrices,
checkpoints, hub, mini → models, shift, parts, kde, links, uncertainty, streaming → corpus, interventions,
plots, webpage → explorer, verification, checking → exercises.
"""

from aero_helpers import plots
from aero_helpers.attention import (
    attention_weights,
    causal_mask,
    merge_heads,
    raw_scores,
    score_terms,
    split_heads,
    split_qkv,
)
from aero_helpers.corpus import Profile, profile
from aero_helpers.exercises import check
from aero_helpers.explorer import explore, explore_bandwidth, training_film
from aero_helpers.interventions import intervention_table
from aero_helpers.kde import Density, density, density_of_histogram, gaussian_sum
from aero_helpers.language import set_language
from aero_helpers.links import link_shares, link_table, read_scenes, rival_shares, rival_table, shuffled_texts
from aero_helpers.matrices import HeadMatrices, matrix_table, read_head_matrices, singular_values
from aero_helpers.mini import training_history
from aero_helpers.models import LanguageModel, load
from aero_helpers.parts import part_table, pooled_parts, position_profile
from aero_helpers.plots import captioned
from aero_helpers.recording import AttentionRecord
from aero_helpers.shift import (
    mean_over_texts,
    own_and_other_keys,
    select_entries,
    shift_table,
    shift_tables,
    term_table,
)
from aero_helpers.uncertainty import interval, rank_correlation
from aero_helpers.verification import verify
from aero_helpers.webpage import save_page

__all__ = [
    "AttentionRecord",
    "Density",
    "HeadMatrices",
    "LanguageModel",
    "Profile",
    "attention_weights",
    "captioned",
    "causal_mask",
    "check",
    "density",
    "density_of_histogram",
    "explore",
    "explore_bandwidth",
    "gaussian_sum",
    "interval",
    "intervention_table",
    "link_shares",
    "link_table",
    "load",
    "matrix_table",
    "mean_over_texts",
    "merge_heads",
    "own_and_other_keys",
    "part_table",
    "plots",
    "pooled_parts",
    "position_profile",
    "profile",
    "rank_correlation",
    "raw_scores",
    "read_head_matrices",
    "read_scenes",
    "rival_shares",
    "rival_table",
    "save_page",
    "score_terms",
    "select_entries",
    "set_language",
    "shift_table",
    "shift_tables",
    "shuffled_texts",
    "singular_values",
    "split_heads",
    "split_qkv",
    "term_table",
    "training_film",
    "training_history",
    "verify",
]
