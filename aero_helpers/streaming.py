"""An attention function that takes the statistics of a corpus where the scores are.

It works through blocks of a few heads and queries: raw scores, their histogram and sums, then softmax and values. No
T × T matrix is kept, and of the future only a triangle in each block is computed.
"""

import math

import numpy as np
import torch

from aero_helpers.capture import Layers, require_plain_attention, require_stated_heads

BINS = 8192  # of a head's histogram; 0 is an edge
BLOCK = 2**19  # scores at a time: more do not fit a core's own cache, fewer are not worth the calls
ROWS = 64  # queries in a block: with more, more of the future is computed; with fewer, products are slow
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
# What is taken of a row of scores s, shifted by its top one and scaled, as e^s cannot overflow then.
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
        self.rooms = None

    def __call__(self, module, query, key, value, attention_mask, scaling=None, **kwargs):
        require_plain_attention(module, query, key, attention_mask, scaling, **kwargs)
        require_stated_heads(query, value, self.n_heads, self.head_size)
        self.layers.add(module)
        layer, shared_by, dtype = module.layer_idx, query.shape[1] // key.shape[1], query.dtype
        # Heads first, because a histogram is a head's: [head, window, token, head_size].
        query, key, value = (x.transpose(0, 1).float().contiguous() for x in (query, key, value))
        key, value = (x.repeat_interleave(shared_by, dim=0) for x in (key, value))
        n_heads, n_windows, n_tokens, _ = query.shape
        real = (torch.arange(n_tokens, device=query.device) < self.lengths[:, None])[..., None]
        query = query * real  # so the scores of padding are 0
        width = self._choose_width(query, key * real, layer)  # [head, 1, 1, 1]
        scale = width * query.shape[-1] ** -0.5
        query /= width  # by a power of two, so exactly: scores come out in bins
        output, sums = torch.empty_like(query), query.new_empty(len(ROW_SUMS), n_heads, n_windows, n_tokens)
        n_rows = min(ROWS, n_tokens)
        past = query.new_ones(n_rows, n_rows).tril()  # of a block's last keys: 1 where not in the future
        triangles = past, past.log()  # log 0 = −∞
        n_heads_at_once = min(max(1, BLOCK // (n_windows * n_rows * n_tokens)), n_heads)
        self._make_rooms(n_heads_at_once * n_windows * n_rows * n_tokens, query)
        for heads in _slices(n_heads, n_heads_at_once):
            for rows in _slices(n_tokens, n_rows):
                past, future = (x[: rows.stop - rows.start, : rows.stop - rows.start] for x in triangles)
                keys, values = (x[heads, :, : rows.stop] for x in (key, value))
                raw, *rooms = self._take_rooms((*keys.shape[:2], rows.stop - rows.start, rows.stop))
                torch.matmul(query[heads, :, rows], keys.transpose(-1, -2), out=raw)
                raw[..., rows].mul_(past)  # a product is many times as fast as masked_fill_
                _add_to_histogram(self.histogram[layer, heads], raw, *rooms)
                exponentials = _count(raw, rooms[0], past, future, scale[heads], sums[:, heads, :, rows])
                output[heads, :, rows] = exponentials @ values
        sums = dict(zip(ROW_SUMS, sums))
        self._add_up(sums, layer, scale[..., 0], width[..., 0])
        output /= sums["total"][..., None]
        return output.permute(1, 2, 0, 3).to(dtype), None  # [window, token, head, head_size]

    def seen(self):
        """(histogram, exponent) of the scores that the windows have, each head's the same number."""
        histogram = self.histogram.cpu().numpy()
        n_scores = (self.lengths * (self.lengths + 1) // 2).sum().item()
        histogram[..., BINS // 2] -= histogram.sum(-1) - n_scores  # what is hidden stood as 0
        return histogram, self.exponent

    def _choose_width(self, query, key, layer):
        """The width of a layer's bins, [head, 1, 1, 1], for all that its scores can reach, |q·k| ≤ ‖q‖ ‖k‖."""
        largest = query.norm(dim=-1).amax((1, 2)) * key.norm(dim=-1).amax((1, 2))
        if not largest.isfinite().all():
            raise ValueError(f"layer {layer}: expected finite queries and keys, got NaN or infinity")
        self.exponent[layer] = exponent_for(largest.cpu().numpy())
        return torch.tensor(2.0 ** self.exponent[layer], dtype=query.dtype, device=query.device)[:, None, None, None]

    def _make_rooms(self, size, like):
        """Room for blocks, used again and again, because fresh memory costs more than arithmetic."""
        if self.rooms is None:
            floats = (like.new_empty(size) for _ in range(2))
            self.rooms = *floats, like.new_empty(size, dtype=torch.int64), like.new_ones(size, dtype=torch.int64)

    def _take_rooms(self, shape):
        return [room[: math.prod(shape)].view(shape) for room in self.rooms]

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


def _slices(n, step):
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def _add_to_histogram(histogram, raw, room, index, ones):
    """Count a block of scores in bins, [head, window, row, key], into [head, bin]."""
    index.copy_(torch.add(raw, BINS // 2, out=room))
    histogram.scatter_add_(1, index.flatten(1), ones.flatten(1))


def _count(raw, room, past, future, scale, sums):
    """Take the ROW_SUMS of a block of raw scores [head, window, row, key]; return e^(score − top), in `room`.

    Both blocks are overwritten: with score − top, with its exponential, and last with 0 and 1,
    because a comparison written as numbers is summed ten times as fast as bools.
    """
    below, top, total_score, norm, first, total, surprise, tiny = sums
    n_rows = len(past)
    torch.sum(torch.lt(raw, 0, out=room), -1, out=below)
    torch.amax(raw[..., -n_rows:] + future, -1, out=top)
    if raw.shape[-1] > n_rows:
        torch.maximum(top, raw[..., :-n_rows].amax(-1), out=top)
    score = raw.sub_(top[..., None]).mul_(scale)
    score[..., -n_rows:].mul_(past)
    torch.sum(score, -1, out=total_score)
    torch.linalg.vector_norm(score, dim=-1, out=norm)
    first.copy_(score[..., 0])
    weight = torch.exp(score, out=room)
    weight[..., -n_rows:].mul_(past)
    torch.sum(weight, -1, out=total)
    surprise.copy_(torch.linalg.vecdot(score, weight))
    torch.sum(torch.lt(weight, 0.01 * total[..., None], out=raw), -1, out=tiny)
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
