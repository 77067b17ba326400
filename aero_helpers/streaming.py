"""An attention function that takes the statistics of a corpus where the scores are.

It works through blocks of queries: raw scores, their sums and histogram, then mask, softmax and values. No T × T matrix
is kept, and of the future only a triangle in each block is computed.
"""

import math

import numpy as np
import torch

from aero_helpers.capture import Layers, require_plain_attention, require_stated_heads

BINS = 8192  # of a head's histogram; 0 is an edge
BLOCK = 2**20  # scores at a time: more do not fit the caches, fewer are not worth the calls
LEAST_ROWS = 16  # queries in a block
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
    """The attention function that adds up a batch. numerators: float64 [window, statistic, layer, head]."""

    def __init__(self, lengths, profile):
        self.lengths, self.profile, self.layers = lengths, profile, Layers()
        self.scratch = None  # two blocks' room, used again and again: fresh memory costs more than arithmetic
        self.numerators = torch.zeros(len(lengths), *profile.numerators.shape, dtype=torch.float64, device="cpu")

    def __call__(self, module, query, key, value, attention_mask, scaling=None, **kwargs):
        require_plain_attention(module, query, key, attention_mask, scaling, **kwargs)
        require_stated_heads(query, value, self.profile.shape[1], self.profile.head_size)
        self.layers.add(module)
        layer, shared_by, dtype = module.layer_idx, query.shape[1] // key.shape[1], query.dtype
        query, key, value = query.float(), key.float(), value.float()
        key, value = (x.repeat_interleave(shared_by, dim=1) for x in (key, value))
        width = self._make_room(query, key, layer)
        scale = width * query.shape[-1] ** -0.5
        query = query / width  # by a power of two, so exactly: scores come out in bins
        n_windows, n_heads, n_tokens, _ = query.shape
        n_rows = max(LEAST_ROWS, BLOCK // (n_windows * n_heads * n_tokens))
        if self.scratch is None:
            self.scratch = query.new_empty(2, n_windows * n_heads * min(n_rows, n_tokens) * n_tokens)
        output = torch.empty_like(query)
        sums = query.new_empty(len(ROW_SUMS), n_windows, n_heads, n_tokens)
        for start in range(0, n_tokens, n_rows):
            rows = slice(start, min(start + n_rows, n_tokens))
            shape = n_windows, n_heads, rows.stop - start, rows.stop
            raw, spare = (room[: math.prod(shape)].view(shape) for room in self.scratch)
            torch.matmul(query[:, :, rows], key[:, :, : rows.stop].transpose(-1, -2), out=raw)
            exponentials = self._count(raw, spare, start, layer, scale, sums[..., rows])
            output[:, :, rows] = exponentials @ value[:, :, : rows.stop]
        sums = dict(zip(ROW_SUMS, sums))
        self._add_up(sums, layer, scale[..., 0], width[..., 0])
        return output.div_(sums["total"][..., None]).transpose(1, 2).to(dtype), None

    def _make_room(self, query, key, layer):
        """Widen the bins of a layer to what its scores can reach, |q·k| ≤ ‖q‖ ‖k‖; return their width, [head, 1, 1]."""
        profile = self.profile
        real = torch.arange(query.shape[2], device=query.device) < self.lengths[:, None]
        longest_query, longest_key = ((x.norm(dim=-1) * real[:, None]).amax((0, 2)) for x in (query, key))
        if not (longest_query * longest_key).isfinite().all():
            raise ValueError(f"layer {layer}: expected finite queries and keys, got NaN or infinity")
        wider = np.maximum(exponent_for((longest_query * longest_key).cpu().numpy()) - profile.exponent[layer], 0)
        profile.histogram[layer] = coarser(profile.histogram[layer], wider)
        profile.exponent[layer] += wider
        return torch.tensor(2.0 ** profile.exponent[layer], dtype=query.dtype, device=query.device)[:, None, None]

    def _count(self, raw, spare, start, layer, scale, sums):
        """Take the ROW_SUMS of a block of raw scores [window, head, row, key]; return e^(score − top).

        Both blocks are overwritten: with score − top, with its exponential, and last with 0 and 1,
        because a comparison written as numbers is summed ten times as fast as bools.
        """
        below, top, total_score, norm, first, total, surprise, tiny = sums
        n_rows, n_keys = raw.shape[-2:]
        past = torch.ones(n_rows, n_rows, dtype=raw.dtype, device=raw.device).tril()  # of the block's own triangle
        n_future = torch.arange(n_rows - 1, -1, -1, device=raw.device)
        padded = torch.arange(start, n_keys, device=raw.device) >= self.lengths[:, None]  # [window, row]

        raw[..., start:].mul_(past)  # a product is many times as fast as masked_fill_
        if padded.any():
            raw.masked_fill_(padded[:, None, :, None], 0)
        n_hidden = len(raw) * n_future.sum() + (padded * (n_keys - n_future)).sum()
        self._add_to_histogram(raw, spare, layer, int(n_hidden))
        torch.sum(torch.lt(raw, 0, out=spare), -1, out=below)

        torch.amax(raw[..., start:] + past.log(), -1, out=top)  # log 0 = −∞
        if start:
            torch.maximum(top, raw[..., :start].amax(-1), out=top)
        score = raw.sub_(top[..., None]).mul_(scale)
        score[..., start:].mul_(past)
        torch.sum(score, -1, out=total_score)
        torch.linalg.vector_norm(score, dim=-1, out=norm)
        first.copy_(score[..., 0])
        weight = torch.exp(score, out=spare)
        weight[..., start:].mul_(past)
        torch.sum(weight, -1, out=total)
        torch.sum(score.mul_(weight), -1, out=surprise)
        torch.sum(torch.lt(weight, 0.01 * total[..., None], out=raw), -1, out=tiny)
        tiny -= n_future
        return weight

    def _add_to_histogram(self, raw, spare, layer, n_hidden):
        """Count the scores of a block; the hidden ones stand as 0 and are taken off again."""
        n_heads = raw.shape[1]
        middles = torch.arange(n_heads, device=raw.device) * BINS + BINS // 2
        bins = torch.add(raw, middles[:, None, None], out=spare).int()
        counts = torch.bincount(bins.flatten(), minlength=n_heads * BINS).cpu().numpy().reshape(n_heads, BINS)
        counts[:, BINS // 2] -= n_hidden
        self.profile.histogram[layer] += counts

    def _add_up(self, sums, layer, scale, width):
        """From the sums of a layer's rows, [window, head, query], to the numerators."""
        query = torch.arange(len(sums["top"][0, 0]), device=sums["top"].device)
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
            counted = (query < self.lengths[:, None]) & (query >= from_query[per])
            self.numerators[:, i, layer] = (columns[name].double() * counted[:, None]).sum(-1).cpu()


def exponent_for(largest):
    """The smallest exponent for which BINS bins of 2^exponent about 0 hold scores up to ±largest."""
    return np.frexp(np.maximum(largest, 1e-6) * (2.0 / BINS) * (1 + 1e-4))[1]


def coarser(histogram, steps):
    """Histograms [..., bin] with bins 2^steps times as wide, steps one a histogram: pairs of bins, added up."""
    steps = np.asarray(steps)
    while steps.max() > 0 and histogram.any():
        pairs = histogram.reshape(*histogram.shape[:-1], -1, 2).sum(-1)
        padding = [(0, 0)] * (histogram.ndim - 1) + [(BINS // 4, BINS // 4)]
        histogram = np.where((steps > 0)[..., None], np.pad(pairs, padding), histogram)
        steps = steps - 1
    return histogram
