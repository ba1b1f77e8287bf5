"""Language models for other programs: the questions that prove an export, and the folder that transformers loads.

A Decoder is a Llama but for two things, which are folded into its weights: the factor of its attention logits, into the
queries, and the scale of each branch, into what the branch ends with. The files for llama.cpp are in llama.py.

Axes: B windows, P pieces, V pieces that there are, D width, H heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ouvroir.errors import ExportError, Refused, UsageError
from ouvroir.media.text import tokens
from ouvroir.media.text.fused import EPS
from ouvroir.media.text.reading import text_of
from ouvroir.media.text.transformer import THETA, Decoder, Layer
from ouvroir.task import Items, Limits

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.data.table import Ragged, TableSlice
    from ouvroir.media.text.corpus import CorpusProcessor
    from ouvroir.media.text.language import LanguageModel
    from ouvroir.source import Source
    from ouvroir.task import Batch

N_WINDOWS = 200  # that are asked about
MOST_AT_ONCE = 2048  # pieces of all windows of a batch
LONGEST_ASKED = 512  # pieces of a window, but for the first one
_N_CHARACTERS = 20_000  # of a file, that are cut into pieces as others do
HARD = (
    "",
    " ",
    "  two  blanks  ",
    "\n\nlines\n",
    "\r\n\ttab",
    "naïve café, cafe\u0301",
    "🦊🏳️‍🌈 日本語",
    "12345 67.8",
    "<s>a</s> <0x0A>",
    "\u2581 a\u2581b",
)
"""Texts that tokenizers differ on."""


def questions(rows: TableSlice, found: Items, n_classes: int) -> Iterator[Batch]:
    """`pieces` (B, P) int64 and, with classes, `labels` (B, K + 1), a class each in turn, of the windows `found` in the rows.

    A window alone at first, then a piece alone, then several windows at a time.
    """
    windows = some_windows(rows, found, N_WINDOWS)
    first = windows[0][:MOST_AT_ONCE]
    windows = [first, first[:1], *sorted((one[:LONGEST_ASKED] for one in windows[1:]), key=len)]
    start = 0
    while start < len(windows):
        n = 1 if start < 2 else max(1, MOST_AT_ONCE // len(windows[-1]))
        mine = windows[start : start + n]
        pieces = torch.full((len(mine), max(len(one) for one in mine)), tokens.NOTHING)
        for row, one in enumerate(mine):
            pieces[row, : len(one)] = torch.from_numpy(one)
        batch: Batch = {"pieces": pieces}
        if n_classes:
            turn = torch.arange(start, start + len(mine)) % (n_classes + 1)
            batch["labels"] = torch.nn.functional.one_hot(turn, n_classes + 1).float()
        yield batch
        start += n


def some_windows(rows: TableSlice, found: Items, most: int) -> list[np.ndarray]:
    """At most so many windows of `found`, evenly apart, each the (n,) int64 pieces that others are told from."""
    field: Ragged = rows.fields["pieces"]  # type: ignore[assignment]
    assert found.start is not None
    assert found.length is not None
    places = (np.arange(min(most, len(found.row))) * len(found.row)) // min(most, len(found.row))
    starts = field.offsets.numpy()[found.row[places]] + found.start[places]
    values = field.values.numpy().astype(np.int64)
    return [
        values[at : at + max(1, length - 1)]
        for at, length in zip(starts.tolist(), found.length[places].tolist(), strict=True)
    ]


# ---------------------------------------------------------------- as a Llama


def require_llama(network: LanguageModel, library: str) -> Decoder:
    """The network as what `library` has an architecture for. Raises UsageError, saying what to do instead."""
    instead = "Use --to onnx to run it without Ouvroir, or --to pth for the weights."
    if not isinstance(network, Decoder):
        raise UsageError(
            f"This model is an LSTM, which {library} has no architecture for. Train with --set options.network=transformer. "
            f"Or: {instead[0].lower()}{instead[1:]}"
        )
    if network.n_classes:
        raise UsageError(
            f"This model writes like {network.n_classes} classes of texts, and the architecture of {library} that it would be has "
            f"no place for the vectors of classes. {instead}"
        )
    return network


def llama_weights(network: Decoder) -> dict[str, Tensor]:
    """Float32 weights under the names that transformers has for a Llama, with all that it has no place for folded in.

    Attention there divides by √(D/H), which the queries make up for; what a branch adds is scaled by the rows of its last layer.
    """
    found = {"model.embed_tokens.weight": network.first.weight, "model.norm.weight": network.norm.weight}
    for number, layer in enumerate(network.layers):
        assert isinstance(layer, Layer)
        mine = {
            "input_layernorm": layer.norm1.weight,
            "self_attn.q_proj": layer.query.weight * (layer.factor * network.shape.head**0.5),
            "self_attn.k_proj": layer.key.weight,
            "self_attn.v_proj": layer.value.weight,
            "self_attn.o_proj": layer.scale1[:, None] * layer.out.weight,
            "post_attention_layernorm": layer.norm2.weight,
            "mlp.gate_proj": layer.gate.weight,
            "mlp.up_proj": layer.up.weight,
            "mlp.down_proj": layer.scale2[:, None] * layer.down.weight,
        }
        found |= {f"model.layers.{number}.{name}.weight": weight for name, weight in mine.items()}
    return {name: weight.detach().float().contiguous() for name, weight in found.items()}


# ---------------------------------------------------------------- transformers


def write_hf(network: Decoder, processor: CorpusProcessor, folder: Path) -> None:
    """Write config, weights and tokenizer of what `require_llama` lets pass, as transformers has them."""
    import transformers

    shape = network.shape
    config = transformers.LlamaConfig(
        vocab_size=processor.tokenizer.n,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_heads,
        head_dim=shape.head,
        hidden_act="silu",
        max_position_embeddings=processor.context,
        rms_norm_eps=EPS,
        rope_parameters={"rope_type": "default", "rope_theta": THETA},
        attention_bias=False,
        mlp_bias=False,
        tie_word_embeddings=True,
        bos_token_id=tokens.BEGIN,
        eos_token_id=tokens.END,
        pad_token_id=tokens.NOTHING,
    )
    model = transformers.LlamaForCausalLM(config)
    weights = llama_weights(network)
    model.load_state_dict({**weights, "lm_head.weight": weights["model.embed_tokens.weight"]})
    with _no_bars():
        model.eval().save_pretrained(folder)
    _tokenizer(processor).save_pretrained(folder)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without the bars that transformers draws while it writes and reads."""
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()


def _tokenizer(processor: CorpusProcessor) -> Any:
    """The tokenizer as one of the tokenizers library: pieces are joined by the same scores, and the rest is spelled in bytes.

    Blanks stay blanks in it, so that no sign of a text is taken for one.
    """
    import tokenizers
    import transformers

    names = [name for name, _ in processor.tokenizer.vocabulary()]
    numbers = {name: number for number, name in enumerate(names)}
    merges = []
    for name, score in sorted(processor.tokenizer.vocabulary()[tokens.FIRST_BYTE + tokens.N_BYTES :], key=_by_score):
        del score
        parts = ((name[:at], name[at:]) for at in range(1, len(name)))
        merges += [(one, other) for one, other in parts if one in numbers and other in numbers]
    model = tokenizers.models.BPE(numbers, merges, byte_fallback=True, unk_token=names[tokens.UNKNOWN])
    inner = tokenizers.Tokenizer(model)
    inner.add_special_tokens(names[: tokens.FIRST_BYTE])
    inner.decoder = tokenizers.decoders.Sequence([tokenizers.decoders.ByteFallback(), tokenizers.decoders.Fuse()])
    begin = names[tokens.BEGIN]
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, tokens.BEGIN)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=names[tokens.NOTHING],
        unk_token=names[tokens.UNKNOWN],
        bos_token=begin,
        eos_token=names[tokens.END],
        model_max_length=processor.context,
        split_special_tokens=True,  # a text may hold the name of one
        clean_up_tokenization_spaces=False,
    )


def _by_score(one: tuple[str, float]) -> float:
    return -one[1]


def read_hf(folder: Path) -> Callable[[Batch], Tensor]:
    """The folder as transformers reads it: from `pieces` (B, P) to logits (B, P, V) float32. Raises ExportError."""
    import transformers

    try:
        with _no_bars():
            model = transformers.AutoModelForCausalLM.from_pretrained(
                folder, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
            ).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise ExportError(f"transformers cannot read the exported folder: {error}.") from error

    def forward(batch: Batch) -> Tensor:
        logits: Tensor = model(input_ids=batch["pieces"], use_cache=False).logits
        return logits

    return forward


def require_same_pieces(folder: Path, processor: CorpusProcessor, sources: Sequence[Source]) -> None:
    """Cut texts as transformers does with that folder, and as in training. Raises ExportError naming those that differ."""
    import transformers

    try:
        theirs = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ExportError(f"transformers cannot read the tokenizer of the exported folder: {error}.") from error
    named = {f"the text {text!r}": text for text in HARD}
    for source in sources:
        try:
            named[f"`{source.locator}`"] = text_of(source, Limits())[0][:_N_CHARACTERS]
        except Refused:
            continue  # the rows say so
    off = [
        name
        for name, text in named.items()
        if theirs(text, add_special_tokens=False, verbose=False)["input_ids"]
        != processor.tokenizer.encode(text).tolist()
    ]
    if off:
        raise ExportError(
            f"The tokenizer of the exported folder cuts {len(off)} of {len(named)} texts otherwise than in training: "
            f"{'; '.join(off[:5])}."
        )
