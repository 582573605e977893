"""The names: `emoji.jsonl` from Unicode's emoji list and CLDR, `nouns.jsonl` from our table of chosen nouns."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import build_sources as sources
from build_drawings import emoji_key

EMOJI_FOLDER = sources.HERE / "emoji"
GROUPS = (
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Activities",
    "Objects",
    "Smileys & Emotion",
)
LEFT_OUT = "time"  # a subgroup of Travel & Places: clock faces look alike
TAKEN_IN = "geometric"  # a subgroup of Symbols: plain coloured shapes
OTHER_LANGUAGES = ("fr", "de", "es", "ja")
SKIN_TONES = {f"{code:x}" for code in range(0x1F3FB, 0x1F400)}


def emoji_records(cache: Path) -> list[dict[str, Any]]:
    """One record per emoji, in Unicode's order; `unicode_name` serves the builder only."""
    records = _listed_emoji(sources.unpacked(sources.EMOJI_LIST, cache))
    languages = {language: _annotations(language, cache) for language in ("en", "zh", *OTHER_LANGUAGES)}
    unsuitable = _unsuitable_keywords()
    for record in records:
        for language in ("en", "zh"):
            entry = languages[language][record["id"]]
            record[language] = entry["tts"][0]
            record[f"{language}_keywords"] = [
                word for word in entry["default"] if (language, word.lower()) not in unsuitable
            ]
        for language in OTHER_LANGUAGES:
            record[language] = languages[language][record["id"]]["tts"][0]
    return records


def emoji_lines(records: list[dict[str, Any]], drawings: dict[str, dict[str, str]]) -> str:
    """`emoji.jsonl`: the records, each with the styles that draw it."""
    lines = []
    for record in records:
        public = {key: value for key, value in record.items() if key != "unicode_name"}
        public["styles"] = [style for style, drawn in drawings.items() if record["id"] in drawn]
        lines.append(json.dumps(public, ensure_ascii=False) + "\n")
    return "".join(lines)


def noun_lines(records: list[dict[str, Any]]) -> str:
    """`nouns.jsonl`: the rows of `curation.tsv` in their order, each with its tile number.

    Raises:
        KeyError: the table names an emoji that is not in the list.
    """
    tiles = {record["id"]: tile for tile, record in enumerate(records)}
    lines = []
    for row in _table("curation.tsv"):
        role = row.pop("role")
        noun: dict[str, Any] = {"id": row.pop("id")}
        noun |= {"tile": tiles[noun["id"]], **row}
        noun["core"] = role == "core"
        noun["held_out"] = role in ("held_out", "core_held_out")
        noun["core_held_out"] = role == "core_held_out"
        lines.append(json.dumps(noun, ensure_ascii=False) + "\n")
    return "".join(lines)


def names_of(records: list[dict[str, Any]]) -> str:
    """Every character of every name and keyword, for the font."""
    names = [record[language] for record in records for language in ("en", "zh", *OTHER_LANGUAGES)]
    keywords = [word for record in records for word in record["zh_keywords"]]
    return "".join([*names, *keywords])


def _listed_emoji(folder: Path) -> list[dict[str, Any]]:
    """The emoji of `emoji-test.txt` that have a tile: id, character, group, subgroup and Unicode's name."""
    records = []
    group = subgroup = ""
    path = folder / "usr/share/unicode/emoji/emoji-test.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# group:"):
            group = line.partition(":")[2].strip()
        elif line.startswith("# subgroup:"):
            subgroup = line.partition(":")[2].strip()
        wanted = (group in GROUPS and subgroup != LEFT_OUT) or subgroup == TAKEN_IN
        match = re.match(r"([0-9A-F ]+?) +; fully-qualified +# (\S+) E[\d.]+ (.*)$", line)
        if match and wanted:
            id_ = emoji_key(match[1].replace(" ", "-"))
            if not SKIN_TONES & set(id_.split("-")):
                records.append(
                    {"id": id_, "char": match[2], "group": group, "subgroup": subgroup, "unicode_name": match[3]}
                )
    return records


def _annotations(language: str, cache: Path) -> dict[str, dict[str, list[str]]]:
    """CLDR's names ("tts") and keywords ("default") of one language, by emoji id."""
    found = {}
    for source, kind in ((sources.CLDR_DERIVED, "annotationsDerived"), (sources.CLDR, "annotations")):
        path = sources.unpacked(source, cache) / kind / language / "annotations.json"
        content = json.loads(path.read_text(encoding="utf-8"))[kind]["annotations"]
        for char, entry in content.items():
            found[emoji_key("-".join(f"{ord(part):x}" for part in char))] = entry
    return found


def _unsuitable_keywords() -> set[tuple[str, str]]:
    return {(row["language"], row["keyword"].lower()) for row in _table("unsuitable_keywords.tsv")}


def _table(name: str) -> list[dict[str, str]]:
    with (EMOJI_FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
