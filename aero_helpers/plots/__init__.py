"""Every figure of the course. Each answers one question, which is its title.

Functions take records and tables and return the Axes or Figure. Key 0 always has its colour, trained and untrained
theirs.
"""

from aero_helpers.plots.densities import (
    bandwidth_view,
    density_map,
    layer_ridges,
    score_densities,
    training_frame,
    training_stills,
)
from aero_helpers.plots.maps import attention_map, head_maps, head_view
from aero_helpers.plots.style import KEY_0, OTHER_KEYS, PARTS, ROW_SPREAD, TRAINED, UNTRAINED, use_style
from aero_helpers.plots.tables import (
    MOST_LABELS,
    against_entropy,
    captioned,
    laminar_profile,
    layer_head_map,
    link_scatter,
    rival_bars,
    score_parts,
    what_goes_with_sparsity,
)

__all__ = [
    "KEY_0",
    "MOST_LABELS",
    "OTHER_KEYS",
    "PARTS",
    "ROW_SPREAD",
    "TRAINED",
    "UNTRAINED",
    "against_entropy",
    "attention_map",
    "bandwidth_view",
    "captioned",
    "density_map",
    "head_maps",
    "head_view",
    "laminar_profile",
    "layer_head_map",
    "layer_ridges",
    "link_scatter",
    "rival_bars",
    "score_densities",
    "score_parts",
    "training_frame",
    "training_stills",
    "use_style",
    "what_goes_with_sparsity",
]
