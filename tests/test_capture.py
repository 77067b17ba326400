"""Measured alone or beside others, in whatever surroundings: the same numbers, or an error that names what is amiss."""

import asyncio
import importlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import TEXT, randomised
from transformers import (
    BertConfig,
    BertLMHeadModel,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    JetMoeConfig,
    JetMoeForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

import aero_helpers as aero
from aero_helpers import interventions
from aero_helpers.models import LanguageModel

TEXTS = [scene.text for scene in aero.read_scenes()]


@pytest.fixture
def llama(mini):
    config = LlamaConfig(vocab_size=mini.model.config.vocab_size, hidden_size=48, intermediate_size=64,
                         num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2)  # fmt: skip
    return LanguageModel("llama", randomised(LlamaForCausalLM(config)), mini.tokenizer)


def measures(lm):
    """{name: function of a text to a number or an array}: the ways into a model."""

    def changed(text):
        with lm.intervene(interventions.clip_negative):
            return lm.record(text).raw_scores.numpy()

    return {
        "record": lambda text: lm.record(text).raw_scores.numpy(),
        "queries_and_keys": lambda text: lm.queries_and_keys(text)[0].numpy(),
        "loss": lm.loss,
        "intervene": changed,
        "profile": lambda text: aero.profile(lm, [text]).numerators,
    }


WAYS = ("record", "queries_and_keys", "loss", "intervene", "profile")


# ---- threads and tasks


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("n_threads", [2, 8])
def test_each_thread_measures_as_if_alone(mini, way, n_threads):
    measure = measures(mini)[way]
    alone = [measure(text) for text in TEXTS]
    with ThreadPoolExecutor(n_threads) as pool:
        together = list(pool.map(measure, TEXTS))
    for one, other in zip(alone, together):
        assert np.allclose(one, other, rtol=1e-4, atol=1e-3)


def test_threads_of_all_kinds_side_by_side(mini, llama):
    jobs = [(way, lm, text) for text in TEXTS[:6] for lm in (mini, llama) for way in WAYS]
    alone = [measures(lm)[way](text) for way, lm, text in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: measures(job[1])[job[0]](job[2]), jobs))
    assert all(np.allclose(one, other, rtol=1e-4, atol=1e-3) for one, other in zip(alone, together))


def test_an_intervention_is_in_force_in_its_own_thread_alone(mini):
    with mini.intervene(interventions.clip_negative), ThreadPoolExecutor(1) as pool:
        outside = pool.submit(mini.record, TEXT).result()
        inside = mini.record(TEXT)
        change = pool.submit(lambda: mini.change).result()
    assert torch.equal(outside.raw_scores, mini.record(TEXT).raw_scores) and inside.raw_scores.min() == 0
    assert change is None and mini.change is None


def test_an_intervention_is_in_force_in_its_own_task_alone(mini):
    async def under(change, seen):
        with mini.intervene(change):
            await asyncio.sleep(0.01)
            seen.append(mini.record(TEXT).raw_scores)
            assert await asyncio.to_thread(lambda: mini.change) is change  # a task's thread inherits

    async def both():
        lists = [], []
        await asyncio.gather(under(interventions.clip_negative, lists[0]), under(interventions.lift_rows, lists[1]))
        return lists

    (clipped,), (lifted,) = asyncio.run(both())
    past = aero.causal_mask(clipped.shape[-1])
    assert clipped.min() == 0 and lifted[..., past].min() == pytest.approx(1, abs=1e-3)


def test_a_mode_is_given_back_only_when_the_last_thread_is_done(lm):
    lm.model.train()
    with ThreadPoolExecutor(4) as pool:
        records = list(pool.map(lm.record, [TEXT] * 12))
    assert all(torch.equal(record.raw_scores, records[0].raw_scores) for record in records) and lm.model.training


# ---- models beside each other


def test_models_on_one_config_share_nothing(mini):
    config = GPT2Config(vocab_size=2048, n_positions=256, n_embd=64, n_layer=2, n_head=2)
    one, other = (LanguageModel(name, randomised(GPT2LMHeadModel(config)), mini.tokenizer) for name in "ab")
    before = other.loss(TEXT)
    with one.intervene(interventions.clip_negative):
        assert other.loss(TEXT) == before and one.loss(TEXT) != before
        assert other.change is None
        assert aero.profile(other, [TEXT]).counts[0] == 1
    with one.intervene(interventions.clip_negative), other.intervene(interventions.lift_rows):
        assert one.record(TEXT).raw_scores.min() == 0


@pytest.mark.parametrize("way", WAYS)
def test_a_change_does_not_reach_another_model_through_shared_modules(mini, way):
    sharing = deepcopy(mini.model)
    sharing.transformer.h = mini.model.transformer.h
    measure = measures(LanguageModel("sharing", sharing, mini.tokenizer))[way]
    alone = measure(TEXT)
    with mini.intervene(interventions.clip_negative), pytest.raises(ValueError, match="modules of its own, got some"):
        measure(TEXT)
    assert np.array_equal(measure(TEXT), alone)


def test_contexts_may_end_in_any_order(mini, lm):
    first, second = mini.intervene(interventions.clip_negative), lm.intervene(interventions.lift_rows)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert lm.change is interventions.lift_rows and mini.change is None
    second.__exit__(None, None, None)
    assert lm.change is None


# ---- surroundings


@pytest.mark.parametrize("way", WAYS)
def test_training_mode_is_left_for_the_measurement_and_given_back(lm, way):
    for module in lm.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    measure, expected = measures(lm)[way], None
    expected = measure(TEXT)
    lm.model.train()
    lm.model.transformer.h[2].eval()
    assert np.array_equal(measure(TEXT), expected) and np.array_equal(measure(TEXT), expected)
    assert lm.model.training and lm.model.transformer.h[1].training and not lm.model.transformer.h[2].training


@pytest.fixture(params=["float64", "bfloat16", "autocast", "no deterministic", "errors raised", "grad"])
def surroundings(request):
    dtype, errors = torch.get_default_dtype(), np.geterr()
    with torch.enable_grad():
        if request.param in ("float64", "bfloat16"):
            torch.set_default_dtype(getattr(torch, request.param))
        if request.param == "errors raised":
            np.seterr(all="raise", under="ignore")
        if request.param == "no deterministic":
            torch.use_deterministic_algorithms(True)
        with torch.autocast("cpu", torch.bfloat16, enabled=request.param == "autocast"):
            yield
    torch.set_default_dtype(dtype)
    torch.use_deterministic_algorithms(False)
    np.seterr(**errors)


@pytest.fixture(scope="module")
def in_quiet_surroundings(mini):
    return {way: measure(TEXT) for way, measure in measures(mini).items()} | {
        "table": aero.shift_table(mini.record(TEXT)),
        "untrained": mini.untrained().record(TEXT).raw_scores,
    }


@pytest.mark.parametrize("way", [*WAYS, "table", "untrained"])
def test_a_number_does_not_hang_on_torchs_and_numpys_settings(mini, in_quiet_surroundings, surroundings, way):
    more = {
        "table": lambda text: aero.shift_table(mini.record(text)),
        "untrained": lambda text: mini.untrained().record(text).raw_scores,
    }
    assert np.array_equal((measures(mini) | more)[way](TEXT), in_quiet_surroundings[way])


def test_a_record_of_a_reloaded_module_is_refused_with_a_word_on_why(record):
    importlib.reload(aero.recording)
    try:
        with pytest.raises(TypeError, match="made before aero_helpers was loaded anew; restart the kernel"):
            aero.recording.require_record(record)
    finally:
        aero.recording.AttentionRecord = type(record)


# ---- layers, masks, other softmaxes


def neo(mini):
    config = GPTNeoConfig(vocab_size=2048, hidden_size=32, num_layers=2, num_heads=2,
                          attention_types=[[["global", "local"], 1]], max_position_embeddings=256)  # fmt: skip
    return LanguageModel("neo", GPTNeoForCausalLM(config), mini.tokenizer)


def shortened(mini):
    model = deepcopy(mini.model)
    model.transformer.h = model.transformer.h[:3]
    return LanguageModel("short", model, mini.tokenizer)


def twice(mini):
    model = deepcopy(mini.model)
    model.transformer.h[1] = model.transformer.h[0]
    return LanguageModel("twice", model, mini.tokenizer)


def softcapped(mini):
    config = Gemma2Config(vocab_size=2048, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
                          num_attention_heads=2, num_key_value_heads=1, head_dim=16, query_pre_attn_scalar=16,
                          attn_logit_softcapping=5.0, max_position_embeddings=256)  # fmt: skip
    model = Gemma2ForCausalLM(config)
    model.config._attn_implementation = "sdpa"  # as older releases of transformers let it
    return LanguageModel("capped", model, mini.tokenizer)


def encoder(mini):
    config = BertConfig(vocab_size=2048, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
                        num_attention_heads=2, max_position_embeddings=256, is_decoder=False)  # fmt: skip
    return LanguageModel("encoder", BertLMHeadModel(config), mini.tokenizer)


def eager(mini):
    model = deepcopy(mini.model)
    model.set_attn_implementation("eager")
    return LanguageModel("eager", model, mini.tokenizer)


REFUSED = {
    neo: "GPTNeoForCausalLM: expected a model that attends by 'sdpa'|does not use transformers' attention interface",
    shortened: r"expected the layers 0 to 5 of its config .* got \[0, 1, 2\], none of \[3, 4, 5\]",
    twice: "expected each once a run, got layer 0 twice",
    softcapped: "softcap=5.0",
    encoder: "expected a plain causal mask",
    eager: r"got 'eager'; model.set_attn_implementation\('sdpa'\) changes it",
}


@pytest.mark.parametrize("way", ["record", "queries_and_keys", "intervene", "profile"])
@pytest.mark.parametrize("make", REFUSED)
def test_a_model_that_does_something_else_is_refused_on_every_way(mini, make, way):
    with pytest.raises(ValueError, match=REFUSED[make]):
        measures(make(mini))[way]("The old dog ran to the sea.")


def test_layers_lost_within_an_intervention_are_named_at_its_end(lm):
    with pytest.raises(ValueError, match=r"none of \[3, 4, 5\]"), lm.intervene(interventions.lift_rows):
        lm.model.transformer.h = lm.model.transformer.h[:3]
        lm.loss(TEXT)


@pytest.mark.parametrize("way", ["record", "queries_and_keys", "intervene", "profile"])
def test_layers_that_changed_places_without_their_numbers_are_refused(lm, way):
    layers = lm.model.transformer.h
    layers[0], layers[1] = layers[1], layers[0]
    with pytest.raises(ValueError, match=r"in the order of their numbers, got \[1, 0, 2, 3, 4, 5\]; .*layer_idx"):
        measures(lm)[way](TEXT)
    layers[0].attn.layer_idx, layers[1].attn.layer_idx = 0, 1
    lm.model.set_attn_implementation("eager")
    own = lm.model(lm.encode(TEXT)[0][None], output_attentions=True).attentions
    lm.model.set_attn_implementation("sdpa")
    assert (lm.record(TEXT).weights() - torch.cat(own)).abs().max() < 1e-5


def test_a_model_that_views_its_attentions_output_can_be_changed(mini):
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_key_value_heads": 2, "kv_channels": 16}
    config = JetMoeConfig(vocab_size=2048, intermediate_size=32, num_local_experts=2, num_experts_per_tok=1, **sizes)
    lm = LanguageModel("mixture", randomised(JetMoeForCausalLM(config)), mini.tokenizer)
    loss = lm.loss(TEXT)
    with lm.intervene(lambda scores, layer: scores):
        assert abs(lm.loss(TEXT) - loss) < 1e-5


def test_a_model_told_to_attend_otherwise_within_an_intervention_is_named_at_its_end(lm):
    told = pytest.raises(ValueError, match=r"got set_attn_implementation\('eager'\) meanwhile")
    with told, lm.intervene(lambda scores, layer: scores * 0):
        lm.model.set_attn_implementation("eager")
        lm.model(lm.encode(TEXT)[0][None])
    lm.model.set_attn_implementation("sdpa")
    assert lm.change is None and lm.loss(TEXT) > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda scores, layer: scores.int(), "floating-point scores back, got torch.int32"),
        (lambda scores, layer: scores * torch.nan, "expected numbers back, got NaN"),
        (lambda scores, layer: scores[..., :1], "expected raw scores"),
        (lambda scores, layer: scores.numpy(), "got ndarray"),
    ],
)
def test_a_change_gives_numbers_back(mini, change, words):
    with mini.intervene(change), pytest.raises(ValueError, match=words):
        mini.loss(TEXT)


def test_a_change_is_a_function(mini):
    with pytest.raises(TypeError, match="change: expected a function of scores and layer, got str"):
        mini.intervene("hide key 0").__enter__()


# ---- generation and padding


def generated(lm, change, use_cache, n_tokens=12, **inputs):
    ids = lm.encode(TEXT)[0][None]
    with lm.intervene(change):
        return lm.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=n_tokens, do_sample=False, use_cache=use_cache,
            pad_token_id=0, output_logits=True, return_dict_in_generate=True, **inputs,
        )  # fmt: skip


PROFILE = aero.position_profile([aero.load("mini").record(" ".join(TEXTS[:9]), truncate=120)])
CHANGES = interventions.INTERVENTIONS | {
    "position alone": interventions.position_alone(PROFILE),
    "content alone": interventions.content_alone(PROFILE),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_cache_changes_nothing_under_an_intervention(mini, name):
    with_cache, without = (generated(mini, CHANGES[name], use_cache) for use_cache in (True, False))
    assert torch.equal(with_cache.sequences, without.sequences)
    assert (torch.cat(with_cache.logits) - torch.cat(without.logits)).abs().max() < 1e-2


def test_the_last_step_of_generation_is_what_the_whole_text_gives(mini):
    """Independent of the cache: the changed model reads prompt and answer as one text."""
    found = generated(mini, interventions.hide_key(0), use_cache=True)
    with torch.no_grad(), mini.intervene(interventions.hide_key(0)):
        whole = mini.model(found.sequences[:, :-1]).logits[0, -1]
    assert (found.logits[-1][0] - whole).abs().max() < 1e-2
    plain = generated(mini, lambda scores, layer: scores, use_cache=True)
    assert (found.logits[-1][0] - plain.logits[-1][0]).abs().max() > 0.1


def test_padding_in_front_of_a_text_is_refused_and_behind_it_leaves_no_trace(mini):
    short, long = (mini.encode(text)[0] for text in ("The dog ran.", TEXT))
    gap = torch.zeros(len(long) - len(short), dtype=torch.long)
    mask = torch.ones(2, len(long), dtype=torch.long)
    with torch.no_grad(), mini.intervene(interventions.hide_key(0)):
        alone = mini.model(short[None]).logits[0]
        mask[0, len(short) :] = 0
        batch = mini.model(torch.stack([torch.cat([short, gap]), long]), attention_mask=mask).logits
        assert (batch[0, : len(short)] - alone).abs().max() < 1e-3
        with pytest.raises(ValueError, match="padding in front of the text"):
            mini.model(torch.stack([torch.cat([gap, short]), long]), attention_mask=mask.flip(1))
        with pytest.raises(ValueError, match="padding in front of the text"):
            mini.model.generate(torch.stack([torch.cat([gap, short]), long]), attention_mask=mask.flip(1),
                                max_new_tokens=2, pad_token_id=0)  # fmt: skip


def test_a_cache_of_fixed_size_is_refused(mini):
    with pytest.raises(ValueError, match="a cache of fixed size"):
        generated(mini, interventions.hide_key(0), True, cache_implementation="static")


# ---- identity


def test_heads_that_the_config_does_not_state_are_refused(mini):
    lm = LanguageModel("copy", deepcopy(mini.model), mini.tokenizer)
    lm.model.config.num_attention_heads = 8
    for measure in (lm.record, lambda text: aero.profile(lm, [text])):
        with pytest.raises(ValueError, match="expected 8 heads of 16 numbers, as its config states, got 4 whose"):
            measure(TEXT)


def test_queries_longer_than_values_are_refused(mini):
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    latent = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8}
    config = DeepseekV3Config(vocab_size=2048, num_key_value_heads=2, first_k_dense_replace=2, **sizes, **latent)
    lm = LanguageModel("latent attention", DeepseekV3ForCausalLM(config), mini.tokenizer)
    for measure in (lm.record, lambda text: aero.profile(lm, [text])):
        with pytest.raises(ValueError, match="got 2 whose queries have 16 and whose values 8"):
            measure(TEXT)


def test_a_cache_that_drops_the_first_keys_is_refused(mini):
    sizes = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = MistralConfig(vocab_size=2048, num_key_value_heads=2, sliding_window=8, **sizes)
    lm = LanguageModel("mistral", randomised(MistralForCausalLM(config)), mini.tokenizer)
    ids = torch.tensor([lm.token_ids("The old man looked")])
    with lm.intervene(interventions.hide_key(0)):
        lm.model.generate(ids, max_new_tokens=3, do_sample=False, pad_token_id=0)
        with pytest.raises(ValueError, match="expected a cache that holds the whole text, got a window of 8 tokens"):
            lm.model.generate(ids, max_new_tokens=15, do_sample=False, pad_token_id=0)


def test_a_fingerprint_follows_what_the_config_says_of_arithmetic(mini):
    lm = LanguageModel("copy", deepcopy(mini.model), mini.tokenizer)
    assert lm.fingerprint == mini.fingerprint
    lm.model.config.use_cache = not lm.model.config.use_cache
    assert lm.fingerprint == mini.fingerprint
    for name, value in {"activation_function": "relu", "layer_norm_epsilon": 1.0}.items():
        before = lm.fingerprint
        setattr(lm.model.config, name, value)
        assert lm.fingerprint != before
    with pytest.raises(ValueError, match="expected two of one model"):
        aero.profile(mini, [TEXT]) + aero.profile(lm, [TEXT])


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
def test_a_fingerprint_follows_a_step_that_torch_does_not_count(lm, mini, optimizer):
    before, record = lm.fingerprint, lm.record(TEXT)
    fused = getattr(torch.optim, optimizer)(lm.model.parameters(), lr=1e-2, fused=True)
    ids = lm.encode(TEXT)[0][None]
    lm.model(ids, labels=ids).loss.backward()
    fused.step()
    assert lm.fingerprint != before
    with pytest.raises(ValueError, match="of one model"):
        aero.shift_tables([record, lm.record(TEXT)])


def test_a_fingerprint_follows_the_weights_and_nothing_else(lm, mini, tmp_path):
    before = lm.fingerprint
    assert before == mini.fingerprint == lm.record(TEXT).fingerprint and len(before) == 64
    lm.model.train().eval()
    lm.model.save_pretrained(tmp_path / "one")
    lm.tokenizer.save_pretrained(tmp_path / "one")
    assert aero.load(tmp_path / "one").fingerprint == before != mini.untrained().fingerprint
    with torch.no_grad():
        lm.model.transformer.h[3].attn.c_attn.bias[7] += 1e-3
    assert lm.fingerprint != before


def test_records_and_profiles_of_other_weights_under_one_name_do_not_mix(mini, lm, tmp_path):
    with torch.no_grad():
        lm.model.transformer.wte.weight *= 1.1
    one, other = mini.record(TEXT), lm.record(TEXT)
    assert one.model_name == other.model_name and one.first(3).fingerprint == one.fingerprint
    for mixed in (aero.shift_tables, aero.position_profile, lambda records: aero.plots.layer_ridges(records)):
        with pytest.raises(ValueError, match="one model"):
            mixed([one, other])
    with pytest.raises(ValueError, match="expected two of one model"):
        aero.profile(mini, TEXTS[:2]) + aero.profile(lm, TEXTS[:2])
    other.save(tmp_path / "record")
    assert aero.AttentionRecord.load(tmp_path / "record").fingerprint == lm.fingerprint


class Stop(Exception):
    pass


def test_a_checkpoint_is_resumed_by_its_own_weights_alone(mini, lm, tmp_path, monkeypatch):
    def stopping():
        yield from TEXTS[:4]
        raise Stop

    monkeypatch.setattr(aero.corpus, "CHUNK", 2)
    path = tmp_path / "state"
    with pytest.raises(Stop):
        aero.profile(mini, stopping(), checkpoint=path)
    with torch.no_grad():
        lm.model.transformer.ln_f.bias += 1
    with pytest.raises(ValueError, match="expected a checkpoint of mini on these texts"):
        aero.profile(lm, TEXTS, checkpoint=path)
    assert aero.profile(mini, TEXTS, checkpoint=path).counts[0] == len(TEXTS)


def test_a_record_written_before_there_were_fingerprints_is_read(record, tmp_path):
    record.save(tmp_path / "record")
    data = (tmp_path / "record").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    del header["__metadata__"]["fingerprint"], header["__metadata__"]["sum"]
    header = json.dumps(header).encode()
    (tmp_path / "old").write_bytes(len(header).to_bytes(8, "little") + header + data[8 + size :])
    assert aero.AttentionRecord.load(tmp_path / "old").fingerprint == ""


def test_many_threads_leave_nothing_behind(mini):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(measures(mini)["intervene"], TEXTS))
    assert aero.capture._in_force.get() == () and aero.capture._measured == {} and threading.active_count() < 60


# torch's default device: "meta" stands for a graphics card here, as anything made on it and met with real numbers shows


def numbers_of_the_course(lm):
    """{name: what the functions of the course return}, as arrays and text."""
    record = lm.record(TEXT)
    again = aero.AttentionRecord(record.tokens, record.raw_scores.tolist(), record.head_size, "by hand")
    queries, keys = lm.queries_and_keys(TEXT)
    profile = aero.position_profile([record.first(8)])
    matrices = lm.head_matrices()
    return {
        "shift_table": aero.shift_table(record).to_csv(),
        "entries": [aero.select_entries(5, name).tolist() for name in aero.shift.ENTRIES],
        "by hand": aero.shift_table(again).to_csv(),
        "weights": record.weights().tolist(),
        "own_and_other_keys": aero.own_and_other_keys(queries, keys).to_csv(),
        "term_table": aero.term_table({"all": record.raw_scores}).to_csv(),
        "part_table": aero.part_table([record.first(8)], profile).to_csv(),
        "matrices": aero.matrix_table(matrices).to_csv(),
        "untrained": lm.untrained().loss(TEXT),
        "loss": lm.loss(TEXT),
        "profile": aero.profile(lm, [TEXT]).table().to_csv(),
        "interventions": aero.intervention_table(lm, [TEXT]).to_csv(),
        "position": aero.interventions.position_alone(profile)(record.first(8).raw_scores, 0).tolist(),
        "density": [x.tolist() if isinstance(x, np.ndarray) else x for x in aero.density(record.raw_scores)],
    }


def test_nothing_hangs_on_torchs_default_device(lm):
    wanted = numbers_of_the_course(lm)
    torch.set_default_device("meta")
    try:
        got = numbers_of_the_course(lm)
        loaded = aero.load("mini")
        drawn = [
            aero.plots.head_maps(lm.record(TEXT), 0),
            aero.plots.attention_map([[1.0, 0], [0.5, 0.5]], "ab").figure,
        ]
        drawn.append(aero.plots.layer_ridges(lm.record(TEXT)).figure)
    finally:
        torch.set_default_device(None)
    assert {name for name in wanted if got[name] != wanted[name]} == set()
    assert loaded.fingerprint == lm.fingerprint
    for figure in drawn:
        plt.close(figure)
