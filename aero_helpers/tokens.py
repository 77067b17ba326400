"""A text as the tokens a model reads: their ids, and labels that can be read."""

from collections.abc import Mapping

import torch
from transformers import PreTrainedTokenizerBase

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def readable_tokens(
    tokenizer: PreTrainedTokenizerBase, text: str, limit: int | None = None
) -> tuple[torch.Tensor, list[str]]:
    """(token ids [T], T readable labels) of a text, both cut to `limit` tokens.

    A label is the piece of text the token stands for, its leading space included. Where a
    byte-level tokenizer cuts one letter into several tokens (Vietnamese, emoji), the single bytes
    are no text: each piece then shows the whole letter and its number, as "ế₁", "ế₂", "ế₃". A token that
    the tokenizer adds, as one that ends a text, stands for no piece and shows its own name.
    """
    encoded = tokenizer(text, return_offsets_mapping=True, verbose=False)
    if "offset_mapping" not in encoded:
        kind = type(tokenizer).__name__
        raise ValueError(
            f"tokenizer: expected one that says where in the text a token stands, got {kind}, which does not"
        )
    token_ids, spans = encoded["input_ids"][:limit], encoded["offset_mapping"]
    labels, piece = [], 0
    for i, (start, end) in enumerate(spans[: len(token_ids)]):
        if start == end:
            labels.append(tokenizer.convert_ids_to_tokens(token_ids[i]))
            continue
        continues = i > 0 and start < spans[i - 1][1]
        is_continued = i + 1 < len(spans) and _overlap(spans[i + 1], (start, end))
        piece = piece + 1 if continues else 1
        number = str(piece).translate(SUBSCRIPTS) if continues or is_continued else ""
        labels.append(text[start:end] + number)
    return torch.tensor(token_ids, dtype=torch.long, device="cpu"), labels


def _overlap(a, b):
    return a[0] < a[1] and a[0] < b[1] and b[0] < a[1]


def require_known(token_ids: list[int], n_embeddings: int, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Raise ValueError where a text has a token for which the model has no embedding."""
    largest = max(token_ids, default=0)
    if largest >= n_embeddings:
        raise ValueError(
            f"text: expected tokens that {name} knows, 0 to {n_embeddings - 1}, got {int(largest)}"
            f" ({tokenizer.convert_ids_to_tokens(int(largest))!r}); model.resize_token_embeddings makes room for it"
        )


def require_texts(texts: object) -> None:
    """Raise TypeError for what iterates, but not over texts: one string, a table or a dict, which gives its names."""
    if isinstance(texts, (str, bytes)):
        raise TypeError("texts: expected an iterable of strings, got one string; put it into a list")
    if hasattr(texts, "columns"):
        column = "text" if "text" in texts.columns else next(iter(texts.columns), "text")
        raise TypeError(
            f"texts: expected an iterable of strings, got a table, which gives the names of its columns; take one, as"
            f" dataframe[{column!r}]".replace("'", '"')
        )
    if isinstance(texts, Mapping):
        kind = type(texts).__name__
        raise TypeError(f"texts: expected an iterable of strings, got a {kind}, which gives its keys; take .values()")
    if not hasattr(texts, "__iter__") or getattr(texts, "ndim", 1) == 0:
        raise TypeError(f"texts: expected an iterable of strings, got {type(texts).__name__}")
