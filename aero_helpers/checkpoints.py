"""A GPT-2 checkpoint in a folder, read whole or refused, with a word on what to do."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

LFS_POINTER = b"version https://git-lfs"
LEAST_TOKENS = 256  # a byte-level vocabulary has as many
# Buffers that older releases of transformers saved beside the weights: masks, which the model makes itself.
OLD_BUFFERS = re.compile(r"(transformer\.)?h\.\d+\.attn\.(masked_)?bias")
# Text that tokenizers treat otherwise: letters composed and decomposed, blanks, case, a line's end, digits, emoji.
PROBES = ("The old man looked.", " tiếng Việt, tie\u0302\u0301ng Vie\u0323\u0302t", "ÀB  c\n\td 1234 é e\u0301 🙂 ﬁ")


def read_checkpoint(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(model, tokenizer) of a GPT-2 checkpoint as `save_pretrained` writes it; the tokenizer as its file stands.

    Raises ValueError where the folder holds no whole GPT-2 checkpoint, or what stands beside it makes it another model.
    """
    _require_full_weights(folder)
    config = _read_config(folder)
    try:
        with quiet(), torch.device("cpu"):
            model, info = GPT2LMHeadModel.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # named below
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # the libraries raise nearly anything on a damaged file
        raise ValueError(
            f"{folder}: expected a whole GPT-2 checkpoint, got a damaged or incomplete one ({error!s:.300})"
        ) from error
    for complaint, keys in (
        ("lacks", info["missing_keys"]),
        ("has a size that its config.json does not state for", {key[0] for key in info["mismatched_keys"]}),
        ("has, beyond its config.json,", {key for key in info["unexpected_keys"] if not OLD_BUFFERS.fullmatch(key)}),
    ):
        if keys:
            raise ValueError(
                f"{folder}: expected a whole GPT-2 checkpoint, got one that {complaint}"
                f" {len(keys)} tensors, {min(keys)} first"
            )
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise ValueError(f"{folder}: expected finite weights, got NaN or infinity in {name}")
    _require_tokenizer(folder, tokenizer)
    return model, tokenizer


def _require_full_weights(folder):
    """What beside a config.json makes a checkpoint another model than its weights alone, or no model at all."""
    for path in sorted(folder.glob("*")):
        if path.suffix in (".safetensors", ".bin", ".json", ".txt") and path.is_file():
            with path.open("rb") as file:
                if file.read(len(LFS_POINTER)) == LFS_POINTER:
                    raise ValueError(
                        f"{path}: expected the file itself, got a git-LFS pointer to it; `git lfs pull` fetches it"
                    )
    if (folder / "adapter_config.json").exists():
        raise ValueError(
            f"{folder}: expected whole weights, got an adapter beside them (adapter_config.json); merge it into its"
            " model (peft: model.merge_and_unload().save_pretrained(…)) and load that folder"
        )
    if not any(folder.glob("*.safetensors")) and (pickles := sorted(folder.glob("pytorch_model*.bin"))):
        raise ValueError(
            f"{folder}: expected model.safetensors, got {pickles[0].name}, a pickle, which may run code when it is"
            " read; if you trust it: GPT2LMHeadModel.from_pretrained(folder).save_pretrained(folder) writes the"
            " weights as safetensors"
        )


def _read_config(folder):
    if not (folder / "config.json").is_file():
        tensors = [path.name for path in folder.glob("*.safetensors")]
        hint = "; aero.read_head_matrices reads the heads' matrices from tensors alone" if tensors else ""
        found = ", ".join(tensors) or "no tensors"
        raise ValueError(f"{folder}: expected a GPT-2 checkpoint to run, found no config.json but {found}{hint}")
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = settings.get("model_type")
    except (AttributeError, ValueError) as error:
        raise ValueError(
            f"{folder}: expected a GPT-2 checkpoint, got an unreadable config.json ({error!s:.300})"
        ) from error
    if kind != "gpt2":
        raise ValueError(f"{folder}: expected a GPT-2 checkpoint, got model_type {kind!r}")
    if settings.get("quantization_config"):
        raise ValueError(
            f"{folder}: expected weights as numbers, got quantized ones (quantization_config in config.json);"
            " model.dequantize() and save_pretrained write them as numbers"
        )
    try:
        return GPT2Config.from_pretrained(folder)
    except Exception as error:  # transformers' own checks of single settings
        raise ValueError(f"{folder}: expected a GPT-2 checkpoint, got a wrong config.json ({error!s:.300})") from error


def _require_tokenizer(folder, tokenizer):
    """Raise ValueError unless the tokenizer is whole and cuts texts as its own file says.

    transformers builds some tokenizers anew from vocabulary and merges, and then a normaliser in the file is lost.
    """
    if len(tokenizer) < LEAST_TOKENS:
        n = len(tokenizer)
        raise ValueError(f"{folder}: expected a tokenizer of {LEAST_TOKENS} tokens or more, got one of {n}")
    if not tokenizer.is_fast:
        raise ValueError(f"{folder}: expected a tokenizer that knows where in the text a token stands, got a slow one")
    file = folder / "tokenizer.json"
    if file.is_file():
        as_it_stands = Tokenizer.from_file(str(file))
        as_it_stands.no_truncation()
        as_it_stands.no_padding()
        for probe in PROBES:
            expected, got = as_it_stands.encode(probe).ids, tokenizer(probe, verbose=False)["input_ids"]
            if expected != got:
                raise ValueError(
                    f"{folder}: expected a tokenizer that cuts as its tokenizer.json does, got {len(got)} tokens for"
                    f" {len(expected)} in {probe!r}: {type(tokenizer).__name__}, which tokenizer_config.json names,"
                    ' drops part of the file; "tokenizer_class": "PreTrainedTokenizerFast" reads it as it stands'
                )


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bars for reading a file and its table of surprises: we raise an error instead."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
