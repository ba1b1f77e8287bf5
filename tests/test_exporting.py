import copy
import dataclasses
import importlib.util
import json
import os
import re
import shutil

import numpy as np
import pytest
import torch

from ouvroir import bundle as bundles
from ouvroir import exporting, onnx_graph, testing
from ouvroir.data.pack import build_pack
from ouvroir.errors import CheckpointError, DiskFull, ExportError, MissingExtra, UsageError
from ouvroir.files import own_kind
from ouvroir.hashes import hash_files
from ouvroir.media import find_task
from ouvroir.run import Measurement, Run
from ouvroir.task import Synthesiser, Writer
from ouvroir.testing import registered
from ouvroir.training.checkpoint import Checkpoints, Place
from ouvroir.workflow import keep_manifest, kept_manifest
from toy_run import make_run
from toy_task import Numbers

export = exporting.export


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def run(tmp_path, home):
    run, manifest = make_run(tmp_path)
    bundles.write_bundle(run, run.checkpoint("best"), manifest, folder=run.bundle)
    return run


class Said:
    """Progress that remembers its sentences."""

    def __init__(self):
        self.text = ""

    def say(self, text):
        self.text += text + "\n"


def test_pth_is_a_state_dict_without_code(run):
    result = export(run.path, "pth")
    assert result.path == str(run.path / "export" / "pth" / "model.pth")
    assert (result.n_items, result.items, result.largest_difference) == (30, "held-out rows", 0.0)
    state = torch.load(result.path, weights_only=True)
    note = json.loads((run.path / "export" / "pth" / "export.json").read_text())
    assert note["labels"] == ["large", "small", "wide"]
    assert note["inputs"] == {"facts": {"dtype": "float32", "shape": ["batch", 4]}}
    assert note["probabilities"] == "softmax(logits)"
    assert note["gate"]["n_items"] == 30
    facts = torch.tensor([[1.0, 2.0, 3.0, -1.0]])
    hidden = torch.tanh((facts - state["mean"]) / state["std"] @ state["body.weight"].T + state["body.bias"])
    by_hand = hidden @ state["head.weight"].T + state["head.bias"]
    _, model, _, _ = bundles.load_bundle(run.bundle).open_model()
    assert torch.allclose(model(facts), by_hand, atol=1e-5)


def test_a_run_knows_its_rows_without_the_cache(tmp_path, home):
    run, manifest = make_run(tmp_path)
    keep_manifest(run, manifest)
    bundles.write_bundle(run, run.checkpoint("best"), manifest, folder=run.bundle)
    shutil.rmtree(home)
    for source in (run.path, run.bundle):
        said = Said()
        assert export(source, "pth", tmp_path / source.name, progress=said).n_items == 30
        assert "cannot be read" not in said.text


def test_onnx_runs_elsewhere_with_any_number_of_rows(run):
    onnxruntime = pytest.importorskip("onnxruntime")
    said = Said()
    result = export(run.path, "onnx", progress=said)
    assert result.largest_difference < exporting.TOLERANCE["onnx"]
    assert "answers like the model on all 30 held-out rows" in result.sentence
    assert "Writing a graph that needs no PyTorch, then replaying 30 held-out rows through it." in said.text
    session = onnxruntime.InferenceSession(result.path)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["labels"]) == ["large", "small", "wide"]
    _, model, _, _ = bundles.load_bundle(run.bundle).open_model()
    for n_rows in (1, 3, 70):
        facts = torch.randn(n_rows, 4, generator=torch.Generator().manual_seed(n_rows))
        logits, probabilities = session.run(["logits", "probabilities"], {"facts": facts.numpy()})
        assert np.allclose(logits, model(facts).detach(), atol=1e-5)
        assert np.allclose(probabilities, model(facts).softmax(1).detach(), atol=1e-5)


def test_a_bundle_alone_can_be_exported(run, tmp_path):
    moved = tmp_path / "travelled" / "final_model"
    shutil.copytree(run.bundle, moved)
    shutil.rmtree(run.path)
    shutil.rmtree(tmp_path / "numbers")
    said = Said()
    result = export(moved, "pth", progress=said)
    assert result.path == str(tmp_path / "travelled" / "export" / "pth" / "model.pth")
    assert result.n_items == 30
    assert "cannot be read here" in said.text


def test_an_unfinished_run_exports_its_best_checkpoint(tmp_path, home):
    run, _ = make_run(tmp_path)
    assert export(run.name, "pth", runs=run.path.parent).n_items == 30


def test_nothing_to_prove_with_is_an_error(run, tmp_path):
    shutil.rmtree(tmp_path / "numbers")
    (run.bundle / bundles.CHECK_ITEMS).unlink()
    said = Said()
    with pytest.raises(ExportError, match="nothing to prove the export with"):
        export(run.path, "pth", progress=said)
    assert not said.text  # nothing serves instead
    assert not (run.path / "export").exists()


def test_packed_rows_prove_an_export_when_the_files_are_away_and_the_bundle_keeps_none(run, tmp_path):
    _, _, processor, _ = bundles.load_bundle(run.bundle).open_model()
    build_pack(kept_manifest(run.recipe(), near=run.path), processor)
    shutil.rmtree(tmp_path / "numbers")
    (run.bundle / bundles.CHECK_ITEMS).unlink()
    said = Said()
    assert export(run.path, "pth", progress=said).n_items == 30
    assert "their packed rows serve instead" in said.text


# ---------------------------------------------------------------- the gate


def break_weights(scale):
    """A writer that writes the state dict with one layer changed."""

    def write(opened, folder):
        state = {name: tensor.clone() for name, tensor in opened.model.state_dict().items()}
        state["head.bias"] = state["head.bias"] + scale * torch.tensor([1.0, -1.0, 0.5])
        torch.save(state, folder / "model.pth")
        return folder / "model.pth"

    return write


@pytest.mark.parametrize(("scale", "words"), [(50.0, "another label"), (1e-3, "more than 1e-05 off")])
def test_a_broken_export_is_caught_and_never_gets_its_name(run, monkeypatch, scale, words):
    monkeypatch.setitem(exporting._WRITERS, "pth", break_weights(scale))
    with pytest.raises(ExportError, match=words) as caught:
        export(run.path, "pth")
    assert ".txt" in str(caught.value)  # rows are named
    assert not (run.path / "export" / "pth").exists()
    assert (run.path / "export" / "pth.failed" / "model.pth").is_file()
    assert str(run.path / "export" / "pth.failed") in str(caught.value)
    assert {path.name for path in (run.path / "export").iterdir()} == {"pth.failed"}


def test_a_failure_leaves_the_earlier_export_in_place(run, monkeypatch):
    good = export(run.path, "pth")
    before = hash_files(run.path / "export" / "pth")
    monkeypatch.setitem(exporting._WRITERS, "pth", break_weights(50.0))
    for _ in range(2):  # also when an earlier failure lies there
        with pytest.raises(ExportError):
            export(run.path, "pth")
    assert hash_files(run.path / "export" / "pth") == before
    monkeypatch.undo()
    monkeypatch.setenv("OUVROIR_HOME", str(run.path.parent.parent / "home"))
    assert export(run.path, "pth").path == good.path


def test_a_broken_onnx_graph_is_caught(run, monkeypatch):
    pytest.importorskip("onnxruntime")
    written = onnx_graph.write_graph

    def forgets_to_normalise(model, inputs, path, **others):
        careless = copy.deepcopy(model)
        careless.mean.zero_()
        written(careless, inputs, path, **others)

    monkeypatch.setattr(onnx_graph, "write_graph", forgets_to_normalise)
    with pytest.raises(ExportError, match="does not answer as the trained model did"):
        export(run.path, "onnx")
    assert not (run.path / "export" / "onnx").exists()


def test_a_file_that_is_no_number_anywhere_is_caught(run, monkeypatch):
    monkeypatch.setitem(exporting._WRITERS, "pth", break_weights(float("nan")))
    with pytest.raises(ExportError):
        export(run.path, "pth")


def test_a_file_that_does_not_load_is_caught(run, monkeypatch):
    def write(opened, folder):
        torch.save({"head.bias": torch.zeros(3)}, folder / "model.pth")
        return folder / "model.pth"

    monkeypatch.setitem(exporting._WRITERS, "pth", write)
    with pytest.raises(ExportError, match="does not load"):
        export(run.path, "pth")


def test_a_model_that_no_longer_answers_as_its_bundle_says_is_caught(run, monkeypatch):
    step = Numbers.step

    def other_step(self, model, batch, recipe, *, rng, training):
        output = step(self, model, batch, recipe, rng=rng, training=training)
        return type(output)(losses=output.losses, outputs=-output.outputs)

    monkeypatch.setattr(Numbers, "step", other_step)
    with pytest.raises(ExportError, match="The model itself"):
        export(run.path, "pth")


def test_a_graph_that_only_works_for_its_own_batch_is_caught(run, monkeypatch):
    pytest.importorskip("onnxruntime")
    static = torch.export.Dim.STATIC
    monkeypatch.setattr(torch.export, "Dim", lambda name, **limits: static)
    with pytest.raises(ExportError, match="does not run on facts"):
        export(run.path, "onnx")


# ---------------------------------------------------------------- wrong calls


def test_wrong_calls(run, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="There are: onnx, pth, hf, gguf"):
        export(run.path, "tflite")
    with pytest.raises(UsageError, match="no architecture of the transformers library"):
        export(run.path, "hf")
    with pytest.raises(UsageError, match="write no texts, which is all that"):
        export(run.path, "gguf")
    (tmp_path / "mine" / "pth").mkdir(parents=True)
    (tmp_path / "mine" / "pth" / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match="not written by an export"):
        export(run.path, "pth", tmp_path / "mine")
    assert (tmp_path / "mine" / "pth" / "thesis.txt").exists()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"ouvroir\[export\]"):
        export(run.path, "onnx")


def test_a_full_disk_is_said_before_and_during_the_work(run, monkeypatch):
    usage = shutil.disk_usage(run.path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DiskFull, match="Exporting to pth needs"):
        export(run.path, "pth")
    monkeypatch.undo()
    monkeypatch.setenv("OUVROIR_HOME", str(run.path.parent.parent / "home"))

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull):
        export(run.path, "pth")
    assert not any((run.path / "export").iterdir())


def test_a_damaged_bundle_is_not_exported(run):
    path = run.bundle / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-2] + b"xx")
    with pytest.raises(CheckpointError, match="damaged"):
        export(run.path, "pth")


# ---------------------------------------------------------------- what is listed


def carded(folder):
    """The formats that the card of a bundle lists."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^ouvroir export final_model --to (\w+)$", card, re.MULTILINE)


def require_listed_to_work(bundle, to):
    """Every format that is listed can be written and proved, and its Python runs; every other is refused with the reason."""
    listed = carded(bundle)
    for name in exporting.FORMATS:
        if name not in listed:
            with pytest.raises(UsageError, match=r"[Uu]se --to|cannot be exported"):
                export(bundle, name, to)
            continue
        result = export(bundle, name, to)
        names = {}
        exec("\n".join(result.use), names)
        assert own_kind({path.name for path in (to / name).iterdir()}) == "model"
        page = (to / name / "README.md").read_text(encoding="utf-8")
        assert "## What was checked\n\nIt answers like the model on all" in page
        says_whence = " made of a file, or of a text, by the processor of the model." in page
        assert says_whence == (name == "onnx" and "## From a text to numbers" not in page)
        for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
            compile(code, name, "exec")
    return listed


def test_a_task_without_probabilities_lists_no_format(tmp_path, home, monkeypatch):
    run, manifest = make_run(tmp_path)
    answers = Numbers.answers
    monkeypatch.setattr(Numbers, "answers", lambda *given: dataclasses.replace(answers(*given), scores=None))
    bundles.write_bundle(run, run.checkpoint("best"), manifest, folder=run.bundle)
    assert require_listed_to_work(run.bundle, tmp_path / "out") == []


def test_a_model_that_nothing_can_prove_lists_no_format(tmp_path, home):
    run, manifest = make_run(tmp_path)
    shutil.rmtree(tmp_path / "numbers")
    bundles.write_bundle(run, run.checkpoint("best"), manifest, folder=run.bundle)
    assert carded(run.bundle) == []


@pytest.mark.parametrize("name", registered())
def test_each_format_that_is_listed_works(name, tmp_path, home):
    pytest.importorskip("onnxruntime")
    stage = testing._stage(find_task(name), name, tmp_path / "work")
    stage.manifest.save()
    recipe = stage.recipe.replace("data", manifest=stage.manifest.fingerprint).replace("loop", steps=1)
    run = Run.create(recipe, tmp_path / "runs", name="one")
    Checkpoints(run.path).save(
        Place(step=1, best_step=1, best_value=0.0, is_complete=True),
        recipe=recipe,
        processor=stage.processor,
        weights=stage.model().state_dict(),
        average=None,
        state={},
        is_best=True,
    )
    run.append_metrics([Measurement(1, "train", "loss", 1.0, 1.0)])
    run.set_status("finished", "Finished after 1 step.")
    bundles.write_bundle(run, run.checkpoint("best"), stage.manifest, folder=run.bundle)
    listed = require_listed_to_work(run.bundle, tmp_path / "out")
    is_maker = isinstance(stage.task, Synthesiser) and not isinstance(stage.task, Writer)
    assert listed == ([] if is_maker else ["onnx", "pth"])
