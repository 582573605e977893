"""Where the data come from: named package versions, fetched by their usual clients and checked by SHA-256."""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Source:
    """One archive: `client` is "npm" or "apt"; `sha256` pins its bytes."""

    client: str
    name: str
    version: str
    sha256: str

    @property
    def label(self) -> str:
        """The name and version, for people."""
        return f"{self.name} {self.version}"

    @property
    def slug(self) -> str:
        """A name for files: `@iconify-json/noto` 1.2.9 -> `iconify-json-noto-1.2.9`."""
        version = self.version.partition(":")[2] or self.version  # a Debian epoch is not for file names
        return f"{self.name.removeprefix('@').replace('/', '-')}-{version}"


NOTO = Source("npm", "@iconify-json/noto", "1.2.9", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad")
BLOB = Source(
    "npm", "@iconify-json/noto-v1", "1.2.5", "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37"
)
FLUENT = Source(
    "npm",
    "@iconify-json/fluent-emoji-flat",
    "1.2.6",
    "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
)
EMOJITWO = Source(
    "npm", "@iconify-json/emojione", "1.2.3", "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e"
)
TWEMOJI = Source(
    "npm", "@discordapp/twemoji", "16.0.1", "2278fd609501e20dc646a546c1d7bbcab86a4c38010ded12b45e61f9687b9d0a"
)
CLDR = Source(
    "npm", "cldr-annotations-full", "48.2.0", "28576e51225deb51e3ddd734b0f824a0079682cb5d8c27faa9f68149317a14d1"
)
CLDR_DERIVED = Source(
    "npm", "cldr-annotations-derived-full", "48.2.0", "4be946ff5815f806ec78b50363d577a769f2fbfb90c6380a44e161a92436996e"
)
POEMS = Source("npm", "chinese-poetry", "2.0.1", "25b549e46919c3a0569db6b68ddc96956b04a484ea4518ad2bbd4f137e307e86")
EMOJI_LIST = Source(
    "apt", "unicode-data", "15.0.0-1", "5efef23bbb1c6a133ecbdd63a2cfa07159ccacf5466a49e2426101c5ecd691fc"
)
FONT = Source(
    "apt",
    "fonts-noto-cjk",
    "1:20220127+repack1-1",
    "4a2515eb6db3978b897fef9709ed0d2b1f4c6c4df4d83d6c4ef65f71f1b1f502",
)


def unpacked(source: Source, cache: Path) -> Path:
    """The folder with the unpacked archive, fetched, checked and unpacked first where it is not in the cache.

    Raises:
        ValueError: the archive's SHA-256 is not the pinned one.
        subprocess.CalledProcessError: the package client could not fetch the archive.
    """
    folder = cache / source.slug
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        archive = _fetch(source, Path(temporary))
        _check(source, archive)
        inside = Path(temporary) / "unpacked"
        _unpack(source, archive, inside)
        shutil.move(inside, folder)
    return folder


def add_tools(cache: Path) -> None:
    """Install the tools of `requirements.txt` (pip checks their hashes) into the cache, and import from there first."""
    requirements = HERE / "requirements.txt"
    folder = cache / f"tools-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            inside = Path(temporary) / "tools"
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            options = ["--no-deps", "--require-hashes", "--target", str(inside), "-r", str(requirements)]
            subprocess.run(pip + options, check=True)
            shutil.move(inside, folder)
    sys.path.insert(0, str(folder))


def _fetch(source: Source, folder: Path) -> Path:
    print(f"fetching {source.label}", file=sys.stderr)
    if source.client == "npm":
        command = ["npm", "pack", "--silent", f"{source.name}@{source.version}"]
    else:
        command = ["apt-get", "download", "-qq", f"{source.name}={source.version}"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (archive,) = folder.iterdir()
    return archive


def _check(source: Source, archive: Path) -> None:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != source.sha256:
        raise ValueError(f"{source.label} has SHA-256 {found}, not the pinned {source.sha256}: do not build from it")


def _unpack(source: Source, archive: Path, folder: Path) -> None:
    if source.client == "apt":
        subprocess.run(["dpkg-deb", "-x", str(archive), str(folder)], check=True)
        return
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (inside,) = folder.iterdir()  # npm archives hold one folder, mostly named "package"
    for item in list(inside.iterdir()):
        item.rename(folder / item.name)
    inside.rmdir()
