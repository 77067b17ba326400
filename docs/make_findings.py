"""The findings: every claim of the source lesson, its test, the numbers of four models, the verdict.

    python docs/make_findings.py mini               measure a model that `aero.load` knows
    python docs/make_findings.py gpt2               the same for GPT-2 Small, where the hub is within reach
    python docs/make_findings.py recorded FOLDER    GPT-2 Small from recorded activations (see make_story.py), and its
                                                    attention.safetensors where the folder has one
    python docs/make_findings.py                    write the pages from the numbers of earlier runs

Numbers are kept in findings.json, one column a model; the pages findings.md and findings.vi.md are
written from it. Each number is what the command beside it in ROWS returns, and the pages show it.
"""

import json
import sys
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from make_story import read_records

import aero_helpers as aero
from aero_helpers.attention import row_means
from aero_helpers.interventions import (
    INTERVENTIONS,
    center_rows,
    changed_record,
    clip_negative,
    largest_weight_change,
)
from aero_helpers.shift import gap_to_key_0

FOLDER = Path(__file__).resolve().parent
NUMBERS = FOLDER / "findings.json"
COLUMNS = {
    "untrained": ("chưa huấn luyện (`mini`)", "untrained (`mini`'s shape)"),
    "mini": ("`mini`", "`mini`"),
    "smollm2": ("SmolLM2-135M (4 bit)", "SmolLM2-135M (4 bits)"),
    "recorded": ("GPT-2 Small: 3 câu ngắn đã ghi", "GPT-2 Small: 3 short recorded prompts"),
    "gpt2": ("GPT-2 Small", "GPT-2 Small"),
}


def share(tables):
    """Scores below 0 among all scores counted."""
    return (tables.share_below_zero * tables.n_scores).sum() / tables.n_scores.sum()


def over_texts(tables):
    """(share, low, high); the interval only where there are texts enough."""
    return share(tables), *(aero.interval(tables, share, by="text") if tables.text.nunique() >= 5 else ())


def rho(table, x, given=None):
    """(Spearman's ρ of x with entropy over the heads, low, high), layers drawn anew."""
    statistic = lambda t: aero.rank_correlation(t, x, "entropy", given)  # noqa: E731
    return statistic(table), *aero.interval(table, statistic, by="layer")


def invisible(records):
    """The share of the mean square of the raw scores that is constant within a row; rows of one score left out."""
    parts = []
    for record in records:
        past = aero.causal_mask(record.n_tokens)
        n_keys = past.sum(dim=-1)
        row_mean = row_means(record.raw_scores)[..., 0]
        parts.append(((row_mean**2 * n_keys)[..., 1:].sum(), (record.raw_scores**2 * past)[..., 1:, :].sum()))
    constant, total = np.sum(parts, axis=0)
    return constant / total


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


def weight_change(records, change):
    """The largest change of any attention weight when all scores are changed."""
    return max(largest_weight_change(record, change) for record in records)


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


def matrices_of(lm):
    """A model's HeadMatrices; None where it is no GPT-2."""
    try:
        return lm.head_matrices()
    except ValueError:
        return None


def effect(name, effects):
    """What one of INTERVENTIONS does to the running model: [change of entropy, change of loss]."""
    return [effects.entropy[name] - effects.entropy["as it is"], effects.loss_change[name]]


def effect_on_scores(name, records):
    """The same from recorded scores alone: [change of entropy, None]. Later layers do not hear of it."""
    changed = [changed_record(record, INTERVENTIONS[name]) for record in records]
    before, after = (aero.shift_tables(each).entropy.mean() for each in (records, changed))
    return [after - before, None]


SETUP = """\
from make_findings import *

lm = aero.load("mini")  # or "gpt2", "smollm2"; the untrained model: aero.load("mini").untrained()
scenes = aero.read_scenes()
texts = [scene.text for scene in scenes]
records = [lm.record(text) for text in texts]
tables = aero.shift_tables(records)
table = aero.mean_over_texts(tables)
effects = aero.intervention_table(lm, texts).set_index("intervention")
links = aero.link_table(records, scenes)
matrices = lm.head_matrices()  # or aero.read_head_matrices(file, 12) for GPT-2 Small's tensors without the model
effect = partial(effect, effects=effects)"""

# claim, or: number of the row, test in Vietnamese, in English, command, how it is written, verdict in both
ROWS = [
    ("Điểm thô bị đẩy về phía âm.", "Raw scores are pushed to the negative side."),
    ("1a", "tỉ lệ điểm dưới 0, mọi ô nhân quả", "share below 0, all causal entries", "over_texts(tables)", ".2f",
     "đúng, do huấn luyện; không phải luật chung", "true, and learnt; no general law"),
    ("1b", "bỏ khóa 0", "without key 0", 'over_texts(aero.shift_tables(records, "without_key_0"))', ".2f",
     "con số tùy cách đếm", "the number depends on what is counted"),
    ("1c", "bỏ đường chéo", "without the diagonal", 'over_texts(aero.shift_tables(records, "without_diagonal"))', ".2f",
     "", ""),
    ("1d", "truy vấn cuối, bỏ khóa 0 và chính token ấy", "last query, without key 0 and itself",
     'over_texts(aero.shift_tables(records, "last_query"))', ".2f",
     "cách chọn của notebook gốc, mạnh nhất ở GPT-2", "the original notebook's choice, strongest in GPT-2"),
    ("1e", "chỉ khóa 0", "key 0 alone", 'over_texts(aero.shift_tables(records, "key_0"))', ".2f",
     "ở mô hình có điểm hút, khóa 0 nằm bên dương", "in models with a sink, key 0 is on the positive side"),
    ("1f", "trung vị của điểm thô", "median raw score",
     "np.median(np.concatenate([r.raw_scores[..., aero.causal_mask(r.n_tokens)].flatten() for r in records]))", ".1f",
     "", ""),
    ("1g", "tỉ lệ nhỏ nhất và lớn nhất trong các tầng", "smallest and largest share of a layer",
     'tables.groupby("layer").share_below_zero.mean().agg(["min", "max"]).tolist()', ".2f…",
     "tùy tầng; ở GPT-2 tầng cuối đảo chiều", "depends on the layer; GPT-2's last one goes the other way"),
    ("1h", "số đầu có quá nửa điểm dưới 0", "heads with more than half below 0",
     "[(table.share_below_zero > 0.5).sum(), len(table)]", "of", "", ""),
    ("1i", "truy vấn gặp khóa của đầu khác", "queries with the keys of other heads",
     "pd.concat([aero.own_and_other_keys(*lm.queries_and_keys(text)) for text in texts]).other_share_below_zero.mean()",
     ".2f", "độ lệch thuộc về từng cặp Q–K", "the shift belongs to each head's own pair of Q and K"),
    ("Softmax nhìn thấy độ lệch.", "The softmax sees the shift."),
    ("2a", "tỉ phần của trung bình bình phương thuộc về trung bình hàng",
     "share of the mean square that is the row's mean",
     "invisible(records)", ".2f",
     "phần lớn là vô hình ở mọi mô hình đã huấn luyện", "mostly invisible in all trained models"),
    ("2b", "dời mỗi hàng về quanh 0: trọng số chú ý đổi nhiều nhất", "centre each row: largest change of a weight",
     "weight_change(records, center_rows)", ".0e", "sai: không đổi gì", "false: nothing changes"),
    ("2c", "cộng vào mỗi hàng một hằng số để mọi điểm thành dương: mất mát đổi",
     "add to each row a constant that makes all positive: change of loss",
     'effects.loss_change["add a constant to each row"]', "+.3f", "sai: không đổi gì", "false: nothing changes"),
    ("2d", "đặt điểm âm bằng 0: trọng số chú ý đổi nhiều nhất", "set negative scores to 0: largest change of a weight",
     "weight_change(records, clip_negative)", ".2f",
     "có đổi, vì phá luôn các hiệu trong hàng", "changes, because it destroys the differences in a row"),
    ("2e", "đặt điểm âm bằng 0: mất mát đổi", "set negative scores to 0: change of loss",
     'effects.loss_change["set negative scores to 0"]', "+.2f", "", ""),
    ("2f", "xóa b_K: logit đổi nhiều nhất", "delete b_K: largest change of a logit",
     "without_key_bias(lm, texts[0])", ".0e",
     "b_K không có tác dụng gì (SmolLM2 không có)", "b_K does nothing (SmolLM2 has none)"),
    ("Độ lệch làm chú ý thưa.", "The shift makes attention sparse."),
    ("3a", "ρ của tỉ lệ điểm âm với entropy", "ρ of share below 0 with entropy",
     'rho(table, "share_below_zero")', "+.2f",
     "dấu đổi theo mô hình: tương quan không phân xử được", "its sign differs by model: correlation cannot judge"),
    ("3b", "ρ của độ phân tán theo hàng với entropy", "ρ of row spread with entropy",
     'rho(table, "row_spread")', "+.2f",
     "mọi mô hình: phân tán nhiều thì thưa", "in all models: more spread, sparser"),
    ("3c", "ρ của độ chênh của khóa 0 với entropy", "ρ of the gap of key 0 with entropy",
     'rho(table, "sink_gap")', "+.2f",
     "âm và mạnh ở mô hình có điểm hút; ở `mini` ngược dấu", "negative and strong where there is a sink"),
    ("3d", "ρ của tỉ lệ điểm âm, cùng độ phân tán", "ρ of share below 0, at like spread",
     'rho(table, "share_below_zero", "row_spread")', "+.2f",
     "ở SmolLM2 còn lại một phần; 3e phân xử", "in SmolLM2 some of it remains; 3e decides"),
    ("3e", "dời mỗi hàng về quanh 0: entropy, mất mát đổi", "centre each row: change of entropy, of loss",
     'effect("centre each row")', "+.2f;", "sai: bỏ độ lệch không đổi gì", "false: without the shift nothing changes"),
    ("3f", "độ phân tán × 2: entropy, mất mát đổi", "spread × 2: change of entropy, of loss",
     'effect("spread × 2")', "+.2f;", "độ phân tán mới làm thưa", "it is the spread that makes it sparse"),
    ("3g", "độ phân tán × 0,5: entropy, mất mát đổi", "spread × 0.5: change of entropy, of loss",
     'effect("spread × 0.5")', "+.2f;", "", ""),
    ("Độ lệch và điểm hút là một.", "Shift and sink are one thing."),
    ("4a", "trọng số chú ý trên khóa 0; mức ngẫu nhiên", "weight on key 0; chance",
     "[table.sink_weight.mean(), np.mean([(1 / np.arange(2, r.n_tokens + 1)).mean() for r in records])]", ".2f;",
     "sai: `mini` lệch mà không có điểm hút", "false: `mini` has the shift and no sink"),
    ("4b", "che khóa 0: entropy, mất mát đổi", "hide key 0: change of entropy, of loss",
     'effect("hide key 0")', "+.2f;",
     "gây hại nhiều hơn khi có điểm hút", "costs more where there is a sink"),
    ("4c", "tỉ phần bình phương trong hàng do độ chênh của khóa 0; do một khóa bất kỳ",
     "share of the squares within rows made by the gap of key 0; by any one key", "from_key_0(records)", ".2f;",
     "phần lớn ở GPT-2", "most of them in GPT-2"),
    ("Nó chừa chỗ cho vài liên kết ngữ pháp.", "It leaves room for a few grammatical links."),
    *(
        (number, f"đầu tốt nhất cho {vi}: phần trọng số; mức chỉ nhờ khoảng cách",
         f"best head for {kind}: share; distance alone",
         f'best_head(links, "{kind}")', "head", *verdict)
        for number, kind, vi, verdict in (
            ("5a", "determiner–noun", "hạn định từ – danh từ", ("có, ở cả hai mô hình", "found, in both models")),
            ("5b", "adjective–noun", "tính từ – danh từ", ("ví dụ của bài gốc, yếu", "the lesson's own example, weak")),
            ("5c", "verb–object", "động từ – tân ngữ", ("có, ở cả hai mô hình", "found, in both models")),
            ("5d", "pronoun–antecedent", "đại từ – tiền ngữ", ("rõ ở SmolLM2", "clear in SmolLM2")),
        )
    ),
    ("Chuẩn của W_Q, W_K ở các tầng cho biết tầng nào chú ý mạnh hơn (bài 06).",
     "The norms of W_Q and W_K say which layers attend harder (lesson 06)."),
    ("6a", "‖W_Q‖ ở tầng đầu, tầng cuối; cũng vậy, đã gộp `ln_1`",
     "‖W_Q‖ in the first and the last layer; the same with `ln_1` folded in",
     'first_and_last(matrices, "norm_w_q")', ".1f;",
     "con số của riêng ma trận không so được giữa các tầng", "the matrix alone cannot be compared between layers"),
    ("6b", "ρ của tầng với ‖W_Q W_Kᵀ‖; đã gộp `ln_1`", "ρ of layer and ‖W_Q W_Kᵀ‖; with `ln_1` folded in",
     'by_depth(matrices, "norm_qk")', "+.2f;",
     "sai: ở GPT-2 xu hướng biến mất, ở `mini` nó hiện ra", "false: in GPT-2 the trend goes, in `mini` one appears"),
    ("6c", "ρ của tầng với ‖W_V W_O‖; đã gộp `ln_1`", "ρ of layer and ‖W_V W_O‖; with `ln_1` folded in",
     'by_depth(matrices, "norm_ov")', "+.2f;",
     "tăng theo tầng, gộp hay không cũng vậy", "rises with the layer, folded or not"),
    ("6d", "W_Q W_Kᵀ, đã gộp: phần của Σσ² do 1/8 số giá trị kỳ dị giữ, trung bình; lớn nhất",
     "W_Q W_Kᵀ, folded: share of Σσ² that 1/8 of the singular values hold, mean; largest",
     'top_share(matrices, "qk_top_share")', ".2f;",
     "`mini`: ít hướng; GPT-2: chỉ vài đầu như vậy", "`mini`: few directions; GPT-2: in some heads only"),
    ("6e", "W_V W_O, cũng vậy", "W_V W_O, likewise", 'top_share(matrices, "ov_top_share")', ".2f;", "", ""),
]  # fmt: skip

PAGES = {
    "vi": {
        "file": "findings.vi.md",
        "text": """\
# Kết quả: độ lệch âm ra tòa

[English](findings.md) · **Tiếng Việt**

Từng khẳng định của bài giảng gốc, phép thử, con số của bốn mô hình, và phán quyết. Trang này do `make findings` tạo ra;
mỗi con số là kết quả của câu lệnh mang cùng ký hiệu ở dưới. Văn bản: 16 cảnh nhỏ (64 câu) viết cho khóa học này
(`aero_helpers/scenes.txt`). Riêng GPT-2 Small: ba câu, mỗi câu 6 token, do dự án Transformer Explainer
(github.com/poloclub/transformer-explainer, giấy phép MIT) ghi lại; đó là điểm số đã ghi chứ không phải mô hình, nên
thứ gì cần chạy mô hình thì để trống (–), và ở 3e–3g, 4b entropy tính từ điểm số đã đổi; mục 6 đo trên chính các ma trận
chú ý của GPT-2 Small (OpenAI, giấy phép MIT có sửa đổi). [a; b]: khoảng tin cậy 95% bằng
bootstrap, rút lại các văn bản (1a–1e, 5a–5d) hoặc các tầng (3a–3d). Mất mát tính bằng nat trên mỗi token.

**Độ lệch âm có làm chú ý thưa không?** Không. Độ lệch có thật ở GPT-2 và ở `mini`; ở SmolLM2, tính chung, hầu như
không có. Bỏ nó đi thì không trọng số chú ý nào đổi. Tính thưa gắn với độ phân tán theo hàng; ở GPT-2 Small phần lớn độ
phân tán ấy là độ chênh của khóa 0, ở SmolLM2 entropy gắn chặt nhất với độ chênh ấy.
""",
        "heads": ("", "phép thử", "phán quyết"),
        "commands": """\
## Câu lệnh

`make findings` đo lại `mini`, mô hình chưa huấn luyện và SmolLM2, cùng các câu đã ghi nếu có
(`make findings RECORDED=thư_mục`). Với GPT-2 Small, khi kết nối được Hugging Face:
`python docs/make_findings.py gpt2` thêm cột thứ năm, trên cùng 16 cảnh.

Mỗi câu lệnh trong bảng chạy sau đoạn chuẩn bị này, trong thư mục `docs/`; các hàm nhỏ nằm trong `make_findings.py`.
""",
        "row": ("", "câu lệnh"),
    },
    "en": {
        "file": "findings.md",
        "text": """\
# Findings: the negative shift on trial

**English** · [Tiếng Việt](findings.vi.md)

Every claim of the source lesson, its test, the numbers of four models, the verdict. `make findings` makes this page;
each number is what the command of the same label below returns. Texts: 16 little scenes (64 sentences) written for this
course (`aero_helpers/scenes.txt`). GPT-2 Small alone: three prompts of 6 tokens, recorded by the Transformer Explainer
project (github.com/poloclub/transformer-explainer, MIT licence); these are recorded scores, not a model, so whatever
would need to run the model is left open (–), and in 3e–3g and 4b the entropy is that of the changed scores; section 6
is measured on GPT-2 Small's own attention matrices (OpenAI, modified MIT licence). [a, b]: 95% bootstrap intervals,
texts drawn anew (1a–1e, 5a–5d) or layers (3a–3d). The loss is in nats a token.

**Does the negative shift make attention sparse?** No. The shift is real in GPT-2 and in `mini`; in SmolLM2, taken
together, there is hardly any. Remove it, and no attention weight changes. Sparsity goes with the spread within a row;
in GPT-2 Small most of that spread is the gap of key 0, in SmolLM2 entropy goes closest with that gap.
""",
        "heads": ("", "test", "verdict"),
        "commands": """\
## Commands

`make findings` measures `mini`, the untrained model and SmolLM2 again, and the recorded prompts where they are at hand
(`make findings RECORDED=folder`). For GPT-2 Small, where the hub is within reach: `python docs/make_findings.py gpt2`
adds a fifth column, on the same 16 scenes.

Each command of the table runs after these lines, in `docs/`; the small functions stand in `make_findings.py`.
""",
        "row": ("", "command"),
    },
}


def measure(records, lm=None, matrices=None):
    """{label: number or numbers} of every row that can be measured from a model, or from what there is of it."""
    tables = aero.shift_tables(records)
    names = {
        **{"aero": aero, "np": np, "pd": pd, "center_rows": center_rows, "clip_negative": clip_negative},
        **{f.__name__: f for f in (over_texts, rho, invisible, from_key_0, weight_change, without_key_bias, best_head)},
        **{f.__name__: f for f in (by_depth, first_and_last, top_share)},
        **{"records": records, "tables": tables, "table": aero.mean_over_texts(tables)},
        "effect": partial(effect_on_scores, records=records),
    }
    if lm is not None:
        scenes = aero.read_scenes()
        texts = [scene.text for scene in scenes]
        effects = aero.intervention_table(lm, texts).set_index("intervention")
        names |= {"lm": lm, "texts": texts, "effects": effects, "links": aero.link_table(records, scenes)}
        names["effect"] = partial(effect, effects=effects)
        matrices = matrices_of(lm)
    if matrices is not None:
        names["matrices"] = matrices
    return {row[0]: _plain(_run(row[3], names)) for row in ROWS if len(row) > 2}


def measure_recorded(folder):
    """GPT-2 Small's column, from recorded scores and, where the folder has them, its attention tensors."""
    file = folder / "attention.safetensors"
    return measure(read_records(folder), matrices=aero.read_head_matrices(file, 12) if file.exists() else None)


def _run(command, names):
    """What a command returns; None where it needs a model, and there are records alone."""
    needed = {"lm", "texts", "effects", "links", "matrices"} & set(compile(command, "command", "eval").co_names)
    return eval(command, names) if needed <= names.keys() else None


def _plain(value):
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, str):
        return value
    return None if np.isnan(value) else float(f"{value:.6g}")


def written(value, how):
    """A value as it stands in the table."""
    if how == "of":
        return f"{value[0]:.0f} / {value[1]:.0f}"
    if value is None:
        return "–"
    if how == "head":
        return f"{value[0]}: {_with_interval(value[1:4], '.2f')}; {value[4]:.2f}"
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
    columns = [column for column in COLUMNS if column in numbers]
    heads = [*about["heads"][:2], *(COLUMNS[column][which] for column in columns), about["heads"][2]]
    lines = [about["text"], _line(heads), _line(["---"] * len(heads))]
    commands = [_line(about["row"]), _line(["---"] * 2)]
    for row in ROWS:
        if len(row) == 2:
            lines.append(_line(["", f"**{row[which]}**", *[""] * (len(columns) + 1)]))
            continue
        label, *tests, command, how, verdict_vi, verdict_en = row
        cells = [written(numbers[column].get(label), how) for column in columns]
        if language == "vi":
            cells = [_decimal_commas(cell) for cell in cells]
        lines.append(_line([label, tests[which], *cells, (verdict_vi, verdict_en)[which]]))
        commands.append(_line([label, f"`{command}`"]))
    setup = f"```python\n{SETUP}\n```\n"
    return "\n".join([*lines, "", about["commands"], setup, *commands, ""])


def _line(cells):
    return f"| {' | '.join(cells)} |"


def _decimal_commas(cell):
    """0.81 [0.80, 0.81] as Vietnamese writes it: 0,81 [0,80; 0,81]. A head's name, 3.3:, keeps its point."""
    head, colon, rest = cell.rpartition(": ")
    return head + colon + rest.replace(", ", "; ").replace(".", ",")


def main(name=None, folder=None):
    if name not in (None, *COLUMNS) or (name == "recorded") != (folder is not None):
        sys.exit(__doc__)
    if name == "recorded":
        measured = {name: measure_recorded(Path(folder))}
    elif name is not None:
        lm = aero.load("mini").untrained() if name == "untrained" else aero.load(name)
        measured = {name: measure([lm.record(scene.text) for scene in aero.read_scenes()], lm)}
    else:
        measured = {}
    numbers = (json.loads(NUMBERS.read_text(encoding="utf-8")) if NUMBERS.exists() else {}) | measured
    pages = {about["file"]: page(numbers, language) for language, about in PAGES.items()}
    NUMBERS.write_text(json.dumps(numbers, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
