"""The numbers of `shift_table` over a whole corpus: one pass, memory that does not grow with it.

What they are stands in `plain_statistics`, ten lines over whole records; all else is there to find the same without
them (`streaming.py`).
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from operator import length_hint
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import t as student_t
from tqdm.auto import tqdm

from aero_helpers.arrays import heads_of
from aero_helpers.capture import attention_function, measuring
from aero_helpers.files import read_whole, write_whole
from aero_helpers.kde import Density, density_of_histogram
from aero_helpers.models import LanguageModel
from aero_helpers.recording import AttentionRecord, require_head, same_model
from aero_helpers.require import require_kind
from aero_helpers.shift import shift_table
from aero_helpers.streaming import BINS, PER, Streaming, add_histograms, counted_in
from aero_helpers.tokens import require_texts

FORMAT = "aero_helpers profile 2"
CHUNK = 64  # texts that are cut, sorted by length, batched together and then saved
CHUNK_TOKENS = 2**15  # where texts are long, fewer: what an interruption costs is a minute, not a library
BATCH_TOKENS = 2048
BETWEEN_0_AND_1 = ("share_below_zero", "sink_weight", "entropy", "share_tiny_weights")
NUMERATORS = ("numerators", "squared_numerators", "products")  # sums over texts, one a head
DENOMINATORS = ("denominators", "squared_denominators")  # the same for all heads
SUMS = (*NUMERATORS, *DENOMINATORS, "histogram", "exponent", "counts")


def plain_statistics(records: Iterable[AttentionRecord]) -> dict[str, np.ndarray]:
    """The statistics of a Profile by their definition: {statistic: float64 [head of all layers]}, from whole records.

    Over a corpus a statistic is the mean over all that it is taken from, be it scores, queries or weights (see PER): a
    text counts by how many of these it has, and a text longer than the context by those of its windows.
    """
    numerators, denominators = dict.fromkeys(PER, np.zeros(())), dict.fromkeys(PER, 0.0)
    for record in records:
        table, counts = shift_table(record), counted_in(np.array([record.n_tokens]))[0]
        for name, count in zip(PER, counts):
            mean = np.nan_to_num(table[name].to_numpy())  # NaN: a text too short, its count is 0
            numerators[name] = numerators[name] + count * mean
            denominators[name] += count
    return {name: numerators[name] / denominators[name] for name in PER}


@dataclass(eq=False)
class Profile:
    """What `profile` keeps of a corpus: sums and histograms of every head. Profiles add up: a + b.

    A statistic (see PER) is a ratio: a text's numerator, as the number of scores below 0, over its denominator, the
    number of scores. The sums over texts:

    numerators, squared_numerators: float64 [statistic, layer, head], of the numerators and of their squares.
    denominators, squared_denominators: float64 [statistic], of the denominators and of their squares.
    products: float64 [statistic, layer, head], of numerator times denominator.
    histogram: int64 [layer, head, bin], counts of the causal raw scores. A head's bins are
        2^exponent wide, the middle edge is 0, and none of its scores lies outside.
    counts: int64, (texts, tokens, texts left out: fewer than two tokens, or half a surrogate pair).
    fingerprint: of the model's weights (`LanguageModel.fingerprint`).

    >>> import aero_helpers as aero
    >>> lm = aero.load("mini")
    >>> found = aero.profile(lm, ["The old man looked."]) + aero.profile(lm, ["He smiled."])
    >>> list(found.table())[:5]
    ['layer', 'head', 'n_scores', 'median', 'share_below_zero']
    """

    model_name: str
    head_size: int
    numerators: np.ndarray
    squared_numerators: np.ndarray
    products: np.ndarray
    denominators: np.ndarray
    squared_denominators: np.ndarray
    histogram: np.ndarray
    exponent: np.ndarray
    counts: np.ndarray
    fingerprint: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """(layers, heads)"""
        return self.exponent.shape

    def __repr__(self):
        n_texts, n_tokens, n_left_out = self.counts
        layers, heads = self.exponent.shape
        return (
            f"Profile({self.model_name!r}: {layers} layers × {heads} heads, {n_texts:,} texts, {n_tokens:,} tokens,"
            f" {n_left_out} texts left out)"
        )

    def __add__(self, other):
        if not isinstance(other, Profile):
            return NotImplemented
        if not same_model(self, other) or self.head_size != other.head_size:
            raise ValueError(f"profiles: expected two of one model, got {self} and {other}")
        histogram, exponent = add_histograms(self.histogram, self.exponent, other.histogram, other.exponent)
        sums = {name: getattr(self, name) + getattr(other, name) for name in SUMS}
        sums |= {"histogram": histogram, "exponent": exponent}
        known = self.fingerprint == other.fingerprint  # else of one of them the weights are unknown
        return Profile(self.model_name, self.head_size, **sums, fingerprint=self.fingerprint if known else "")

    def __radd__(self, other):
        return self if other == 0 else NotImplemented  # what `sum` begins with

    def table(self) -> pd.DataFrame:
        """One row a (layer, head): the columns of `shift_table` over the whole corpus, with 95% intervals.

        Exact, but for the median, which is right to within half a bin of the histogram. A statistic
        is the ratio of two sums over all texts; `…_low` and `…_high` are its interval over texts,
        by the variance of a ratio of cluster totals (Cochran 1977, "Sampling Techniques",
        section 6.3) and Student's t with one degree of freedom less than there are texts; NaN for one text.
        """
        n_texts = self.counts[0]
        total, squared = (sums[:, None, None] for sums in (self.denominators, self.squared_denominators))
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = self.numerators / total
            # Σ over texts of (numerator − ratio · denominator)²
            squares = np.maximum(self.squared_numerators - 2 * ratio * self.products + ratio**2 * squared, 0)
            error = np.sqrt(squares * n_texts / (n_texts - 1)) / total  # one text: NaN
            margin = student_t.ppf(0.975, n_texts - 1) * error
        columns = {
            **heads_of(self.shape),
            "n_scores": int(self.denominators[0]),
            "median": self._medians().ravel(),
        }
        for i, name in enumerate(PER):
            columns[name] = ratio[i].ravel()
            columns[f"{name}_low"], columns[f"{name}_high"] = (ratio - margin)[i].ravel(), (ratio + margin)[i].ravel()
        return pd.DataFrame(columns)

    def density(self, layer: int, head: int, bandwidth: str | float = "scott") -> Density:
        """The Gaussian kernel density of one head's raw scores, as `aero.density`, from the histogram.

        Raises IndexError out of range, and what `density_of_histogram` raises.
        """
        require_head(self, layer, head)
        width = 2.0 ** self.exponent[layer, head]
        return density_of_histogram(self.histogram[layer, head], -BINS // 2 * width, width, bandwidth)

    def save(self, path: str | os.PathLike) -> None:
        """Write the profile to one safetensors file. An older file survives a failed write."""
        self._save(path, {})

    def _save(self, path, more):
        about = {"format": FORMAT, "model_name": self.model_name, "head_size": str(self.head_size)}
        about |= {"fingerprint": self.fingerprint} | more
        write_whole(path, {name: getattr(self, name) for name in SUMS}, about)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Profile":
        """Read a profile that `save` wrote. Raises FileNotFoundError, or ValueError for another or damaged file."""
        return cls._load(path)[0]

    @classmethod
    def _load(cls, path):
        arrays, about = read_whole(path, "a profile", FORMAT)
        heads = arrays["exponent"].shape if "exponent" in arrays else ()
        expected = dict.fromkeys(NUMERATORS, (len(PER), *heads)) | dict.fromkeys(DENOMINATORS, (len(PER),))
        expected |= {"histogram": (*heads, BINS), "exponent": heads, "counts": (3,)}
        got = {name: array.shape for name, array in arrays.items()}
        has_size = re.fullmatch("[1-9][0-9]{0,8}", about.get("head_size", ""))
        if got != expected or not has_size or "model_name" not in about:
            raise ValueError(f"{path}: expected a whole profile, {expected}, got {got} and {about}"[:2000])
        fingerprint = about.get("fingerprint", "")
        found = cls(about["model_name"], int(about["head_size"]), **arrays, fingerprint=fingerprint)
        if not found._adds_up():
            raise ValueError(f"{path}: expected a profile, got numbers that no corpus gives")
        return found, about

    def _adds_up(self):
        """Whether the numbers can be sums over a corpus: what a file says, a text may have written."""
        sums = [getattr(self, name) for name in NUMERATORS + DENOMINATORS]
        shares = [i for i, name in enumerate(PER) if name in BETWEEN_0_AND_1]
        kinds = all(x.dtype == np.float64 for x in sums) and self.histogram.dtype == self.exponent.dtype == np.int64
        return bool(
            kinds
            and all(np.isfinite(x).all() for x in sums)
            and (np.abs(self.exponent) < 1000).all()
            and (self.histogram >= 0).all()
            and (self.histogram.sum(-1) == self.denominators[0]).all()  # every score is in one bin
            and self.counts.dtype == np.int64
            and (self.counts >= 0).all()
            and (self.denominators >= 0).all()
            and (self.squared_numerators >= 0).all()
            and len(set(zip(PER.values(), self.denominators))) == len(set(PER.values()))  # one denominator for each
            and (self.numerators[shares] >= -1e-3).all()
            and (self.numerators[shares] <= self.denominators[shares, None, None] + 1e-3).all()
        )

    def _medians(self):
        """The middle of the middle score's bin, of an even number of scores the mean for both: [layer, head]."""
        cumulative = self.histogram.cumsum(-1)
        n = cumulative[..., -1:]
        bins = [(cumulative < rank).sum(-1) for rank in ((n + 1) // 2, n // 2 + 1)]
        return np.where(n[..., 0], (sum(bins) / 2 - BINS // 2 + 0.5) * 2.0**self.exponent, np.nan)


def profile(lm: LanguageModel, texts: Iterable[str], checkpoint: str | os.PathLike | None = None) -> Profile:
    """The statistics and histograms of all heads of a model over a corpus: a Profile.

    A bar shows the texts done, the tokens a second and, where `texts` has a length, the time left.

    `texts`: any iterable of strings. A text longer than the model's context is cut into windows of
    it; windows of like length run together, and what pads them leaves no trace. Memory does not
    grow with the number of texts. With `checkpoint`, a file's name, the state is saved after every
    CHUNK texts, or fewer of CHUNK_TOKENS in all, and a call that was interrupted goes on from there, to the same
    numbers: the texts that are done are read again, compared, and passed over.

    Raises TypeError for texts that are no strings; ValueError for none, where a checkpoint is of other weights or of
    other texts, within `lm.intervene`, and for a model whose attention `lm.record` refuses as well; OSError at once
    where the checkpoint cannot be written.

    >>> import aero_helpers as aero
    >>> aero.profile(aero.load("mini"), ["The old man looked.", "He smiled."])
    Profile('mini': 6 layers × 4 heads, 2 texts, 9 tokens, 0 texts left out)
    """
    require_kind("lm", lm, LanguageModel)
    if lm.change is not None:
        raise ValueError(f"{lm.name}: expected a model as it is, got one within lm.intervene; profile it outside")
    require_texts(texts)
    total, done, read = _empty(lm), 0, hashlib.sha256()  # read: the sum of all texts so far
    with tqdm(total=length_hint(texts) or None, unit="text", desc=lm.name) as bar:
        texts = iter(texts)
        if checkpoint is not None and Path(checkpoint).is_file():
            total, about = Profile._load(checkpoint)
            done = _skip(texts, read, about.get("progress"), lm, total, checkpoint)
            bar.update(done)
        elif checkpoint is not None:  # now, as a folder that is not there should not be found out an hour later
            total._save(checkpoint, _progress(done, read))
        since, n_before = time.perf_counter(), total.counts[1]
        for encoded in _chunks(lm, texts):
            total = total + _profile_chunk(lm, encoded)
            done += len(encoded)
            _add_to(read, encoded)
            if checkpoint is not None:
                total._save(checkpoint, _progress(done, read))
            speed = (total.counts[1] - n_before) / (time.perf_counter() - since)
            bar.set_postfix_str(f"{speed:,.0f} tokens/s", refresh=False)
            bar.update(len(encoded))
    if not done:
        raise ValueError("texts: expected at least one, got none (or a generator that was read before)")
    return total


def _chunks(lm, texts):
    """Lists of the next texts, each as its token ids."""
    encoded: list[list[int]] = []
    for text in texts:
        encoded.append(_token_ids(lm, text))
        if len(encoded) == CHUNK or sum(map(len, encoded)) >= CHUNK_TOKENS:
            yield encoded
            encoded = []
    if encoded:
        yield encoded


def _progress(done, read):
    return {"progress": json.dumps([done, read.hexdigest()])}


def _skip(texts, read, progress, lm, total, checkpoint):
    """Pass over the texts that a checkpoint has counted, and return how many they are."""
    if progress is None:
        raise ValueError(f"{checkpoint}: expected a checkpoint, got a profile that is finished; give another name")
    done, expected = _read_progress(progress, checkpoint)
    _add_to(read, (_token_ids(lm, text) for text in islice(texts, done)))
    # Here a name is not enough: what is added up can't be taken apart again.
    same_weights, same_texts = total.fingerprint == lm.fingerprint, read.hexdigest() == expected
    if not (same_weights and same_texts):
        others = "texts" if same_weights else "weights"
        raise ValueError(
            f"{checkpoint}: expected a checkpoint of {lm.name} on these texts, got one of other {others}: {total}"
        )
    return done


def _read_progress(progress, checkpoint):
    """(texts done, the sum of them) from what `_progress` wrote."""
    try:
        done, expected = json.loads(progress)
        if isinstance(done, int) and done >= 0 and isinstance(expected, str):
            return done, expected
    except (TypeError, ValueError, RecursionError):
        pass
    raise ValueError(f"{checkpoint}: expected a checkpoint, got a damaged one: {progress!r:.200}")


def _add_to(read, encoded):
    """Add texts as the model reads them, token ids: what another tokenizer makes of a text is another text."""
    for ids in encoded:
        read.update(hashlib.sha256(np.array(ids, np.int64).tobytes()).digest())


def _empty(lm):
    heads = (lm.n_layers, lm.n_heads)
    sums = {name: np.zeros((len(PER), *heads)) for name in NUMERATORS}
    sums |= {name: np.zeros(len(PER)) for name in DENOMINATORS}
    histogram, exponent = np.zeros((*heads, BINS), np.int64), np.full(heads, -30, np.int64)
    sums |= {"histogram": histogram, "exponent": exponent, "counts": np.zeros(3, np.int64)}
    return Profile(lm.name, lm.head_size, **sums, fingerprint=lm.fingerprint)


def _profile_chunk(lm, encoded):
    """A few texts, as token ids: batched by length, run, and added up text by text."""
    profile = _empty(lm)
    numerators = np.zeros((len(encoded), len(PER), lm.n_layers, lm.n_heads))
    denominators = np.zeros((len(encoded), len(PER)))
    for batch in _batches(encoded, lm.context):
        owners, windows = zip(*batch)
        lengths = torch.tensor([len(window) for window in windows], device="cpu")
        padded = [list(window) + [0] * (max(map(len, windows)) - len(window)) for window in windows]
        ids = torch.tensor(padded, device="cpu")  # whatever torch's default device is
        streaming = Streaming(lengths.to(lm.model.device), lm.n_layers, lm.n_heads, lm.head_size)
        with measuring(lm.model), attention_function(lm.model, streaming):
            # the body alone: the logits of every token are no part of any statistic
            lm.model.base_model(input_ids=ids.to(lm.model.device), use_cache=False)
        streaming.layers.of(lm.model)
        np.add.at(numerators, list(owners), streaming.numerators.cpu().numpy())
        histogram, exponent = add_histograms(profile.histogram, profile.exponent, *streaming.visible_histogram())
        profile.histogram, profile.exponent = histogram, exponent
        np.add.at(denominators, list(owners), counted_in(lengths.numpy()))
    counted = [len(ids) >= 2 for ids in encoded]
    profile.numerators, profile.squared_numerators = numerators.sum(0), (numerators**2).sum(0)
    profile.denominators, profile.squared_denominators = denominators.sum(0), (denominators**2).sum(0)
    profile.products = (numerators * denominators[:, :, None, None]).sum(0)
    n_tokens = sum(len(ids) for ids, kept in zip(encoded, counted) if kept)
    profile.counts[:] = sum(counted), n_tokens, len(encoded) - sum(counted)
    return profile


def _token_ids(lm, text):
    if not isinstance(text, str):
        raise TypeError(f"texts: expected strings, got {type(text).__name__}: {text!r:.60}")
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair is no letter, and no tokenizer takes it
        return []
    return lm.token_ids(text)


def _batches(encoded, context):
    """Lists of (number of the text, token ids of a window), windows of like length together."""
    windows = [
        (i, ids[start : start + context])
        for i, ids in enumerate(encoded)
        if len(ids) >= 2
        for start in range(0, len(ids), context)
    ]
    windows.sort(key=lambda window: len(window[1]))
    while windows:
        rows = max(1, BATCH_TOKENS // len(windows[-1][1]))
        yield windows[-rows:]
        del windows[-rows:]
