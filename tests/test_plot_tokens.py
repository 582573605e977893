"""Figures of tokens: every box is as wide as its bytes, says what it holds, and no letter is missing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba

from minigpt4v import plot
from minigpt4v.plot.fonts import missing_characters
from minigpt4v.tokenizer import CharTokenizer, Tokenizer

TEXTS = ["A dog, a cat.", "狗和猫", "🐶a🐱"]
BPE = Tokenizer([(b" ", b"d"), (b" d", b"o"), (b"\xe7", b"\x8b"), (b"\xf0", b"\x9f")])
TOKENIZERS = {"bytes": Tokenizer([]), "characters": CharTokenizer.train(TEXTS), "BPE": BPE}


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def boxes(figure: plot.CourseFigure) -> list[tuple[float, float]]:
    """Middle and width of each box, in inches."""
    extents = [patch.get_path().get_extents() for patch in figure.axes[0].patches]
    return [((extent.x0 + extent.x1) / 2, extent.width) for extent in extents]


def words(figure: plot.CourseFigure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_boxes_are_as_wide_as_their_bytes_and_side_by_side() -> None:
    for tokenizer in TOKENIZERS.values():
        figure = plot.token_boxes(["狗a dog🐶"], {"it": tokenizer})
        sizes = np.array([len(tokenizer.token_bytes(token_id)) for token_id in tokenizer.encode("狗a dog🐶")])
        middles, widths = np.array(boxes(figure)).T
        unit, gap = np.polyfit(sizes, widths, 1) if len(set(sizes)) > 1 else (widths[0], 0)
        assert np.allclose(widths, unit * sizes + gap, atol=0.02)
        if len(set(sizes)) > 1:
            starts = np.cumsum(sizes) - sizes / 2
            assert np.allclose(np.diff(middles), unit * np.diff(starts), atol=0.02)


def test_every_token_has_its_piece_and_its_id() -> None:
    figure = plot.token_boxes(["a dog"], {"BPE": BPE}, show_text=False)
    ids = BPE.encode("a dog")
    assert words(figure) == ["BPE", "a", str(ids[0]), "␣do", str(ids[1]), "g", str(ids[2]), "3 tokens"]


def test_one_token_is_not_plural() -> None:
    assert words(plot.token_boxes(["a"], {"bytes": Tokenizer([])}))[-1] == "1 token"


def test_parts_of_a_character_are_shown_as_bytes() -> None:
    shown = words(plot.token_boxes(["狗"], {"BPE": BPE}, show_text=False))
    assert shown[1::2][:2] == ["e7 8b", "97"]


def test_emoji_are_drawn_and_letters_beside_them_are_kept() -> None:
    figure = plot.token_boxes(["🐶a🐱"], {"characters": TOKENIZERS["characters"]})
    assert len(figure.axes[0].images) == 4  # two in the text, two in their boxes
    assert words(figure)[0] == "a"


def test_what_cannot_be_drawn_is_shown_as_bytes_or_replaced() -> None:
    text = "\U0001faee\x07"  # an emoji without a drawing here, and a control character
    figure = plot.token_boxes([text], {"characters": CharTokenizer.train([text])})
    assert words(figure)[0] == "��"
    assert {"f0 9f ab ae", "07"} <= set(words(figure))


@pytest.mark.parametrize("show_text", [True, False])
def test_no_letter_is_missing_nothing_warns_and_nothing_is_cut_off(show_text: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plot.token_boxes([*TEXTS, "m" * 48, "line\nend\ttab"], {"bytes": Tokenizer([])}, show_text=show_text)
        figure.canvas.draw()
    assert missing_characters("".join(words(figure))) == ""
    (axes,) = figure.axes
    for artist in (*axes.texts, *axes.images, *axes.patches):
        extent = artist.get_window_extent(figure.canvas.get_renderer())
        assert extent.x0 >= 0
        assert extent.y0 >= 0
        assert extent.x1 <= figure.bbox.width
        assert extent.y1 <= figure.bbox.height


@pytest.mark.parametrize("text", ["é" * 24, "狗" * 16, "W" * 48])
def test_letters_stay_inside_their_boxes(text: str) -> None:
    figure = plot.token_boxes([text], {"bytes": Tokenizer([])}, show_text=False)
    figure.canvas.draw()
    for number, patch in enumerate(figure.axes[0].patches):
        box = patch.get_window_extent()
        for label in figure.axes[0].texts[1 + 2 * number : 3 + 2 * number]:
            letters = label.get_window_extent(figure.canvas.get_renderer())
            assert box.x0 - 1 <= letters.x0
            assert letters.x1 <= box.x1 + 1


def test_neighbours_differ_in_colour() -> None:
    edges = [patch.get_edgecolor() for patch in plot.token_boxes(["abcabc"], {"b": Tokenizer([])}).axes[0].patches]
    assert edges == [to_rgba(colour) for colour in plot.PALETTE]


def test_description() -> None:
    assert plot.token_boxes(["ab"], {"bytes": Tokenizer([])}, alt="two letters").alt_text == "two letters"
    assert plot.token_boxes(["ab"], {"bytes": Tokenizer([])}).alt_text == "ab: cut into tokens by bytes"


@pytest.mark.parametrize(
    ("texts", "tokenizers"),
    [([], TOKENIZERS), (["a"], {}), (["a", ""], TOKENIZERS), (["狗" * 17], TOKENIZERS)],
)
def test_what_is_no_text_to_draw(texts: list[str], tokenizers: dict[str, Tokenizer]) -> None:
    with pytest.raises(ValueError, match=r"give at least one of each, and texts of 1 to 48 bytes"):
        plot.token_boxes(texts, tokenizers)
