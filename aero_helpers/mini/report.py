"""Measure what `train.py` made and put it into the package: weights, tokenizer, history, card.

python -m aero_helpers.mini.report CORPUS --run build/mini
python -m aero_helpers.mini.report CORPUS                    the card alone, of the model that is in the package
"""

import argparse
import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import GPT2LMHeadModel

from aero_helpers.capture import capture
from aero_helpers.mini import training_history
from aero_helpers.mini.train import BATCH, CONTEXT, HELD_OUT, SEED, encode, held_out_loss, read_corpus
from aero_helpers.models import MINI_FILES, LanguageModel, read_folder
from aero_helpers.parts import part_table, pooled_parts, position_profile
from aero_helpers.recording import AttentionRecord
from aero_helpers.shift import select_entries, shift_table

HERE = Path(__file__).parent
PLACES = (0, 64, 128, 192, 240, 255)  # of keys
PROFILE_WINDOWS = 48
HISTORY_WINDOWS = 8  # of CONTEXT tokens, evenly spaced over the held-out books
# Bin edges of the history's histograms, in units of the raw score: even in arcsinh, 0 among them, for scores of
# ±0.1 at the start of the training and ±500 at its end.
EDGES = 0.1 * np.sinh(np.linspace(-np.arcsinh(1e4), np.arcsinh(1e4), 161))


def bigram_loss(train, held_out, vocabulary, discount=0.75):
    """Loss, in nats a token, of a bigram model with absolute discounting (Ney, Essen, Kneser 1994)."""
    counts = torch.zeros(vocabulary, vocabulary, dtype=torch.float64)
    counts.index_put_((train[:-1], train[1:]), torch.ones(len(train) - 1, dtype=torch.float64), accumulate=True)
    single = (torch.bincount(train, minlength=vocabulary) + 1).double()
    single /= single.sum()
    seen = counts.sum(1, keepdim=True).clamp(min=1)
    left_over = 1 - (counts - discount).clamp(min=0).sum(1, keepdim=True) / seen
    probability = (counts - discount).clamp(min=0) / seen + left_over * single
    return -probability[held_out[:-1], held_out[1:]].log().mean().item()


def windows_of(ids, count):
    starts = np.linspace(0, len(ids) - CONTEXT, count).astype(int)
    return [ids[start : start + CONTEXT] for start in starts]


def record_ids(lm, token_ids):
    scores, head_size = capture(lm.model, token_ids)
    return AttentionRecord([str(i) for i in token_ids.tolist()], scores, head_size, lm.name)


def history(run, tokenizer, held_out):
    """How the raw scores changed: one entry a snapshot, [step, layer, head, …], on fixed held-out windows."""
    windows, chosen = windows_of(held_out, HISTORY_WINDOWS), select_entries(CONTEXT)
    rows = {"step": [], "held_out_loss": [], "share_below_zero": [], "mean": [], "sink_weight": [], "histogram": []}
    for folder in sorted((run / "snapshots").iterdir()):
        lm = LanguageModel(folder.name, GPT2LMHeadModel.from_pretrained(folder).eval(), tokenizer)
        records = [record_ids(lm, window) for window in windows]
        tables = [shift_table(record) for record in records]
        shape = (lm.n_layers, lm.n_heads)
        for name in ("share_below_zero", "mean", "sink_weight"):
            rows[name].append(np.mean([table[name] for table in tables], axis=0).reshape(shape))
        scores = torch.stack([record.raw_scores[..., chosen] for record in records], 2).flatten(2).numpy()
        counts = [np.histogram(head, EDGES)[0] for head in scores.reshape(-1, scores.shape[-1])]
        rows["histogram"].append(np.reshape(counts, (*shape, -1)))
        rows["step"].append(int(folder.name))
        rows["held_out_loss"].append(held_out_loss(lm.model, held_out, 128))
        lm.model.eval()
        print(folder.name, round(rows["held_out_loss"][-1], 3), flush=True)
    columns = {name: np.asarray(values, np.float32) for name, values in rows.items()}
    columns["step"] = np.asarray(rows["step"], np.int32)
    columns["histogram"] = np.asarray(rows["histogram"], np.int32)
    if (columns["histogram"].sum(-1) != chosen.sum().item() * HISTORY_WINDOWS).any():
        raise SystemExit(f"scores beyond ±{EDGES[-1]:.0f}: widen EDGES")
    return columns | {"edges": EDGES, "n_scores": np.int64(chosen.sum() * HISTORY_WINDOWS)}


def head_habits(lm, held_out):
    """Per head, [layer, head]: mean weight on the previous token, on the induction target, on key 0."""
    texts = [record_ids(lm, window).weights() for window in windows_of(held_out, HISTORY_WINDOWS)]
    previous = torch.stack([w.diagonal(-1, -2, -1).mean(-1) for w in texts]).mean(0)
    key_0 = torch.stack([w[..., 1:, 0].mean(-1) for w in texts]).mean(0)
    generator, half = torch.Generator().manual_seed(SEED), CONTEXT // 4
    induction = []
    for _ in range(HISTORY_WINDOWS):
        random = torch.randint(1, lm.model.config.vocab_size, (half,), generator=generator)
        weights = record_ids(lm, random.repeat(2)).weights()
        # the second time a token comes, an induction head looks at what followed it the first time
        induction.append(weights.diagonal(1 - half, -2, -1)[..., 1:].mean(-1))
    return {"previous": previous, "induction": torch.stack(induction).mean(0), "key 0": key_0}


def chance():
    """The same three numbers for a head that looks at all earlier tokens alike."""
    n_keys = torch.arange(1, CONTEXT + 1)
    half = CONTEXT // 4
    return {
        "previous": (1 / n_keys[1:]).mean().item(),
        "induction": (1 / n_keys[half : 2 * half]).mean().item(),
        "key 0": (1 / n_keys[1:]).mean().item(),
    }


def position_numbers(lm, tokens):
    """How scores go with the position of the key, on held-out windows: what the card says of the ramp."""
    measured = [record_ids(lm, ids) for ids in windows_of(tokens["held_out"], HISTORY_WINDOWS)]
    profile = position_profile(record_ids(lm, ids) for ids in windows_of(tokens["train"], PROFILE_WINDOWS))
    parts = pooled_parts(part_table(measured, profile))
    scores = torch.stack([record.raw_scores for record in measured])
    late, keys = torch.arange(CONTEXT)[:, None] >= CONTEXT * 3 // 4, torch.arange(CONTEXT) * 4 // CONTEXT
    of_quarter = [select_entries(CONTEXT) & late & (keys == i) for i in range(4)]
    return {
        "places": " | ".join(map(str, PLACES)),
        "dashes": " | ".join(["---"] * len(PLACES)),
        "ramp": " | ".join(f"{score:.0f}" for score in scores[..., -1, list(PLACES)].mean((0, 1, 2)).tolist()),
        "quarters": ", ".join(f"{(scores[..., each] < 0).float().mean():.2f}" for each in of_quarter),
        "profile_windows": PROFILE_WINDOWS,
        **{name: f"{share:.2f}" for name, share in parts.items()},
    }


def sample(lm, prompt, n_tokens=60):
    torch.manual_seed(SEED)
    ids = torch.tensor([lm.tokenizer(prompt)["input_ids"]])
    settings = {"max_new_tokens": n_tokens, "do_sample": True, "temperature": 0.8, "top_k": 40}
    out = lm.model.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=0, **settings)
    return lm.tokenizer.decode(out[0]).replace("\n", " ")


def measured(lm, corpus, tokens, habits, columns):
    """{name: number, or rows of a table} of all that the model card says, measured here."""
    books = {book["file"]: book for book in json.loads((corpus / "manifest.json").read_text(encoding="utf-8"))}
    steps = int(columns["step"][-1])
    loss = held_out_loss(lm.model, tokens["held_out"])
    lm.model.eval()
    bigram = bigram_loss(tokens["train"], tokens["held_out"], lm.model.config.vocab_size)
    rows = []
    by_chance = chance()
    for name, heads in habits.items():
        layer, head = divmod(heads.argmax().item(), lm.n_heads)
        rows.append(f"| {name} | {layer}.{head} | {heads.max():.2f} | {heads.mean():.2f} | {by_chance[name]:.2f} |")
    layers = [
        f"| {i} | {share.mean():.2f} | {mean.mean():.1f} | {sink.mean():.3f} |"
        for i, (share, mean, sink) in enumerate(
            zip(columns["share_below_zero"][-1], columns["mean"][-1], columns["sink_weight"][-1])
        )
    ]
    listed = [
        f"| {book['title']} | {book['author']} | {book['gutenberg_id']} |"
        f" {'held out' if name in HELD_OUT else 'training'} |"
        for name, book in sorted(books.items())
    ]
    parameters = sum(p.numel() for p in lm.model.parameters())
    return dict(
        parameters=f"{parameters:,}", layers=lm.n_layers, heads=lm.n_heads, head_size=lm.head_size,
        vocabulary=f"{lm.model.config.vocab_size:,}", context=CONTEXT, steps=f"{steps:,}",
        seen=f"{steps * BATCH * CONTEXT / 1e6:.0f}", train_tokens=f"{len(tokens['train']):,}",
        held_out_tokens=f"{len(tokens['held_out']):,}", epochs=f"{steps * BATCH * CONTEXT / len(tokens['train']):.1f}",
        loss=f"{loss:.2f}", bigram=f"{bigram:.2f}", difference=f"{bigram - loss:.2f}", seed=SEED,
        first_loss=f"{columns['held_out_loss'][0]:.2f}",
        sample=sample(lm, "The old man looked at the sea, and"), habits="\n".join(rows), by_layer="\n".join(layers),
        windows=HISTORY_WINDOWS, snapshots=len(columns["step"]), books="\n".join(listed),
        **position_numbers(lm, tokens),
    )  # fmt: skip


CARDS = {"en": "README.md", "vi": "README.vi.md"}
# What stands in the tables of the card, in Vietnamese.
IN_VIETNAMESE = {
    "| previous |": "| token liền trước |",
    "| key 0 |": "| khóa 0 |",
    "| held out |": "| đo |",
    "| training |": "| huấn luyện |",
}


def card(numbers, language="en"):
    """The model card in "en" or "vi", from what `measured` gives."""
    name = {"en": "card_template.md", "vi": "card_template.vi.md"}[language]
    numbers = numbers if language == "en" else {key: _vietnamese(key, value) for key, value in numbers.items()}
    return (HERE / name).read_text(encoding="utf-8").format(**numbers)


def _vietnamese(key, value):
    """Words and numbers as Vietnamese writes them: 1.000 and 0,5. Heads (4.2), titles and the sample stay."""
    if not isinstance(value, str) or key == "sample":
        return value
    for english, vietnamese in IN_VIETNAMESE.items():
        value = value.replace(english, vietnamese)
    if key == "books":
        return value
    thousands = re.sub(r"(?<=\d),(?=\d{3})", ".", value)
    decimals = r"(?<=\d)\.(?=\d\d\b)" if key == "habits" else r"(?<=\d)\.(?=\d{1,3}\b)"
    return thousands if thousands != value else re.sub(decimals, ",", value).replace(", ", "; ")


def write_model_files(run, arrays):
    for name in MINI_FILES:
        shutil.copyfile(run / "model" / name, HERE / name)
    np.savez_compressed(HERE / "history.npz", **arrays)
    sums = [
        f"{hashlib.sha256((HERE / name).read_bytes()).hexdigest()}  {name}" for name in (*MINI_FILES, "history.npz")
    ]
    (HERE / "SHA256SUMS").write_text("\n".join(sums) + "\n", encoding="utf-8")


def main(corpus, run=None):
    lm = read_folder(HERE if run is None else run / "model", "mini")
    tokens = {name: encode(lm.tokenizer, part) for name, part in zip(("train", "held_out"), read_corpus(corpus))}
    if run is None:
        columns = training_history()
    else:
        columns = history(run, lm.tokenizer, tokens["held_out"])
        write_model_files(run, columns)
    numbers = measured(lm, corpus, tokens, head_habits(lm, tokens["held_out"]), columns)
    for language, name in CARDS.items():
        (HERE / name).write_text(card(numbers, language), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="the folder that train.py was given, with its manifest.json")
    parser.add_argument("--run", type=Path, help="the folder that train.py wrote; without it, the card alone")
    arguments = parser.parse_args()
    main(arguments.corpus, arguments.run)
