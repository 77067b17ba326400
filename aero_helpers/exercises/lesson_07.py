"""Lesson 07, a modern model."""

from aero_helpers import attention
from aero_helpers.checking import Exercise, Prediction
from aero_helpers.exercises.inputs import drawn, heads_table


def _split_gpt_neox(fused, n_heads):
    return attention.split_heads(fused, n_heads).chunk(3, dim=-1)


def _thirds_into_heads(fused, n_heads):
    return tuple(attention.split_heads(part, n_heads) for part in attention.split_qkv(fused))


def _extreme_layers(table):
    by_layer = table.groupby("layer").share_below_zero.mean()
    return int(by_layer.idxmin()), int(by_layer.idxmax())


key_head = Prediction(
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
    inputs=drawn(lambda draw: [(draw(5, 24), 2), (draw(3, 54), 3)]),
    right=_split_gpt_neox,
    given=_thirds_into_heads,
    result="(q, k, v), [head, T, head_size] × 3",
)


@split_gpt_neox.mistake(
    "Bạn lấy xen kẽ từng cột; q, k, v của một đầu là ba đoạn liền nhau.",
    "You took every third column; q, k, v of a head are three runs of neighbouring columns.",
)
def every_third_column(fused, n_heads):
    return tuple(fused[:, i::3].unflatten(-1, (n_heads, -1)).transpose(0, 1) for i in range(3))


@split_gpt_neox.mistake(
    "Thứ tự bị đảo ngược: trong mỗi đầu là q, k, v.", "The order is reversed: within a head it is q, k, v."
)
def reversed_order(fused, n_heads):
    return _split_gpt_neox(fused, n_heads)[::-1]


@split_gpt_neox.mistake(
    "Các con số đúng, nhưng là [T, đầu, head_size]: hãy đổi chỗ chiều thứ nhất và chiều thứ hai.",
    "The numbers are right, but as [T, head, head_size]: swap the first two dimensions.",
)
def tokens_before_heads(fused, n_heads):
    return tuple(part.transpose(0, 1) for part in _split_gpt_neox(fused, n_heads))


def _neighbours_share(keys, n_heads):
    return keys.repeat_interleave(n_heads // len(keys), dim=0)


share_keys = Exercise(
    inputs=drawn(lambda draw: [(draw(3, 5, 4), 9), (draw(2, 4, 6), 8), (draw(4, 3, 2), 4)]),
    right=_neighbours_share,
    result="[head, T, head_size]",
)


@share_keys.mistake(
    "Đây là `repeat`: 0, 1, 2, 0, 1, 2, … Các đầu liền nhau phải dùng chung: 0, 0, 0, 1, 1, 1, …",
    "This is `repeat`: 0, 1, 2, 0, 1, 2, … Neighbours must share: 0, 0, 0, 1, 1, 1, …",
)
def repeated_in_turn(keys, n_heads):
    return keys.repeat(n_heads // len(keys), 1, 1)


@share_keys.mistake("Bạn lặp các token. Hãy lặp các đầu: dim=0.", "You repeat tokens. Repeat heads: dim=0.")
def tokens_repeated(keys, n_heads):
    return keys.repeat_interleave(n_heads // len(keys), dim=1)


@share_keys.mistake(
    "Bạn lặp mỗi đầu n_heads lần: cần n_heads / số lượng đầu khóa.",
    "You repeat each head n_heads times: n_heads / number of key heads is needed.",
)
def repeated_too_often(keys, n_heads):
    return keys.repeat_interleave(n_heads, dim=0)


@share_keys.mistake(
    "Số lượng đầu chưa đổi: hãy lặp lại các đầu khóa.", "There are as many heads as before: repeat the key heads."
)
def not_repeated(keys, n_heads):
    return keys


extreme_layers = Exercise(
    inputs=[(heads_table(3),), (heads_table(4, 6, 4),), *((heads_table(seed, 3, 5),) for seed in range(5, 11))],
    right=_extreme_layers,
    result=("hai số (tầng, tầng)", "two numbers (layer, layer)"),
)


@extreme_layers.mistake(
    "Thứ tự bị đảo: tầng có tỉ lệ nhỏ nhất đứng trước.",
    "The order is reversed: the layer with the smallest share comes first.",
)
def largest_first(table):
    return _extreme_layers(table)[::-1]


@extreme_layers.mistake(
    "Đây là tầng của các ĐẦU có tỉ lệ cực trị; trước hết hãy lấy trung bình trong mỗi tầng.",
    "These are the layers of extreme HEADS; take each layer's mean first.",
)
def layers_of_extreme_heads(table):
    return (
        int(table.loc[table.share_below_zero.idxmin()].layer),
        int(table.loc[table.share_below_zero.idxmax()].layer),
    )


@extreme_layers.mistake(
    "Đây là các tỉ lệ; cần số thứ tự của hai tầng.", "These are the shares; the numbers of the layers are wanted."
)
def shares_of_layers(table):
    return (table.groupby("layer").share_below_zero.mean().min(), table.groupby("layer").share_below_zero.mean().max())
