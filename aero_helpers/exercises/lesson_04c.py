"""Lesson 04c, where the shift comes from."""

import torch

from aero_helpers import attention
from aero_helpers.checking import Exercise, Prediction
from aero_helpers.exercises.inputs import drawn, masked


def _key_bias_part(q, b_k):
    return torch.einsum("hqd,hd->hq", q, b_k)[..., None].expand(-1, -1, q.shape[1])


def _four_terms(q, k, b_q, b_k):
    return tuple(attention.score_terms(q, k, b_q, b_k).values())


def _terms_of_whole_queries_and_keys(q, k, b_q, b_k):
    b_q, b_k = b_q[:, None].expand_as(q), b_k[:, None].expand_as(k)
    return q @ k.mT, b_q @ k.mT, q @ b_k.mT, b_q @ b_k.mT


def _weights(draw, *shape):
    """Attention weights of a random model: rows of the past, each with the sum 1."""
    return masked(draw(*shape) * 2).softmax(-1)


constant_vector = Prediction(
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
    inputs=drawn(lambda draw: [(draw(3, 5, 4), draw(3, 4)), (draw(1, 7, 8), draw(1, 8))]),
    right=_key_bias_part,
    result="[head, query, key]",
)


@key_bias_part.mistake(
    "Bạn có mỗi khóa một giá trị. q·b_K là mỗi truy vấn một giá trị duy nhất, không đổi dọc theo hàng.",
    "You have one number a key. q·b_K is one number a query: it does not change along the row.",
)
def one_number_a_key(q, b_k):
    return _key_bias_part(q, b_k).mT


@key_bias_part.mistake(
    "Các con số đúng, nhưng mới là [đầu, truy vấn]: hãy đặt chúng ở mọi khóa của hàng.",
    "The numbers are right, but only [head, query]: put them at every key of the row.",
)
def one_number_a_query(q, b_k):
    return _key_bias_part(q, b_k)[..., 0]


@key_bias_part.mistake("Bạn đã chia cho √d; điểm thô thì không chia.", "You divided by √d; raw scores are not divided.")
def part_divided(q, b_k):
    return _key_bias_part(q, b_k) / q.shape[-1] ** 0.5


@key_bias_part.mistake(
    "Bạn đã áp mặt nạ; điểm thô thì không bị che: tương lai cũng có điểm.",
    "You applied the mask; raw scores are not masked: the future has scores too.",
)
def part_masked(q, b_k):
    return _key_bias_part(q, b_k) * attention.causal_mask(q.shape[1])


four_terms = Exercise(
    inputs=drawn(
        lambda draw: [
            (draw(2, 5, 4), draw(2, 5, 4) + 1, draw(2, 4), draw(2, 4) * 2),
            (draw(3, 4, 2), draw(3, 4, 2), draw(3, 2), draw(3, 2)),
        ]
    ),
    right=_four_terms,
    given=_terms_of_whole_queries_and_keys,
    result="(q·k, b_Q·k, q·b_K, b_Q·b_K), [head, T, T] × 4",
)


@four_terms.mistake(
    "Bạn cộng bias thêm một lần nữa. q và k nhận được đã có bias: hãy trừ.",
    "You add the biases once more. The q and k you get have them already: subtract.",
)
def biases_added_again(q, k, b_q, b_k):
    return _terms_of_whole_queries_and_keys(q + b_q[:, None], k + b_k[:, None], b_q, b_k)


@four_terms.mistake(
    "Bốn số hạng đúng, nhưng thứ tự chưa đúng: b_Q·k đứng trước q·b_K.",
    "The four terms are right, the order is not: b_Q·k comes before q·b_K.",
)
def key_bias_before_query_bias(q, k, b_q, b_k):
    return tuple(_four_terms(q, k, b_q, b_k)[i] for i in (0, 2, 1, 3))


@four_terms.mistake("Số hạng thứ nhất vẫn dùng q và k đầy đủ.", "The first term still uses the whole q and k.")
def first_term_of_the_whole(q, k, b_q, b_k):
    return (_terms_of_whole_queries_and_keys(q, k, b_q, b_k)[0], *_four_terms(q, k, b_q, b_k)[1:])


@four_terms.mistake(
    "Số hạng thứ nhất đã đúng; b_Q·k và q·b_K vẫn dùng k và q đầy đủ.",
    "The first term is right; b_Q·k and q·b_K still use the whole k and q.",
)
def other_terms_of_the_whole(q, k, b_q, b_k):
    return (_four_terms(q, k, b_q, b_k)[0], *_terms_of_whole_queries_and_keys(q, k, b_q, b_k)[1:])


def _share_of_the_rest(weights, query, key):
    return weights[query, key] / (1 - weights[query, 0])


non_sink_share = Exercise(
    inputs=drawn(
        lambda draw: [(_weights(draw, 6, 6), 5, 2), (_weights(draw, 8, 8), 6, 6), (_weights(draw, 4, 4), 2, 1)]
    ),
    right=_share_of_the_rest,
    result=("một con số", "one number"),
)


@non_sink_share.mistake(
    "Đây vẫn là trọng số nguyên vẹn: phần rơi vào khóa 0 của hàng là w[query, 0], không phải w[0, …].",
    "This is still the plain weight: what falls on key 0 in the row is w[query, 0], not w[0, …].",
)
def plain_weight(weights, query, key):
    return weights[query, key]


@non_sink_share.mistake(
    "Bạn trừ; cần chia, để được tỉ lệ so với phần không rơi vào khóa 0.",
    "You subtract; a share of what does not fall on key 0 is wanted.",
)
def sink_subtracted(weights, query, key):
    return weights[query, key] - weights[query, 0]


@non_sink_share.mistake(
    "Bạn chia cho trọng số của khóa 0; cần chia cho phần CÒN LẠI, 1 − w[query, 0].",
    "You divide by key 0's weight; divide by the REST, 1 − w[query, 0].",
)
def divided_by_the_sink(weights, query, key):
    return weights[query, key] / weights[query, 0]


@non_sink_share.mistake(
    "Bạn đổi chỗ truy vấn và khóa: hàng là truy vấn.", "You swapped query and key: rows are queries."
)
def query_and_key_swapped(weights, query, key):
    return weights[key, query] / (1 - weights[key, 0])


@non_sink_share.mistake("Khóa 0 của hàng nào? Hãy lấy hàng của truy vấn.", "Key 0 of which row? Take the query's row.")
def sink_of_another_row(weights, query, key):
    return weights[query, key] / (1 - weights[key, 0])
