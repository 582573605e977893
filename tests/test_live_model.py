"""The files of the live page: a pinned runtime or none, and a book either way."""

import base64
import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from small_models import small_gpt4v

from book import live_model


def package(**files: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


RUNTIME = package(**{name: name.encode() for name in (*live_model.RUNTIME_FILES, "ort.all.js")})


@pytest.fixture
def npm(monkeypatch, tmp_path):
    """A stand-in for npm: it gives RUNTIME, whose hash is the pinned one, and counts how often it is asked."""
    asked = []

    def pack(command, **_):
        asked.append(command)
        (Path(command[-1]) / "runtime.tgz").write_bytes(RUNTIME)
        return subprocess.CompletedProcess(command, 0, stdout="runtime.tgz\n")

    digest = base64.b64encode(hashlib.sha512(RUNTIME).digest()).decode()
    monkeypatch.setattr(live_model, "RUNTIME_SHA512", digest)
    monkeypatch.setattr(live_model, "RUNTIME_FOLDER", tmp_path / "share" / "runtime")
    monkeypatch.setattr(subprocess, "run", pack)
    return asked


def test_the_runtime_is_fetched_once_and_only_what_is_needed_is_kept(npm, tmp_path):
    folder = tmp_path / "runtime"
    live_model.fetch_runtime(folder)
    live_model.fetch_runtime(folder)
    assert len(npm) == 1
    assert live_model.RUNTIME in npm[0]
    assert {path.name: path.read_text() for path in folder.iterdir()} == {n: n for n in live_model.RUNTIME_FILES}


def test_another_package_is_refused(npm, tmp_path, monkeypatch):
    monkeypatch.setattr(live_model, "RUNTIME_SHA512", "another")
    with pytest.raises(OSError, match=r"runtime.tgz has the SHA-512 .* instead of another"):
        live_model.fetch_runtime(tmp_path / "runtime")
    assert list((tmp_path / "runtime").iterdir()) == []


@pytest.mark.parametrize("fault", [FileNotFoundError("npm"), subprocess.CalledProcessError(1, "npm")])
def test_without_npm_the_book_goes_without_the_model_and_says_so(npm, tmp_path, monkeypatch, capsys, fault):
    def fail(*_, **__):
        raise fault

    monkeypatch.setattr(subprocess, "run", fail)
    assert not live_model.add_live_model(tmp_path / "book")
    assert not (tmp_path / "book").exists()
    assert "Without the live model in the book, for which npm must fetch onnxruntime-web@" in capsys.readouterr().err


def test_the_model_comes_with_its_drawings_and_the_weight_of_all(npm, tmp_path, monkeypatch):
    model = small_gpt4v("conv")
    monkeypatch.setattr(live_model.GPT4V, "from_pretrained", lambda name: model)
    assert live_model.add_live_model(tmp_path)
    folder = tmp_path / "live"
    world = json.loads((folder / "world.json").read_text(encoding="utf-8"))
    waking = ("see.onnx", "read.onnx", "tokenizer.json", "reader.json", f"runtime/{live_model.RUNTIME_FILES[-1]}")
    assert world["bytes"] == sum((folder / name).stat().st_size for name in waking)
    assert [noun["en"] for noun in world["nouns"][:2]] == ["dog", "cat"]
    assert len(world["nouns"]) == 64
    assert world["allStyles"][-1] == "twemoji"
    allowed = {frozenset(grounds) for grounds in world["visible"]["noto"]}
    assert len(allowed) > 1
    assert frozenset.union(*allowed) == set(world["grounds"])


def test_the_pinned_package_is_the_one_of_that_name():
    assert live_model.RUNTIME.startswith("onnxruntime-web@")
    assert len(base64.b64decode(live_model.RUNTIME_SHA512)) == 64
