"""The course's exercises, lesson by lesson: `check.split_heads(my_function)`, `check.progress()`.

What a checker does with an answer is in `checking.py`; here is what each exercise asks: its inputs,
the right function (or value), and the usual mistakes by name, each with its hint in both languages.
"""

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.stats import gaussian_kde as scipy_kde
from scipy.stats import norm, ttest_ind, ttest_rel

from aero_helpers import attention, kde, matrices, parts
from aero_helpers.checking import Checker, Exercise, Prediction, Progress

_generator = torch.Generator().manual_seed(0)  # drawn on from exercise to exercise: no two arguments are alike


def _random(*shape):
    return torch.randn(shape, generator=_generator)


def _far_below(*shape):
    """Queries or keys (times −1) whose float64 scores lie near −10¹⁰ times their length, where only −∞ masks."""
    return 1e5 + 1e-5 * _random(*shape).double()


def _masked(scores, fill=-torch.inf):
    past = attention.causal_mask(scores.shape[-1])
    return scores.masked_fill(~past, fill)


def _additive_mask(n_tokens):
    return _masked(torch.zeros(n_tokens, n_tokens))


def _key_bias_part(q, b_k):
    return torch.einsum("hqd,hd->hq", q, b_k)[..., None].expand(-1, -1, q.shape[1])


def _in_the_whole_space(w_q, w_k):
    return torch.linalg.svdvals(w_q @ w_k.T)


def _reflected(values, x, h):
    return sum(kde.gaussian_sum(images, x, h) for images in (values, -values, 2 - values))


def _split_gpt_neox(fused, n_heads):
    return attention.split_heads(fused, n_heads).chunk(3, dim=-1)


def _weights(*shape):
    """Attention weights of a random model: rows of the past, each with the sum 1."""
    return _masked(_random(*shape) * 2).softmax(-1)


def _looking_back(n_layers, n_heads, n_tokens, place):
    """Weights in which one head looks at the token before more than the others do."""
    scores = _random(n_layers, n_heads, n_tokens, n_tokens)
    scores[place] += 3 * torch.eye(n_tokens).roll(-1, dims=1).tril(-1)
    return _masked(scores).softmax(-1)


def _unshifted_softmax(scores):
    """The softmax as its formula stands: right until e^score leaves the floats."""
    return scores.exp() / scores.exp().sum(-1, keepdim=True)


def _attend(q, k, v):
    return _masked(q @ k.T / q.shape[-1] ** 0.5).softmax(-1) @ v


def _masked_too_late(q, k, v):
    weights = (q @ k.T / q.shape[-1] ** 0.5).softmax(-1)
    return (weights * attention.causal_mask(len(q))) @ v


def _future_leak(scores, head_size, fill):
    future = ~attention.causal_mask(len(scores))
    return (scores / head_size**0.5 + fill * future).softmax(-1)[future].max()


def _first_head_scores(activation, head_size):
    q, k, _ = attention.split_qkv(activation)
    return q[:, :head_size] @ k[:, :head_size].T


def _qkv_from_weights(x, weight, bias):
    return attention.split_qkv(x @ weight + bias)


def _head_weights(q, k, n_heads, scale=None):
    scores = attention.raw_scores(*(attention.split_heads(x, n_heads) for x in (q, k)))
    return _masked(scores * (scale or (q.shape[-1] // n_heads) ** -0.5)).softmax(-1)


def _heads_by_reshape(x, n_heads):
    """[T, D] whose heads, once split, are what a bare reshape to [head, T, head_size] gives."""
    return attention.merge_heads(x.reshape(n_heads, len(x), -1))


def _without_head(contributions, bias, head):
    return contributions.sum(0) - contributions[head] + bias


def _largest(per_head):
    """(layer, head) of the largest entry of [layer, head]."""
    return divmod(int(per_head.argmax()), per_head.shape[1])


def _previous_token_head(weights):
    return _largest(weights.diagonal(-1, -2, -1).mean(-1))


def _share_below_zero(scores):
    past = attention.causal_mask(scores.shape[-1])
    return (scores[..., past] < 0).double().mean(-1)


def _own_and_others(q, k, signs):
    """Shares below 0 of all pairs: a head's own queries and keys, and its queries with the other heads' keys."""
    q, k = q * signs[:, None], k * signs[:, None]
    below = (torch.einsum("hqd,gkd->hgqk", q, k) < 0).double().mean((-2, -1))
    own = torch.eye(len(q), dtype=torch.bool)
    return below[own].mean(), below[~own].mean()


def _all_pairs(q, k, signs):
    q, k = q * signs[:, None], k * signs[:, None]
    return (torch.einsum("hqd,gkd->hgqk", q, k) < 0).double().mean()


def _signs(*shape):
    return _random(*shape).sign()


def _turned_apart(q, k, signs):
    """The mistake of signs on the queries alone."""
    return _own_and_others(q, k * signs[:, None], signs)


def _profile(scores):
    return parts.without_level(scores).mean(0)


def _parts(scores, profile):
    """(level, position, content): shares of the mean square of causal rows 1, 2, … of [T, T]."""
    past = attention.causal_mask(len(scores))[1:]
    seen = parts.without_level(scores)
    squares = [((x[1:] * past) ** 2).sum() for x in (scores, seen, seen - profile)]
    total, visible, content = squares
    return (total - visible) / total, (visible - content) / total, content / total


def _parts_with_row_0(scores, profile):
    past = attention.causal_mask(len(scores))
    seen = parts.without_level(scores)
    total, visible, content = (((x * past) ** 2).sum() for x in (scores, seen, seen - profile))
    return (total - visible) / total, (visible - content) / total, content / total


def _position_as_it_stands(scores, profile):
    """Position as the profile's own square: the three do not add up, as profile and content are not at right angles."""
    level, _, content = _parts(scores, profile)
    past = attention.causal_mask(len(scores))[1:]
    return level, ((profile[1:] * past) ** 2).sum() / ((scores[1:] * past) ** 2).sum(), content


def _parts_of_the_visible(scores, profile):
    level, position, content = _parts(scores, profile)
    return level, position / (1 - level), content / (1 - level)


def _ramp(n_tokens):
    """A position profile: scores that rise with the key's position."""
    return parts.without_level(torch.arange(n_tokens).expand(n_tokens, -1) * 1.5)


def _scores_with_ramp(n_texts, n_tokens):
    return _random(n_texts, n_tokens, n_tokens) * 2 + _ramp(n_tokens) - 7 - 3 * _random(n_texts, n_tokens, 1)


def _heads_table(seed, n_layers=4, n_heads=3):
    """A table like `shift_table`'s, in any order: a third of the heads very negative, the most even ones not quite."""
    rng = np.random.default_rng(seed)
    layers, heads = np.indices((n_layers, n_heads)).reshape(2, -1)
    n = len(layers)
    shares = rng.permutation(np.concatenate([np.linspace(0.91, 0.99, n // 3), np.linspace(0.05, 0.89, n - n // 3)]))
    entropy = np.where((shares > 0.84) & (shares < 0.9), 0.95, rng.uniform(0.1, 0.9, n))
    columns = {"share_below_zero": shares, "row_spread": rng.uniform(0.1, 6, n), "entropy": entropy}
    return pd.DataFrame({"layer": layers, "head": heads} | columns).sample(frac=1, random_state=seed)


def _place(row):
    return int(row.layer), int(row["head"])


def _negative_yet_even(table):
    return _place(table[table.share_below_zero > 0.9].nlargest(1, "entropy").iloc[0])


def _four_terms(q, k, b_q, b_k):
    return tuple(attention.score_terms(q, k, b_q, b_k).values())


def _terms_of_whole_queries_and_keys(q, k, b_q, b_k):
    b_q, b_k = b_q[:, None].expand_as(q), b_k[:, None].expand_as(k)
    return q @ k.mT, b_q @ k.mT, q @ b_k.mT, b_q @ b_k.mT


def _blurred(counts, width, h):
    return gaussian_filter1d(counts.astype(float), h / width) / (counts.sum() * width)


def _count_peaks(y):
    return int(((y[1:-1] > y[:-2]) & (y[1:-1] > y[2:])).sum())


def _bumps(*bumps):
    """A curve of bumps (place, width, height) on 200 points; one at −9 is highest at the curve's end."""
    x = np.linspace(-9, 9, 200)
    return sum(height * np.exp(-0.5 * ((x - place) / width) ** 2) for place, width, height in bumps)


def _folded(weight, bias, scale, shift):
    return scale[:, None] * weight, bias + shift @ weight


def _folded_twice(weight, bias, scale, shift):
    return scale[:, None] * weight, bias + shift @ (scale[:, None] * weight)


def _holm(a, b):
    """How many heads differ in a paired t test under Holm's correction (Holm 1979); a and b are [text, head]."""
    p = np.sort(ttest_rel(a, b).pvalue)
    passes = p <= 0.05 / np.arange(len(p), 0, -1)
    return int(passes.cumprod().sum())


def _holm_unpaired(a, b):
    p = np.sort(ttest_ind(a, b).pvalue)
    passes = p <= 0.05 / np.arange(len(p), 0, -1)
    return int(passes.cumprod().sum())


def _two_corpora(seed, n_heads=12, n_texts=10):
    """A statistic of two corpora of the same texts, [text, head] each: texts differ, heads move by 0 to far."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n_texts, 1)) + rng.normal(scale=0.3, size=(n_texts, n_heads))
    return a, a + np.linspace(0, 0.5, n_heads) * rng.choice([-1, 1], n_heads) + rng.normal(scale=0.3, size=a.shape)


def _thirds_into_heads(fused, n_heads):
    return tuple(attention.split_heads(part, n_heads) for part in attention.split_qkv(fused))


def _extreme_layers(table):
    by_layer = table.groupby("layer").share_below_zero.mean()
    return int(by_layer.idxmin()), int(by_layer.idxmax())


class check:
    """One checker for each exercise: `check.split_heads(my_function)`. It returns a Verdict, and never raises."""

    rows_that_change = Prediction(
        lesson="01",
        right=(1, 2, 3),
        why=(
            "Đúng: truy vấn 0 không được nhìn khóa 1, còn các truy vấn 1, 2, 3 thì nhìn thấy nó.",
            "Right: query 0 must not look at key 1, queries 1, 2 and 3 see it.",
        ),
        kind=(
            "danh sách số thứ tự hàng, theo thứ tự tăng, như [0, 2]",
            "a list of row numbers in rising order, as [0, 2]",
        ),
        mistakes=[
            ((0, 1, 2, 3),
             "Đó là khi không có mặt nạ. Hàng 0 có được nhìn khóa 1 không?",
             "That is without a mask. May row 0 look at key 1?"),
            ((0, 1),
             "Bạn đang che quá khứ: hàng là truy vấn, và truy vấn được nhìn các khóa đứng trước nó.",
             "You are hiding the past: rows are queries, and a query may look at the keys before it."),
            ((1,), "Hàng 1 thì đúng. Còn truy vấn nào khác nhìn thấy khóa 1?", "Row 1, yes. Who else sees key 1?"),
            ((2, 3), "Một token cũng được nhìn chính nó.", "A token may look at itself, too."),
        ],
    )  # fmt: skip

    additive_mask = Exercise(
        lesson="01",
        inputs=[(4,), (7,), (1,)],
        right=_additive_mask,
        result="[T, T]",
        mistakes=[
            (lambda n: _additive_mask(n).T,
             "Bạn che quá khứ thay vì tương lai: hàng là truy vấn, cột là khóa.",
             "You hide the past instead of the future: rows are queries, columns are keys."),
            (lambda n: torch.full((n, n), -torch.inf).tril(),
             "Bạn che quá khứ và cả chính token ấy: −∞ phải đứng TRÊN đường chéo.",
             "You hide the past and the token itself: −∞ belongs ABOVE the diagonal."),
            (lambda n: attention.causal_mask(n),
             "Đây là mặt nạ Boolean. Mặt nạ cộng có 0 và −∞.",
             "This is the boolean mask. The additive one holds 0 and −∞."),
            (lambda n: _additive_mask(n).nan_to_num(neginf=-1e9),
             "Bạn dùng một số âm rất lớn. Hãy dùng −∞: chỉ e^(−∞) mới đúng bằng 0.",
             "You used a very large negative number. Use −∞: only e^(−∞) is exactly 0."),
            (lambda n: _additive_mask(n) + 1,
             "Có 1 ở nơi cần 0. Softmax không nhận ra, nhưng các điểm số đã bị đổi.",
             "There is 1 where 0 belongs. The softmax would not notice, but the scores are changed."),
            (lambda n: torch.zeros(n, n).masked_fill(~attention.causal_mask(n).tril(-1), -torch.inf),
             "Đường chéo cũng bị che: token được phép nhìn chính nó.",
             "The diagonal is hidden too: a token may look at itself."),
        ],
    )  # fmt: skip

    attention_weights = Exercise(
        lesson="01",
        inputs=[
            (_random(5, 5) * 8, 16),
            (_random(9, 9) * 20, 64),
            (_random(1, 1) * 8, 16),
            (_random(4, 4).double() * 8 - 1e10, 16),  # here −10⁹ is no mask
        ],
        right=attention.attention_weights,
        result="[T, T]",
        mistakes=[
            (lambda s, d: _masked(s / d**0.5).softmax(-2).nan_to_num(0),
             "Softmax chạy sai trục: mỗi hàng (mỗi truy vấn) phải có tổng bằng 1, hãy lấy softmax theo khóa, dim=-1.",
             "The softmax runs over the wrong axis: each row (each query) must sum to 1: softmax over keys, dim=-1."),
            (lambda s, d: (s / d**0.5).softmax(-1),
             "Thiếu mặt nạ: các token nhìn thấy tương lai.", "The mask is missing: tokens see the future."),
            (lambda s, d: _masked(s / d**0.5, -1e9).softmax(-1),
             "Bạn dùng một số âm hữu hạn làm mặt nạ. Khi chính các điểm rất âm, tương lai lọt qua: hãy dùng −∞.",
             "Your mask is a finite number: where the scores are very negative, the future comes through. Use −∞."),
            (lambda s, d: _masked(s / len(s) ** 0.5).softmax(-1),
             "Bạn chia cho √T; cần √head_size.", "You divided by √T; √head_size is needed."),
            (lambda s, d: s / d**0.5,
             "Đây là điểm, chưa phải trọng số: thiếu mặt nạ và softmax.",
             "These are scores, not weights: mask and softmax are missing."),
            (lambda s, d: _masked(s / d**0.5),
             "Đây là điểm, chưa phải trọng số: thiếu softmax.",
             "These are scores, not weights: the softmax is missing."),
            (lambda s, d: _masked(s * d**0.5).softmax(-1),
             "Bạn nhân với √head_size, cần chia.", "You multiplied by √head_size; divide."),
            (lambda s, d: _masked(s).softmax(-1),
             "Bạn quên chia cho √head_size.", "You forgot to divide by √head_size."),
            (lambda s, d: _masked(s / d).softmax(-1),
             "Bạn chia cho head_size, cần chia cho căn bậc hai của nó.",
             "You divided by head_size; divide by its square root."),
            (lambda s, d: (s / d**0.5).softmax(-1) * attention.causal_mask(s.shape[-1]),
             "Bạn che sau softmax: tương lai đã lấy mất một phần của tổng, các hàng không còn tổng bằng 1.",
             "The mask comes after the softmax: the future has taken its share, and rows no longer sum to 1."),
            (lambda s, d: ((s / d**0.5) * attention.causal_mask(s.shape[-1])).softmax(-1),
             "Bạn nhân với mặt nạ: điểm 0 vẫn nhận e^0 = 1. Tương lai cần −∞.",
             "You multiplied by the mask: a score of 0 still gets e^0 = 1. The future needs −∞."),
            (lambda s, d: _unshifted_softmax(_masked(s / d**0.5)),
             "exp của các điểm này là 0 hoặc ∞, và 0/0 là NaN: trước khi lấy exp, trừ mỗi hàng cho điểm lớn nhất"
             " ở quá khứ của nó.",
             "exp of these scores is 0 or ∞, and 0/0 is NaN: subtract each row's largest past score before exp."),
        ],
    )  # fmt: skip

    attention_output = Exercise(
        lesson="01",
        inputs=[
            (_random(5, 4) * 2, _random(5, 4) * 3 - 1, _random(5, 3)),
            (_random(8, 16), _random(8, 16), _random(8, 2)),
            (_far_below(4, 4), -_far_below(4, 4), _random(4, 2).double()),
        ],
        right=_attend,
        given=_masked_too_late,
        result="[T, d_v]",
        mistakes=[
            (lambda q, k, v: (q @ k.T / q.shape[-1] ** 0.5).softmax(-1) @ v,
             "Không còn mặt nạ: các token nhìn thấy tương lai.", "Now there is no mask: tokens see the future."),
            (lambda q, k, v: (q @ k.T * attention.causal_mask(len(q)) / q.shape[-1] ** 0.5).softmax(-1) @ v,
             "Bạn nhân điểm với mặt nạ trước softmax: điểm 0 vẫn nhận e^0 = 1. Tương lai cần −∞.",
             "You multiply scores by the mask: before the softmax a 0 still gets e^0 = 1. The future needs −∞."),
            (lambda q, k, v: _masked(q @ k.T / q.shape[-1] ** 0.5).softmax(-2).nan_to_num(0) @ v,
             "Softmax chạy sai trục: hãy lấy theo khóa, dim=-1.",
             "The softmax runs over the wrong axis: over keys, dim=-1."),
            (lambda q, k, v: _masked(q @ k.T).softmax(-1) @ v, "Bạn đã bỏ mất √d.", "You have lost the √d."),
            (lambda q, k, v: _masked(q @ k.T / q.shape[-1] ** 0.5, -1e9).softmax(-1) @ v,
             "Bạn dùng một số âm hữu hạn làm mặt nạ. Khi chính các điểm rất âm, tương lai lọt qua: hãy dùng −∞.",
             "Your mask is a finite number: where the scores are very negative, the future comes through. Use −∞."),
            (lambda q, k, v: _unshifted_softmax(_masked(q @ k.T / q.shape[-1] ** 0.5)) @ v,
             "exp của các điểm này là 0 hoặc ∞, và 0/0 là NaN: trước khi lấy exp, trừ mỗi hàng cho điểm lớn nhất"
             " ở quá khứ của nó.",
             "exp of these scores is 0 or ∞, and 0/0 is NaN: subtract each row's largest past score before exp."),
        ],
    )  # fmt: skip

    future_leak = Exercise(
        lesson="01",
        inputs=[
            (_random(6, 6) * 8 - 3, 16, -2.0),
            (_random(9, 9) * 90 - 50, 64, -12.0),
            (_random(4, 4) * 8, 4, -3.0),
        ],
        right=_future_leak,
        result=("một con số", "one number"),
        mistakes=[
            (lambda s, d, fill: _future_leak(s, 1, fill),
             "Bạn quên chia cho √head_size.", "You forgot to divide by √head_size."),
            (lambda s, d, fill: _future_leak(s, d * d, fill),
             "Bạn chia cho head_size; cần chia cho căn bậc hai của nó.",
             "You divide by head_size; divide by its square root."),
            (lambda s, d, fill: _future_leak(s, d, fill / d**0.5),
             "Bạn cộng fill trước khi chia: hãy chia trước, che sau.",
             "You add fill before dividing: divide first, then mask."),
            (lambda s, d, fill: (
                 (s / d**0.5)
                 .masked_fill(~attention.causal_mask(len(s)), fill)
                 .softmax(-1)[~attention.causal_mask(len(s))]
                 .max()
             ),
             "Bạn thay điểm của tương lai bằng fill; ở đây fill được cộng vào điểm.",
             "You put fill in the place of the future's scores; here it is added to them."),
            (lambda s, d, fill: (s / d**0.5 + fill * ~attention.causal_mask(len(s))).softmax(-1).max(),
             "Đây là trọng số lớn nhất của cả bảng; hãy chỉ xét các ô tương lai.",
             "This is the largest weight of all; look at the future's entries alone."),
            (lambda s, d, fill: (
                 (s / d**0.5 + fill * ~attention.causal_mask(len(s)))
                 .softmax(-1)[~attention.causal_mask(len(s))]
                 .sum()
             ),
             "Đây là tổng; cần trọng số lớn nhất.", "This is the sum; the largest weight is wanted."),
            (lambda s, d, fill: (
                 (s / d**0.5 + fill * attention.causal_mask(len(s)))
                 .softmax(-1)[~attention.causal_mask(len(s))]
                 .max()
             ),
             "Bạn cộng fill vào quá khứ, hoặc trừ nó khỏi tương lai (softmax không phân biệt): xem lại dấu và mặt nạ.",
             "You add fill to the past, or subtract it from the future (one to the softmax): check sign and mask."),
        ],
    )  # fmt: skip

    activation_shape = Prediction(
        lesson="02",
        right=(2, 5, 2304),
        why=(
            "Đúng: hai văn bản, mỗi văn bản năm token, mỗi token một hàng 3 × 768.",
            "Right: two texts of five tokens, and for each token a row of 3 × 768.",
        ),
        kind=("ba số [batch, T, …]", "three numbers [batch, T, …]"),
        mistakes=[
            ((768, 2304),
             "Đó là kích thước của trọng số; nó không biết văn bản dài bao nhiêu.",
             "That is the size of the weight, which knows nothing of the texts."),
            ((2, 5, 768),
             "Đó mới là một trong ba phần. c_attn dán cả ba lại.",
             "That is one of the three parts. c_attn glues all three together."),
            ((10, 2304),
             "Hai văn bản không bị nối lại: batch là một chiều riêng.",
             "The two texts are not joined: the batch is a dimension of its own."),
            ((5, 2304), "Bạn quên chiều batch.", "You forgot the batch dimension."),
            ((2, 5, 3, 768),
             "Hook thấy ba phần dán liền, chưa cắt.", "The hook sees the three parts glued together, not yet cut."),
            ((2, 12, 5, 192),
             "c_attn chưa biết gì về các đầu; bài 03 mới tách.",
             "c_attn knows nothing of heads yet; lesson 03 splits them."),
        ],
    )  # fmt: skip

    split_qkv = Exercise(
        lesson="02",
        inputs=[(_random(4, 12),), (_random(2, 5, 24),)],
        right=attention.split_qkv,
        result="(q, k, v), [..., T, D] × 3",
        mistakes=[
            (lambda x: (x[..., 0::3], x[..., 1::3], x[..., 2::3]),
             "Bạn lấy xen kẽ từng cột. GPT-2 xếp trọn Q, rồi trọn K, rồi trọn V.",
             "You took every third column. GPT-2 puts all of Q first, then all of K, then all of V."),
            (lambda x: attention.split_qkv(x)[::-1],
             "Thứ tự bị đảo ngược: GPT-2 xếp Q, K, V.", "The order is reversed: GPT-2 has Q, K, V."),
            (lambda x: tuple(attention.split_qkv(x)[i] for i in (0, 2, 1)),
             "Q thì đúng; K đứng trước V.", "Q is right; K comes before V."),
            (lambda x: tuple(attention.split_qkv(x)[i] for i in (1, 0, 2)),
             "Ba mảnh đúng, thứ tự chưa đúng: Q, K, V.", "The three pieces are right, the order is not: Q, K, V."),
        ],
    )  # fmt: skip

    first_head_scores = Exercise(
        lesson="02",
        inputs=[(_random(5, 24), 4), (_random(7, 36), 3), (_random(3, 12), 4)],
        right=_first_head_scores,
        given=lambda a, d: _first_head_scores(a, d).T,
        result="[T, T]",
        mistakes=[
            (lambda a, d: a[:, :d] @ a[:, d : 2 * d].T,
             "Bạn lấy k ngay sau head_size cột của q: ở đó vẫn là q, của đầu 1.",
             "You take k right after head_size columns of q: what lies there is still q, of head 1."),
            (lambda a, d: attention.split_qkv(a)[0] @ attention.split_qkv(a)[1].T,
             "Bạn nhân cả bề rộng D: đó là tổng điểm của mọi đầu. Đầu 0 chỉ có head_size cột đầu tiên.",
             "You multiply the whole width D: the sum over all heads. Head 0 has the first head_size columns only."),
            (lambda a, d: _first_head_scores(a, d) / d**0.5,
             "Bạn đã chia cho √d; điểm thô thì không chia.", "You divided by √d; raw scores are not divided."),
            (lambda a, d: attention.split_qkv(a)[0][:, :d] @ attention.split_qkv(a)[2][:, :d].T,
             "Bạn nhân q với v. Thứ tự là Q, K, V.", "You multiply q with v. The order is Q, K, V."),
            (lambda a, d: attention.split_qkv(a)[0][:, :d] @ attention.split_qkv(a)[0][:, :d].T,
             "Bạn nhân q với chính q.", "You multiply q with itself."),
        ],
    )  # fmt: skip

    conv1d = Exercise(
        lesson="02",
        inputs=[(_random(5, 6), _random(6, 6), _random(6)), (_random(4, 3), _random(3, 3) + 1, _random(3))],
        right=lambda x, weight, bias: x @ weight + bias,
        given=lambda x, weight, bias: torch.nn.functional.linear(x, weight, bias),
        result="[T, D]",
        mistakes=[
            (lambda x, weight, bias: x @ weight, "Thiếu bias.", "The bias is missing."),
            (lambda x, weight, bias: x @ weight.T,
             "Vẫn chuyển vị, và thiếu bias. Conv1D tính x W + b.",
             "Still transposed, and the bias is missing. Conv1D computes x W + b."),
        ],
    )  # fmt: skip

    qkv_from_weights = Exercise(
        lesson="02",
        inputs=[(_random(5, 4), _random(4, 12), _random(12)), (_random(3, 6), _random(6, 18), _random(18) * 3)],
        right=_qkv_from_weights,
        result="(q, k, v), [T, D] × 3",
        mistakes=[
            (lambda x, w, b: attention.split_qkv(x @ w),
             "Thiếu bias: c_attn tính x W + b.", "The bias is missing: c_attn computes x W + b."),
            (lambda x, w, b: x @ w + b,
             "Phép nhân đúng rồi; hãy cắt kết quả làm ba.", "The product is right; cut it in three."),
            (lambda x, w, b: tuple(x @ part + b[: len(w)] for part in w.chunk(3, dim=1)),
             "Mỗi phần có bias của riêng nó: b cũng dài 3D.",
             "Each part has a bias of its own: b has 3D numbers too."),
            (lambda x, w, b: tuple(_qkv_from_weights(x, w, b)[i] for i in (1, 0, 2)),
             "Ba mảnh đúng, thứ tự chưa đúng: Q, K, V.", "The three pieces are right, the order is not: Q, K, V."),
            (lambda x, w, b: _qkv_from_weights(x, w, b)[::-1],
             "Thứ tự bị đảo ngược: Q, K, V.", "The order is reversed: Q, K, V."),
            (lambda x, w, b: tuple((x @ w + b)[:, i::3] for i in range(3)),
             "Bạn lấy xen kẽ từng cột: cần ba đoạn liền nhau.",
             "You took every third column: three runs of neighbouring columns are needed."),
        ],
    )  # fmt: skip

    row_of_a_zero_query = Prediction(
        lesson="03",
        right=(0.2, 0.2, 0.2, 0.2, 0.2),
        why=(
            "Đúng: mọi điểm bằng 0, tức là bằng nhau, và e^0 = 1 cho mọi khóa: chú ý chia đều.",
            "Right: all scores are 0, so they are equal, and e^0 = 1 for every key: attention is uniform.",
        ),
        kind=("năm trọng số", "five weights"),
        mistakes=[
            ((0, 0, 0, 0, 0),
             "Điểm bằng 0 không phải là trọng số bằng 0: mỗi hàng phải có tổng bằng 1.",
             "A score of 0 is not a weight of 0: each row must sum to 1."),
            ((1, 0, 0, 0, 0),
             "Vì sao lại là khóa 0? Điểm của nó cũng bằng 0 như mọi khóa khác.",
             "Why key 0? Its score is 0 like that of all the others."),
            ((0, 0, 0, 0, 1),
             "Token nhìn chính nó cũng chỉ có điểm 0, như mọi khóa khác.",
             "Looking at itself has a score of 0 as well, like all other keys."),
            ((0.25, 0.25, 0.25, 0.25, 0),
             "Token cũng được nhìn chính nó: có năm khóa, không phải bốn.",
             "A token may look at itself: there are five keys, not four."),
            ((1, 1, 1, 1, 1),
             "Đó là e^0 của từng khóa; softmax còn chia cho tổng.",
             "That is e^0 for each key; the softmax also divides by the sum."),
        ],
    )  # fmt: skip

    split_heads = Exercise(
        lesson="03",
        inputs=[(_random(5, 12), 3), (_random(4, 32), 4), (_random(6, 8), 1)],
        right=attention.split_heads,
        result="[head, T, head_size]",
        mistakes=[
            (lambda x, n: x.reshape(n, x.shape[0], x.shape[1] // n),
             "Đúng kích thước nhưng trộn lẫn các token: reshape hay view thành (head, T, ...) cắt theo thứ tự bộ nhớ. "
             "Cắt chiều cuối trước, rồi mới đổi chỗ hai chiều.",
             "The right shape, but tokens are mixed up: reshape or view to (head, T, ...) cuts in memory order. "
             "Cut the last dimension first, then swap two dimensions."),
            (lambda x, n: x.reshape(x.shape[0], x.shape[1] // n, n).permute(2, 0, 1),
             "Bạn lấy xen kẽ từng cột. Mỗi đầu là một đoạn cột liền nhau.",
             "You took every n-th column. A head is a run of neighbouring columns."),
        ],
    )  # fmt: skip

    head_weights = Exercise(
        lesson="03",
        inputs=[
            (_random(5, 12) * 2, _random(5, 12) * 2, 3),
            (_random(6, 32), _random(6, 32) * 2, 4),
            (_far_below(4, 8), -_far_below(4, 8), 2),
        ],
        right=_head_weights,
        given=lambda q, k, n: _head_weights(q, k, n, q.shape[-1] ** -0.5),
        result="[head, T, T]",
        mistakes=[
            (lambda q, k, n: _head_weights(q, k, n, 1.0),
             "Bạn đã bỏ hẳn phép chia.", "You have dropped the division altogether."),
            (lambda q, k, n: _head_weights(q, k, n, n / q.shape[-1]),
             "Bạn chia cho d của đầu; cần chia cho căn bậc hai của nó.",
             "You divide by the head's d; its square root is needed."),
            (lambda q, k, n: _head_weights(q, k, n, n**-0.5),
             "Bạn chia cho √(số lượng đầu). Cần √d, với d là số chiều của một truy vấn trong một đầu.",
             "You divide by √(number of heads). The length of one query within a head is needed."),
            (lambda q, k, n: _head_weights(q, k, n, len(q) ** -0.5),
             "Bạn chia cho √T. Cần √d, với d là số chiều của một truy vấn trong một đầu.",
             "You divide by √T. The length of one query within a head is needed."),
            (lambda q, k, n: _head_weights(*(_heads_by_reshape(x, n) for x in (q, k)), n),
             "Bạn tách đầu bằng view hay reshape mà không đổi chỗ hai chiều: các token bị trộn lẫn.",
             "You split the heads by view or reshape without the swap: tokens are mixed up."),
        ],
    )  # fmt: skip

    without_head = Exercise(
        lesson="03",
        inputs=[
            (_random(3, 4, 6), _random(6), 1),
            (_random(2, 5, 4), _random(4) * 3, 0),
            (_random(4, 3, 8), _random(8), 3),
        ],
        right=_without_head,
        result="[T, D]",
        mistakes=[
            (lambda c, b, h: c.sum(0) - c[h],
             "Bạn quên bias: tắt một đầu không tắt bias.",
             "You forgot the bias: switching a head off leaves the bias on."),
            (lambda c, b, h: c[h] + b,
             "Đây là đóng góp của RIÊNG đầu ấy (kèm bias); cần tổng của mọi đầu khác.",
             "This is the head ALONE; all the others are wanted."),
            (lambda c, b, h: c[h],
             "Đây là đóng góp của đầu ấy; cần phần còn lại.",
             "This is that head's contribution; the rest is wanted."),
            (lambda c, b, h: c.sum(0) + b, "Đầu ấy vẫn còn trong tổng.", "The head is still in the sum."),
            (lambda c, b, h: c.sum(0) - c[h] - b,
             "Bạn trừ bias; đầu ra đầy đủ có CỘNG bias.", "You subtract the bias; the full output ADDS it."),
            (lambda c, b, h: c.sum(0) - c[h] + b * (1 - 1 / len(c)),
             "Bạn bỏ cả một phần bias: bias không thuộc về đầu nào.",
             "You drop a part of the bias too: it belongs to no head."),
            (lambda c, b, h: c.sum(0) + b - c[0], "Bạn luôn tắt đầu 0.", "You always switch head 0 off."),
            (lambda c, b, h: (c.sum(0) - c[h]) + b * (len(c) - 1),
             "Bạn cộng bias một lần cho mỗi đầu; chỉ có một bias chung.",
             "You add the bias once a head; there is a single one."),
            (lambda c, b, h: (c.sum(0) - c[h]) / (len(c) - 1) + b,
             "Bạn lấy trung bình; các đóng góp được cộng lại.", "You take a mean; contributions are added up."),
        ],
    )  # fmt: skip

    previous_token_head = Exercise(
        lesson="03",
        inputs=[
            (_looking_back(3, 4, 7, (2, 0)),),
            (_looking_back(2, 5, 5, (0, 3)),),
            (_looking_back(5, 3, 6, (4, 1)),),
        ],
        right=_previous_token_head,
        result=("hai số (tầng, đầu)", "two numbers (layer, head)"),
        mistakes=[
            (lambda w: _previous_token_head(w)[::-1],
             "Hai số đúng, thứ tự chưa đúng: (tầng, đầu).",
             "The two numbers are right, their order is not: (layer, head)."),
            (lambda w: int(w.diagonal(-1, -2, -1).mean(-1).argmax()),
             "argmax đếm qua mọi tầng và mọi đầu liền một mạch: divmod(…, số lượng đầu) cho (tầng, đầu).",
             "argmax counts through all layers and heads in one go: divmod(…, number of heads) gives (layer, head)."),
            (lambda w: _largest(w.diagonal(0, -2, -1).mean(-1)),
             "Bạn lấy đường chéo chính: token nhìn chính nó.",
             "You took the main diagonal: a token looking at itself."),
            (lambda w: _largest(w.diagonal(1, -2, -1).mean(-1)),
             "Bạn lấy đường chéo phía trên: tương lai, luôn bằng 0.",
             "You took the diagonal above: the future, always 0."),
            (lambda w: _largest(w[..., 1:, 0].mean(-1)),
             "Bạn lấy cột của khóa 0, không phải token liền trước.",
             "You took the column of key 0, not the token before."),
            (lambda w: _largest(-w.diagonal(-1, -2, -1).mean(-1)),
             "Đây là đầu nhìn token liền trước ÍT nhất.", "This is the head that looks LEAST at the token before."),
        ],
    )  # fmt: skip

    sparsest_row = Prediction(
        lesson="04",
        right="c",
        why=(
            "Đúng: softmax chỉ thấy các hiệu, và ở C các hiệu lớn nhất.",
            "Right: the softmax sees differences alone, and C has the largest.",
        ),
        kind=('một chữ cái: "A", "B", "C" hay "D"', 'a letter: "A", "B", "C" or "D"'),
        mistakes=[
            ("a",
             "A âm nhất, nhưng các điểm của nó chỉ cách nhau 1. Softmax có thấy mức chung của hàng không?",
             "A is the most negative, but its scores are only 1 apart. Does the softmax see where the row lies?"),
            ("b",
             "Toàn số dương, cách nhau 1: so với A thì sao?",
             "All positive, and 1 apart: how does that compare with A?"),
            ("d",
             "Ba điểm bằng nhau thì chú ý chia đều: thưa ÍT nhất.",
             "Three equal scores give uniform attention: the LEAST sparse."),
        ],
    )  # fmt: skip

    share_below_zero = Exercise(
        lesson="04",
        inputs=[(_random(3, 6, 6) * 5 - 3,), (_random(2, 9, 9).round(),)],  # with scores of exactly 0
        right=_share_below_zero,
        given=lambda s: (s * attention.causal_mask(s.shape[-1]) < 0).double().mean((-2, -1)),
        result="[head]",
        mistakes=[
            (lambda s: (s < 0).double().mean((-2, -1)),
             "Bạn đếm cả tương lai, mà mô hình không bao giờ dùng.",
             "You count the future too, which the model never uses."),
            (lambda s: (_masked(s) < 0).double().mean((-2, -1)),
             "Bạn đặt −∞ ở tương lai, và −∞ cũng dưới 0: hãy chỉ chọn các ô của quá khứ.",
             "You put −∞ in the future, and −∞ is below 0 as well: select the entries of the past."),
            (lambda s: _share_below_zero(s).mean(),
             "Đây là một con số chung cho mọi đầu; cần mỗi đầu một con số.",
             "This is one number for all heads; one a head is wanted."),
            (lambda s: 1 - _share_below_zero(s), "Đây là tỉ lệ các điểm KHÔNG âm.",
             "This is the share that is not below zero."),
            (lambda s: (s[..., attention.causal_mask(s.shape[-1])] < 0).double().sum(-1),
             "Đây là số lượng; hãy chia cho số ô của quá khứ.",
             "This is a count; divide by the number of entries in the past."),
            (lambda s: (s[..., attention.causal_mask(s.shape[-1]).tril(-1)] < 0).double().mean(-1),
             "Bạn bỏ mất đường chéo: token cũng nhìn chính nó.",
             "You left the diagonal out: a token looks at itself, too."),
        ],
    )  # fmt: skip

    other_heads = Exercise(
        lesson="04",
        inputs=[
            (_random(3, 6, 4) - 0.5, _random(3, 6, 4) + 0.5, _signs(3, 4)),
            (_random(4, 5, 8), _random(4, 5, 8), _signs(4, 8)),
        ],
        right=_own_and_others,
        result=("(tỉ lệ của chính đầu ấy, tỉ lệ với các đầu khác), hai số", "(own share, others' share), two numbers"),
        mistakes=[
            (_turned_apart,
             "Bạn đổi dấu ở truy vấn mà không đổi ở khóa: như thế mô hình cũng đổi. Hãy nhân cả q lẫn k với signs.",
             "You flipped the queries and not the keys, and that changes the model. Multiply both q and k by signs."),
            (lambda q, k, signs: _own_and_others(q, k, torch.ones_like(signs)),
             "Bạn chưa đổi dấu gì cả: hãy nhân q và k với signs[:, None].",
             "You have flipped nothing yet: multiply q and k by signs[:, None]."),
            (lambda q, k, signs: _own_and_others(q, k, signs)[::-1],
             "Hai số đúng, thứ tự chưa đúng: (chính đầu ấy, các đầu khác).",
             "The two numbers are right, their order is not: (own, others)."),
            (lambda q, k, signs: (_own_and_others(q, k, signs)[0], _all_pairs(q, k, signs)),
             "Số thứ hai vẫn tính cả khóa của chính đầu ấy: hãy bỏ đường chéo của bảng [đầu, đầu].",
             "The second number still counts the head's own keys: leave out the diagonal of [head, head]."),
        ],
    )  # fmt: skip

    negative_yet_even = Exercise(
        lesson="04",
        inputs=[(_heads_table(4),), (_heads_table(11, 6, 4),), (_heads_table(13, 3, 5),)],
        right=_negative_yet_even,
        result=("hai số (tầng, đầu)", "two numbers (layer, head)"),
        mistakes=[
            (lambda t: _place(t.nlargest(1, "entropy").iloc[0]),
             "Đầu này trải đều nhất, nhưng có đủ âm không? (share_below_zero > 0.9)",
             "This head is the most even of all, but is it negative enough? (share_below_zero > 0.9)"),
            (lambda t: _place(t.nlargest(1, "share_below_zero").iloc[0]),
             "Đây là đầu âm nhất. Trong các đầu rất âm, hãy chọn đầu có entropy lớn nhất.",
             "This is the most negative head. Among the very negative ones, choose the one with the largest entropy."),
            (lambda t: _place(t[t.share_below_zero > 0.9].nsmallest(1, "entropy").iloc[0]),
             "Đây là đầu thưa nhất trong các đầu rất âm: entropy nhỏ là thưa.",
             "This is the sparsest of the very negative heads: small entropy is sparse."),
            (lambda t: _negative_yet_even(t)[::-1],
             "Hai số đúng, thứ tự chưa đúng: (tầng, đầu).",
             "The two numbers are right, their order is not: (layer, head)."),
            (lambda t: _place(t[t.share_below_zero > 0.9].nsmallest(1, "row_spread").iloc[0]),
             "Bạn chọn theo row_spread; đề bài chọn theo entropy. (Hai cách có thường trùng nhau không?)",
             "You chose by row_spread; the task chooses by entropy. (Do the two often agree?)"),
            (lambda t: int(t[t.share_below_zero > 0.9].entropy.idxmax()),
             "Đây là số thứ tự của dòng trong bảng; hãy đọc layer và head của dòng ấy.",
             "This is the row's number in the table; read that row's layer and head."),
        ],
    )  # fmt: skip

    lost_part = Prediction(
        lesson="04b",
        right="level",
        why=(
            "Đúng: √d · ln w khác điểm thô một hằng số mỗi hàng; không biết hằng số ấy thì không biết mức.",
            "Right: √d · ln w differs from raw scores by one constant a row; without it the level is lost.",
        ),
        kind=('một trong "level", "position", "content"', 'one of "level", "position", "content"'),
        mistakes=[
            ("position",
             "Vị trí làm các điểm trong một hàng khác nhau, và mọi chỗ khác nhau đều để lại dấu trong trọng số.",
             "Position makes the scores of a row differ, and every difference leaves its mark on the weights."),
            ("content",
             "Nội dung làm các điểm trong một hàng khác nhau, và mọi chỗ khác nhau đều để lại dấu trong trọng số.",
             "Content makes the scores of a row differ, and every difference leaves its mark on the weights."),
        ],
    )  # fmt: skip

    center_rows = Exercise(
        lesson="04b",
        inputs=[(_random(4, 4) * 5 - 9,), (_random(3, 7, 7) * 5 + 4,)],
        right=parts.without_level,
        result="[..., query, key]",
        mistakes=[
            (lambda s: (s - s.mean(-1, keepdim=True)) * attention.causal_mask(s.shape[-1]),
             "Trung bình có tính cả tương lai. Ở hàng i (đếm từ 0), mô hình chỉ dùng i + 1 khóa.",
             "Your mean includes the future. In row i (counted from 0) the model uses only i + 1 keys."),
            (lambda s: (
                 (s - (s * attention.causal_mask(s.shape[-1])).mean(-1, keepdim=True))
                 * attention.causal_mask(s.shape[-1])
             ),
             "Bạn chia cho T. Hàng i chỉ có i + 1 khóa.", "You divided by T. Row i has only i + 1 keys."),
            (lambda s: (s - s.mean(-2, keepdim=True)) * attention.causal_mask(s.shape[-1]),
             "Bạn lấy trung bình theo truy vấn (cột). Cần trung bình của mỗi hàng, dim=-1.",
             "You averaged over queries (columns). The mean of each row is needed, dim=-1."),
            (lambda s: (s - s[..., attention.causal_mask(s.shape[-1])].mean()) * attention.causal_mask(s.shape[-1]),
             "Bạn dùng một trung bình chung cho mọi hàng. Mỗi hàng cần trung bình của riêng nó.",
             "You use one mean for all rows. Each row needs its own."),
            (lambda s: s - attention.row_means(s),
             "Phần quá khứ đúng rồi. Hãy đặt 0 ở tương lai.", "The past is right. Put 0 in the future."),
        ],
    )  # fmt: skip

    position_profile = Exercise(
        lesson="04b",
        inputs=[(_scores_with_ramp(5, 6),), (_scores_with_ramp(3, 9),)],
        right=_profile,
        given=lambda s: s.mean(0) * attention.causal_mask(s.shape[-1]),
        result="[query, key]",
        mistakes=[
            (lambda s: (s.mean(0) - s.mean((0, -1))[:, None]) * attention.causal_mask(s.shape[-1]),
             "Mức của bạn tính cả tương lai: hàng i chỉ có i + 1 khóa.",
             "Your level includes the future: row i has only i + 1 keys."),
            (lambda s: parts.without_level(s),
             "Bạn đã bỏ mức, nhưng chưa lấy trung bình theo văn bản (dim=0).",
             "The level is gone; now take the mean over the texts (dim=0)."),
            (lambda s: _profile(s) * len(s),
             "Đây là tổng theo văn bản; hãy lấy trung bình.", "This is the sum over the texts; take the mean."),
            (lambda s: (s - attention.row_means(s)).mean(0),
             "Phần quá khứ đúng rồi. Hãy đặt 0 ở tương lai.", "The past is right. Put 0 in the future."),
        ],
    )  # fmt: skip

    three_parts = Exercise(
        lesson="04b",
        inputs=[(_scores_with_ramp(1, 7)[0], _ramp(7)), (_scores_with_ramp(1, 12)[0], _ramp(12) * 0.8)],
        right=_parts,
        result=("(mức, vị trí, nội dung), ba số", "(level, position, content), three numbers"),
        mistakes=[
            (_parts_with_row_0,
             "Bạn tính cả hàng 0: nó chỉ có một điểm, toàn là mức. Hãy bỏ nó ra.",
             "You count row 0, which has one score, all level. Leave it out."),
            (_position_as_it_stands,
             "Ba phần của bạn không cộng lại thành 1: hãy lấy vị trí = 1 − mức − nội dung.",
             "Your three do not add up to 1: take position = 1 − level − content."),
            (lambda s, profile: tuple(_parts(s, profile)[i] for i in (0, 2, 1)),
             "Ba số đúng, thứ tự chưa đúng: (mức, vị trí, nội dung).",
             "The three numbers are right, their order is not: (level, position, content)."),
            (_parts_of_the_visible,
             "Vị trí và nội dung của bạn là phần của những gì softmax thấy; hãy chia cho toàn bộ.",
             "Your position and content are shares of what the softmax sees; divide by the whole."),
        ],
    )  # fmt: skip

    constant_vector = Prediction(
        lesson="04c",
        right="queries",
        why=(
            "Đúng: q·(k + c) thêm q·c, như nhau ở mọi khóa của hàng. Còn (q + c)·k thêm c·k, mỗi khóa một khác.",
            "Right: q·(k + c) adds q·c, the same for all keys of the row. But (q + c)·k adds c·k, which differs.",
        ),
        kind=('một trong "queries", "keys", "both", "neither"', 'one of "queries", "keys", "both", "neither"'),
        mistakes=[
            ("keys",
             "Thêm c vào mọi khóa thì mỗi điểm của hàng tăng q·c: có khác nhau giữa các khóa không?",
             "Adding c to all keys raises each score of the row by q·c: does that differ between keys?"),
            ("both",
             "Một trong hai không làm đổi gì. Viết (q + c)·k và q·(k + c) ra.",
             "One of the two changes nothing. Write out (q + c)·k and q·(k + c)."),
            ("neither",
             "Một trong hai làm trọng số đổi. Viết (q + c)·k và q·(k + c) ra.",
             "One of the two does change weights. Write out (q + c)·k and q·(k + c)."),
        ],
    )  # fmt: skip

    key_bias_part = Exercise(
        lesson="04c",
        inputs=[(_random(3, 5, 4), _random(3, 4)), (_random(1, 7, 8), _random(1, 8))],
        right=_key_bias_part,
        result="[head, query, key]",
        mistakes=[
            (lambda q, b_k: _key_bias_part(q, b_k).mT,
             "Bạn có mỗi khóa một giá trị. q·b_K là mỗi truy vấn một giá trị duy nhất, không đổi dọc theo hàng.",
             "You have one number a key. q·b_K is one number a query: it does not change along the row."),
            (lambda q, b_k: _key_bias_part(q, b_k)[..., 0],
             "Các con số đúng, nhưng mới là [đầu, truy vấn]: hãy đặt chúng ở mọi khóa của hàng.",
             "The numbers are right, but only [head, query]: put them at every key of the row."),
            (lambda q, b_k: _key_bias_part(q, b_k) / q.shape[-1] ** 0.5,
             "Bạn đã chia cho √d; điểm thô thì không chia.", "You divided by √d; raw scores are not divided."),
            (lambda q, b_k: _key_bias_part(q, b_k) * attention.causal_mask(q.shape[1]),
             "Bạn đã áp mặt nạ; điểm thô thì không bị che: tương lai cũng có điểm.",
             "You applied the mask; raw scores are not masked: the future has scores too."),
        ],
    )  # fmt: skip

    four_terms = Exercise(
        lesson="04c",
        inputs=[
            (_random(2, 5, 4), _random(2, 5, 4) + 1, _random(2, 4), _random(2, 4) * 2),
            (_random(3, 4, 2), _random(3, 4, 2), _random(3, 2), _random(3, 2)),
        ],
        right=_four_terms,
        given=_terms_of_whole_queries_and_keys,
        result="(q·k, b_Q·k, q·b_K, b_Q·b_K), [head, T, T] × 4",
        mistakes=[
            (lambda q, k, b_q, b_k: _terms_of_whole_queries_and_keys(q + b_q[:, None], k + b_k[:, None], b_q, b_k),
             "Bạn cộng bias thêm một lần nữa. q và k nhận được đã có bias: hãy trừ.",
             "You add the biases once more. The q and k you get have them already: subtract."),
            (lambda q, k, b_q, b_k: tuple(_four_terms(q, k, b_q, b_k)[i] for i in (0, 2, 1, 3)),
             "Bốn số hạng đúng, nhưng thứ tự chưa đúng: b_Q·k đứng trước q·b_K.",
             "The four terms are right, the order is not: b_Q·k comes before q·b_K."),
            (lambda q, k, b_q, b_k: (
                 _terms_of_whole_queries_and_keys(q, k, b_q, b_k)[0],
                 *_four_terms(q, k, b_q, b_k)[1:],
             ),
             "Số hạng thứ nhất vẫn dùng q và k đầy đủ.", "The first term still uses the whole q and k."),
            (lambda q, k, b_q, b_k: (
                 _four_terms(q, k, b_q, b_k)[0],
                 *_terms_of_whole_queries_and_keys(q, k, b_q, b_k)[1:],
             ),
             "Số hạng thứ nhất đã đúng; b_Q·k và q·b_K vẫn dùng k và q đầy đủ.",
             "The first term is right; b_Q·k and q·b_K still use the whole k and q."),
        ],
    )  # fmt: skip

    non_sink_share = Exercise(
        lesson="04c",
        inputs=[(_weights(6, 6), 5, 2), (_weights(8, 8), 6, 6), (_weights(4, 4), 2, 1)],
        right=lambda w, query, key: w[query, key] / (1 - w[query, 0]),
        result=("một con số", "one number"),
        mistakes=[
            (lambda w, query, key: w[query, key],
             "Đây vẫn là trọng số nguyên vẹn: phần rơi vào khóa 0 của hàng là w[query, 0], không phải w[0, …].",
             "This is still the plain weight: what falls on key 0 in the row is w[query, 0], not w[0, …]."),
            (lambda w, query, key: w[query, key] - w[query, 0],
             "Bạn trừ; cần chia, để được tỉ lệ so với phần không rơi vào khóa 0.",
             "You subtract; a share of what does not fall on key 0 is wanted."),
            (lambda w, query, key: w[query, key] / w[query, 0],
             "Bạn chia cho trọng số của khóa 0; cần chia cho phần CÒN LẠI, 1 − w[query, 0].",
             "You divide by key 0's weight; divide by the REST, 1 − w[query, 0]."),
            (lambda w, query, key: w[key, query] / (1 - w[key, 0]),
             "Bạn đổi chỗ truy vấn và khóa: hàng là truy vấn.", "You swapped query and key: rows are queries."),
            (lambda w, query, key: w[query, key] / (1 - w[key, 0]),
             "Khóa 0 của hàng nào? Hãy lấy hàng của truy vấn.", "Key 0 of which row? Take the query's row."),
        ],
    )  # fmt: skip

    peak_height = Prediction(
        lesson="05",
        right=0.5,
        why=(
            "Đúng: đồi rộng gấp đôi, diện tích vẫn bằng 1, nên chỉ cao một nửa.",
            "Right: the hill is twice as wide, its area is still 1, so it is half as high.",
        ),
        kind=("một con số", "a number"),
        mistakes=[
            (1, "Diện tích giữ nguyên, không phải chiều cao.", "It is the area that stays, not the height."),
            (2, "Rộng hơn thì thấp hơn: diện tích phải bằng 1.", "Wider means lower: the area must be 1."),
            (0.25,
             "Chỉ chiều ngang giãn ra; hãy nhìn h trong mẫu số của công thức.",
             "Only the width is stretched; look at the h in the formula's denominator."),
            (0.7071,
             "Không phải chia cho √2: trong hệ số 1 / (h √(2π)), h nằm ngoài dấu căn.",
             "Not by √2: in the factor 1 / (h √(2π)) h stands outside the root."),
        ],
    )  # fmt: skip

    gaussian_kde = Exercise(
        lesson="05",
        inputs=[
            (np.array([-2.0, 0.5, 1.0, 4.0]), np.linspace(-6, 8, 15), 0.7),
            (np.array([0.0, 0.6]), np.linspace(-3, 3, 7), 1.0),
        ],
        right=kde.gaussian_sum,
        result="[len(x)]",
        mistakes=[
            (lambda v, x, h: kde.gaussian_sum(v, x, h) * len(v),
             "Diện tích dưới đường cong là n, không phải 1: hãy chia cho số giá trị, `len(values)`.",
             "The area under the curve is n, not 1: divide by the number of values, `len(values)`."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) * len(v) / len(x),
             "Bạn chia cho len(x). Hãy chia cho số giá trị, len(values).",
             "You divided by len(x). Divide by the number of values, len(values)."),
            (lambda v, x, h: scipy_kde(v, bw_method=h)(x),
             "Với scipy, bw_method là một HỆ SỐ nhân với độ lệch chuẩn, không phải h.",
             "To scipy, bw_method is a FACTOR of the standard deviation, not h."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) * np.sqrt(2 * np.pi),
             "φ còn thiếu 1/√(2π).", "φ lacks its 1/√(2π)."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) / np.sqrt(2 * np.pi),
             "Cần √(2π), không phải 2π.", "It takes √(2π), not 2π."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h / np.sqrt(2)) / np.sqrt(2),
             "Thiếu ½ trong số mũ: e^(−z²/2).", "The ½ in the exponent is missing: e^(−z²/2)."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) * h,
             "Bạn quên chia cho độ rộng nhân h: diện tích phải bằng 1.",
             "You forgot to divide by the bandwidth h: the area must be 1."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) * h * np.sqrt(2 * np.pi),
             "Mỗi đường Gauss còn thiếu hệ số 1 / (h √(2π)).", "Each Gaussian lacks its factor 1 / (h √(2π))."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) * h * np.sqrt(2 * np.pi) * len(v),
             "Đã có tổng các đường Gauss, nhưng chưa chuẩn hóa: chia cho n · h · √(2π).",
             "The sum of Gaussians is there, not yet normalised: divide by n · h · √(2π)."),
        ],
    )  # fmt: skip

    blurred_histogram = Exercise(
        lesson="05",
        inputs=[
            (np.random.default_rng(0).multinomial(500, np.ones(80) / 80), 0.25, 1.5),
            (np.random.default_rng(1).multinomial(90, np.ones(60) / 60), 0.4, 1.3),
        ],
        right=_blurred,
        given=lambda counts, width, h: gaussian_filter1d(counts.astype(float), h) / (counts.sum() * width),
        result="[bins]",
        mistakes=[
            (lambda c, w, h: gaussian_filter1d(c.astype(float), h * w) / (c.sum() * w),
             "Bạn nhân với width. h đơn vị dài bằng mấy ô, nếu mỗi ô rộng width?",
             "You multiply by width. How many bins are h units, if each is width wide?"),
            (lambda c, w, h: gaussian_filter1d(c, h / w) / (c.sum() * w),
             "Số đếm là số nguyên, và gaussian_filter1d trả về số nguyên theo: hãy giữ .astype(float).",
             "Counts are whole numbers, and gaussian_filter1d then returns whole numbers: keep the .astype(float)."),
            (lambda c, w, h: gaussian_filter1d(c.astype(float), h / w) / c.sum(),
             "Bạn bỏ mất width: diện tích phải bằng 1, không phải tổng.",
             "You lost width: the area must be 1, not the sum."),
            (lambda c, w, h: gaussian_filter1d(c.astype(float), h / w),
             "Bạn bỏ mất phép chia: đây vẫn là số đếm.", "You lost the division: these are still counts."),
        ],
    )  # fmt: skip

    count_peaks = Exercise(
        lesson="05",
        inputs=[
            (_bumps((-6, 1, 1), (0, 0.4, 0.05), (4, 2, 0.3)),),
            (_bumps((-9, 1, 2), (1, 1, 0.2)),),
            (np.maximum(_bumps((2, 1, 1)) - 0.1, 0),),  # level on both sides
        ],
        right=_count_peaks,
        result=("một con số", "one number"),
        mistakes=[
            (lambda y: _count_peaks(-y), "Bạn đếm các thung lũng.", "You counted the valleys."),
            (lambda y: _count_peaks(y) + _count_peaks(-y),
             "Bạn đếm cả thung lũng: đó là mọi chỗ đổi chiều.", "You counted valleys too: those are all turns."),
            (lambda y: int(y.argmax()),
             "Đây là vị trí của đỉnh cao nhất; cần số đỉnh.",
             "This is where the highest peak lies; their number is wanted."),
            (lambda y: (y[1:-1] > y[:-2]) & (y[1:-1] > y[2:]),
             "Đây là True/False cho từng điểm; hãy đếm.", "These are True/False a point; count them."),
            (lambda y: int((y[1:] > y[:-1]).sum()),
             "Bạn đếm các điểm đang đi lên; đỉnh cao hơn cả hai bên.",
             "You counted the points on the way up; a peak is above both its neighbours."),
        ],
    )  # fmt: skip

    layer_norm_factors = Prediction(
        lesson="06",
        right=(0.5, 1, 1),
        why=(
            "Đúng: chuẩn trong tệp chỉ còn một nửa, nhưng γ bù lại: đã gộp thì không có gì đổi, mô hình cũng vậy.",
            "Right: the file shows a half, γ makes up for it, so once folded nothing has changed, nor has the model.",
        ),
        kind=("ba hệ số (‖W_Q‖ trong tệp, ‖W_Q‖ đã gộp, q)", "three factors (‖W_Q‖ as stored, ‖W_Q‖ folded, q)"),
        mistakes=[
            ((0.5, 0.5, 0.5),
             "Bạn quên γ: q = (x̂ ⊙ γ + β) W, và γ, β lớn gấp đôi.",
             "You forgot γ: q = (x̂ ⊙ γ + β) W, and γ, β are twice as large."),
            ((0.5, 0.5, 1),
             "q thì đúng. Gộp là nhân các hàng của W với γ: cả hai đều đổi.",
             "q is right. Folding multiplies W's rows by γ: both have changed."),
            ((0.5, 1, 2), "q dùng cả γ và W: gấp đôi nhân với một nửa.", "q uses both γ and W: twice times a half."),
            ((0.5, 2, 1), "Gộp là nhân W (còn một nửa) với γ (đã gấp đôi).",
             "Folding multiplies W (a half) by γ (twice)."),
            ((1, 1, 1), "Tệp lưu W_Q riêng, chưa có γ trong đó.", "The file stores W_Q by itself, without γ in it."),
        ],
    )  # fmt: skip

    singular_values = Exercise(
        lesson="06",
        inputs=[(_random(12, 3), _random(3, 12).T), (_random(20, 4), _random(4, 20).T - 1), (_random(5, 1),) * 2],
        right=matrices.singular_values,
        result="[head_size]",
        mistakes=[
            (_in_the_whole_space,
             "Các con số đúng, nhưng có tới D số: hạng của W_Q W_Kᵀ không quá head_size, phần còn lại là sai số "
             "làm tròn. Hãy giữ head_size giá trị đầu tiên.",
             "The numbers are right, but D of them: the rank of W_Q W_Kᵀ is head_size at most, the rest is rounding. "
             "Keep the first head_size."),
            (lambda q, k: torch.linalg.eigvals(q @ k.T).abs().sort(descending=True).values,
             "Đây là trị riêng. W_Q W_Kᵀ không đối xứng, nên trị riêng và giá trị kỳ dị là hai thứ khác nhau.",
             "These are eigenvalues. W_Q W_Kᵀ is not symmetric, so they are not its singular values."),
            (lambda q, k: torch.linalg.svdvals(q.T @ k),
             "Đây là W_Qᵀ W_K, [head_size, head_size]: tích khác, giá trị kỳ dị khác.",
             "This is W_Qᵀ W_K, [head_size, head_size]: another product, with other singular values."),
            (lambda q, k: torch.linalg.svdvals(q) * torch.linalg.svdvals(k),
             "Bạn nhân giá trị kỳ dị của hai ma trận. Chỉ đúng khi các hướng của chúng trùng nhau.",
             "You multiplied the singular values of the two matrices. That holds only where their directions agree."),
            (lambda q, k: matrices.singular_values(q, k) ** 2,
             "Đây là bình phương của giá trị kỳ dị (trị riêng của M Mᵀ): hãy lấy căn.",
             "These are squares of the singular values (eigenvalues of M Mᵀ): take the root."),
            (lambda q, k: matrices.singular_values(q, k).flip(-1),
             "Thứ tự bị đảo: số lớn nhất đứng đầu.", "The order is reversed: the largest comes first."),
        ],
    )  # fmt: skip

    reflected_kde = Exercise(
        lesson="06",
        inputs=[
            (np.array([0.02, 0.1, 0.35, 0.97]), np.linspace(0, 1, 11), 0.1),
            (np.array([0.5, 0.0]), np.linspace(0, 1, 6), 0.15),
        ],
        right=_reflected,
        result="[len(x)]",
        mistakes=[
            (kde.gaussian_sum,
             "Chưa phản xạ: phần tràn ra ngoài [0, 1] bị mất.",
             "Nothing is reflected yet: what spills out of [0, 1] is lost."),
            (lambda v, x, h: _reflected(v, x, h) / 3,
             "Bạn lấy trung bình trên 3n giá trị. Ảnh đối xứng không phải dữ liệu mới: hãy chia cho n.",
             "You took the mean over 3n values. Mirror images are no new data: divide by n."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) + kde.gaussian_sum(-v, x, h),
             "Mới phản xạ qua 0, còn thiếu biên 1: ảnh của v qua 1 là 2 − v.",
             "Reflected at 0 only; the bound 1 is missing: the image of v in 1 is 2 − v."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) + kde.gaussian_sum(2 - v, x, h),
             "Mới phản xạ qua 1, còn thiếu biên 0: ảnh của v qua 0 là −v.",
             "Reflected at 1 only; the bound 0 is missing: the image of v in 0 is −v."),
            (lambda v, x, h: sum(kde.gaussian_sum(images, x, h) for images in (v, -v, 1 - v)),
             "Ảnh của v qua 1 là 2 − v, không phải 1 − v.", "The image of v in 1 is 2 − v, not 1 − v."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) / (norm.cdf(1, v, h) - norm.cdf(0, v, h)).mean(),
             "Bạn chia cho diện tích còn lại. Diện tích thành 1, nhưng mật độ ở hai biên vẫn bị hạ thấp: hãy phản xạ.",
             "You divided by the area that is left. The area becomes 1, but the ends stay too low: reflect."),
        ],
    )  # fmt: skip

    folded = Exercise(
        lesson="06",
        inputs=[
            (_random(6, 3), _random(3), _random(6) + 2, _random(6)),
            (_random(4, 4), _random(4), _random(4) * 2, _random(4)),
        ],
        right=_folded,
        given=_folded_twice,
        result="(W, b), [D, d] + [d]",
        mistakes=[
            (lambda w, b, scale, shift: (scale[:, None] * w, b),
             "β cũng đi qua W: nó thêm β W vào bias.", "β passes through W too: it adds β W to the bias."),
            (lambda w, b, scale, shift: (w, b + shift @ w), "γ chưa được gộp vào W.", "γ is not folded into W."),
            (lambda w, b, scale, shift: (
                 w * scale if w.shape[1] == len(scale) else scale[:, None] * w,
                 b + shift @ w,
             ),
             "Phải nhân γ vào các HÀNG của W (mỗi hàng ứng với một chiều đầu vào); bạn lại nhân vào các cột.",
             "γ multiplies the ROWS of W (a row is a dimension that goes in); you multiply the columns."),
            (lambda w, b, scale, shift: (scale[:, None] * w, b + (shift / scale) @ w),
             "Đừng chia β cho γ: trong x = x̂ ⊙ γ + β, β đứng riêng.",
             "β is not divided by γ: x = x̂ ⊙ γ + β, and β stands by itself."),
        ],
    )  # fmt: skip

    heads_apart = Exercise(
        lesson="06",
        inputs=[_two_corpora(454), _two_corpora(2), _two_corpora(1, n_heads=20, n_texts=16)],
        right=_holm,
        result=("một con số", "one number"),
        mistakes=[
            (lambda a, b: int((ttest_rel(a, b).pvalue < 0.05).sum()),
             "Bạn chưa hiệu chỉnh: trong 20 đầu không khác nhau, chừng một đầu dưới 0,05 là do may. Dùng cách Holm.",
             "You have not corrected: of 20 heads that do not differ, one falls below 0.05 by luck. Use Holm's rule."),
            (lambda a, b: int((ttest_rel(a, b).pvalue < 0.05 / a.shape[1]).sum()),
             "Đây là hiệu chỉnh Bonferroni: đúng nhưng quá chặt. Holm: sau mỗi đầu đạt, số chia giảm đi 1.",
             "This is Bonferroni's rule: valid, but too strict. Holm's divides by one less after each that passes."),
            (lambda a, b: int((np.sort(ttest_rel(a, b).pvalue) <= 0.05 / np.arange(a.shape[1], 0, -1)).sum()),
             "Bạn đếm cả những giá trị p đạt ngưỡng sau một giá trị không đạt: hãy dừng ở giá trị đầu tiên không đạt.",
             "You also count p values that pass after one that failed: stop at the first that fails."),
            (lambda a, b: _holm_unpaired(a, b),
             "Bạn dùng phép thử cho hai mẫu độc lập; ở đây hai mẫu gồm cùng những văn bản: ttest_rel.",
             "You used the test for independent samples; here the same texts stand in both: ttest_rel."),
            (lambda a, b: a.shape[1] - _holm(a, b),
             "Đây là số lượng đầu KHÔNG khác.", "This is the number of heads that do NOT differ."),
            (lambda a, b: _holm(a, b) / a.shape[1],
             "Đây là tỉ lệ; cần số lượng đầu.", "This is the share; the number of heads is wanted."),
        ],
    )  # fmt: skip

    key_head = Prediction(
        lesson="07",
        right=3,
        why=(
            "Đúng: bốn đầu truy vấn liền nhau dùng chung một đầu khóa: 12, 13, 14, 15 dùng đầu khóa 3.",
            "Right: four neighbouring query heads share a key head: 12, 13, 14 and 15 use key head 3.",
        ),
        kind=("một số nguyên", "a whole number"),
        mistakes=[
            (5,
             "Đó là 13 % 8, cách chia của `repeat`: các đầu dùng chung phải liền nhau.",
             "That is 13 % 8, the way of `repeat`: heads that share are neighbours."),
            (13, "Chỉ có 8 đầu khóa, từ 0 đến 7.", "There are only 8 key heads, 0 to 7."),
            (4, "Đếm từ 0: đầu truy vấn 0–3 dùng đầu khóa 0.", "Count from 0: query heads 0 to 3 use key head 0."),
            (1,
             "Đó là 13 // 8. Mỗi đầu khóa phục vụ 32 / 8 = 4 đầu truy vấn.",
             "That is 13 // 8. A key head serves 32 / 8 = 4 query heads."),
            (3.25, "Hãy làm tròn xuống: số thứ tự là số nguyên.", "Round down: a head's number is whole."),
        ],
    )  # fmt: skip

    split_gpt_neox = Exercise(
        lesson="07",
        inputs=[(_random(5, 24), 2), (_random(3, 54), 3)],
        right=_split_gpt_neox,
        given=_thirds_into_heads,
        result="(q, k, v), [head, T, head_size] × 3",
        mistakes=[
            (lambda x, n: tuple(x[:, i::3].unflatten(-1, (n, -1)).transpose(0, 1) for i in range(3)),
             "Bạn lấy xen kẽ từng cột; q, k, v của một đầu là ba đoạn liền nhau.",
             "You took every third column; q, k, v of a head are three runs of neighbouring columns."),
            (lambda x, n: _split_gpt_neox(x, n)[::-1],
             "Thứ tự bị đảo ngược: trong mỗi đầu là q, k, v.", "The order is reversed: within a head it is q, k, v."),
            (lambda x, n: tuple(part.transpose(0, 1) for part in _split_gpt_neox(x, n)),
             "Các con số đúng, nhưng là [T, đầu, head_size]: hãy đổi chỗ chiều thứ nhất và chiều thứ hai.",
             "The numbers are right, but as [T, head, head_size]: swap the first two dimensions."),
        ],
    )  # fmt: skip

    share_keys = Exercise(
        lesson="07",
        inputs=[(_random(3, 5, 4), 9), (_random(2, 4, 6), 8), (_random(4, 3, 2), 4)],
        right=lambda k, n_heads: k.repeat_interleave(n_heads // len(k), dim=0),
        result="[head, T, head_size]",
        mistakes=[
            (lambda k, n: k.repeat(n // len(k), 1, 1),
             "Đây là `repeat`: 0, 1, 2, 0, 1, 2, … Các đầu liền nhau phải dùng chung: 0, 0, 0, 1, 1, 1, …",
             "This is `repeat`: 0, 1, 2, 0, 1, 2, … Neighbours must share: 0, 0, 0, 1, 1, 1, …"),
            (lambda k, n: k.repeat_interleave(n // len(k), dim=1),
             "Bạn lặp các token. Hãy lặp các đầu: dim=0.", "You repeat tokens. Repeat heads: dim=0."),
            (lambda k, n: k.repeat_interleave(n, dim=0),
             "Bạn lặp mỗi đầu n_heads lần: cần n_heads / số lượng đầu khóa.",
             "You repeat each head n_heads times: n_heads / number of key heads is needed."),
            (lambda k, n: k,
             "Số lượng đầu chưa đổi: hãy lặp lại các đầu khóa.",
             "There are as many heads as before: repeat the key heads."),
        ],
    )  # fmt: skip

    extreme_layers = Exercise(
        lesson="07",
        inputs=[(_heads_table(3),), (_heads_table(4, 6, 4),), (_heads_table(5, 3, 5),)],
        right=_extreme_layers,
        result=("hai số (tầng, tầng)", "two numbers (layer, layer)"),
        mistakes=[
            (lambda t: _extreme_layers(t)[::-1],
             "Thứ tự bị đảo: tầng có tỉ lệ nhỏ nhất đứng trước.",
             "The order is reversed: the layer with the smallest share comes first."),
            (lambda t: (
                 int(t.loc[t.share_below_zero.idxmin()].layer),
                 int(t.loc[t.share_below_zero.idxmax()].layer),
             ),
             "Đây là tầng của các ĐẦU có tỉ lệ cực trị; trước hết hãy lấy trung bình trong mỗi tầng.",
             "These are the layers of extreme HEADS; take each layer's mean first."),
            (lambda t: (
                 t.groupby("layer").share_below_zero.mean().min(),
                 t.groupby("layer").share_below_zero.mean().max(),
             ),
             "Đây là các tỉ lệ; cần số thứ tự của hai tầng.",
             "These are the shares; the numbers of the layers are wanted."),
        ],
    )  # fmt: skip

    @staticmethod
    def progress():
        """How the exercises of the lessons tried in this session stand: a Progress, shown as a list."""
        return Progress([each for each in vars(check).values() if isinstance(each, Checker)])
