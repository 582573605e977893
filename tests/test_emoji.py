"""The emoji atlases and nouns, as the library hands them out."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minigpt4v.datasets import emoji
from minigpt4v.paths import data_folder

ALL_STYLES = (*emoji.STYLES, emoji.HELD_OUT_STYLE)


@cache
def opened(style: str) -> Image.Image:
    return Image.open(data_folder() / "emoji" / f"{style}.png")


@pytest.mark.parametrize("style", ALL_STYLES)
def test_atlas_is_tiles_of_32_by_32_in_rgba(style: str) -> None:
    atlas = emoji.load_atlas(style)
    assert atlas.shape == (1024, 32, 32, 4)
    assert atlas.dtype == np.uint8


@given(style=st.sampled_from(ALL_STYLES), tile=st.integers(0, 1023))
def test_tile_is_the_same_as_cropped_by_pillow(style: str, tile: int) -> None:
    row, column = divmod(tile, 32)
    cropped = opened(style).crop((32 * column, 32 * row, 32 * column + 32, 32 * row + 32))
    np.testing.assert_array_equal(emoji.load_atlas(style)[tile], np.asarray(cropped))


def test_nobody_can_write_into_the_shared_atlas() -> None:
    atlas = emoji.load_atlas("noto")
    assert emoji.load_atlas("noto") is atlas
    with pytest.raises(ValueError, match="read-only"):
        atlas[0] = 0


def test_unknown_style_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'apple'.*noto, blob, fluent, emojitwo, twemoji"):
        emoji.load_atlas("apple")


def test_atlas_of_a_wrong_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "emoji").mkdir()
    Image.new("RGBA", (1000, 64)).save(tmp_path / "emoji" / "noto.png")
    monkeypatch.setattr(emoji, "data_folder", lambda: tmp_path)
    emoji.load_atlas.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"noto\.png is 1000x64: .*32 tiles of 32x32"):
            emoji.load_atlas("noto")
    finally:
        emoji.load_atlas.cache_clear()


def test_worlds_share_the_core_and_keep_the_held_out_nouns_apart() -> None:
    core, core_held_out = emoji.load_nouns("core64"), emoji.held_out_nouns("core64")
    everything, held_out = emoji.load_nouns("all"), emoji.held_out_nouns("all")
    assert emoji.load_nouns() == core
    assert emoji.held_out_nouns() == core_held_out
    assert len(core) == 64
    assert everything[:64] == core
    assert len(core_held_out) == 7
    assert set(core_held_out) <= set(held_out)
    assert not {noun.id for noun in everything} & {noun.id for noun in held_out}
    assert not any(noun.held_out for noun in everything)
    assert all(noun.held_out for noun in held_out)


def test_nouns_are_the_rows_of_the_file() -> None:
    text = (data_folder() / "emoji" / "nouns.jsonl").read_text(encoding="utf-8")
    rows = {row["id"]: row for row in map(json.loads, text.splitlines())}
    nouns = (*emoji.load_nouns("all"), *emoji.held_out_nouns("all"))
    assert {noun.id for noun in nouns} == set(rows)
    for noun in nouns:
        for name in ("tile", "en", "zh", "article", "measure", "category", "held_out"):
            assert getattr(noun, name) == rows[noun.id][name]


@pytest.mark.parametrize("load", [emoji.load_nouns, emoji.held_out_nouns])
def test_unknown_world_is_named_with_the_known_ones(load: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match=r"'core'.*core64, all"):
        load("core")


def test_emoji_records_stand_in_tile_order() -> None:
    records = emoji.load_emoji()
    for noun in (*emoji.load_nouns("all"), *emoji.held_out_nouns("all")):
        assert records[noun.tile]["id"] == noun.id
    dog = emoji.load_nouns()[0]
    assert (dog.en, dog.zh, records[dog.tile]["char"]) == ("dog", "狗", "🐶")
