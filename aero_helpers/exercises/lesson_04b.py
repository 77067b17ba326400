"""Lesson 04b, level, position and content."""

import torch

from aero_helpers import attention, parts
from aero_helpers.checking import Exercise, Prediction
from aero_helpers.exercises.inputs import drawn


def _profile(scores):
    return parts.without_level(scores).mean(0)


def _parts(scores, profile):
    """(level, position, content): shares of the mean square of causal rows 1, 2, … of [T, T]."""
    past = attention.causal_mask(len(scores))[1:]
    seen = parts.without_level(scores)
    squares = [((x[1:] * past) ** 2).sum() for x in (scores, seen, seen - profile)]
    total, visible, content = squares
    return (total - visible) / total, (visible - content) / total, content / total


def _ramp(n_tokens):
    """A position profile: scores that rise with the key's position."""
    return parts.without_level(torch.arange(n_tokens).expand(n_tokens, -1) * 1.5)


def _scores_with_ramp(draw, n_texts, n_tokens):
    return draw(n_texts, n_tokens, n_tokens) * 2 + _ramp(n_tokens) - 7 - 3 * draw(n_texts, n_tokens, 1)


lost_part = Prediction(
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
    inputs=drawn(lambda draw: [(draw(4, 4) * 5 - 9,), (draw(3, 7, 7) * 5 + 4,)]),
    right=parts.without_level,
    result="[..., query, key]",
)


@center_rows.mistake(
    "Trung bình có tính cả tương lai. Ở hàng i (đếm từ 0), mô hình chỉ dùng i + 1 khóa.",
    "Your mean includes the future. In row i (counted from 0) the model uses only i + 1 keys.",
)
def mean_with_the_future(scores):
    return (scores - scores.mean(-1, keepdim=True)) * attention.causal_mask(scores.shape[-1])


@center_rows.mistake("Bạn chia cho T. Hàng i chỉ có i + 1 khóa.", "You divided by T. Row i has only i + 1 keys.")
def divided_by_length(scores):
    return (scores - (scores * attention.causal_mask(scores.shape[-1])).mean(-1, keepdim=True)) * attention.causal_mask(
        scores.shape[-1]
    )


@center_rows.mistake(
    "Bạn lấy trung bình theo truy vấn (cột). Cần trung bình của mỗi hàng, dim=-1.",
    "You averaged over queries (columns). The mean of each row is needed, dim=-1.",
)
def mean_over_queries(scores):
    return (scores - scores.mean(-2, keepdim=True)) * attention.causal_mask(scores.shape[-1])


@center_rows.mistake(
    "Bạn dùng một trung bình chung cho mọi hàng. Mỗi hàng cần trung bình của riêng nó.",
    "You use one mean for all rows. Each row needs its own.",
)
def one_mean_for_all(scores):
    return (scores - scores[..., attention.causal_mask(scores.shape[-1])].mean()) * attention.causal_mask(
        scores.shape[-1]
    )


@center_rows.mistake("Phần quá khứ đúng rồi. Hãy đặt 0 ở tương lai.", "The past is right. Put 0 in the future.")
def future_not_zero(scores):
    return scores - attention.row_means(scores)


def _level_kept(scores):
    return scores.mean(0) * attention.causal_mask(scores.shape[-1])


position_profile = Exercise(
    inputs=drawn(lambda draw: [(_scores_with_ramp(draw, 5, 6),), (_scores_with_ramp(draw, 3, 9),)]),
    right=_profile,
    given=_level_kept,
    result="[query, key]",
)


@position_profile.mistake(
    "Mức của bạn tính cả tương lai: hàng i chỉ có i + 1 khóa.",
    "Your level includes the future: row i has only i + 1 keys.",
)
def level_with_the_future(scores):
    return (scores.mean(0) - scores.mean((0, -1))[:, None]) * attention.causal_mask(scores.shape[-1])


@position_profile.mistake(
    "Bạn đã bỏ mức, nhưng chưa lấy trung bình theo văn bản (dim=0).",
    "The level is gone; now take the mean over the texts (dim=0).",
)
def not_averaged(scores):
    return parts.without_level(scores)


@position_profile.mistake(
    "Đây là tổng theo văn bản; hãy lấy trung bình.", "This is the sum over the texts; take the mean."
)
def summed_over_texts(scores):
    return _profile(scores) * len(scores)


@position_profile.mistake("Phần quá khứ đúng rồi. Hãy đặt 0 ở tương lai.", "The past is right. Put 0 in the future.")
def profile_future_not_zero(scores):
    return (scores - attention.row_means(scores)).mean(0)


three_parts = Exercise(
    inputs=drawn(
        lambda draw: [
            (_scores_with_ramp(draw, 1, 7)[0], _ramp(7)),
            (_scores_with_ramp(draw, 1, 12)[0], _ramp(12) * 0.8),
        ]
    ),
    right=_parts,
    result=("(mức, vị trí, nội dung), ba số", "(level, position, content), three numbers"),
)


@three_parts.mistake(
    "Bạn tính cả hàng 0: nó chỉ có một điểm, toàn là mức. Hãy bỏ nó ra.",
    "You count row 0, which has one score, all level. Leave it out.",
)
def row_0_counted(scores, profile):
    past = attention.causal_mask(len(scores))
    seen = parts.without_level(scores)
    total, visible, content = (((x * past) ** 2).sum() for x in (scores, seen, seen - profile))
    return (total - visible) / total, (visible - content) / total, content / total


@three_parts.mistake(
    "Ba phần của bạn không cộng lại thành 1: hãy lấy vị trí = 1 − mức − nội dung.",
    "Your three do not add up to 1: take position = 1 − level − content.",
)
def position_as_it_stands(scores, profile):
    """Position as the profile's own square: the three do not add up, as profile and content are not at right angles."""
    level, _, content = _parts(scores, profile)
    past = attention.causal_mask(len(scores))[1:]
    return level, ((profile[1:] * past) ** 2).sum() / ((scores[1:] * past) ** 2).sum(), content


@three_parts.mistake(
    "Ba số đúng, thứ tự chưa đúng: (mức, vị trí, nội dung).",
    "The three numbers are right, their order is not: (level, position, content).",
)
def content_before_position(scores, profile):
    return tuple(_parts(scores, profile)[i] for i in (0, 2, 1))


@three_parts.mistake(
    "Vị trí và nội dung của bạn là phần của những gì softmax thấy; hãy chia cho toàn bộ.",
    "Your position and content are shares of what the softmax sees; divide by the whole.",
)
def parts_of_the_visible(scores, profile):
    level, position, content = _parts(scores, profile)
    return level, position / (1 - level), content / (1 - level)
