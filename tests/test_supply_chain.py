"""What is installed beside the course: which versions, from which files, under which licences."""

import re
import subprocess
import sys
import tomllib
from email.message import Message
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from book import licences

ROOT = Path(__file__).resolve().parent.parent
PINS = [
    line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if re.match("[a-z0-9]", line)
]
HASHED = (ROOT / "hashes.txt").read_text(encoding="utf-8")
INSTALLED = {canonicalize_name(each.name): each for each in distributions()}
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = {
    "linux": {"sys_platform": "linux", "os_name": "posix", "platform_system": "Linux", "platform_machine": "x86_64"},
    "macos": {"sys_platform": "darwin", "os_name": "posix", "platform_system": "Darwin", "platform_machine": "arm64"},
    "windows": {"sys_platform": "win32", "os_name": "nt", "platform_system": "Windows", "platform_machine": "AMD64"},
}
ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "CNRI-Python", "ISC", "LicenseRef-NVIDIA-Proprietary", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Zlib",
}  # fmt: skip


def pins(python: str, platform: str) -> dict[str, str]:
    """The version that constraints.txt chooses of each package."""
    machine = (
        default_environment() | PLATFORMS[platform] | {"python_version": python, "python_full_version": python + ".9"}
    )
    wanted = [Requirement(line) for line in PINS]
    found = [(pin.name, str(pin.specifier)) for pin in wanted if pin.marker is None or pin.marker.evaluate(machine)]
    assert len(dict(found)) == len(found)
    return {canonicalize_name(name): version.removeprefix("==") for name, version in found}


def required() -> list[Requirement]:
    """What pyproject.toml asks for: to build, to run, and with every extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lists = [project["build-system"]["requires"], project["project"]["dependencies"]]
    lists += project["project"]["optional-dependencies"].values()
    return [Requirement(line) for lines in lists for line in lines]


# --- versions and checksums -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_what_the_project_asks_for_is_pinned_everywhere(python: str, platform: str) -> None:
    chosen = pins(python, platform)
    assert [str(each) for each in required() if chosen.get(canonicalize_name(each.name)) not in each.specifier] == []


def test_so_is_all_that_it_brings_along() -> None:
    """Followed through what the packages that are installed here say they need."""
    here = "linux" if sys.platform == "linux" else {"darwin": "macos", "win32": "windows"}[sys.platform]
    chosen = pins("{}.{}".format(*sys.version_info), here)
    waiting, seen = required(), set()
    while waiting:
        wanted = waiting.pop()
        name, extras = canonicalize_name(wanted.name), ("", *wanted.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        version = INSTALLED[name].version.partition("+")[0]  # without the name of PyTorch's build
        assert (name, chosen.get(name)) == (name, version)
        needs = [Requirement(line) for line in INSTALLED[name].requires or []]
        waiting += [
            each for each in needs if not each.marker or any(each.marker.evaluate({"extra": e}) for e in extras)
        ]
    assert len(seen) > 100


def test_torch_is_the_release_that_was_tested() -> None:
    assert {pins(python, platform)["torch"] for python in PYTHONS for platform in PLATFORMS} == {"2.13.0"}


def test_every_pin_has_the_checksums_of_its_files() -> None:
    hashed = dict(
        re.findall(r"^([a-z0-9].*?) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", HASHED, re.MULTILINE)
    )
    assert list(hashed) == PINS, "constraints.txt and hashes.txt disagree: run `make constraints`"
    sums = re.findall(r"sha256:(\w+)", HASHED)
    assert len(sums) == len(set(sums)), "two files have the same checksum"
    beside = [line for line in HASHED.splitlines() if not re.match(r"[a-z0-9#]|    --hash=sha256:", line)]
    assert beside == [], "no addresses, no options"


def test_a_file_with_another_checksum_is_not_installed(tmp_path: Path) -> None:
    """It has the name of a pinned package, and is something else."""
    (tmp_path / "einops-1-py3-none-any.whl").write_bytes(b"not the package")
    checksums = re.search(r"^einops==.*((?:\n    --hash=.*)+)", HASHED, re.MULTILINE)[1]
    (tmp_path / "one.txt").write_text(f"./einops-1-py3-none-any.whl \\{checksums}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--isolated", "install", "--no-index", "--no-deps", "--require-hashes"]
    refused = subprocess.run(
        [*command, "--target", "here", "-r", "one.txt"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr


def test_the_packages_that_are_installed_fit_together() -> None:
    checked = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, encoding="utf-8", check=False)
    assert checked.returncode == 0, checked.stdout


# --- licences -------------------------------------------------------------------------------------------------------


def test_the_page_of_licences_is_that_of_the_packages() -> None:
    page = licences.PAGE.read_text(encoding="utf-8")
    assert licences.table_of(licences.licences(page)) in page, "run `.venv/bin/python -m book.licences`"


def test_every_licence_is_one_of_those_that_were_looked_at() -> None:
    found = licences.licences(licences.PAGE.read_text(encoding="utf-8"))
    assert found.keys() == {canonicalize_name(Requirement(line).name) for line in PINS}
    strange = {name: said for name, said in found.items() if not set(re.split(" AND | OR ", said)) <= ALLOWED}
    assert strange == {}


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ({"License-Expression": "MIT AND PSF-2.0", "License": "GPL"}, "MIT AND PSF-2.0"),
        ({"License": "MPL-2.0 AND MIT"}, "MPL-2.0 AND MIT"),
        ({"License": "BSD 3-Clause License\n\nCopyright ..."}, "BSD-3-Clause"),
        ({"Classifier": "License :: OSI Approved :: ISC License (ISCL)"}, "ISC"),
        ({"License": "Copyright (c) 2001 of MIT people and all of the others who are too many to be named"}, None),
        ({"License": "GPL"}, None),
        ({"Classifier": "Programming Language :: Python"}, None),
        ({}, None),
    ],
)
def test_a_package_says_its_licence_in_several_ways(fields: dict[str, str], licence: str | None) -> None:
    metadata = Message()
    for name, text in fields.items():
        metadata[name] = text
    assert licences.licence_of(metadata) == licence
