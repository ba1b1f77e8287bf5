"""Language models for other programs: what transformers, llama.cpp and ONNX Runtime make of them is what the model makes."""

import importlib.util
import json
import os
import random
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import ouvroir
from ouvroir.cli import app
from ouvroir.data.manifest import Manifest
from ouvroir.data.table import Ragged, TableSlice
from ouvroir.errors import DiskFull, ExportError, MissingExtra, UsageError
from ouvroir.media.text import carrying, llama, tokens
from ouvroir.media.text.corpus import CorpusProcessor, windows
from ouvroir.media.text.generation import TextGeneration
from ouvroir.media.text.transformer import Decoder, Shape
from ouvroir.recipe import Data
from ouvroir.rng import Rng
from ouvroir.run import JOB, Run
from ouvroir.task import Row
from ouvroir.training.checkpoint import Checkpoints, Place, load_model

TASK = TextGeneration()
NOUNS = "river house stone bird letter winter garden lamp doctor café".split()
VERBS = "finds keeps follows paints remembers breaks".split()
LINES = [f"The {noun} {verb} the {other}." for noun in NOUNS for verb in VERBS for other in NOUNS[:4]]


def text(seed):
    some = random.Random(seed)
    return "\n".join(some.choice(LINES) for _ in range(30))


def make_run(place, *, steps=40, classes=(), **options):
    """A run whose best checkpoint is a tiny model after a few steps, with nothing else."""
    (place / "texts").mkdir(parents=True)
    rows = []
    for number in range(9):
        name = f"{number}.txt"
        (place / "texts" / name).write_text(text(number), encoding="utf-8")
        label = classes[number // 3 % len(classes)] if classes else None
        details = {"characters": len(text(number))}
        split = "test" if number % 3 == 0 else "train"
        rows.append(Row(id=name, locator=name, sha256=str(number), label=label, split=split, details=details))
    source = str(place / "texts")
    manifest = Manifest(root=source, source=source, task=TASK.name, rows=tuple(rows), data=Data(source=source))
    manifest.save()
    recipe, _ = TASK.recipe(manifest, "tiny")
    recipe = recipe.replace("options", context=48, dropout=0.0, n_pieces=330, **options)
    recipe = recipe.replace("data", manifest=manifest.fingerprint).replace("loop", steps=steps)
    run = Run.create(recipe, place / "runs", name="texts")
    processor = TASK.fit_processor(manifest, recipe)
    torch.manual_seed(0)
    model = TASK.build_model(recipe, processor)
    learn(model, processor, [row for row in rows if row.split == "train"], manifest, recipe, steps)
    Checkpoints(run.path).save(
        Place(step=steps, best_step=steps, best_value=1.0, is_complete=True),
        recipe=recipe,
        processor=processor,
        weights=model.state_dict(),
        average=None,
        state={},
        is_best=True,
    )
    run.set_status("finished", "Finished.")
    return run


def learn(model, processor, rows, manifest, recipe, steps):
    encoded = [processor.encode(row.source(manifest.root), TASK.limits)["pieces"][:49] for row in rows]
    batch = TASK.collate(slice_of(encoded, TASK.targets(rows, processor)))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(steps):
        optimiser.zero_grad()
        output = TASK.step(model, batch, recipe, rng=Rng(0, step, torch.arange(len(rows))), training=True)
        (output.losses["language"].per_row.sum() / output.losses["language"].n_items.sum()).backward()
        optimiser.step()


def slice_of(encoded, targets=None):
    offsets = torch.tensor([0, *(len(one) for one in encoded)]).cumsum(0)
    return TableSlice(
        index=torch.arange(len(encoded)),
        fields={"pieces": Ragged(torch.from_numpy(np.concatenate(encoded)), offsets)},
        targets={name: torch.from_numpy(column) for name, column in (targets or {}).items()},
        weight=torch.ones(len(encoded)),
        start=None,
        length=None,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUVROIR_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def transformer(tmp_path_factory, home):
    return make_run(tmp_path_factory.mktemp("transformer"), network="transformer")


@pytest.fixture(scope="module")
def lstm(tmp_path_factory, home):
    return make_run(tmp_path_factory.mktemp("lstm"), network="lstm", steps=5)


@pytest.fixture(scope="module")
def classes(tmp_path_factory, home):
    place = tmp_path_factory.mktemp("classes")
    return make_run(place, network="lstm", tokenizer="characters", steps=5, classes=("dull", "bright", "odd"))


def opened(run):
    model, processor, _ = load_model(TASK, next((run.path / "checkpoints").glob("step_*")))
    return model.eval(), processor


def random_decoder(processor, pi):
    """Weights that are far from their beginning, so that each one that is forgotten shows."""
    torch.manual_seed(1)
    shape = Shape(width=64, n_layers=2, n_heads=2, ratio=1.5)
    sizes = processor.tokenizer.sizes()
    model = Decoder(sizes=sizes, n_classes=0, shape=shape, context=processor.context, scale=0.5, pi=pi)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name or "scale" in name:
                weight.uniform_(0.3, 1.5)
    return model.eval()


def tokenizer(kind):
    texts = [text(seed) for seed in range(5)]
    return tokens.learn(kind, texts, sum(map(len, texts)), 400)


def written_by(model, processor, prompt, n):
    """The pieces that a model goes on with, the likeliest each time, worked out anew for each of them."""
    given = [tokens.BEGIN, *processor.tokenizer.encode(prompt).tolist()]
    found = []
    with torch.inference_mode():
        for _ in range(n):
            found.append(int(model(torch.tensor([given + found]))[0, -1].argmax()))
    return found


# ---------------------------------------------------------------- transformers


@pytest.mark.parametrize(("kind", "pi"), [("bpe", np.pi), ("characters", None), ("bytes", np.pi)])
def test_transformers_has_the_same_logits_and_the_same_pieces(tmp_path, kind, pi):
    transformers = pytest.importorskip("transformers")
    processor = CorpusProcessor(tokenizer=tokenizer(kind), context=64, longest=100)
    model = random_decoder(processor, pi)
    carrying.write_hf(model, processor, tmp_path)
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path)
    pieces = torch.randint(0, processor.tokenizer.n, (3, 64), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = model(pieces)
        assert wanted.std() > 0.1
        assert torch.allclose(theirs(pieces).logits, wanted, atol=1e-4)
        assert torch.equal(carrying.read_hf(tmp_path)({"pieces": pieces}), theirs(pieces).logits)
    cut = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for one in (*carrying.HARD, text(7)):
        numbers = cut(one, verbose=False)["input_ids"]
        assert numbers == [tokens.BEGIN, *processor.tokenizer.encode(one).tolist()]
        assert cut.decode(numbers, skip_special_tokens=True) == one
    assert (cut.bos_token_id, cut.eos_token_id, cut.pad_token_id) == (tokens.BEGIN, tokens.END, tokens.NOTHING)


def read_page(folder):
    """README.md of an export: its text, and the Python in it."""
    page = (folder / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    return page, code


def test_a_run_becomes_a_folder_that_goes_on_with_texts(transformer, capsys, monkeypatch):
    transformers = pytest.importorskip("transformers")
    found = ouvroir.export(transformer.path, "hf")
    assert found.items == "windows of held-out rows"
    assert found.n_items > 10
    assert found.largest_difference < 1e-5
    exec("\n".join(found.use), {})
    assert capsys.readouterr().out.startswith("A beginning")
    page, code = read_page(transformer.path / "export" / "hf")
    assert page.startswith("# A model for text-generation as a folder for transformers\n\nMade with Ouvroir ")
    assert f"It answers like the model on all {found.n_items} windows of held-out rows; the largest" in page
    assert "`pip install torch transformers`" in page
    assert "It looks back over 48 pieces of a text" in page
    assert "it writes what `ouvroir generate --temperature 0` writes" in page
    assert len({file.stat().st_mode for file in (transformer.path / "export" / "hf").iterdir()}) == 1
    monkeypatch.chdir(found.path)
    exec(code, {})
    assert capsys.readouterr().out.startswith("A beginning")
    model, processor = opened(transformer)
    note = json.loads((transformer.path / "export" / "hf" / "export.json").read_text())
    assert (note["context"], note["tokenizer"], note["gate"]["n_items"]) == (48, "bpe", found.n_items)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(found.path)
    given = transformers.AutoTokenizer.from_pretrained(found.path)("The river finds", return_tensors="pt")
    told = theirs.generate(**given, max_new_tokens=12, do_sample=False)[0, given["input_ids"].shape[1] :]
    assert told.tolist() == written_by(model, processor, "The river finds", 12)


def test_what_is_folded_wrongly_is_not_exported(transformer, tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    folded = carrying.llama_weights

    def careless(network):
        found = folded(network)
        return {name: weight * 2 if "q_proj" in name else weight for name, weight in found.items()}

    monkeypatch.setattr(carrying, "llama_weights", careless)
    with pytest.raises(ExportError, match=r"windows of held-out rows, \d+ get a probability more than 0.0001 off"):
        ouvroir.export(transformer.path, "hf", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["hf.failed"]


def test_a_tokenizer_that_cuts_otherwise_is_not_exported(transformer, tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setattr(carrying, "_by_score", lambda one: one[1])
    with pytest.raises(ExportError, match=r"cuts \d+ of \d+ texts otherwise than in training.*`0.txt`"):
        ouvroir.export(transformer.path, "hf", tmp_path)
    assert not (tmp_path / "hf").exists()


# ---------------------------------------------------------------- llama.cpp


def test_llama_cpp_writes_as_the_model_does(transformer, monkeypatch):
    gguf, _ = pytest.importorskip("gguf"), pytest.importorskip("xllamacpp")
    found = ouvroir.export(transformer.path, "gguf")
    assert found.items == "places of held-out rows"
    assert found.n_items > 50
    assert found.largest_difference < 1e-4
    assert found.agreement["f16"] >= 0.99
    assert found.agreement["q8_0"] >= 0.95
    assert "After 20 beginnings it writes the same 480 pieces" in found.sentence
    folder = transformer.path / "export" / "gguf"
    page, code = read_page(folder)
    assert "After 20 beginnings it writes the same 480 pieces" in page
    assert "over 48 pieces" in page
    assert "`model-f32.gguf` writes what `ouvroir generate --temperature 0` writes" in page
    assert '`llama-cli -m model-q8_0.gguf -p "A beginning"`' in page
    monkeypatch.chdir(folder)
    for lines in ("\n".join(found.use), code):
        names = {}
        exec(lines, names)
        assert isinstance(names["answer"]["choices"][0]["text"], str)
        del names["server"]  # which ends with it
    names = {"README.md", "export.json", "model-f16.gguf", "model-f32.gguf", "model-q8_0.gguf"}
    assert {path.name for path in folder.iterdir()} == names
    sizes = [(folder / f"model-{name}.gguf").stat().st_size for name in ("f32", "f16", "q8_0")]
    assert sizes == sorted(sizes, reverse=True)
    model, processor = opened(transformer)
    with llama.opened(folder / "model-f32.gguf", processor.context) as theirs:
        for prompt in ("The river finds", "The doctor", "café"):
            given = [tokens.BEGIN, *theirs.cut(prompt)]
            assert theirs.go_on(given, 30) == written_by(model, processor, prompt, 30)
            shares = model(torch.tensor([given]))[0, -1].softmax(0).detach()
            for number, share in theirs.likely(given, 5):
                assert abs(float(shares[number]) - share) < 1e-4
    with pytest.raises(AttributeError):
        theirs.cut("The")  # its server has ended
    fields = gguf.GGUFReader(folder / "model-q8_0.gguf").fields
    assert fields["llama.context_length"].contents() == 48
    assert fields["tokenizer.ggml.add_space_prefix"].contents() is False
    kinds = fields["tokenizer.ggml.token_type"].contents()
    assert kinds[:5] == [3, 2, 3, 3, 6]
    assert kinds[259:261] == [6, 1]


def test_files_that_llama_cpp_answers_otherwise_from_are_not_exported(transformer, tmp_path, monkeypatch):
    pytest.importorskip("gguf")
    pytest.importorskip("xllamacpp")
    written = llama._write

    def exchanged(path, precision, weights, shape, processor):
        if precision == "q8_0":
            weights = {**weights, "blk.0.ffn_up.weight": weights["blk.1.ffn_gate.weight"]}
        written(path, precision, weights, shape, processor)

    def unscored(writer, tokenizer):
        vocabulary = tokenizer.vocabulary()
        backwards = types.SimpleNamespace(vocabulary=lambda: [(name, -score) for name, score in vocabulary])
        backwards.n = tokenizer.n
        add(writer, backwards)

    add = llama._add_tokenizer
    cases = {
        "interleaved": (lambda weight, n_heads: weight, r"model-f32.gguf does not answer as the trained model did"),
        "_add_tokenizer": (unscored, r"llama.cpp cuts \d+ of 30 texts otherwise than in training"),
        "_write": (exchanged, r"model-q8_0.gguf holds another piece for the most likely"),
    }
    for name, (wrong, words) in cases.items():
        with monkeypatch.context() as patch:
            patch.setattr(llama, name, wrong)
            with pytest.raises(ExportError, match=words):
                ouvroir.export(transformer.path, "gguf", tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["gguf.failed"]


def test_a_sign_that_llama_cpp_takes_for_a_blank_is_told(transformer, tmp_path):
    pytest.importorskip("gguf")
    pytest.importorskip("xllamacpp")
    model, processor = opened(transformer)
    llama.write_gguf(model, processor, tmp_path)
    encoded = [
        np.array([tokens.BEGIN, *processor.tokenizer.encode(text(8).replace("finds", "\u2581"))], dtype=np.int32)
    ]
    rows, found = slice_of(encoded), windows(np.array([len(encoded[0])]), 48, is_told_once=False)
    told = llama.check_gguf(model, processor, tmp_path, rows, found, 1e-3)
    assert any("takes the sign U+2581 for a blank, as in" in one for one in told.remarks)


def test_llama_cpp_through_the_other_library(monkeypatch, tmp_path):
    """With a stand-in for that library, which is built where it is installed."""
    processor = CorpusProcessor(tokenizer=tokenizer("bpe"), context=48, longest=100)
    model = random_decoder(processor, np.pi)

    class Llama:
        def __init__(self, *, model_path, n_ctx, logits_all, **others):
            assert (n_ctx, logits_all) == (48, True)
            self.scores = np.zeros((n_ctx, processor.tokenizer.n), dtype=np.float32)

        def tokenize(self, content, *, add_bos, special):
            assert not add_bos
            assert not special
            return processor.tokenizer.encode(content.decode()).tolist()

        def reset(self):
            self.scores[:] = 0

        def eval(self, pieces):
            self.scores[: len(pieces)] = model(torch.tensor([pieces]))[0].detach()

        def close(self):
            closed.append(self)

    closed = []
    fake = types.SimpleNamespace(Llama=Llama, GGML_TYPE_F32=0)
    monkeypatch.setitem(sys.modules, "llama_cpp", fake)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "xllamacpp" else name)
    encoded = [np.array([tokens.BEGIN, *processor.tokenizer.encode(text(8))], dtype=np.int32)]
    rows, found = slice_of(encoded), windows(np.array([len(encoded[0])]), 48, is_told_once=False)
    told = llama.check_gguf(model, processor, tmp_path, rows, found, 1e-3)
    assert told.largest_difference < 1e-6
    assert told.agreement == {"f16": 1.0, "q8_0": 1.0}
    assert len(closed) == 3
    model.norm.weight.data *= -1  # from here on the stand-in answers otherwise than what it is compared with
    other = random_decoder(processor, np.pi)
    with pytest.raises(ExportError, match=r"model-f32\.gguf does not answer"):
        llama.check_gguf(other, processor, tmp_path, rows, found, 1e-3)


# ---------------------------------------------------------------- ONNX and pth


@pytest.mark.parametrize("name", ["transformer", "classes"])
def test_onnx_runs_on_windows_of_any_length(name, request):
    onnxruntime = pytest.importorskip("onnxruntime")
    run = request.getfixturevalue(name)
    found = ouvroir.export(run.path, "onnx")
    assert found.n_items > 10
    assert found.largest_difference < 1e-4
    session = onnxruntime.InferenceSession(found.path)
    model, processor = opened(run)
    rng = torch.Generator().manual_seed(0)
    for shape in ((1, 1), (1, 30), (5, 48)):
        asked = {"pieces": torch.randint(0, processor.tokenizer.n, shape, generator=rng)}
        if name == "classes":
            asked["labels"] = torch.rand(shape[0], 4, generator=rng)
        logits, shares = session.run(["logits", "probabilities"], {key: one.numpy() for key, one in asked.items()})
        wanted = model(**asked).detach()
        assert wanted.shape == (*shape, processor.tokenizer.n)
        assert np.allclose(logits, wanted, atol=1e-4)
        assert np.allclose(shares, wanted.softmax(-1), atol=1e-5)
    assert [one.name for one in session.get_inputs()] == ["pieces", "labels"][: 1 + (name == "classes")]
    assert json.loads(session.get_modelmeta().custom_metadata_map["context"]) == 48


@pytest.mark.parametrize("kind", ["bpe", "characters", "bytes"])
def test_a_graph_is_used_with_the_files_beside_it_alone(home, tmp_path, kind, capsys, monkeypatch):
    pytest.importorskip("onnxruntime")
    run = make_run(tmp_path, network="lstm", tokenizer=kind, classes=("dull", "bright") if kind == "bytes" else ())
    found = ouvroir.export(run.path, "onnx")
    folder = tmp_path / "elsewhere"
    shutil.copytree(run.path / "export" / "onnx", folder)
    note = json.loads((folder / "export.json").read_text())
    assert note["outputs"]["probabilities"] == {"dtype": "float32", "shape": ["batch", "n_pieces", note["n_numbers"]]}
    assert (note["numbers"]["begin"], note["numbers"]["end"]) == (tokens.BEGIN, tokens.END)
    assert (folder / note["tokenizer_file"]).is_file()
    names = {}
    exec("\n".join(found.use), names)
    assert names["logits"].shape == (1, 8, note["n_numbers"])
    told = CliRunner().invoke(app, ["export", str(run.path), "--to", "pth"], catch_exceptions=False).stdout
    lines = told.partition("\nIn Python:\n\n")[2]
    assert lines.startswith("import torch\n\nweights = torch.load(")
    exec(lines, names)
    assert names["weights"]
    assert (run.path / "export" / "pth" / note["tokenizer_file"]).is_file()
    assert "session = onnxruntime.InferenceSession('model.onnx')" in note["load"]
    page, code = read_page(folder)
    assert "| input `pieces` | (batch, n_pieces) | int64 |" in page
    assert "It answers like the model on all" in page
    monkeypatch.chdir(folder)
    model = ouvroir.load(run.path)
    label = model.processor.labels[0] if model.processor.labels else None
    for beginning in ("The river", "The café 🦊 fi", "Doctor\n"):
        names = {}
        exec(code.replace("A beginning", beginning.replace("\n", "\\n")), names)  # as a reader does
        alike = model.write(beginning, label=label, how=ouvroir.Sampling(most=1, temperature=0))
        assert model.processor.tokenizer.decode([names["number"]]) == alike
        if kind != "bytes":
            assert alike in capsys.readouterr().out


def test_pth_is_the_network_and_a_changed_one_is_caught(lstm, tmp_path, monkeypatch):
    found = ouvroir.export(lstm.path, "pth")
    model, processor = opened(lstm)
    state = torch.load(found.path, weights_only=True)
    assert all(torch.equal(state[name], weight) for name, weight in model.state_dict().items())
    assert found.largest_difference == 0
    note = json.loads((lstm.path / "export" / "pth" / "export.json").read_text())
    assert note["inputs"]["pieces"]["shape"] == ["batch", "n_pieces"]
    assert note["n_numbers"] == processor.tokenizer.n
    assert "threshold" not in note
    saved = torch.save
    monkeypatch.setattr(
        torch, "save", lambda state, file: saved({**state, "writing.bias": state["writing.bias"] + torch.rand(1)}, file)
    )
    ouvroir.export(lstm.path, "pth", tmp_path)  # as much for every piece changes nothing
    n = processor.tokenizer.n
    monkeypatch.setattr(
        torch, "save", lambda state, file: saved({**state, "writing.bias": torch.linspace(0, 1, n)}, file)
    )
    with pytest.raises(ExportError, match="get a probability more than 1e-05 off"):
        ouvroir.export(lstm.path, "pth", tmp_path / "other")


# ---------------------------------------------------------------- full disks


@pytest.fixture
def small_disk(tmp_path):
    """A function that gives a folder on a disk of so many bytes."""
    mounted = []

    def make(n_bytes):
        folder = tmp_path / "tight"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)]
        if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("a small disk cannot be mounted here")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.mark.parametrize(("to", "needs"), [("hf", "transformers"), ("gguf", "gguf"), ("onnx", "onnxruntime")])
def test_a_full_disk_is_told_and_leaves_nothing(to, needs, transformer, small_disk, monkeypatch):
    pytest.importorskip(needs)
    weights = next((transformer.path / "checkpoints").glob("step_*/model.safetensors"))
    folder = small_disk(weights.stat().st_size // 2)
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1 << 40))  # others fill it under way
    with pytest.raises(DiskFull, match=r"is full\. Nothing was left half written"):
        ouvroir.export(transformer.path, to, folder)
    assert not any(folder.iterdir())


def test_what_safetensors_says_of_a_full_disk_is_that(transformer, tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    from safetensors import SafetensorError

    def full(*arguments, **others):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(transformers.LlamaForCausalLM, "save_pretrained", full)
    with pytest.raises(DiskFull):
        ouvroir.export(transformer.path, "hf", tmp_path)
    assert not any(tmp_path.iterdir())


# ---------------------------------------------------------------- refusals


def test_what_others_have_no_place_for_is_refused_with_the_reason(lstm, classes, transformer, tmp_path, monkeypatch):
    for to, library in (("hf", "transformers"), ("gguf", r"llama\.cpp")):
        with pytest.raises(
            UsageError, match=rf"LSTM, which {library} has no arch.*options\.network=transformer.*--to onnx"
        ):
            ouvroir.export(lstm.path, to, tmp_path)
    of_bytes = CorpusProcessor(tokenizer=tokenizer("bytes"), context=48, longest=100)
    with pytest.raises(UsageError, match=r"reads texts as bytes.*options\.tokenizer=bpe.*--to hf"):
        TASK.require_gguf(random_decoder(of_bytes, np.pi), of_bytes)
    sizes, shape = of_bytes.tokenizer.sizes(), Shape(32, 1, 1, 1.5)
    of_classes = Decoder(sizes=sizes, n_classes=3, shape=shape, context=8, scale=1.0, pi=None)
    for refuses in (TASK.require_hf, TASK.require_gguf):
        with pytest.raises(UsageError, match=r"writes like 3 classes of texts.*--to onnx"):
            refuses(of_classes, of_bytes)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"ouvroir\[gguf\]"):
        ouvroir.export(transformer.path, "gguf", tmp_path)
    assert not any(tmp_path.iterdir())


def test_where_a_job_has_a_model_that_can_be_carried_it_is_named(lstm, transformer, tmp_path):
    job = tmp_path / "job"
    shutil.copytree(lstm.path, job)
    for run in (lstm, transformer):
        name = {lstm.path: "lstm", transformer.path: "transformer"}[run.path]
        shutil.copytree(run.path, job / name)
    Run(job).write_json(JOB, {"rivals": ["lstm", "transformer"]})
    for source in (job, job / "lstm"):
        for to, library in (("hf", "transformers"), ("gguf", "llama.cpp")):
            with pytest.raises(UsageError) as error:
                ouvroir.export(source, to, tmp_path / "out")
            assert str(error.value) == (
                f"This model is an LSTM, which {library} has no architecture for. The transformer model of the same job can be "
                f"written so: `ouvroir export {job / 'transformer'} --to {to}`. Use --to onnx to run without Ouvroir, or --to pth "
                "for the weights."
            )
    assert not (tmp_path / "out").exists()
