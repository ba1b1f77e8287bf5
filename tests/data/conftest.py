from __future__ import annotations

import hashlib

import byte_task
import pytest

from ouvroir.data.admission import admit
from ouvroir.recipe import Data
from ouvroir.task import Limits


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    place = tmp_path / "home"
    monkeypatch.setenv("OUVROIR_HOME", str(place))
    return place


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "source"
    place.mkdir()
    return place


@pytest.fixture
def write(folder):
    """Write files under the source folder: `write({"cat/1.bin": b"..."})`; text is its own content."""

    def write_files(files):
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder

    return write_files


@pytest.fixture
def check():
    """Admit with the byte task: `check(folder, test=0.3)`; the rest of the settings are those of `Data`."""

    def admit_bytes(source, *, task=byte_task.NAME, max_seconds=20.0, fresh=False, workers=1, **settings):
        limits = Limits(max_seconds=max_seconds)
        manifest = admit(source, task=task, data=Data(**settings), limits=limits, workers=workers, fresh=fresh)
        ids = [row.id for row in manifest.rows] + [refusal.id for refusal in manifest.refused]
        assert len(ids) == len(set(ids)) == manifest.found
        return manifest

    return admit_bytes


@pytest.fixture
def hash_tree():
    def hash_files(root):
        files = [path for path in sorted(root.rglob("*")) if path.is_file()]
        return {str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in files}

    return hash_files
