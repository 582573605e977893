"""The licences of all that is installed for the course, as the packages themselves say: docs/licences.md.

    python -m book.licences

A package that is not installed here, such as one for Windows, keeps the row that it has.
"""

from __future__ import annotations

import re
from collections import defaultdict
from importlib.metadata import PackageMetadata, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from minigpt4v.paths import write_atomically

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "licences.md"
UNKNOWN = "unknown"
# What packages write that name no licence in SPDX's words; the first that fits. A plain "BSD" leaves open which.
_MEANT = {
    "LicenseRef-NVIDIA-Proprietary": "NVIDIA|Proprietary",
    "MPL-2.0": r"MPL.?2|Mozilla Public License 2",
    "Apache-2.0": "Apache",
    "MIT-0": "MIT-0",
    "MIT": r"\bMIT\b",
    "BSD-3-Clause": "BSD.3|3.Clause",
    "BSD-2-Clause": "BSD.2|2.Clause",
    "BSD": r"\bBSD\b",
    "ISC": r"\bISC\b",
    "PSF-2.0": "PSF|Python Software Foundation",
}
_LONGEST = 40  # characters of a "License" field that names a licence; what is longer is its text
_ROW = re.compile(r"^\| ([^|]+?) +\| ([a-z0-9][a-z0-9, -]*) +\|$", re.MULTILINE)


def main() -> None:
    """Write the table of the page anew."""
    page = PAGE.read_text(encoding="utf-8")
    table = table_of(licences(page))
    start, end = page.index("| Licence |"), [row.end() for row in _ROW.finditer(page)][-1]
    write_atomically(PAGE, page[:start] + table + page[end:])


def pinned() -> set[str]:
    """The names of all packages in constraints.txt, for whatever platform."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(Requirement(line).name) for line in lines if line and not line.lstrip().startswith("#")}


def licences(page: str) -> dict[str, str]:
    """The licence of each pinned package: as it says itself where it is installed, else as the page has it."""
    said = {canonicalize_name(each.name): licence_of(each.metadata) for each in distributions()}
    known = {name: found[1] for found in _ROW.finditer(page) for name in found[2].split(", ")}
    return {name: said.get(name) or known.get(name, UNKNOWN) for name in pinned()}


def licence_of(metadata: PackageMetadata) -> str | None:
    """What the metadata of a package name, in SPDX's words, or None where they name nothing."""
    if expression := metadata.get("License-Expression"):
        return expression
    lines = (metadata.get("License") or "").strip().splitlines() or [""]
    if " AND " in lines[0]:
        return lines[0]
    kinds = [kind for kind in metadata.get_all("Classifier") or [] if kind.startswith("License ::")]
    says = " ".join([lines[0] if len(lines[0]) <= _LONGEST else "", *kinds])
    return next((licence for licence, words in _MEANT.items() if re.search(words, says)), None)


def table_of(found: dict[str, str]) -> str:
    """One row for each licence, those of most packages first."""
    names = defaultdict(list)
    for name, licence in sorted(found.items()):
        names[licence].append(name)
    rows = [
        f"| {licence} | {', '.join(names[licence])} |"
        for licence in sorted(names, key=lambda one: (-len(names[one]), one))
    ]
    return "\n".join(["| Licence | Packages |", "|---|---|", *rows])


if __name__ == "__main__":
    main()
