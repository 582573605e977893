"""The package as a stranger gets it: what the archives hold, and whether an installed copy answers."""

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from PIL import Image

import minigpt4v

ROOT = Path(__file__).resolve().parent.parent
BUILDER_OF_THE_DATA = re.compile(r"data/(\w+\.py|requirements\.txt)")
LITTER = (
    ".DS_Store",
    "build/lib/minigpt4v/old.py",
    "data/.DS_Store",
    "data/__pycache__/build.cpython-311.pyc",
    "dist/old.whl",
    "minigpt4v/__pycache__/gpt.cpython-311.pyc",
    "minigpt4v/.mypy_cache/x.json",
    "notebooks/.ipynb_checkpoints/00_welcome-checkpoint.ipynb",
    "notebooks/minigpt4v-progress.txt",
    "runs/mine/model.safetensors",
)
SLOW_TO_LOAD = {"accelerate", "matplotlib", "PIL", "scipy", "torch", "transformers"}

# One worker builds and installs, once.
pytestmark = pytest.mark.xdist_group("packaging")


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command away from the repository's environment and return what it wrote."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert result.returncode == 0, f"{command} failed:\n{result.stdout}\n{result.stderr}"
    return result


def repository_files() -> set[str]:
    """Names of the files that belong to the repository, committed or about to be."""
    listing = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).stdout
    return {name for name in listing.split("\0") if name and (ROOT / name).exists()}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The source archive, and the wheel built from it, as `python -m build` makes them."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return {"source": next(folder.glob("*.tar.gz")), "wheel": next(folder.glob("*.whl"))}


@pytest.fixture(scope="module")
def wheel_files(archives: dict[str, Path]) -> set[str]:
    with zipfile.ZipFile(archives["wheel"]) as wheel:
        return set(wheel.namelist())


@pytest.fixture(scope="module")
def installed(archives: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a new environment that has the wheel, and borrows the libraries it needs."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    python = programs / "python"
    run(python, "-m", "pip", "install", "--no-index", "--no-deps", archives["wheel"], cwd=folder)
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(python, "-c", asked, cwd=folder).stdout.strip())
    # A plain path line: the .pth files over there, ours among them, are not read from here.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return programs


def test_source_archive_holds_the_repository_and_nothing_else(archives: dict[str, Path]) -> None:
    with tarfile.open(archives["source"]) as archive:
        names = {str(PurePosixPath(*PurePosixPath(entry.name).parts[1:])) for entry in archive if entry.isfile()}
    assert names - {"PKG-INFO"} == repository_files()


def test_wheel_holds_the_package_and_its_data_and_nothing_else(wheel_files: set[str]) -> None:
    expected = set()
    for name in repository_files():
        if name.startswith("minigpt4v/"):
            expected.add(name)
        elif name.startswith(("data/", "notebooks/")) and not BUILDER_OF_THE_DATA.fullmatch(name):
            expected.add(f"minigpt4v/{name}")
        elif name.startswith("bench/results/"):
            expected.add(f"minigpt4v/{name.removeprefix('bench/')}")
    assert {name for name in wheel_files if ".dist-info/" not in name} == expected


@pytest.mark.parametrize("folder", ["emoji", "fonts", "text", "checkpoints/laptop", "LICENSES"])
def test_wheel_carries_the_data_folder(wheel_files: set[str], folder: str) -> None:
    assert any(name.startswith(f"minigpt4v/data/{folder}/") for name in wheel_files)


def test_wheel_says_which_licences_apply(archives: dict[str, Path], wheel_files: set[str]) -> None:
    names = {PurePosixPath(name).name for name in wheel_files if ".dist-info/licenses/" in name}
    assert names >= {"LICENSE"} | {path.name for path in (ROOT / "data" / "LICENSES").iterdir()}


def test_wheel_is_small(archives: dict[str, Path]) -> None:
    assert archives["wheel"].stat().st_size < 30e6


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no umask, and marks no file as a program")
def test_wheel_is_the_same_whoever_builds_it(archives: dict[str, Path], tmp_path: Path) -> None:
    """Another folder, later, by somebody whose files nobody else may read, and with litter in between."""
    copy = tmp_path / "elsewhere"
    for name in sorted(repository_files(), reverse=True):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
        (copy / name).chmod(0o700 if os.access(ROOT / name, os.X_OK) else 0o600)
    for litter in LITTER:
        (copy / litter).parent.mkdir(parents=True, exist_ok=True)
        (copy / litter).write_bytes(b"litter")
    build = f"umask 077; exec {shlex.join([sys.executable, '-m', 'build'])} --no-isolation --wheel --outdir ../dist"
    run("sh", "-c", build, cwd=copy)
    assert next((tmp_path / "dist").glob("*.whl")).read_bytes() == archives["wheel"].read_bytes()


def test_installed_copy_is_the_one_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import minigpt4v; print(minigpt4v.__file__)", cwd=tmp_path).stdout
    assert Path(where.strip()).is_relative_to(installed.parent)


def test_installed_program_answers_about_a_picture(installed: Path, tmp_path: Path) -> None:
    tiles = [json.loads(line) for line in (ROOT / "data/emoji/nouns.jsonl").read_text(encoding="utf-8").splitlines()]
    tile = next(noun["tile"] for noun in tiles if noun["en"] == "dog")
    row, column = divmod(tile, 32)
    atlas = Image.open(ROOT / "data/emoji/noto.png").convert("RGBA")
    dog = atlas.crop((32 * column, 32 * row, 32 * column + 32, 32 * row + 32))
    picture = Image.new("RGB", (64, 64), (120, 180, 220))
    picture.paste(dog, (16, 16), dog)
    picture.save(tmp_path / "dog.png")

    answer = run(installed / "minigpt4v", "ask", "dog.png", "Is there a dog?", cwd=tmp_path).stdout

    assert answer.lower().startswith("yes")


def test_installed_program_brings_the_course(installed: Path, tmp_path: Path) -> None:
    run(installed / "minigpt4v", "start", "mine", cwd=tmp_path)
    names = {path.name for path in (tmp_path / "mine").glob("*.ipynb")}
    assert names == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}


@pytest.mark.parametrize("name", minigpt4v.__all__)
def test_public_name_loads(name: str) -> None:
    assert getattr(minigpt4v, name) is not None
    assert name in dir(minigpt4v)


@pytest.mark.parametrize("arguments", [["-c", "import minigpt4v"], ["-m", "minigpt4v", "--help"]])
def test_start_does_not_load_what_is_slow(arguments: list[str]) -> None:
    timings = run(sys.executable, "-X", "importtime", *arguments, cwd=ROOT).stderr
    loaded = {line.rpartition("|")[2].strip() for line in timings.splitlines() if line.startswith("import time:")}
    assert "minigpt4v" in loaded
    assert not loaded & SLOW_TO_LOAD
