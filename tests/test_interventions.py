from copy import deepcopy

import pytest
import torch
from conftest import TEXT

import aero_helpers as aero
from aero_helpers import interventions
from aero_helpers.capture import capture
from aero_helpers.models import LanguageModel

INVISIBLE = {
    "add a constant to each row": interventions.lift_rows,
    "remove each row's level": interventions.without_level,
}


def logits(lm, change=None):
    ids = lm.encode(TEXT)[0][None]
    with torch.no_grad():
        if change is None:
            return lm.model(ids).logits
        with lm.intervene(change):
            return lm.model(ids).logits


@pytest.mark.parametrize("name", ["mini", "full_size"])
@pytest.mark.parametrize("change", INVISIBLE)
def test_what_is_constant_in_a_row_is_invisible(name, change, request):
    lm = request.getfixturevalue(name)
    before = lm.record(TEXT)
    with lm.intervene(INVISIBLE[change]):
        after = lm.record(TEXT)
    assert (after.weights() - before.weights()).abs().max() < 1e-5
    assert (logits(lm, INVISIBLE[change]) - logits(lm)).abs().max() < 1e-3
    assert (after.raw_scores - before.raw_scores).abs().max() > 1


@pytest.mark.parametrize("name", ["mini", "full_size"])
def test_without_b_k_nothing_changes_and_without_b_q_much_does(name, request):
    lm = request.getfixturevalue(name)
    width = lm.model.config.hidden_size
    moved = {}
    for bias, part in (("b_K", slice(width, 2 * width)), ("b_Q", slice(0, width))):
        other = aero.LanguageModel("without a bias", deepcopy(lm.model), lm.tokenizer)
        with torch.no_grad():
            for block in other.model.transformer.h:
                assert block.attn.c_attn.bias[part].abs().max() > 0
                block.attn.c_attn.bias[part] = 0
        weights = (other.record(TEXT).weights() - lm.record(TEXT).weights()).abs().max()
        moved[bias] = weights, (logits(other) - logits(lm)).abs().max()
    assert moved["b_K"][0] < 1e-5 and moved["b_K"][1] < 1e-3
    assert moved["b_Q"][0] > 1e-2 and moved["b_Q"][1] > 0.1


@pytest.mark.parametrize("name", ["mini", "full_size"])
def test_clipping_is_seen(name, request):
    lm = request.getfixturevalue(name)
    with lm.intervene(interventions.clip_negative):
        clipped = lm.record(TEXT)
    assert (clipped.raw_scores >= 0).all()
    assert (clipped.weights() - lm.record(TEXT).weights()).abs().max() > 0.05
    assert (logits(lm, interventions.clip_negative) - logits(lm)).abs().max() > 0.1


def test_lifting_leaves_no_negative_score(mini):
    with mini.intervene(interventions.lift_rows):
        record = mini.record(TEXT)
    past = aero.causal_mask(record.n_tokens)
    assert record.raw_scores[..., past].min() == pytest.approx(1, abs=1e-3)


def test_a_hidden_key_0_gets_no_weight_from_later_queries(mini):
    with mini.intervene(interventions.hide_key(0)):
        weights = mini.record(TEXT).weights()
    assert (weights[..., 1:, 0] == 0).all() and (weights[..., 0, 0] == 1).all()


def test_another_hidden_key_is_the_control_and_keeps_itself(mini):
    with mini.intervene(interventions.hide_key(3)):
        weights = mini.record(TEXT).weights()
    assert (weights[..., 4:, 3] == 0).all() and (weights[..., 3, 3] > 0).all()
    assert weights.sum(-1).numpy() == pytest.approx(1, abs=1e-5)
    for wrong in (-1, 0.0, False, None):
        with pytest.raises(ValueError, match="key: expected a whole number of at least 0"):
            interventions.hide_key(wrong)
    with pytest.raises(ValueError, match="key: expected one with a later query, up to 0 here, got 1"):
        interventions.hide_key(1)(torch.zeros(1, 1, 2, 2))


def test_a_level_alone_is_uniform_attention_wherever_it_lies(mini):
    with mini.intervene(interventions.level_alone):
        weights = mini.record(TEXT).weights()
    n_keys = torch.arange(1.0, weights.shape[-1] + 1)
    assert (weights - (1 / n_keys)[:, None] * aero.causal_mask(len(n_keys))).abs().max() < 1e-6


def test_token_losses_are_the_loss_token_by_token(mini):
    ids = mini.encode(TEXT)[0]
    with torch.no_grad():
        expected = -mini.model(ids[None]).logits[0].log_softmax(-1)[torch.arange(len(ids) - 1), ids[1:]]
    assert mini.token_losses(TEXT).numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    assert mini.loss(TEXT) == pytest.approx(expected.mean().item(), abs=1e-6)


def test_spread_goes_with_entropy(mini):
    table = interventions.intervention_table(mini, [TEXT]).set_index("intervention")
    assert table.entropy["spread × 2"] < table.entropy["as it is"] < table.entropy["spread × 0.5"]
    assert table.share_below_zero["set negative scores to 0"] == 0
    assert table.loss_change["as it is"] == 0
    assert table.loss_change[list(INVISIBLE)].abs().max() < 1e-3 < table.loss_change["set negative scores to 0"]
    assert table.weight_change[list(INVISIBLE)].max() < 1e-5 < 0.1 < table.weight_change["set negative scores to 0"]


def test_the_model_is_itself_again_afterwards_even_after_an_error(mini):
    before = logits(mini)
    with pytest.raises(ZeroDivisionError), mini.intervene(lambda scores, layer: 1 / 0):
        mini.record(TEXT)
    assert mini.change is None
    assert torch.equal(logits(mini), before)


def test_a_second_change_is_refused_and_the_first_stays(mini):
    with mini.intervene(interventions.clip_negative):
        outer = mini.record(TEXT).raw_scores
        second = mini.intervene(interventions.hide_key(0))
        with pytest.raises(ValueError, match="one change at a time"), second:
            pass
        with pytest.raises(ValueError, match="one change at a time"):
            aero.intervention_table(mini, [TEXT])
        assert torch.equal(mini.record(TEXT).raw_scores, outer)


def test_a_record_of_changed_scores_says_so_and_does_not_mix(mini):
    with mini.intervene(interventions.clip_negative):
        changed = mini.record(TEXT)
    assert changed.model_name == "mini (changed scores)"
    afterwards = interventions.changed_record(mini.record(TEXT), interventions.clip_negative)
    for other in (changed, afterwards):
        with pytest.raises(ValueError, match="expected records of one model"):
            aero.shift_tables([mini.record(TEXT), other])


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_model_told_to_attend_otherwise_within_an_intervention(mini, implementation):
    lm = LanguageModel("copy", deepcopy(mini.model), mini.tokenizer)
    with lm.intervene(interventions.clip_negative):
        changed = lm.loss(TEXT)
        lm.model.set_attn_implementation(implementation)
        if implementation == "sdpa":
            assert lm.loss(TEXT) == changed
        else:
            with pytest.raises(ValueError, match="expected a model that attends by 'sdpa'"):
                lm.loss(TEXT)
            lm.model.set_attn_implementation("sdpa")
            assert lm.loss(TEXT) == changed


def test_a_change_that_hands_over_one_tensor_again_and_again_is_recorded_layer_by_layer(mini):
    reused = torch.empty(1, 4, 20, 20)
    with mini.intervene(lambda scores, layer: reused.copy_(scores)):
        record = mini.record(TEXT)
    assert torch.allclose(record.raw_scores, mini.record(TEXT).raw_scores, atol=1e-3)


def test_a_change_is_told_its_layer(mini):
    seen = []
    with mini.intervene(lambda scores, layer: seen.append(layer) or scores):
        mini.record(TEXT)
    assert seen == list(range(6))


def test_a_change_of_the_wrong_shape_is_named(mini):
    words = r"change: expected raw scores \[1, 4, .* back, got NoneType"
    with mini.intervene(lambda scores, layer: None), pytest.raises(ValueError, match=words):
        mini.record(TEXT)


def test_loss_is_transformers_own(mini):
    ids = mini.encode(TEXT)[0][None]
    with torch.no_grad():
        assert mini.loss(TEXT) == pytest.approx(mini.model(ids, labels=ids).loss.item(), abs=1e-5)
    with pytest.raises(ValueError, match="expected at least two tokens"):
        mini.loss("a")


def test_padding_leaves_no_trace_under_an_intervention(mini):
    """An intervention sees the mask that the model's own attention would get."""
    ids = mini.encode(TEXT)[0]
    padded = torch.cat([ids, torch.zeros(5, dtype=ids.dtype)])[None]
    mask = (torch.arange(padded.shape[1]) < len(ids)).long()[None]
    with torch.no_grad(), mini.intervene(interventions.without_level):
        with_padding = mini.model(padded, attention_mask=mask).logits[:, : len(ids)]
    assert (with_padding - logits(mini)).abs().max() < 1e-3
    scores, _ = capture(mini.model, ids)
    assert torch.equal(scores, mini.record(TEXT).raw_scores)
