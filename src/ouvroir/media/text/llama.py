"""Language models as GGUF files, which llama.cpp and what is built on it load, and the proof through llama.cpp itself.

The weights are those that carrying.py makes for a Llama. llama.cpp turns pairs of neighbouring channels by the rotary angles, so
those of queries and keys are put in that order.

Axes: D width, H heads.
"""

from __future__ import annotations

import errno
import json
import math
import secrets
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from ouvroir.errors import ExportError, UsageError
from ouvroir.media.text import tokens
from ouvroir.media.text.carrying import HARD, LONGEST_ASKED, llama_weights, require_llama, some_windows
from ouvroir.media.text.fused import EPS
from ouvroir.media.text.transformer import THETA
from ouvroir.task import Carried, Items

if TYPE_CHECKING:
    from torch import Tensor

    from ouvroir.data.table import TableSlice
    from ouvroir.media.text.corpus import CorpusProcessor
    from ouvroir.media.text.language import LanguageModel
    from ouvroir.media.text.transformer import Decoder, Shape

PRECISIONS = {"f32": 1.0, "f16": 0.99, "q8_0": 0.97}
"""Of each file the share of places where it must hold the same piece for the most likely; f32 is also held to probabilities."""
N_PLACES, PLACES_A_WINDOW = 600, 6
"""So many that q8_0, which has another piece in 1.5 % of the places of a Transformer after 60 steps, does not come to its limit by
chance: once in 500 times.
"""
N_PROMPTS, N_WRITTEN = 20, 24
LONGEST_PROMPT = 64  # pieces
TIED = 1e-4  # difference of two probabilities that either may be taken for the higher one
N_LIKELY = 5  # pieces, the probabilities of which are compared
_PATIENCE_S = 300.0
_BLANK = "\u2581"
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6  # llama.cpp's kinds of pieces
_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def require_gguf(network: LanguageModel, processor: CorpusProcessor) -> Decoder:
    """The network, where llama.cpp has its architecture and its tokenizer. Raises UsageError, saying what to do instead."""
    found = require_llama(network, "llama.cpp")
    kind = processor.tokenizer.kind
    if kind != "bpe":
        raise UsageError(
            f"This model reads texts as {kind}, and llama.cpp has no tokenizer of that kind. Train with --set "
            "options.tokenizer=bpe. Or: use --to hf for transformers, --to onnx to run it without Ouvroir, or --to pth for the "
            "weights."
        )
    return found


# ---------------------------------------------------------------- writing


def file_of(folder: Path, precision: str) -> Path:
    """Where the file of a precision lies."""
    return folder / f"model-{precision}.gguf"


def write_gguf(network: Decoder, processor: CorpusProcessor, folder: Path) -> None:
    """Write one file for each precision, of what `require_gguf` lets pass. Vectors stay in float32 in all of them."""
    weights = {_name(name): weight for name, weight in llama_weights(network).items()}
    for name, weight in weights.items():
        if name.endswith(("attn_q.weight", "attn_k.weight")):
            weights[name] = interleaved(weight, network.shape.n_heads)
    for precision in PRECISIONS:
        _write(file_of(folder, precision), precision, weights, network.shape, processor)


def interleaved(weight: Tensor, n_heads: int) -> Tensor:
    """(D, D): the two halves of the channels of each head in turn, one by one, as llama.cpp takes them for pairs."""
    halves = weight.view(n_heads, 2, -1, weight.shape[1])
    return halves.transpose(1, 2).reshape(weight.shape)


def _name(name: str) -> str:
    parts = name.removesuffix(".weight")
    if not parts.startswith("model.layers."):
        return f"{_NAMES[parts]}.weight"
    number, _, inner = parts.removeprefix("model.layers.").partition(".")
    return f"blk.{number}.{_NAMES[inner]}.weight"


def _write(path: Path, precision: str, weights: Mapping[str, Tensor], shape: Shape, processor: CorpusProcessor) -> None:
    import gguf

    files = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0"}
    kind = getattr(gguf.GGMLQuantizationType, precision.upper())
    writer = gguf.GGUFWriter(str(path), "llama")
    try:
        writer.add_name("Ouvroir text-generation")
        writer.add_file_type(gguf.LlamaFileType[files[precision]])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        writer.add_vocab_size(processor.tokenizer.n)
        writer.add_context_length(processor.context)
        writer.add_embedding_length(shape.width)
        writer.add_block_count(shape.n_layers)
        writer.add_feed_forward_length(shape.inner)
        writer.add_head_count(shape.n_heads)
        writer.add_head_count_kv(shape.n_heads)
        writer.add_rope_dimension_count(shape.head)
        writer.add_rope_freq_base(THETA)
        writer.add_layer_norm_rms_eps(EPS)
        _add_tokenizer(writer, processor.tokenizer)
        for name, weight in weights.items():
            values = weight.numpy()
            if values.ndim == 1 or precision == "f32":
                writer.add_tensor(name, values)
            else:
                writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    except OSError as error:
        if error.errno is None:  # numpy says only that less was written than was to be
            raise OSError(errno.ENOSPC, str(error)) from error
        raise
    finally:
        writer.close()


def _add_tokenizer(writer: Any, tokenizer: tokens.Tokenizer) -> None:
    kinds = [_CONTROL] * tokens.FIRST_BYTE + [_BYTE] * tokens.N_BYTES
    kinds[tokens.UNKNOWN] = _UNKNOWN
    vocabulary = tokenizer.vocabulary()
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([name.replace(" ", _BLANK) for name, _ in vocabulary])
    writer.add_token_scores([score for _, score in vocabulary])
    writer.add_token_types(kinds + [_NORMAL] * (tokenizer.n - len(kinds)))
    writer.add_bos_token_id(tokens.BEGIN)
    writer.add_eos_token_id(tokens.END)
    writer.add_unk_token_id(tokens.UNKNOWN)
    writer.add_pad_token_id(tokens.NOTHING)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)


# ---------------------------------------------------------------- llama.cpp


class Opened(Protocol):
    """A file that llama.cpp has loaded."""

    def cut(self, text: str) -> list[int]:
        """The pieces of a text, without what begins it."""

    def likely(self, pieces: Sequence[int], n: int) -> list[tuple[int, float | None]]:
        """The `n` most likely pieces after those given, the likeliest first, with their probabilities.

        Or the likeliest alone with None, where these are not told.
        """

    def go_on(self, pieces: Sequence[int], n: int) -> list[int]:
        """At most `n` pieces after those given, the likeliest each time, up to what ends the text."""

    def close(self) -> None:
        """Let go of the file, and end what was started for it. Nothing may be asked afterwards."""


class ByXllamacpp:
    """llama.cpp through xllamacpp, which runs its server in this process, asked over a port of this machine that has a key."""

    def __init__(self, path: Path, n_context: int) -> None:
        import xllamacpp

        wanted = xllamacpp.CommonParams()
        wanted.model.path = str(path)
        wanted.n_ctx = n_context
        wanted.n_parallel = 1
        wanted.n_gpu_layers = 0
        wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = torch.get_num_threads()
        wanted.cache_type_k = wanted.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        wanted.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        wanted.fit_params = wanted.warmup = wanted.ui = False
        wanted.verbosity = -1
        self._direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._key = secrets.token_hex()
        wanted.api_keys = [self._key]
        try:
            self._server = xllamacpp.Server(wanted)
        except RuntimeError as error:
            raise ExportError(f"llama.cpp cannot load {path.name}: {error}") from error

    def cut(self, text: str) -> list[int]:
        """As of Opened."""
        found: list[int] = self._ask("tokenize", content=text, add_special=False, parse_special=False)["tokens"]
        return found

    def likely(self, pieces: Sequence[int], n: int) -> list[tuple[int, float | None]]:
        """As of Opened."""
        found = self._ask("completion", prompt=list(pieces), n_predict=1, temperature=0, n_probs=n, return_tokens=True)
        told = found.get("completion_probabilities")
        if not told:  # a byte that is no whole letter
            return [(number, None) for number in found["tokens"]]
        return [(one["id"], math.exp(one["logprob"])) for one in told[0]["top_logprobs"]]

    def go_on(self, pieces: Sequence[int], n: int) -> list[int]:
        """As of Opened."""
        found = self._ask("completion", prompt=list(pieces), n_predict=n, temperature=0, return_tokens=True)
        told: list[int] = found["tokens"]
        return told

    def close(self) -> None:
        """As of Opened: the server ends with the object that holds it."""
        del self._server

    def _ask(self, what: str, **asked: Any) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - its own server
            f"{self._server.listening_address}/{what}",
            data=json.dumps(asked).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"},
        )
        try:
            with self._direct.open(request, timeout=_PATIENCE_S) as answer:
                found: dict[str, Any] = json.load(answer)
        except OSError as error:
            raise ExportError(f"llama.cpp does not answer what it is asked of the exported file: {error}.") from error
        return found


class ByLlamaCppPython:
    """llama.cpp through llama-cpp-python."""

    def __init__(self, path: Path, n_context: int) -> None:
        import llama_cpp

        try:
            self._model = llama_cpp.Llama(
                model_path=str(path),
                n_ctx=n_context,
                n_gpu_layers=0,
                n_threads=torch.get_num_threads(),
                logits_all=True,
                type_k=llama_cpp.GGML_TYPE_F32,
                type_v=llama_cpp.GGML_TYPE_F32,
                verbose=False,
            )
        except (RuntimeError, ValueError) as error:
            raise ExportError(f"llama.cpp cannot load {path.name}: {error}") from error

    def cut(self, text: str) -> list[int]:
        """As of Opened."""
        found: list[int] = self._model.tokenize(text.encode("utf-8"), add_bos=False, special=False)
        return found

    def likely(self, pieces: Sequence[int], n: int) -> list[tuple[int, float | None]]:
        """As of Opened."""
        self._model.reset()
        self._model.eval(list(pieces))
        share = torch.from_numpy(np.array(self._model.scores[len(pieces) - 1])).double().softmax(0)
        values, places = share.topk(n)
        return list(zip(places.tolist(), values.tolist(), strict=True))

    def go_on(self, pieces: Sequence[int], n: int) -> list[int]:
        """As of Opened."""
        found: list[int] = []
        while len(found) < n and tokens.END not in found:
            found.append(self.likely([*pieces, *found], 1)[0][0])
        return found

    def close(self) -> None:
        """As of Opened."""
        self._model.close()


@contextmanager
def opened(path: Path, n_context: int) -> Iterator[Opened]:
    """A file as llama.cpp has it, through the library that is there, to the end of the block. Raises ExportError."""
    import importlib.util

    by = ByXllamacpp if importlib.util.find_spec("xllamacpp") else ByLlamaCppPython
    found = by(path, n_context)
    try:
        yield found
    finally:
        found.close()


# ---------------------------------------------------------------- the proof


def check_gguf(
    network: Decoder, processor: CorpusProcessor, folder: Path, rows: TableSlice, found: Items, tolerance: float
) -> Carried:
    """Ask the files what the network is asked, of the windows `found` in the rows. Raises ExportError.

    The file in float32 cuts texts as we do, gives the same probabilities and writes the same; each less exact one mostly holds
    the same piece for the most likely.
    """
    places = _places(network, some_windows(rows, found, N_PLACES // PLACES_A_WINDOW))
    remarks, worst, agreement = [], 0.0, {}
    for precision, least in PRECISIONS.items():
        with opened(file_of(folder, precision), processor.context) as model:
            if precision == "f32":
                remarks += _require_same_pieces(model, processor, rows)
                worst = _require_same_shares(model, places, tolerance)
                remarks.append(_require_same_writing(model, network, processor, _prompts(processor, rows)))
                continue
            is_same = [bool(share[model.likely(pieces, 1)[0][0]] == share.max()) for pieces, share in places]
        agreement[precision] = float(np.mean(is_same))
        n_other = len(is_same) - sum(is_same)
        if n_other > (1 - least) * len(is_same):
            raise ExportError(
                f"model-{precision}.gguf holds another piece for the most likely than the model in {n_other} of {len(is_same)} "
                f"places of rows; {1 - least:.0%} may differ."
            )
    shares = " and ".join(f"{share:.1%} of the places by model-{name}.gguf" for name, share in agreement.items())
    remarks.append(f"The likeliest piece is the same in {shares}.")
    return Carried(len(places), "places", worst, agreement, tuple(remarks))


@torch.inference_mode()
def _places(network: Decoder, windows: Sequence[np.ndarray]) -> list[tuple[list[int], Tensor]]:
    """Pieces that something comes after, several beginnings of each window, and the (V,) probabilities of what that is."""
    found: list[tuple[list[int], Tensor]] = []
    n_ends = max(PLACES_A_WINDOW, -(-N_PLACES // len(windows)))
    for window in windows:
        n = min(len(window), network.context - 1, LONGEST_ASKED if found else len(window))
        ends = sorted({max(1, n * (number + 1) // n_ends) for number in range(n_ends)})
        logits = network(torch.from_numpy(window[:n])[None])[0, [end - 1 for end in ends]]
        found += [(window[:end].tolist(), share) for end, share in zip(ends, logits.double().softmax(1), strict=True)]
    return found


def _prompts(processor: CorpusProcessor, rows: TableSlice) -> list[str]:
    """Passages of the rows, of different lengths, which leave room for what is to be written."""
    values = rows.fields["pieces"].values.numpy()  # type: ignore[union-attr]
    values = values[values > tokens.END]
    longest = max(1, min(LONGEST_PROMPT, _room(processor.context)))
    found = []
    for number in range(N_PROMPTS):
        length = max(1, longest * (number + 1) // N_PROMPTS)
        at = max(0, len(values) - length) * number // N_PROMPTS
        found.append(processor.tokenizer.decode(values[at : at + length]).strip("\ufffd"))
    return found


def _room(context: int) -> int:
    return context - min(N_WRITTEN, context // 2) - 2  # for what begins a text, and what is written last


def _require_same_pieces(model: Opened, processor: CorpusProcessor, rows: TableSlice) -> list[str]:
    """Sentences on texts that llama.cpp cuts otherwise for a reason that is known. Raises ExportError for others."""
    prompts = _prompts(processor, rows)
    off = [text for text in (*prompts, *HARD) if model.cut(text) != processor.tokenizer.encode(text).tolist()]
    strange = [text for text in off if _BLANK not in text]
    if strange:
        raise ExportError(
            f"llama.cpp cuts {len(strange)} of {len(prompts) + len(HARD)} texts otherwise than in training, e.g. "
            f"{strange[0][:80]!r}."
        )
    n = sum(text in off for text in prompts)
    return [f"llama.cpp takes the sign U+2581 for a blank, as in {n} of {len(prompts)} passages."] if n else []


def _require_same_shares(model: Opened, places: Sequence[tuple[list[int], Tensor]], tolerance: float) -> float:
    """The largest difference of a probability. Raises ExportError."""
    differences = []
    for pieces, share in places:
        told = model.likely(pieces, min(N_LIKELY, len(share)))
        off = [abs(float(share[number]) - theirs) for number, theirs in told if theirs is not None]
        off.append(float(share.max() - share[told[0][0]]))  # what they hold for the most likely is so here too
        differences.append(max(off))
    bad = [one for one in differences if not one <= tolerance]
    if bad:
        raise ExportError(
            f"model-f32.gguf does not answer as the trained model did: in {len(bad)} of {len(places)} places of rows it gives a "
            f"probability more than {tolerance:g} off, up to {max(bad):.2g}."
        )
    return max(differences)


@torch.inference_mode()
def _require_same_writing(model: Opened, network: Decoder, processor: CorpusProcessor, prompts: Sequence[str]) -> str:
    n_written = min(N_WRITTEN, processor.context // 2)
    n_pieces = n_tied = 0
    for prompt in prompts:
        begin = [tokens.BEGIN, *processor.tokenizer.encode(prompt).tolist()][: processor.context - n_written - 1]
        wanted, shares = _written(network, begin, n_written)
        told = [piece for piece in model.go_on(begin, n_written) if piece != tokens.END]
        same = next((at for at, (one, other) in enumerate(zip(wanted, told, strict=False)) if one != other), None)
        if same is None and len(wanted) == len(told):
            n_pieces += len(wanted)
            continue
        at = min(len(wanted), len(told)) if same is None else same
        ours, theirs = ([*some, tokens.END][at] for some in (wanted, told))
        if not float(shares[at][ours] - shares[at][theirs]) <= TIED:
            raise ExportError(
                f"model-f32.gguf writes otherwise than the model after {prompt[-60:]!r}: piece {at + 1} is "
                f"{processor.tokenizer.shown(theirs)!r} and not {processor.tokenizer.shown(ours)!r}."
            )
        n_pieces, n_tied = n_pieces + at, n_tied + 1
    tied = f", up to where two are as likely in {n_tied} of them" if n_tied else ""
    return f"After {len(prompts)} beginnings it writes the same {n_pieces} pieces when it takes the likeliest each time{tied}."


def _written(network: Decoder, begin: Sequence[int], n: int) -> tuple[list[int], list[Tensor]]:
    """At most `n` pieces without what ends the text, the likeliest each time, and the (V,) probabilities of each and of the end."""
    found: list[int] = []
    shares: list[Tensor] = []
    given, memory = torch.tensor([list(begin)]), None
    while len(found) < n:
        logits, memory = network.after(given, None, memory)
        shares.append(logits[0].double().softmax(dim=0))
        piece = int(shares[-1].argmax())
        if piece == tokens.END:
            break
        found.append(piece)
        given = torch.tensor([[piece]])
    return found, shares
