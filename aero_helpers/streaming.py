"""An attention function that takes the statistics of a corpus where the scores are.

It works through blocks of a few heads and queries: raw scores, their histogram and sums, then softmax and values. No
T × T matrix is kept, and of the future only a triangle in each block is computed.
"""

import itertools
import math

import numpy as np
import torch

from aero_helpers.attention import TINY_WEIGHT
from aero_helpers.capture import Layers, require_plain_attention, require_stated_heads

BINS = 8192  # of a head's histogram; 0 is an edge
BLOCK = 2**20  # scores at a time: more do not fit the caches, fewer are not worth the calls
ROWS = 64  # queries in a block, at least: with fewer, products are slow
# Each statistic is a ratio of two sums over the corpus; the second is the same for all heads.
PER = {
    "share_below_zero": "scores",
    "mean": "scores",
    "sink_weight": "queries from 1",
    "sink_gap": "queries from 2",
    "row_spread": "queries from 2",
    "entropy": "queries from 2",
    "share_tiny_weights": "weights from query 2",
}
# What is taken of each row. In bins: how many scores lie below 0, and the largest. Of s, the scores less the largest
# one, divided by √head_size: Σs, √Σs², the first; of e^s, which cannot overflow then: Σe^s, Σs·e^s, how many are tiny.
ROW_SUMS = ("below", "top", "score", "norm", "first", "total", "surprise", "tiny")


def counted_in(lengths):
    """How many scores, queries and weights a window of each length counts: [window, statistic]."""
    pairs, from_1, from_2 = lengths * (lengths + 1) / 2, lengths - 1, np.maximum(lengths - 2, 0)
    counts = {
        "scores": pairs,
        "queries from 1": from_1,
        "queries from 2": from_2,
        "weights from query 2": np.maximum(pairs - 3, 0),
    }
    return np.stack([counts[per] for per in PER.values()], axis=1)


class Streaming:
    """The attention function that adds up a batch of windows; `lengths`: int64 [window], in tokens.

    numerators: float64 [window, statistic, layer, head].
    histogram: int64 [layer, head, bin], bins 2^exponent wide; what is hidden, future and padding, counts as 0.
    exponent: int64 [layer, head].
    The first two stay where the model is: nothing waits for the processor but once a layer, for `exponent`.
    """

    def __init__(self, lengths, n_layers, n_heads, head_size):
        self.lengths, self.n_heads, self.head_size, self.layers = lengths, n_heads, head_size, Layers()
        like = {"dtype": torch.float64, "device": lengths.device}
        self.numerators = torch.zeros(len(lengths), len(PER), n_layers, n_heads, **like)
        self.histogram = torch.zeros(n_layers, n_heads, BINS, **like | {"dtype": torch.int64})
        self.exponent = np.zeros((n_layers, n_heads), np.int64)
        self.rooms = None  # fresh memory costs more than arithmetic: all layers use the same

    def __call__(self, module, query, key, value, attention_mask, scaling=None, **kwargs):
        require_plain_attention(module, query, key, attention_mask, scaling, **kwargs)
        require_stated_heads(query, value, self.n_heads, self.head_size)
        self.layers.add(module)
        layer, dtype = module.layer_idx, query.dtype
        self.rooms = self.rooms or _Rooms(query)
        query, key, value = self.rooms.heads_first(query, key, value)  # [head, window, token, head_size]
        n_heads, n_windows, n_tokens, head_size = query.shape
        real = torch.arange(n_tokens, device=query.device) < self.lengths[:, None]  # [window, token]
        query.mul_(real[..., None])  # so the scores of padding are 0
        width = self._choose_width(query.norm(dim=-1), key.norm(dim=-1) * real, layer)  # [head, 1, 1, 1]
        scale = width * head_size**-0.5
        query /= width  # by a power of two, so exactly: scores come out in bins
        output, sums = torch.empty_like(query), query.new_empty(len(ROW_SUMS), n_heads, n_windows, n_tokens)
        for heads, rows in self.rooms.blocks():
            keys, values = (x[heads, :, : rows.stop] for x in (key, value))
            in_bins, spare, index, ones, past, future = self.rooms.of_block(heads, rows)
            torch.matmul(query[heads, :, rows], keys.transpose(-1, -2), out=in_bins)
            in_bins[..., rows].mul_(past)  # a product is many times as fast as masked_fill_
            index.copy_(torch.add(in_bins, BINS // 2, out=spare))
            self.histogram[layer, heads].scatter_add_(1, index.flatten(1), ones.flatten(1))
            exponentials = _count(in_bins, spare, past, future, scale[heads], sums[:, heads, :, rows])
            output[heads, :, rows] = exponentials @ values
        facts = dict(zip(ROW_SUMS, sums))
        self._add_up(facts, layer, scale[..., 0], width[..., 0])
        output /= facts["total"][..., None]
        return output.permute(1, 2, 0, 3).to(dtype), None  # [window, token, head, head_size]

    def visible_histogram(self):
        """(histogram, exponent) of the scores that the windows have, each head's the same number: a copy."""
        histogram = self.histogram.cpu().numpy().copy()
        n_scores = (self.lengths * (self.lengths + 1) // 2).sum().item()
        histogram[..., BINS // 2] -= histogram.sum(-1) - n_scores  # what is hidden stood as 0
        return histogram, self.exponent

    def _choose_width(self, query_norms, key_norms, layer):
        """The width of a layer's bins, [head, 1, 1, 1], for all that its scores can reach, |q·k| ≤ ‖q‖ ‖k‖."""
        largest = query_norms.amax((1, 2)) * key_norms.amax((1, 2))
        if not largest.isfinite().all():
            raise ValueError(f"layer {layer}: expected finite queries and keys, got NaN or infinity")
        self.exponent[layer] = exponent_for(largest.cpu().numpy())
        return torch.tensor(2.0 ** self.exponent[layer], dtype=largest.dtype, device=largest.device).reshape(
            -1, 1, 1, 1
        )

    def _add_up(self, sums, layer, scale, width):
        """From the sums of a layer's rows, [head, window, query], to the numerators."""
        query = torch.arange(sums["top"].shape[-1], device=sums["top"].device)
        n, total, first, score = (query + 1).float(), sums["total"], sums["first"], sums["score"]
        columns = {
            "share_below_zero": sums["below"],
            "mean": (score / scale + n * sums["top"]) * width,
            "sink_weight": first.exp() / total,
            "sink_gap": first - (score - first) / (n - 1).clamp(min=1),
            "row_spread": (sums["norm"] ** 2 / n - (score / n) ** 2).clamp(min=0).sqrt(),
            "entropy": (total.log() - sums["surprise"] / total) / n.log().clamp(min=1e-9),
            "share_tiny_weights": sums["tiny"],
        }
        from_query = {"scores": 0, "queries from 1": 1, "queries from 2": 2, "weights from query 2": 2}
        for i, (name, per) in enumerate(PER.items()):
            counted = (query < self.lengths[:, None]) & (query >= from_query[per])  # [window, query]
            self.numerators[:, i, layer] = (columns[name].double() * counted).sum(-1).T


class _Rooms:
    """What a layer is computed in: queries, keys and values with the heads first, and room for a block of scores."""

    def __init__(self, query):
        n_windows, n_heads, n_tokens, head_size = query.shape
        self.shape = n_heads, n_windows, n_tokens
        self.n_rows = min(max(ROWS, BLOCK // (n_windows * n_heads * n_tokens)), n_tokens)
        self.n_heads_at_once = min(max(1, BLOCK // (n_windows * self.n_rows * n_tokens)), n_heads)
        n_scores = self.n_heads_at_once * n_windows * self.n_rows * n_tokens
        floats = {"dtype": torch.float32, "device": query.device}
        whole = {"dtype": torch.int64, "device": query.device}
        self.heads = [torch.empty(*self.shape, head_size, **floats) for _ in range(3)]
        scores, spare = (torch.empty(n_scores, **floats) for _ in range(2))
        self.block = scores, spare, torch.empty(n_scores, **whole), torch.ones(n_scores, **whole)
        past = torch.ones(
            self.n_rows, self.n_rows, **floats
        ).tril()  # of a block's last keys: 1 where not in the future
        self.triangles = past, past.log()  # log 0 = −∞

    def heads_first(self, *given):
        """Copies of [window, head, token, size] as [head, window, token, size]; a key head once for each query head."""
        for room, x in zip(self.heads, given):
            room.unflatten(0, (x.shape[1], -1)).copy_(x.transpose(0, 1)[:, None])
        return self.heads

    def blocks(self):
        """(heads, rows) of each block of scores."""
        n_heads, _, n_tokens = self.shape
        return itertools.product(_slices(n_heads, self.n_heads_at_once), _slices(n_tokens, self.n_rows))

    def of_block(self, heads, rows):
        """Two rooms of floats, one of integers and one of ones, [head, window, row, key], and both triangles."""
        shape = heads.stop - heads.start, self.shape[1], rows.stop - rows.start, rows.stop
        return *(room[: math.prod(shape)].view(shape) for room in self.block), *(
            x[: shape[2], : shape[2]] for x in self.triangles
        )


def _slices(n, step):
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def _count(in_bins, spare, past, future, scale, sums):
    """Take the ROW_SUMS of a block of scores in bins, [head, window, row, key]; return e^s, in `spare`.

    Both blocks are overwritten: with score − top, with its exponential, and last with 0 and 1,
    because a comparison written as numbers is summed ten times as fast as bools.
    """
    below, top, total_score, norm, first, total, surprise, tiny = sums
    n_rows = len(past)
    torch.sum(torch.lt(in_bins, 0, out=spare), -1, out=below)
    torch.amax(in_bins[..., -n_rows:] + future, -1, out=top)
    if in_bins.shape[-1] > n_rows:
        torch.maximum(top, in_bins[..., :-n_rows].amax(-1), out=top)
    score = in_bins.sub_(top[..., None]).mul_(scale)
    score[..., -n_rows:].mul_(past)
    torch.sum(score, -1, out=total_score)
    torch.linalg.vector_norm(score, dim=-1, out=norm)
    first.copy_(score[..., 0])
    weight = torch.exp(score, out=spare)
    weight[..., -n_rows:].mul_(past)
    torch.sum(weight, -1, out=total)
    surprise.copy_(torch.linalg.vecdot(score, weight))
    torch.sum(torch.lt(weight, TINY_WEIGHT * total[..., None], out=in_bins), -1, out=tiny)
    tiny -= (1 - past).sum(-1)  # the future's weights are 0 as well
    return weight


def exponent_for(largest):
    """The smallest exponent for which BINS bins of 2^exponent about 0 hold scores up to ±largest."""
    return np.frexp(np.maximum(largest, 1e-6) * (2.0 / BINS) * (1 + 1e-4))[1]


def add_histograms(histogram, exponent, other, other_exponent):
    """(histogram, exponent) of what two have counted, [layer, head, bin] and [layer, head], in the wider bins."""
    wide = np.maximum(exponent, other_exponent)
    return coarser(histogram, wide - exponent) + coarser(other, wide - other_exponent), wide


def coarser(histogram, steps):
    """Histograms [..., bin] with bins 2^steps times as wide, steps one a histogram: pairs of bins, added up."""
    steps = np.asarray(steps)
    while steps.max() > 0 and histogram.any():
        pairs = histogram.reshape(*histogram.shape[:-1], -1, 2).sum(-1)
        padding = [(0, 0)] * (histogram.ndim - 1) + [(BINS // 4, BINS // 4)]
        histogram = np.where((steps > 0)[..., None], np.pad(pairs, padding), histogram)
        steps = steps - 1
    return histogram
