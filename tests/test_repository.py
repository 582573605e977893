"""The files around the code agree with each other, and nothing of one person's machine is in them."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import minigpt4v

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
SUPPORTED_PYTHONS = ("3.11", "3.12", "3.13")

# The one-letter classes keep this file from holding what it forbids.
MACHINE_PATH = re.compile(r"(?<![\w.<>~*-])/(?:work|root|home|Users)/\w")
REGISTRY = re.compile(
    r"-{2}(extra-)?index-url|-{2}find-links|PI[P]_(EXTRA|FIND|INDEX)_|/[s]imple/|[p]ypi\.org|[p]ythonhosted|[n]pmjs"
)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def repository_files() -> list[Path]:
    """The files that belong to the repository, committed or about to be."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).exists()]


def text_files() -> list[tuple[str, str]]:
    """Name and text of every file of the repository that is text, but for the licences of others."""
    files = []
    for path in repository_files():
        content = path.read_bytes()
        if b"\0" not in content and "LICENSES" not in path.parts:
            files.append((path.relative_to(ROOT).as_posix(), content.decode("utf-8")))
    return files


# --- versions -------------------------------------------------------------------------------------------------------


def test_conda_environment_installs_the_same_versions_as_make() -> None:
    environment = yaml.safe_load(read("environment.yml"))
    *from_conda, from_pip = environment["dependencies"]
    assert environment["name"] == PROJECT["name"]
    assert [Requirement(line).name for line in from_conda] == ["python", "pip"]
    assert from_pip == {"pip": ["-c constraints.txt", f"-e .[{','.join(EXTRAS)}]"]}
    for document, option in (("README.md", "-c constraints.txt "), ("Makefile", "--no-build-isolation ")):
        assert f'{option}-e ".[{",".join(EXTRAS)}]"' in read(document)


def test_conda_environment_takes_the_supported_pythons() -> None:
    offered = Requirement(yaml.safe_load(read("environment.yml"))["dependencies"][0]).specifier
    classified = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if line.startswith("Programming Language")}
    for python in ("3.10", *SUPPORTED_PYTHONS):
        supported = python in SpecifierSet(PROJECT["requires-python"])
        assert (python in offered) == supported == (python in classified)


def test_every_place_names_the_same_version() -> None:
    version = minigpt4v.__version__
    newest = re.search(r"^## \[(.+?)\] - (\S+)$", read("CHANGELOG.md"), re.MULTILINE)
    citation = yaml.safe_load(read("CITATION.cff"))
    assert newest is not None
    assert newest.groups() == (version, str(citation["date-released"]))
    assert citation["version"] == version


def test_citation_has_what_the_format_requires() -> None:
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["title"] == PROJECT["name"]
    assert citation["authors"] == [{"name": author["name"]} for author in PROJECT["authors"]]
    assert citation["message"]


# --- commands and documents -----------------------------------------------------------------------------------------


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):(?!=)", read("Makefile"), re.MULTILINE))


def test_make_alone_lists_every_target() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    listing = subprocess.run(["make"], cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=True)
    listed = [line.split()[1] for line in listing.stdout.splitlines()]
    assert set(listed) == make_targets()
    assert all(len(line.split()) > 3 for line in listing.stdout.splitlines()), "a target is not explained"


def test_readme_names_every_target_and_no_other() -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", read("README.md"), re.MULTILINE))
    assert named == make_targets()


def test_continuous_integration_runs_what_the_readme_names() -> None:
    commands = [line for line in read(".ci/run").splitlines() if line and not line.startswith("#")]
    assert commands[-1] == "make test"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.parametrize("document", sorted(path.name for path in ROOT.glob("*.md")))
def test_links_between_documents_lead_somewhere(document: str) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", read(document))
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_proof_of_a_promise_exists() -> None:
    """docs/reliability.md names test files and tests; a star stands for the rest of a name."""
    named = re.findall(r"`((?:test_)\w+(?:\.py|\*)?)`", read("docs/reliability.md"))
    assert len(named) > 40
    tests = list((ROOT / "tests").rglob("test_*.py"))
    defined = " ".join(path.read_text(encoding="utf-8") for path in tests)
    files = {path.name for path in tests}
    proofs = {name: name in files if name.endswith(".py") else f"def {name.rstrip('*')}" in defined for name in named}
    assert [name for name, there in proofs.items() if not there] == []


def test_every_module_has_a_test_file() -> None:
    tests = " ".join(path.stem for path in (ROOT / "tests").glob("test_*.py"))
    modules = [path.stem for path in (ROOT / "minigpt4v").glob("*.py") if not path.stem.startswith("__")]
    assert [name for name in modules if not re.search(rf"\btest_{name}(?![a-z0-9])", tests)] == []


# --- what must not be in the repository -----------------------------------------------------------------------------


def test_no_file_names_a_place_on_a_machine() -> None:
    assert [(name, found[0]) for name, text in text_files() if (found := MACHINE_PATH.search(text))] == []


def test_no_file_names_a_package_registry() -> None:
    assert [(name, found[0]) for name, text in text_files() if (found := REGISTRY.search(text))] == []


def test_repository_is_small() -> None:
    assert sum(path.stat().st_size for path in repository_files()) < 60e6
