import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import aero_helpers as aero
from aero_helpers.matrices import head_matrices

TEXT = "The old man looked at the sea, and the sea looked back at him."


@pytest.fixture(scope="module")
def gpt2(shared):
    return aero.read_head_matrices(shared / "attention.safetensors", 12)


def states_before(lm, layer, text):
    """What enters ln_1 and c_attn of a layer, each [T, D]."""
    caught = {}
    block = lm.model.transformer.h[layer]
    hooks = [
        module.register_forward_pre_hook(lambda module, inputs, name=name: caught.update({name: inputs[0][0]}))
        for name, module in (("ln_1", block.ln_1), ("c_attn", block.attn.c_attn))
    ]
    with torch.no_grad():
        lm.model(lm.encode(text)[0][None])
    for hook in hooks:
        hook.remove()
    return caught["ln_1"], caught["c_attn"]


@pytest.mark.parametrize("name", ["mini", "full_size"])
def test_the_models_own_queries_and_keys_come_out_folded_or_not(name, request):
    lm = request.getfixturevalue(name)
    matrices, layer = lm.head_matrices(), 3
    raw, normed = states_before(lm, layer, TEXT)
    bare = torch.nn.functional.layer_norm(raw, raw.shape[-1:], eps=lm.model.config.layer_norm_epsilon)
    queries, keys = lm.queries_and_keys(TEXT)
    for x, m in ((normed, matrices), (bare, matrices.folded())):
        q, k = (x @ w[layer] + b[layer, :, None] for w, b in ((m.w_q, m.b_q), (m.w_k, m.b_k)))
        assert (q - queries[layer]).abs().max() < 1e-4 * queries.abs().max()
        assert (k - keys[layer]).abs().max() < 1e-4 * keys.abs().max()
    assert (matrices.folded().w_q - matrices.w_q).abs().max() > 0.01
    assert all(torch.equal(a, b) for a, b in zip(matrices.folded(), matrices.folded().folded()))


def test_values_and_output_matrix_make_the_layers_output(full_size):
    """The sum over heads of weights · x W_V W_O is what c_proj adds, its own bias and b_V's part aside."""
    matrices, layer = full_size.head_matrices(), 2
    _, x = states_before(full_size, layer, TEXT)
    weights = full_size.record(TEXT).weights()[layer]
    ov = matrices.w_v[layer] @ matrices.w_o[layer]  # [head, D, D]
    heads = weights @ (x @ ov + (matrices.b_v[layer, :, None] @ matrices.w_o[layer]))
    attention = full_size.model.transformer.h[layer].attn
    with torch.no_grad():
        expected = attention(x[None], attention_mask=None)[0][0]
    assert (heads.sum(0) + attention.c_proj.bias - expected).abs().max() < 1e-4 * expected.abs().max()


def test_matrices_are_copies(mini):
    fused = mini.model.transformer.h[3].attn.c_attn
    before = fused.weight.clone(), fused.bias.clone()
    for tensor in mini.head_matrices():
        tensor.zero_()
    assert torch.equal(fused.weight, before[0]) and torch.equal(fused.bias, before[1]) and before[1].abs().max() > 0


def test_singular_values_are_numpys_of_the_whole_product(gpt2):
    for a, b in ((gpt2.w_q[5, 3], gpt2.w_k[5, 3]), (gpt2.w_v[0, 1], gpt2.w_o[0, 1].T)):
        whole = np.linalg.svd((a.double() @ b.double().T).numpy(), compute_uv=False)
        found = aero.singular_values(a, b).numpy()
        assert np.allclose(found, whole[:64], rtol=1e-9, atol=1e-9 * whole[0]) and whole[64] < 1e-9 * whole[0]


def test_table_says_what_the_tensors_are(gpt2, shared):
    """Against the file's own columns and numpy, head by head; folding leaves W_O alone."""
    tensors, table = load_file(shared / "attention.safetensors"), aero.matrix_table(gpt2)
    assert len(table) == 144
    for layer, head in ((0, 0), (4, 11), (11, 6)):
        row = table[(table.layer == layer) & (table["head"] == head)].iloc[0]
        fused = tensors[f"h.{layer}.attn.c_attn.weight"].double().numpy()
        w_q, w_k, w_v = (fused[:, start + head * 64 :][:, :64] for start in (0, 768, 1536))
        w_o = tensors[f"h.{layer}.attn.c_proj.weight"].double().numpy()[head * 64 :][:64]
        bias = tensors[f"h.{layer}.attn.c_attn.bias"].double().numpy()
        assert row.norm_w_q == pytest.approx(np.linalg.norm(w_q)) and row.norm_w_v == pytest.approx(np.linalg.norm(w_v))
        assert row.norm_b_k == pytest.approx(np.linalg.norm(bias[768 + head * 64 :][:64]))
        assert row.norm_qk == pytest.approx(np.linalg.norm(w_q @ w_k.T))
        assert row.norm_ov == pytest.approx(np.linalg.norm(w_v @ w_o))
        squares = np.linalg.svd(w_q @ w_k.T, compute_uv=False) ** 2
        assert row.qk_top_share == pytest.approx(squares[:8].sum() / squares.sum())
    assert torch.equal(gpt2.folded().w_o, gpt2.w_o)


def test_gpt2s_trend_over_layers_is_that_of_its_layer_norms(gpt2):
    """‖W_Q‖ halves from first to last layer; with ln_1's scale folded in it does not."""
    raw, folded = (aero.matrix_table(m).groupby("layer").norm_w_q.mean() for m in (gpt2, gpt2.folded()))
    assert raw[0] / raw[11] == pytest.approx(2.10, abs=0.01)
    assert folded[0] / folded[11] == pytest.approx(0.81, abs=0.01)
    b_k = gpt2.b_k.flatten(1).norm(dim=1)
    assert b_k[4] > 5 and b_k.argmax() == 4


def test_what_is_no_gpt2_is_refused_by_name(mini, tmp_path):
    tensors = mini.model.state_dict()
    with pytest.raises(ValueError, match="expected a width that 5 heads divide, got 128"):
        head_matrices(tensors, 5)
    with pytest.raises(ValueError, match="n_heads: expected a whole number of at least 1, got 0"):
        head_matrices(tensors, 0)
    with pytest.raises(ValueError, match=r"expected a GPT-2's, with h\.0\.attn\.c_attn\.weight, got 1 names: x"):
        head_matrices({"x": torch.zeros(1)}, 4)
    lacking = {name: tensor for name, tensor in tensors.items() if "h.2.ln_1.bias" not in name}
    with pytest.raises(ValueError, match=r"with h\.2\.ln_1\.bias"):
        head_matrices(lacking, 4)
    with pytest.raises(ValueError, match=r"h\.1\.ln_1\.weight: expected \[128\], got \[1\]"):
        head_matrices(tensors | {"transformer.h.1.ln_1.weight": torch.ones(1)}, 4)
    name = "transformer.h.1.attn.c_attn.bias"
    for spoilt in (tensors[name] * torch.nan, tensors[name].to(torch.int8)):
        with pytest.raises(ValueError, match=r"h\.1\.attn\.c_attn\.bias: expected finite floating-point numbers"):
            head_matrices(tensors | {name: spoilt}, 4)
    part = tmp_path / "model-00001-of-00002.safetensors"
    part.write_bytes(b"")
    with pytest.raises(ValueError, match="expected a whole model in one file, got a part of one"):
        aero.read_head_matrices(part, 4)
    with pytest.raises(ValueError, match=r"with h\.5\.attn\.c_attn\.weight"):
        head_matrices({name: x for name, x in tensors.items() if "h.5.attn.c_attn.weight" not in name}, 4)
    (tmp_path / "damaged").write_bytes(b"x" * 99)
    with pytest.raises(ValueError, match="damaged or different"):
        aero.read_head_matrices(tmp_path / "damaged", 4)
    with pytest.raises(FileNotFoundError):
        aero.read_head_matrices(tmp_path / "none", 4)
    with pytest.raises(ValueError, match=r"expected \[\.\.\., D, d\] twice, d ≤ D, got \[4, 8\] and \[4, 8\]"):
        aero.singular_values(torch.zeros(4, 8), torch.zeros(4, 8))


def test_a_folder_of_attention_tensors_cannot_be_run_and_says_what_can_be_done(tmp_path):
    save_file({"h.0.attn.c_attn.weight": torch.zeros(8, 24)}, tmp_path / "attention.safetensors")
    with pytest.raises(ValueError, match=r"no config\.json but attention\.safetensors; aero\.read_head_matrices"):
        aero.load(tmp_path)
