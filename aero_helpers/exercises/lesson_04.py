"""Lesson 04, the negative shift."""

import torch

from aero_helpers import attention
from aero_helpers.checking import Exercise, Prediction
from aero_helpers.exercises.inputs import drawn, heads_table, masked


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


def _signs(draw, *shape):
    return draw(*shape).sign()


def _place(row):
    return int(row.layer), int(row["head"])


def _negative_yet_even(table):
    return _place(table[table.share_below_zero > 0.9].nlargest(1, "entropy").iloc[0])


sparsest_row = Prediction(
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


def _future_set_to_zero(scores):
    return (scores * attention.causal_mask(scores.shape[-1]) < 0).double().mean((-2, -1))


share_below_zero = Exercise(
    inputs=drawn(lambda draw: [(draw(3, 6, 6) * 5 - 3,), (draw(2, 9, 9).round(),)]),
    right=_share_below_zero,
    given=_future_set_to_zero,
    result="[head]",
)


@share_below_zero.mistake(
    "Bạn đếm cả tương lai, mà mô hình không bao giờ dùng.", "You count the future too, which the model never uses."
)
def future_counted(scores):
    return (scores < 0).double().mean((-2, -1))


@share_below_zero.mistake(
    "Bạn đặt −∞ ở tương lai, và −∞ cũng dưới 0: hãy chỉ chọn các ô của quá khứ.",
    "You put −∞ in the future, and −∞ is below 0 as well: select the entries of the past.",
)
def infinities_counted(scores):
    return (masked(scores) < 0).double().mean((-2, -1))


@share_below_zero.mistake(
    "Đây là một con số chung cho mọi đầu; cần mỗi đầu một con số.",
    "This is one number for all heads; one a head is wanted.",
)
def all_heads_together(scores):
    return _share_below_zero(scores).mean()


@share_below_zero.mistake("Đây là tỉ lệ các điểm KHÔNG âm.", "This is the share that is not below zero.")
def share_not_below(scores):
    return 1 - _share_below_zero(scores)


@share_below_zero.mistake(
    "Đây là số lượng; hãy chia cho số ô của quá khứ.", "This is a count; divide by the number of entries in the past."
)
def count_below(scores):
    return (scores[..., attention.causal_mask(scores.shape[-1])] < 0).double().sum(-1)


@share_below_zero.mistake(
    "Bạn bỏ mất đường chéo: token cũng nhìn chính nó.", "You left the diagonal out: a token looks at itself, too."
)
def diagonal_left_out(scores):
    return (scores[..., attention.causal_mask(scores.shape[-1]).tril(-1)] < 0).double().mean(-1)


other_heads = Exercise(
    inputs=drawn(
        lambda draw: [
            (draw(3, 6, 4) - 0.5, draw(3, 6, 4) + 0.5, _signs(draw, 3, 4)),
            (draw(4, 5, 8), draw(4, 5, 8), _signs(draw, 4, 8)),
        ]
    ),
    right=_own_and_others,
    result=("(tỉ lệ của chính đầu ấy, tỉ lệ với các đầu khác), hai số", "(own share, others' share), two numbers"),
)


@other_heads.mistake(
    "Bạn đổi dấu ở truy vấn mà không đổi ở khóa: như thế mô hình cũng đổi. Hãy nhân cả q lẫn k với signs.",
    "You flipped the queries and not the keys, and that changes the model. Multiply both q and k by signs.",
)
def queries_alone_turned(q, k, signs):
    """The mistake of signs on the queries alone."""
    return _own_and_others(q, k * signs[:, None], signs)


@other_heads.mistake(
    "Bạn chưa đổi dấu gì cả: hãy nhân q và k với signs[:, None].",
    "You have flipped nothing yet: multiply q and k by signs[:, None].",
)
def nothing_turned(q, k, signs):
    return _own_and_others(q, k, torch.ones_like(signs))


@other_heads.mistake(
    "Hai số đúng, thứ tự chưa đúng: (chính đầu ấy, các đầu khác).",
    "The two numbers are right, their order is not: (own, others).",
)
def others_first(q, k, signs):
    return _own_and_others(q, k, signs)[::-1]


@other_heads.mistake(
    "Số thứ hai vẫn tính cả khóa của chính đầu ấy: hãy bỏ đường chéo của bảng [đầu, đầu].",
    "The second number still counts the head's own keys: leave out the diagonal of [head, head].",
)
def own_keys_among_the_others(q, k, signs):
    return (_own_and_others(q, k, signs)[0], _all_pairs(q, k, signs))


negative_yet_even = Exercise(
    inputs=[(heads_table(4),), (heads_table(11, 6, 4),), *((heads_table(seed, 3, 5),) for seed in range(12, 16))],
    right=_negative_yet_even,
    result=("hai số (tầng, đầu)", "two numbers (layer, head)"),
)


@negative_yet_even.mistake(
    "Đầu này trải đều nhất, nhưng có đủ âm không? (share_below_zero > 0.9)",
    "This head is the most even of all, but is it negative enough? (share_below_zero > 0.9)",
)
def most_even_of_all(table):
    return _place(table.nlargest(1, "entropy").iloc[0])


@negative_yet_even.mistake(
    "Đây là đầu âm nhất. Trong các đầu rất âm, hãy chọn đầu có entropy lớn nhất.",
    "This is the most negative head. Among the very negative ones, choose the one with the largest entropy.",
)
def most_negative(table):
    return _place(table.nlargest(1, "share_below_zero").iloc[0])


@negative_yet_even.mistake(
    "Đây là đầu thưa nhất trong các đầu rất âm: entropy nhỏ là thưa.",
    "This is the sparsest of the very negative heads: small entropy is sparse.",
)
def sparsest_of_the_negative(table):
    return _place(table[table.share_below_zero > 0.9].nsmallest(1, "entropy").iloc[0])


@negative_yet_even.mistake(
    "Hai số đúng, thứ tự chưa đúng: (tầng, đầu).", "The two numbers are right, their order is not: (layer, head)."
)
def head_before_layer(table):
    return _negative_yet_even(table)[::-1]


@negative_yet_even.mistake(
    "Bạn chọn theo row_spread; đề bài chọn theo entropy. (Hai cách có thường trùng nhau không?)",
    "You chose by row_spread; the task chooses by entropy. (Do the two often agree?)",
)
def least_spread(table):
    return _place(table[table.share_below_zero > 0.9].nsmallest(1, "row_spread").iloc[0])


@negative_yet_even.mistake(
    "Đây là số thứ tự của dòng trong bảng; hãy đọc layer và head của dòng ấy.",
    "This is the row's number in the table; read that row's layer and head.",
)
def row_number(table):
    return int(table[table.share_below_zero > 0.9].entropy.idxmax())
