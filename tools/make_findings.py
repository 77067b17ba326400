"""The findings: every claim of the source lesson, its test, the numbers of four models, the verdict.

    python tools/make_findings.py mini               measure a model that `aero.load` knows
    python tools/make_findings.py gpt2               the same for GPT-2 Small, where the hub is within reach
    python tools/make_findings.py recorded FOLDER    GPT-2 Small as others recorded it (see recordings.py), and its
                                                    attention.safetensors where the folder has one
    python tools/make_findings.py                    write the pages from the numbers of earlier runs

Numbers are kept in findings.json, one column a model; the pages findings.md and findings.vi.md are
written from it. Each number is what the command beside it in findings_rows.py returns, and the pages show it.
"""

import json
import re
import sys
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from findings_rows import (
    BY_LENGTH,
    CLAIMS,
    COLUMNS,
    LENGTHS,
    LINKS,
    LOAD,
    MATRICES,
    PAGES,
    PARTS,
    PLACES,
    PROMPTS,
    RAMP,
    SETUP,
    TABLES,
    TERMS,
    WINDOWS,
)
from recordings import read_longer, read_prompts, read_queries_and_keys

import aero_helpers as aero
from aero_helpers.attention import row_means
from aero_helpers.interventions import (  # noqa: F401 (the commands of the rows and SETUP use them)
    INTERVENTIONS,
    changed_record,
    clip_negative,
    content_alone,
    hide_key,
    largest_weight_change,
    level_alone,
    position_alone,
)
from aero_helpers.links import RIVALS  # noqa: F401
from aero_helpers.parts import without_level
from aero_helpers.shift import gap_to_key_0

DOCS = Path(__file__).resolve().parent.parent / "docs"
NUMBERS = DOCS / "findings.json"
LONGEST = max(*LENGTHS, *WINDOWS)


def share(tables):
    """Scores below 0 among all scores counted."""
    return (tables.share_below_zero * tables.n_scores).sum() / tables.n_scores.sum()


def over_texts(tables):
    """(share, low, high); the interval only where there are texts enough."""
    return share(tables), *(aero.interval(tables, share, by="text") if tables.text.nunique() >= 5 else ())


def rho(tables, x, given=None):
    """(Spearman's ρ of x with entropy over the heads, low, high), texts drawn anew: the heads are all there are."""
    statistic = lambda t: aero.rank_correlation(aero.mean_over_texts(t), x, "entropy", given)  # noqa: E731
    return statistic(tables), *(aero.interval(tables, statistic, by="text") if tables.text.nunique() >= 5 else ())


def with_entropy(records, x):
    """Spearman's ρ of x with entropy over the heads, each the mean of its texts."""
    return aero.rank_correlation(aero.mean_over_texts(aero.shift_tables(records)), x, "entropy")


def rho_without_key_0(records):
    """[ρ of share below 0 with entropy, the same at like spread], key 0 (and query 0) cut out of the records."""
    cut = [aero.AttentionRecord(r.tokens[1:], r.raw_scores[..., 1:, 1:], r.head_size, r.model_name) for r in records]
    table = aero.mean_over_texts(aero.shift_tables(cut))
    return [aero.rank_correlation(table, "share_below_zero", "entropy", given) for given in (None, "row_spread")]


def level_share(records):
    """The share of the mean square of the raw scores that is constant within a row; rows of one score left out."""
    squares = [_squares(record) for record in records]
    return 1 - sum(visible for visible, _ in squares) / sum(total for _, total in squares)


def _squares(record):
    past = aero.causal_mask(record.n_tokens)
    scores = record.raw_scores.double()
    return (without_level(scores)[..., 1:, :] ** 2).sum().item(), ((scores * past)[..., 1:, :] ** 2).sum().item()


def of_the_visible(parts):
    """The position's part of what the softmax sees, heads pooled: one number a window."""
    return [each.position / (each.position + each.content) for each in map(aero.pooled_parts, parts)]


def from_key_0(records):
    """How much of the sum of squares within rows the gap of key 0 makes, and any one key would; queries 2, 3, …"""
    parts = []
    for record in records:
        past = aero.causal_mask(record.n_tokens)
        n, scores = past.sum(dim=-1).double(), record.raw_scores.double()
        within = ((scores - row_means(scores)) ** 2 * past).sum(dim=-1)
        between = (n - 1) / n * gap_to_key_0(scores) ** 2  # a group of one key against the n - 1 others
        parts.append((between[..., 2:].sum(), within[..., 2:].sum(), (within / (n - 1))[..., 2:].sum()))
    between, within, any_key = np.sum(parts, axis=0)
    return [between / within, any_key / within]


def chance(records):
    """The weight on key 0 of a head that looks at all keys alike, queries 1, 2, …"""
    return np.mean([(1 / np.arange(2, record.n_tokens + 1)).mean() for record in records])


def weight_change(records, change):
    """The largest change of any attention weight when all scores are changed."""
    return max(largest_weight_change(record, change) for record in records)


def on_key_1(records):
    """Mean weight of queries 2, 3, … on key 1: [as it is, with key 0 hidden in the recorded scores]."""
    hidden = [changed_record(record, hide_key(0)) for record in records]
    return [np.mean([r.weights()[..., 2:, 1].mean().item() for r in each]) for each in (records, hidden)]


def on_key_1_running(lm, texts):
    """Mean weight of queries 2, 3, … on key 1 while the model runs with key 0 hidden in every layer."""
    with lm.intervene(hide_key(0)):
        return np.mean([lm.record(text).weights()[..., 2:, 1].mean().item() for text in texts])


def with_other_keys(lm, text, n_turns=20):
    """Queries with the keys of other heads, share below 0: [as it is, smallest, largest after flips of signs].

    Each flip turns queries and keys of a head alike, in pairs of components so that it commutes with rotary positions:
    every score of the model stays as it is.
    """
    q, k = lm.queries_and_keys(text)
    generator, found = torch.Generator().manual_seed(0), []
    for turn in range(n_turns + 1):
        half = torch.randn(k.shape[0], k.shape[1], 1, k.shape[-1] // 2, generator=generator).sign()
        signs = torch.cat([half, half], dim=-1) if turn else torch.ones_like(k[:, :, :1])
        of_heads = signs.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        found.append(aero.own_and_other_keys(q * of_heads, k * signs).other_share_below_zero.mean())
    return [found[0], min(found[1:]), max(found[1:])]


def without_key_bias(lm, text):
    """The largest change of a logit when b_K is deleted from the model; None where it has none."""
    if not hasattr(lm.model, "transformer"):
        return None
    other, ids, width = deepcopy(lm.model), lm.encode(text)[0][None], lm.model.config.hidden_size
    with torch.no_grad():
        for block in other.transformer.h:
            block.attn.c_attn.bias[width : 2 * width] = 0
        return (other(ids).logits - lm.model(ids).logits).abs().max().item()


def best_head(links, kind):
    """The head chosen on every other scene, measured on the rest: (head, share, low, high, by distance alone)."""
    chosen_on, measured_on = (links[(links.kind == kind) & (links.text % 2 == i)] for i in (0, 1))
    heads = aero.link_shares(chosen_on)
    best = heads.loc[(heads.share - heads.expected_share).idxmax()]
    own = measured_on[(measured_on.layer == best.layer) & (measured_on["head"] == best["head"])]
    on_links = lambda t: t.weight.sum() / t.non_sink.sum()  # noqa: E731
    low, high = aero.interval(own, on_links, by="text")
    return f"{best.layer}.{best['head']}", on_links(own), low, high, own.expected.sum() / own.non_sink.sum()


def on_rivals(rivals, name, kind):
    """How a head decides: [own share, rival's, wins, links] where the right word is nearer, then where the rival is."""
    layer, head = map(int, name.split("."))
    of_head = rivals[(rivals.kind == kind) & (rivals.layer == layer) & (rivals["head"] == head)]
    shares = aero.rival_shares(of_head).sort_values("rival_is_nearer")
    return shares[["own_share", "rival_share", "own_wins", "n_links"]].to_numpy(float).ravel().tolist()


def best_on_rivals(rivals, kind):
    """The head whose smaller margin over the rival, of the two orders, is largest: chosen on one half of the pairs of
    sentences, measured on the other. [head, *on_rivals]."""
    chosen_on, measured_on = (rivals[(rivals.kind == kind) & (rivals.text // 2 % 2 == i)] for i in (0, 1))
    shares = aero.rival_shares(chosen_on)
    margins = (shares.own_share - shares.rival_share).groupby([shares.layer, shares["head"]]).min()
    name = "{}.{}".format(*margins.idxmax())
    return [name, *on_rivals(measured_on, name, kind)]


def by_depth(matrices, column):
    """Spearman's ρ of layer and a column of `matrix_table` over the heads: [as stored, ln_1 folded in]."""
    return [aero.rank_correlation(aero.matrix_table(each), "layer", column) for each in (matrices, matrices.folded())]


def first_and_last(matrices, column):
    """A column's mean in the first and in the last layer: [both as stored, both with ln_1 folded in]."""
    means = [aero.matrix_table(each).groupby("layer")[column].mean() for each in (matrices, matrices.folded())]
    return [mean.iloc[place] for mean in means for place in (0, -1)]


def top_share(matrices, column):
    """[mean over the heads, the largest], ln_1 folded in."""
    return aero.matrix_table(matrices.folded())[column].agg(["mean", "max"]).tolist()


def by_chance(matrices):
    """The top share of W_Q W_Kᵀ for matrices of independent normal numbers of the same shape."""
    generator = torch.Generator().manual_seed(0)
    w_q, w_k = torch.randn(2, 8, *matrices.w_q.shape[2:], generator=generator)
    squares = aero.singular_values(w_q, w_k) ** 2
    return (squares[:, : -(-squares.shape[-1] // 8)].sum(-1) / squares.sum(-1)).mean().item()


def few_directions(matrices, column):
    """[mean of layer 1, of layer 2, of the last layer, a random matrix's], ln_1 folded in."""
    means = aero.matrix_table(matrices.folded()).groupby("layer")[column].mean()
    return [*means.iloc[[1, 2, -1]].tolist(), by_chance(matrices)]


def heads_of_few_directions(matrices, column):
    """Heads above twice chance: [in layer 1, in layer 2, in all]."""
    table = aero.matrix_table(matrices.folded())
    counts = (table[column] > 2 * by_chance(matrices)).groupby(table.layer).sum()
    return [counts[1], counts[2], counts.sum()]


def key_constant(matrices):
    """‖b_K‖ of a layer, all heads together: [smallest, largest]."""
    norms = matrices.b_k.flatten(1).norm(dim=-1)
    return [norms.min().item(), norms.max().item()]


def matrices_of(lm):
    """A model's HeadMatrices; None where it is no GPT-2."""
    try:
        return lm.head_matrices()
    except ValueError:
        return None


def of_terms(column, matrices, pairs):
    """A column of `term_table` on the mean over heads and texts: one number a term."""
    tables = [aero.term_table(aero.score_terms(q, k, matrices.b_q, matrices.b_k)) for q, k in pairs]
    return pd.concat(tables).groupby("term", sort=False)[column].mean().tolist()


def sink_without_query_bias(matrices, pairs):
    """Mean weight of queries 1, 2, … on key 0: [as it is, without b_Q in queries, without the folded b_Q, chance]."""
    found = []
    for bias in (torch.zeros_like(matrices.b_q), matrices.b_q, matrices.folded().b_q):
        weights = [aero.attention_weights((q - bias[:, :, None]) @ k.mT, q.shape[-1]) for q, k in pairs]
        found.append(np.mean([each[..., 1:, 0].mean().item() for each in weights]))
    return [*found, (1 / np.arange(2, pairs[0][0].shape[-2] + 1)).mean()]


def by_place(records):
    """Mean raw score of query 255 at PLACES, over heads and texts."""
    means = torch.stack([record.raw_scores[..., 255, :].mean((0, 1)) for record in records]).mean(0)
    return means[list(PLACES)].tolist()


def by_quarter(records):
    """Share below 0 of queries 192 to 255, by quarter of the keys."""
    below = torch.stack([(r.raw_scores[..., 192:256, :256] < 0).double().mean((0, 1)) for r in records]).mean(0)
    past = aero.causal_mask(256)[192:]
    return [(below * past)[:, keys].sum().item() / past[:, keys].sum().item() for keys in map(_quarter, range(4))]


def _quarter(i):
    return slice(64 * i, 64 * i + 64)


def moved(lm, texts):
    """Share below 0 of the texts at later positions."""
    return [
        share(aero.shift_tables([lm.record(text, first_position=first) for text in texts]))
        for first in (0, 32, 64, 128)
    ]


def effect(name, effects):
    """What one of INTERVENTIONS does to the running model: [change of entropy, change of loss]."""
    return [effects.entropy[name] - effects.entropy["as it is"], effects.loss_change[name]]


def effect_on_scores(name, records):
    """The same from recorded scores alone: [change of entropy, None]. Later layers do not hear of it."""
    changed = [changed_record(record, INTERVENTIONS[name]) for record in records]
    before, after = (aero.shift_tables(each).entropy.mean() for each in (records, changed))
    return [after - before, None]


def costs(change, lm, texts):
    """What a change of the scores costs, in nats a token: the mean over the texts' first n tokens for n in WINDOWS."""
    losses = []
    for text in texts:
        before = lm.token_losses(text, truncate=LONGEST)
        with lm.intervene(change):
            losses.append(lm.token_losses(text, truncate=LONGEST) - before)
    return [torch.stack(losses)[:, : n - 1].mean().item() for n in WINDOWS]


# Names of it that recordings alone cannot give: a command that asks for one is then left open.
OF_A_MODEL = {"lm", "texts", "effects", "links", "rivals", "matrices", "pairs", "long_records", "parts", "costs"}


def measure(lm):
    """{label: number or numbers} of every row that a model can answer."""
    names = globals() | {"lm": lm}
    exec(SETUP, names)
    prompts = [record.first(min(6, record.n_tokens)) for record in map(lm.record, PROMPTS)]
    numbers = of_prompts(prompts) | by_length(names["long_records"], names["long_records"]) | by_window(names)
    return numbers | measured([*CLAIMS, *LINKS, *MATRICES, *RAMP, *TERMS], names)


def measured(rows, names, prefix=""):
    """{label: what each row's command returns}; None where it asks for what `names` does not have."""
    return {prefix + row[0]: _plain(_run(row[3], names)) for row in rows if len(row) > 2}


def of_prompts(records):
    """The claims on GPT-2's three prompts: what recorded scores alone can answer."""
    tables = aero.shift_tables(records)
    names = {"records": records, "tables": tables, "table": aero.mean_over_texts(tables)}
    return measured(CLAIMS, names | {"effect": partial(effect_on_scores, records=records)}, "p")


def by_length(records, seen):
    """The rows of table 3, each once for each length that any record has."""
    numbers = {}
    for n in LENGTHS:
        cut = {
            name: [record.first(n) for record in each if record.n_tokens >= n]
            for name, each in (("records", records), ("seen", seen))
        }
        names = {name: each for name, each in cut.items() if each}
        numbers |= {f"{row[0]}.{n}": _plain(_run(row[3], names)) for row in BY_LENGTH}
    return numbers


def by_window(names):
    """The rows of table 4: a command returns one entry a window."""
    rows = {row[0]: _plain(_run(row[3], names)) for row in PARTS}
    return {f"{label}.{n}": each for label, found in rows.items() for n, each in zip(WINDOWS, found)}


def measure_recorded(folder):
    """GPT-2 Small's column, from what others recorded and, where the folder has them, its attention tensors."""
    prompts, (records, seen) = read_prompts(folder), read_longer(folder)
    file, names = folder / "attention.safetensors", {}
    if file.exists():
        names = {"matrices": aero.read_head_matrices(file, 12), "pairs": [read_queries_and_keys(folder)]}
        names["of_terms"] = partial(of_terms, pairs=names["pairs"])
    numbers = of_prompts(prompts) | by_length(prompts + records, prompts + seen)
    return numbers | measured(MATRICES, names) | measured(TERMS, names)


def _run(command, names):
    asked = set(re.findall(r"\w+", command))
    known = {name: value for name, value in names.items() if value is not None}
    missing = asked & (OF_A_MODEL | {"records", "seen"}) - known.keys()
    return None if missing else eval(command, globals() | known)


def _plain(value):
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, str):
        return value
    return None if np.isnan(value) else float(f"{value:.6g}")


def written(value, how):
    """A value as it stands in the table."""
    if value is None:
        return "–"
    if how == "of":
        return f"{value[0]:.0f} / {value[1]:.0f}"
    if how == "head":
        return f"{value[0]}: {_with_interval(value[1:4], '.2f')}; {value[4]:.2f}"
    if how == "wins":
        own, rival, wins, links, *other = value
        of_order = f"{own:.2f} : {rival:.2f} ({wins:.0f}/{links:.0f})"
        return f"{of_order}; {written(other, how)}" if other else of_order
    if how == "both":
        return f"{value[0]}: {written(value[1:], 'wins')}"
    if how.endswith("…"):
        return " … ".join(_number(part, how[:-1]) for part in value)
    if how.endswith(";"):
        return "; ".join(_number(part, how[:-1]) for part in value)
    return _with_interval(value if isinstance(value, list) else [value], how)


def _with_interval(numbers, how):
    value, *interval = (_number(number, how) for number in numbers)
    return f"{value} [{', '.join(interval)}]" if interval and "–" not in interval else value


def _number(number, how):
    if number is None or np.isnan(number):
        return "–"
    text = f"{number:{how}}"
    if float(text) == 0:
        return text.lstrip("+-")
    return text.replace("-", "−", 1) if text.startswith("-") else text


def page(numbers, language):
    """One of the two pages."""
    about, which = PAGES[language], ("vi", "en").index(language)
    lines, commands = [about["text"]], {}
    for prefix, rows, lengths, wanted, *titles in TABLES:
        columns = [column for column in wanted if column in numbers]
        lines += ["", f"## {titles[which][0]}", "", titles[which][1], ""]
        lines += _table(numbers, rows, prefix, lengths, columns, which)
        commands |= {row[0]: row[3] for row in rows if len(row) > 2}
    commands = [_line([label, f"`{command}`"]) for label, command in commands.items()]
    setup = f"```python\n{LOAD}{SETUP}```\n"
    return "\n".join([*lines, "", about["commands"], setup, _line(about["row"]), _line(["---"] * 2), *commands, ""])


def _table(numbers, rows, prefix, lengths, columns, which):
    """The lines of one table: a row a test, or a row a test and length. A row that no column answers is left out."""
    with_verdict = lengths is None
    heads = list(PAGES[("vi", "en")[which]]["heads"])
    heads = [
        *heads[:2],
        *(heads[2:3] if lengths else []),
        *(COLUMNS[c][which] for c in columns),
        *heads[3:][:with_verdict],
    ]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for row in rows:
        if len(row) == 2:
            lines.append(_line(["", f"**{row[which]}**", *[""] * (len(columns) + with_verdict)]))
            continue
        label, test, how = prefix + row[0], row[1 + which], row[4]
        for n in lengths or [None]:
            values = [numbers[column].get(label if n is None else f"{label}.{n}") for column in columns]
            if all(value is None for value in values):
                continue
            cells = [written(value, how) for value in values]
            cells = [_decimal_commas(cell) for cell in cells] if which == 0 else cells
            verdict = [row[5 + which] if not prefix else ""] if with_verdict else []
            lines.append(_line([label, test, *([] if n is None else [str(n)]), *cells, *verdict]))
    return lines


def _line(cells):
    return f"| {' | '.join(cells)} |"


def _decimal_commas(cell):
    """0.81 [0.80, 0.81] as Vietnamese writes it: 0,81 [0,80; 0,81]. A head's name, 3.3:, keeps its point."""
    head, rest = re.fullmatch(r"(\d+\.\d+: )?(.*)", cell).groups(default="")
    return head + rest.replace(", ", "; ").replace(".", ",")


def main(name=None, folder=None):
    if name not in (None, *COLUMNS) or (name == "recorded") != (folder is not None):
        sys.exit(__doc__)
    measured = {}
    if name == "recorded":
        measured = {name: measure_recorded(Path(folder))}
    elif name is not None:
        measured = {name: measure(aero.load("mini").untrained() if name == "untrained" else aero.load(name))}
    numbers = (json.loads(NUMBERS.read_text(encoding="utf-8")) if NUMBERS.exists() else {}) | measured
    NUMBERS.write_text(json.dumps(numbers, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    pages = {about["file"]: page(numbers, language) for language, about in PAGES.items()}
    for name, text in pages.items():
        (DOCS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
