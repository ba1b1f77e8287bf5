"""Small real pictures for tests, and ways to call the command line on them."""

import contextlib
import functools
import hashlib
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test looks outside

QUICK = ("--preset", "tiny", "--set", "loop.precision=fp32", "--set", "loop.layout=contiguous")
QUICK += ("--set", "loop.threads=1", "--set", "loop.micro_batch=16", "--set", "loop.batch_size=16")
"""A network of seconds, with nothing left to measure: arithmetic as everywhere."""


@functools.cache
def _scans():
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target


def write_digits(folder, *, per_class=6, classes="0123", skip=0):
    """`per_class` real 8x8 scans of each class as folder/class/number.png, after the first `skip` of the class."""
    images, targets = _scans()
    for label in classes:
        place = Path(folder) / label
        place.mkdir(parents=True, exist_ok=True)
        for number in np.flatnonzero(targets == int(label))[skip : skip + per_class]:
            Image.fromarray(images[number]).save(place / f"{number:04d}.png")
    return Path(folder)


def png(size, *, edge=8):
    """A PNG file that says it is `size` x `size` and holds data for `edge` x `edge`."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    body = zlib.compress((b"\0" + b"\7" * edge) * edge)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def write_damaged(folder):
    """Good pictures of four classes, and one file with each kind of damage. Returns {id: code of its refusal}."""
    write_digits(folder)
    good = next((folder / "0").iterdir()).read_bytes()
    (folder / "0" / "empty.png").write_bytes(b"")
    (folder / "1" / "truncated.png").write_bytes(good[: len(good) // 2])
    (folder / "1" / "text.png").write_text("this is no picture")
    (folder / "2" / "bomb.png").write_bytes(png(60_000))
    (folder / "3" / "nowhere.png").symlink_to("/nowhere/at_all.png")
    Image.open(next((folder / "2").glob("0*.png"))).resize((9, 9)).save(folder / "2" / "really.jpg.png", "JPEG")
    return {
        "0/empty.png": "empty",
        "1/truncated.png": "truncated",
        "1/text.png": "not_a_picture",
        "2/bomb.png": "too_many_pixels",
        "3/nowhere.png": "missing",
    }


def write_zip(path, folder, extra=()):
    """A zip of `folder`, with `extra` names that hold a copy of its first file."""
    files = sorted(file for file in Path(folder).rglob("*") if file.is_file())
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, str(file.relative_to(folder)))
        for name in extra:
            archive.writestr(name, files[0].read_bytes())
    return path


def hash_tree(root):
    """{path: (SHA-256, time of change, mode)} of every file below `root`."""
    return {
        str(path.relative_to(root)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
            path.stat().st_mode,
        )
        for path in sorted(Path(root).rglob("*"))
        if path.is_file()
    }


@contextlib.contextmanager
def unchanged(root):
    """Fails when a file below `root` is changed, added or taken away in the block."""
    before = hash_tree(root)
    yield
    assert hash_tree(root) == before


def call(*arguments, status=0, stdin=None):
    """Call the command line in this process. Returns what it prints; checks the exit status and that no traceback shows."""
    from ouvroir.cli import app

    done = CliRunner().invoke(app, [str(one) for one in arguments], input=stdin)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, (done.exit_code, done.stdout[-500:], done.stderr[-2000:])
    assert "Traceback" not in done.stderr
    return done


def call_json(*arguments, status=0):
    """The one JSON object that `--json` prints."""
    return read_object(call(*arguments, "--json", status=status).stdout)


def read_object(text):
    """The one JSON object in `text`, by the standard (no NaN)."""

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    value = json.loads(text, parse_constant=refuse)
    assert isinstance(value, dict)
    return value


def environment(**more):
    """Variables for a command in a process of its own."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "error", **more}


def start(*arguments, prefix=(), cwd=None, **options):
    """Start the command line in a process of its own, its streams as pipes."""
    command = [*prefix, sys.executable, "-m", "ouvroir", *(str(one) for one in arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=cwd, **{"env": environment(), **streams, **options})


def run(*arguments, status=0, stdin=None, **options):
    """Run the command line in a process of its own to its end: a CompletedProcess. Checks as `call`."""
    process = start(*arguments, stdin=subprocess.PIPE, **options)
    out, err = process.communicate(stdin, timeout=300)
    assert process.returncode == status, (process.returncode, out[-500:], err[-2000:])
    assert "Traceback" not in err, err
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
