"""Lesson 08, a museum of silent bugs: what is given is an exhibit, and runs without an error."""

import numpy as np
import torch

from aero_helpers import attention, interventions
from aero_helpers.checking import Exercise, Prediction
from aero_helpers.exercises.inputs import drawn, masked

HIDDEN = interventions.HIDDEN
SHARP = 0.9


def _future(scores):
    return ~attention.causal_mask(scores.shape[-1])


# ---- 1, a mask that is almost −∞

mask_that_holds = Exercise(
    inputs=drawn(
        lambda draw: [
            (draw(2, 4, 4) - 20_000,),
            (draw(5, 5),),
            (draw(2, 3, 3).double() - 2e10,),
            (torch.full((3, 3), -1e30, dtype=torch.float64),),
            (draw(4, 4) + 50_000 * torch.ones(4, 4).triu(1),),
        ]
    ),
    right=lambda scaled: masked(scaled).softmax(-1),
    given=lambda scaled: masked(scaled, -1e4).softmax(-1),
    result="[..., query, key]",
)


@mask_that_holds.mistake(
    "Một số hữu hạn âm hơn nữa chỉ đẩy lỗi ra xa hơn: có đầu vào thử mà điểm còn nằm dưới cả số ấy.",
    "A finite number further below moves the fault further away: one of the inputs lies below that one, too.",
)
def larger_number(scaled):
    return masked(scaled, -1e9).softmax(-1)


@mask_that_holds.mistake(
    "Che sau softmax thì tương lai được 0, nhưng các hàng không còn tổng bằng 1.",
    "Masked after the softmax the future gets 0, and the rows no longer sum to 1.",
)
def masked_afterwards(scaled):
    return scaled.softmax(-1).masked_fill(_future(scaled), 0.0)


@mask_that_holds.mistake(
    "Bạn che quá khứ chứ không phải tương lai: hàng cuối không còn gì.",
    "You mask the past, not the future: nothing is left in the last row.",
)
def past_masked(scaled):
    return scaled.masked_fill(~_future(scaled), -torch.inf).softmax(-1)


# ---- 2, a control that hangs on a basis

basis_control = Prediction(
    right="control",
    why=(
        "Đúng: q và k của cùng một đầu xoay cùng nhau nên q·k giữ nguyên; khóa của đầu khác xoay theo cách khác.",
        "Right: q and k of one head turn together, so q·k stays; another head's keys turn otherwise.",
    ),
    kind=('"own", "control", "both" hoặc "none"', '"own", "control", "both" or "none"'),
    mistakes=[
        ("own",
         "q·k của cùng một đầu là (Rq)·(Rk) = q·k: phép xoay không đổi được nó.",
         "Within a head (Rq)·(Rk) = q·k: a rotation can't change it."),
        ("both",
         "Trong một đầu, q và k chịu cùng một phép xoay: (Rq)·(Rk) = q·k.",
         "Within one head q and k take the same rotation: (Rq)·(Rk) = q·k."),
        ("none",
         "Mô hình không đổi, nhưng (Rq)·(R′k) của hai đầu khác nhau thì đổi.",
         "The model doesn't change, but (Rq)·(R′k) of two different heads does."),
    ],
)  # fmt: skip


# ---- 3, dropout left on


def _attend(weights, values, p, training):
    return torch.nn.functional.dropout(weights, p, training=training) @ values


dropout_in_training = Exercise(
    inputs=drawn(
        lambda draw: [
            (masked(draw(4, 4)).softmax(-1), draw(4, 3), p, training)
            for p, training in ((1.0, False), (1.0, True), (0.0, True))
        ]
    ),
    right=_attend,
    given=lambda weights, values, p, training: torch.nn.functional.dropout(weights, p) @ values,
    result="[query, d]",
)


@dropout_in_training.mistake(
    "Giờ thì không bao giờ có dropout: khi training=True vẫn phải có.",
    "Now there is never any dropout: with training=True there has to be.",
)
def never(weights, values, p, training):
    return weights @ values


@dropout_in_training.mistake(
    "Ngược rồi: dropout chỉ dùng khi training=True.", "The other way round: dropout is for training=True."
)
def reversed_mode(weights, values, p, training):
    return _attend(weights, values, p, not training)


# ---- 4, nothing measured is not 0


def _sharp_among(attentions, n_layers):
    return sum(bool((weights[..., 1:, :] > SHARP).any()) for weights in attentions)


def _sharp_layers(attentions, n_layers):
    return _sharp_among(attentions, n_layers) if len(attentions) == n_layers else float("nan")


def _three_layers(draw):
    flat = masked(0.1 * draw(2, 4, 4)).softmax(-1)
    nearly, sharp = flat.clone(), flat.clone()
    nearly[0, 3] = torch.tensor([0.05, 0.05, 0.85, 0.05])  # not above SHARP
    sharp[1, 2] = torch.tensor([0.95, 0.03, 0.02, 0.0])  # in one head alone, not on its diagonal
    return nearly, sharp, flat


nothing_is_not_zero = Exercise(
    inputs=drawn(
        lambda draw: [(_three_layers(draw), 3), (_three_layers(draw)[::2], 2), ((), 3), (_three_layers(draw)[:2], 3)]
    ),
    right=_sharp_layers,
    given=_sharp_among,
    result=("một con số", "a number"),
)


@nothing_is_not_zero.mistake(
    "Không nhận được gì thì bạn đã báo; thiếu một tầng thì chưa.",
    "You say so where nothing came; not yet where a layer is missing.",
)
def only_empty(attentions, n_layers):
    return _sharp_layers(attentions, len(attentions)) if attentions else float("nan")


@nothing_is_not_zero.mistake(
    "Hàng 0 luôn có trọng số 1 trên khóa duy nhất của nó: hãy bắt đầu từ hàng 1.",
    "Row 0 always has weight 1 on the only key it has: begin with row 1.",
)
def first_row_counted(attentions, n_layers):
    if len(attentions) != n_layers:
        return float("nan")
    return sum(bool((weights > SHARP).any()) for weights in attentions)


@nothing_is_not_zero.mistake(
    "Đếm đủ mọi tầng mà được 0 thì 0 là kết quả đo: đừng thay nó bằng NaN.",
    "Where all layers were counted, 0 is what was measured: do not make it NaN.",
)
def zero_as_nothing(attentions, n_layers):
    return _sharp_layers(attentions, n_layers) or float("nan")


@nothing_is_not_zero.mistake(
    "Bạn trả về −1: người dùng có thể cộng hay lấy trung bình với nó. NaN thì không lẫn được.",
    "You return −1: somebody may add it up or average it. NaN can't be taken for a number.",
)
def minus_one(attentions, n_layers):
    return -1 if len(attentions) != n_layers else _sharp_layers(attentions, n_layers)


# ---- 5, padding in front

_PADDED = torch.tensor([[0, 0, 0, 1, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])


def _positions(mask):
    return (mask.cumsum(-1) - 1).clamp(min=0)


positions_behind_padding = Exercise(
    inputs=[(_PADDED,), (_PADDED[:2, :4],), (_PADDED[1:],)],
    right=_positions,
    given=lambda mask: torch.arange(mask.shape[-1]).expand(mask.shape),
    result="[batch, T]",
)


@positions_behind_padding.mistake(
    "Token thật đầu tiên đứng ở vị trí 0, không phải 1.", "The first real token stands at position 0, not 1."
)
def from_one(mask):
    return mask.cumsum(-1)


@positions_behind_padding.mistake(
    "Phần đệm nhận vị trí −1: bảng embedding vị trí không có hàng −1. Hãy cho nó vị trí 0.",
    "Padding gets position −1, for which there is no embedding. Give it 0.",
)
def minus_one_on_padding(mask):
    return mask.cumsum(-1) - 1


@positions_behind_padding.mistake(
    "Phần đệm nhận vị trí 1, như transformers làm; ở đây hãy cho nó 0 (nó bị che, nên số nào cũng được).",
    "Padding gets position 1, as in transformers; here give it 0 (it is hidden, so any would do).",
)
def one_on_padding(mask):
    return (mask.cumsum(-1) - 1).masked_fill(mask == 0, 1)


# ---- 6, the entropy of rows that are not alike


def _entropies(weights):
    """Of each row, in nats."""
    return torch.special.entr(weights).sum(-1)


def _lengths(weights):
    return torch.arange(1, len(weights) + 1)


entropy_of_rows = Exercise(
    inputs=drawn(lambda draw: [(masked(2 * draw(n, n)).softmax(-1),) for n in (6, 3, 12)]),
    right=lambda weights: (_entropies(weights)[1:] / _lengths(weights)[1:].log()).mean(),
    given=lambda weights: _entropies(weights).mean(),
    result=("một con số", "a number"),
)


@entropy_of_rows.mistake(
    "Bạn chia mọi hàng cho ln T; mỗi hàng phải chia cho ln của số lượng khóa mà hàng ấy thấy.",
    "You divide every row by ln T; each row has to be divided by the ln of how many keys that row sees.",
)
def by_the_whole_length(weights):
    return _entropies(weights)[1:].mean() / np.log(len(weights))


@entropy_of_rows.mistake(
    "Hàng 0 chỉ có một khóa: entropy của nó luôn là 0 và không nói gì. Hãy bỏ nó ra.",
    "Row 0 has one key: its entropy is 0 whatever happens, and says nothing. Leave it out.",
)
def first_row_counted_as_zero(weights):
    return (_entropies(weights)[1:] / _lengths(weights)[1:].log()).sum() / len(weights)


@entropy_of_rows.mistake(
    "NaN: hoặc hàng 0 cho 0/0 (hãy bắt đầu từ hàng 1), hoặc ô tương lai cho 0 · ln 0 (torch.special.entr cho 0).",
    "NaN: either row 0 gave 0/0 (begin with row 1), or the future gave 0 · ln 0 (torch.special.entr gives 0).",
)
def first_row_divided_by_zero(weights):
    return (_entropies(weights) / _lengths(weights).log()).mean()


@entropy_of_rows.mistake(
    "Bạn chia trung bình cho trung bình; hãy chia từng hàng rồi mới lấy trung bình.",
    "You divide the mean by a mean; divide row by row, and only then take the mean.",
)
def mean_by_mean(weights):
    return _entropies(weights)[1:].mean() / _lengths(weights)[1:].log().mean()


@entropy_of_rows.mistake(
    "Bạn đã bỏ hàng 0, nhưng chưa chia cho ln của số lượng khóa mà mỗi hàng thấy.",
    "Row 0 is left out, but the rows are not yet divided by the ln of how many keys each one sees.",
)
def not_divided(weights):
    return _entropies(weights)[1:].mean()


# ---- 7, like with like


def _shares(scores):
    """Of each head, mean over them: the share of the past's scores that lie below 0."""
    return tuple(float((x[..., attention.causal_mask(x.shape[-1])] < 0).float().mean()) for x in scores)


def _first(scores):
    n = min(x.shape[-1] for x in scores)
    return tuple(x[..., :n, :n] for x in scores)


def _last(scores):
    n = min(x.shape[-1] for x in scores)
    return tuple(x[..., -n:, -n:] for x in scores)


def _slope(n, zero):
    """Scores of two heads that rise from key to key, as a ramp makes them, and are 0 at key `zero`, or two further."""
    ramp = torch.arange(n, dtype=torch.float32).expand(n, n) - zero
    return torch.stack([ramp, ramp - 2])


like_with_like = Exercise(
    inputs=[((_slope(5, 1), _slope(12, 3)),), ((_slope(16, 3), _slope(6, 1)),), ((_slope(4, 2), _slope(7, 1)),)],
    right=lambda scores: _shares(_first(scores)),
    given=_shares,
    result=("hai số (a, b)", "two numbers (a, b)"),
)


@like_with_like.mistake(
    "Cùng độ dài, nhưng là các token cuối: chúng đứng ở vị trí khác. Hãy lấy các token đầu tiên.",
    "As many tokens, but the last ones, which stand elsewhere. Take the first.",
)
def last_tokens(scores):
    return _shares(_last(scores))


@like_with_like.mistake(
    "Bạn đếm cả các ô tương lai, mà mô hình không dùng.", "You count the future's entries as well; no model uses them."
)
def future_counted(scores):
    return tuple(float((x < 0).float().mean()) for x in _first(scores))


@like_with_like.mistake(
    "Bạn trả về số lượng ô dưới 0; cần tỉ lệ.", "You return how many entries lie below 0; the share is wanted."
)
def counts(scores):
    return tuple(float((x[..., attention.causal_mask(x.shape[-1])] < 0).sum()) for x in _first(scores))


# ---- 8, counts are no weights


def _histogram(seed, n, n_bins):
    counts, edges = np.histogram(np.random.default_rng(seed).normal(3, 2, n), bins=n_bins)
    return (edges[1:] + edges[:-1]) / 2, counts


def _spread(centres, counts):
    return np.repeat(centres, counts).std(ddof=1)


def _weighted_spread(centres, counts):
    """As scipy's gaussian_kde has it, of "reliability" weights."""
    return np.sqrt(np.cov(centres, bias=False, aweights=counts))


def _effective(counts):
    return counts.sum() ** 2 / (counts**2).sum()


bandwidth_of_counts = Exercise(
    inputs=[_histogram(0, 2000, 30), _histogram(1, 500, 12), _histogram(2, 90, 20)],
    right=lambda centres, counts: counts.sum() ** -0.2 * _spread(centres, counts),
    given=lambda centres, counts: _effective(counts) ** -0.2 * _weighted_spread(centres, counts),
    result=("một con số", "a number"),
)


@bandwidth_of_counts.mistake(
    "n là số giá trị, không phải số khoảng của biểu đồ tần suất.", "n is the number of values, not of bins."
)
def bins_as_values(centres, counts):
    return len(centres) ** -0.2 * _spread(centres, counts)


@bandwidth_of_counts.mistake(
    "n đúng rồi, nhưng độ lệch chuẩn của các tâm không tính đến việc mỗi tâm có bao nhiêu giá trị.",
    "n is right, but the standard deviation of the centres forgets how many values each one has.",
)
def centres_alone(centres, counts):
    return counts.sum() ** -0.2 * centres.std(ddof=1)


@bandwidth_of_counts.mistake(
    "Độ lệch chuẩn đúng rồi; n phải là tổng các số đếm, không phải cỡ mẫu hiệu dụng (effective size).",
    "The standard deviation is right; n has to be the sum of the counts, not an effective size.",
)
def effective_size(centres, counts):
    return _effective(counts) ** -0.2 * _spread(centres, counts)


@bandwidth_of_counts.mistake(
    "Độ lệch chuẩn mẫu chia cho n − 1 (ddof=1), như gaussian_kde làm.",
    "The sample's standard deviation divides by n − 1 (ddof=1), as gaussian_kde does.",
)
def divided_by_n(centres, counts):
    return counts.sum() ** -0.2 * np.repeat(centres, counts).std()


@bandwidth_of_counts.mistake(
    "Đây là quy tắc Silverman; quy tắc Scott là n^(−1/5) · s.", "This is Silverman's rule; Scott's is n^(−1/5) · s."
)
def silverman(centres, counts):
    return (3 / 4 * counts.sum()) ** -0.2 * _spread(centres, counts)


# ---- 9, grouped queries


def _grouped(queries, keys):
    return attention.raw_scores(queries, keys.repeat_interleave(len(queries) // len(keys), dim=0))


grouped_scores = Exercise(
    inputs=drawn(
        lambda draw: [
            (draw(6, 5, 4), draw(2, 5, 4)),
            (draw(4, 3, 8), draw(2, 3, 8)),
            (draw(9, 4, 2), draw(3, 4, 2)),
        ]
    ),
    right=_grouped,
    given=lambda queries, keys: attention.raw_scores(queries, keys.repeat(len(queries) // len(keys), 1, 1)),
    result="[head, query, key]",
)


@grouped_scores.mistake(
    "Bạn lấy trung bình các truy vấn dùng chung một đầu khóa: mỗi đầu truy vấn phải giữ điểm của riêng nó.",
    "You average the queries that share a key head: each query head has scores of its own.",
)
def queries_averaged(queries, keys):
    return attention.raw_scores(queries.unflatten(0, (len(keys), -1)).mean(1), keys)


@grouped_scores.mistake(
    "Đây là điểm đã chia cho √d; cần điểm thô.", "These are scores divided by √d; raw ones are wanted."
)
def scaled_scores(queries, keys):
    return _grouped(queries, keys) / queries.shape[-1] ** 0.5


@grouped_scores.mistake(
    "Bạn đảo hàng và cột: hàng là truy vấn, cột là khóa.", "Rows and columns are swapped: a row is a query."
)
def keys_by_queries(queries, keys):
    return _grouped(queries, keys).mT


# ---- 10, a cache


def _hide_key(scores, key):
    return interventions.hide_key(key)(scores, 0)


def _hide_by_row(scores, key):
    hidden = scores.clone()
    hidden[..., key + 1 :, key] = HIDDEN
    return hidden


hide_key_with_cache = Exercise(
    inputs=drawn(
        lambda draw: [(draw(1, 2, 1, 6), 0), (draw(1, 2, 5, 5), 1), (draw(1, 2, 3, 7), 5), (draw(1, 2, 3, 7), 2)]
    ),
    right=_hide_key,
    given=_hide_by_row,
    result="[batch, head, query, key]",
)


@hide_key_with_cache.mistake(
    "Bạn che khóa này cả với truy vấn ở cùng vị trí; truy vấn ấy vẫn được nhìn khóa của chính token mình.",
    "You hide the key from the query at its own position as well; that one may still look at it.",
)
def from_its_own_query(scores, key):
    hidden, first = scores.clone(), scores.shape[-1] - scores.shape[-2]
    hidden[..., max(key - first, 0) :, key] = HIDDEN
    return hidden


@hide_key_with_cache.mistake(
    "Đúng khi chỉ có một truy vấn, nhưng với cả văn bản thì bạn che khóa này khỏi cả những truy vấn đứng trước nó.",
    "Right for a single query; of a whole text you hide the key from the queries before it, too.",
)
def from_every_query(scores, key):
    hidden = scores.clone()
    hidden[..., key] = HIDDEN
    return hidden


@hide_key_with_cache.mistake(
    "Lệch một: truy vấn thứ i trong Q truy vấn đứng ở vị trí K − Q + i.",
    "Off by one: query i of Q stands at position K − Q + i.",
)
def one_too_late(scores, key):
    hidden, first = scores.clone(), scores.shape[-1] - scores.shape[-2]
    hidden[..., max(key + 2 - first, 0) :, key] = HIDDEN
    return hidden
