"""The real GPT-2 Small as others recorded it: raw scores, weights, and the queries and keys of one sentence.

A folder with `recorded_scores.npz` and `recorded_prompts.json` (three prompts of 6 tokens; Transformer Explainer,
github.com/poloclub/transformer-explainer, MIT) and `longer.npz` with `longer.json` (texts of 7 to 17 tokens and parts
of longer ones; public notebooks under MIT and Apache-2.0, each named in the manifest). None of it is in the course.
"""

import json

import numpy as np
import torch

import aero_helpers as aero

HEAD_SIZE = 64


def read_prompts(folder):
    """The three prompts: a list of records."""
    prompts = json.loads((folder / "recorded_prompts.json").read_text(encoding="utf-8"))
    with np.load(folder / "recorded_scores.npz") as file:
        return [_record(prompt["tokens"], file[f"raw_scores_{i}"]) for i, prompt in enumerate(prompts)]


def read_longer(folder):
    """(records, seen) of the texts that have all 12 × 12 heads and no start token.

    records: those whose raw scores were kept. seen: those whose weights were: records whose scores are √d · ln weight,
    right up to a constant a row, which is the level. Everything that the softmax sees can be taken from them, the
    share below 0 and the level can not.
    """
    manifest = json.loads((folder / "longer.json").read_text(encoding="utf-8"))
    records, seen = [], []
    with np.load(folder / "longer.npz") as file:
        for about in manifest:
            name, whole = about["name"], about["layers"] == "all 12" and about["heads"] == "all 12"
            if whole and not about["bos"] and f"{name}__raw_scores" in file:
                records.append(_record(about["tokens"], file[f"{name}__raw_scores"]))
            if whole and not about["bos"]:
                seen.append(_record(about["tokens"], seen_scores(torch.tensor(file[f"{name}__weights"]), HEAD_SIZE)))
    return records, seen


def read_queries_and_keys(folder, name="bv_john9"):
    """(queries, keys) of one sentence, float32 [layer, head, T, head size] each."""
    with np.load(folder / "longer.npz") as file:
        return tuple(torch.tensor(file[f"{name}__{which}"]).float() for which in ("queries", "keys"))


def seen_scores(weights, head_size):
    """√d · ln weight, the mean of each row's past taken away: the raw scores less their level, read from weights alone.

    As softmax is exp(score / √d) divided by one number a row, the logarithm differs from score / √d by one constant a
    row. [..., query, key]; raises ValueError where a weight of the past is 0, whose score is not to be had.
    """
    past = aero.causal_mask(weights.shape[-1])
    if (weights[..., past] <= 0).any():
        raise ValueError("weights: expected weights above 0 in the past, got 0: its score can't be read back")
    scores = weights.double().where(past, 1).log() * head_size**0.5
    return scores - (scores.sum(-1, keepdim=True) / past.sum(-1, keepdim=True)) * past


def _record(tokens, raw_scores):
    return aero.AttentionRecord(tokens, raw_scores, HEAD_SIZE, "GPT-2 Small")
