"""The figures: what they show is what they were given, nothing is a box or cut off, no setting is left changed."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from PIL import Image

from minigpt4v import plot
from minigpt4v.paths import data_folder
from minigpt4v.plot import base, fonts
from minigpt4v.plot.demo import Answer, Panel

CHANCE = np.random.default_rng(0)
PICTURE = CHANCE.integers(0, 256, (64, 64, 3), dtype=np.uint8)
MAP = CHANCE.random((4, 4)) / 16
HISTORY = [{"step": i, "seconds": i / 2, "loss": 3 / i, "token_accuracy": 1 - 1 / i} for i in range(1, 101)]
HISTORY += [
    {"step": 50, "seconds": 25.0, "held_out_style": 0.5},
    {"step": 100, "seconds": 50.0, "held_out_style": 0.75},
]
ROWS = [
    {"family": "where", "split": "seen", "accuracy": 0.9, "low": 0.85, "high": 0.93, "baselines": {"blind": 0.25}},
    {"family": "where", "split": "held out", "accuracy": 0.8, "low": 0.75, "high": 0.86, "baselines": {"blind": 0.2}},
    {"family": "计数", "split": "seen", "accuracy": 1.0, "low": 0.99, "high": 1.0, "baselines": {"guess": 0.5}},
]
LONG = "Donaudampfschifffahrtsgesellschaftskapitänswitwenrentenauszahlungsstelle"
PANELS = [
    Panel(
        PICTURE,
        [
            Answer("What is left of the apple?", "a dog", True, "", 0.98),
            Answer(
                "猫的上面是什么？那只猫在一棵很大很大的树的左边，树的下面还有一辆汽车。",
                "汽车",
                False,
                "没有东西",
                0.44,
            ),
            Answer(f"{LONG}?", "WWWWWW MMMMM WWWWW MMMMMM WWWWW", None, "", 1.0),
            Answer("And $5 or $6?", LONG, False, "$5"),
        ],
        MAP,
        " dog",
    ),
    Panel(PICTURE, [Answer("Is it?", "yes", True)]),
    Panel(PICTURE, [], MAP),
]
CATALOGUE: dict[str, Callable[..., plot.CourseFigure]] = {
    "picture": lambda **o: plot.show_picture(PICTURE, "A dog. 一只狗在苹果的左边，苹果在狗的右边。" * 2, **o),
    "pictures": lambda **o: plot.show_pictures([PICTURE] * 5, ["a", "b" * 60, "狗" * 20, "", "$5 and $6"], **o),
    "pictures without captions": lambda **o: plot.show_pictures([PICTURE] * 2, **o),
    "patches": lambda **o: plot.patch_grid(PICTURE, 16, **o),
    "small patches": lambda **o: plot.patch_grid(PICTURE, 4, **o),
    "attention": lambda **o: plot.attention_over_picture(PICTURE, MAP, "狗", **o),
    "fine attention": lambda **o: plot.attention_over_picture(PICTURE, np.ones((8, 8)) / 64, "dog", **o),
    "sentence": lambda **o: plot.attention_over_sentence(PICTURE, [MAP] * 8, ["在", " dog", *"abcdef"], **o),
    "confidence": lambda **o: plot.answer_confidence(
        ["a", " dog", "\n", "<|end|>"], [0.9, 0.5, 1, 0.7], [[(" an", 0.05)], [("猫", 0.4), ("", 0.02)], [], []], **o
    ),
    "curves": lambda **o: plot.training_curves(HISTORY, **o),
    "curves over time": lambda **o: plot.training_curves(HISTORY, "seconds", **o),
    "one curve": lambda **o: plot.training_curves([{"step": 1, "loss": 3.0}, {"step": 5, "loss": 1.0}], **o),
    "confusion": lambda **o: plot.confusion_matrix([[5, 1], [0, 9]], ["狗", "大熊猫和小熊猫"], **o),
    "large confusion": lambda **o: plot.confusion_matrix(np.eye(30), [f"label {i}" for i in range(30)], **o),
    "families": lambda **o: plot.accuracy_by_family(ROWS, **o),
    "plain families": lambda **o: plot.accuracy_by_family([{"family": "colour", "accuracy": 0.5}], **o),
    "demo": lambda **o: plot.demo_figure(PANELS, "A title " * 20, "and 副标题", **o),
    "demo of one": lambda **o: plot.demo_figure(PANELS[1:2], **o),
}


@pytest.fixture(params=CATALOGUE, ids=lambda name: name.replace(" ", "-"))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@cache
def drawn(name: str) -> plot.CourseFigure:
    return CATALOGUE[name]()


def pixels(figure: Figure) -> np.ndarray:
    buffer = io.BytesIO()
    figure.savefig(buffer)
    return np.asarray(Image.open(buffer).convert("RGB"))


def texts_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text() and text.get_visible()]


class TestEveryFigure:
    def test_description(self, name: str) -> None:
        figure = drawn(name)
        assert isinstance(figure, Figure)
        assert len(figure.alt_text) > 10
        assert repr(figure) == f"<Figure: {figure.alt_text}>"
        assert "\n" not in repr(figure)
        texts = [text for axes in figure.axes for text in (*axes.texts, axes.xaxis.label)]
        assert not any(text.get_parse_math() for text in texts)  # "$5 and $6" is no formula

    def test_settings_are_left_alone(self, name: str) -> None:
        before = dict(mpl.rcParams)
        figure = CATALOGUE[name](alt="my words")
        assert dict(mpl.rcParams) == before
        assert figure.alt_text == "my words"
        assert figure is plt.gcf()

    def test_settings_of_the_user_do_not_leak_in(self, name: str) -> None:
        expected = pixels(drawn(name))
        ugly = {
            "font.size": 20,
            "font.family": "serif",
            "xtick.labelsize": 30,
            "ytick.color": "red",
            "lines.marker": "o",
        }
        with mpl.rc_context(), plt.style.context(["dark_background", ugly]):
            assert np.array_equal(pixels(CATALOGUE[name]()), expected)

    def test_no_character_is_a_box_and_nothing_warns(self, name: str, caplog: pytest.LogCaptureFixture) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # matplotlib warns of every glyph that it draws as a box
            image = pixels(CATALOGUE[name]())
        assert not caplog.records
        assert image.std() > 5
        corners = image[[0, 0, -1, -1], [0, -1, 0, -1]]  # a light card on pages of any colour
        assert np.all(corners == [int(base.CARD[i : i + 2], 16) for i in (1, 3, 5)])

    def test_nothing_is_cut_off(self, name: str) -> None:
        figure = drawn(name)
        figure.canvas.draw()
        inked, page = figure.get_tightbbox(), figure.bbox_inches.padded(0.01)
        assert page.x0 <= inked.x0
        assert page.y0 <= inked.y0
        assert inked.x1 <= page.x1
        assert inked.y1 <= page.y1


def contrast(colour: str, ground: str) -> float:
    """WCAG 2.2, contrast ratio."""
    channels = [np.array(mpl.colors.to_rgb(each)) for each in (colour, ground)]
    linear = [np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) for c in channels]
    bright, dark = sorted((float(c @ (0.2126, 0.7152, 0.0722)) for c in linear), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colour", [base.INK, base.QUIET, base.GOOD, base.BAD])
def test_small_text_reads_on_the_card(colour: str) -> None:
    assert contrast(colour, base.CARD) > 5


def test_shares_get_darker_all_the_way() -> None:
    lightness = [contrast(base.SHARES(share), "black") for share in np.linspace(0, 1, 50)]
    assert all(after < before for before, after in pairwise(lightness))


def test_own_drawings_can_use_the_style() -> None:
    with plot.style():
        figure, axes = plt.subplots()
        axes.plot([1, 2])
    assert mpl.colors.to_hex(axes.lines[0].get_color()).upper() == plot.PALETTE[0]
    assert mpl.colors.to_hex(figure.get_facecolor()) == base.CARD


def test_ticks_keep_the_style_in_which_the_figure_was_made() -> None:
    with plot.style():
        figure = base.new_figure(3, 3)
        figure.add_subplot().plot([1, 2])
        assert repr(plot.finish(figure, "a line")) == "<Figure: a line>"
    figure.canvas.draw()
    label = figure.axes[0].get_xticklabels()[0]
    assert (label.get_fontsize(), label.get_color()) == (9, base.INK)


class TestPictures:
    @pytest.mark.parametrize(
        "image",
        [
            PICTURE,
            PICTURE / 255,
            np.moveaxis(PICTURE, 2, 0),
            torch.from_numpy(PICTURE).permute(2, 0, 1) / 255,
            Image.fromarray(PICTURE),
        ],
    )
    def test_same_pixels_whatever_they_come_in(self, image: object) -> None:
        figure = plot.show_picture(image, "a caption")
        [axes] = figure.axes
        drawn = axes.images[0].get_array()
        assert np.allclose(drawn, PICTURE / 255, atol=1e-6)
        assert axes.images[0].get_interpolation() == "nearest"
        assert axes.get_xlabel() == "a caption"

    def test_greyscale_and_transparency(self) -> None:
        grey = np.linspace(0, 1, 30).reshape(5, 6)
        for image in (grey, grey[:, :, None], grey[None]):
            assert np.allclose(base.as_picture(image), np.stack([grey] * 3, axis=2), atol=1e-6)
        assert base.as_picture(np.zeros((5, 6, 4), np.uint8)).shape == (5, 6, 4)

    @pytest.mark.parametrize("shape", [(3,), (2, 4, 4, 3), (5, 4, 2), (0, 4, 3)])
    def test_shapes_that_are_no_picture(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="cannot be drawn: give") as caught:
            plot.show_picture(np.zeros(shape))
        assert str(list(shape)) in str(caught.value)

    @pytest.mark.parametrize("value", [-1, 255, np.nan, np.inf])
    def test_values_out_of_range(self, value: float) -> None:
        with pytest.raises(ValueError, match="scale them to 0"):
            plot.show_picture(np.full((4, 4, 3), value))

    @pytest.mark.parametrize(("count", "columns", "shape"), [(5, 4, (2, 4)), (3, 4, (1, 3)), (4, 2, (2, 2))])
    def test_grid(self, count: int, columns: int, shape: tuple[int, int]) -> None:
        images = [np.full((4, 4, 3), i / 10) for i in range(count)]
        figure = plot.show_pictures(images, [f"number {i}" for i in range(count)], columns)
        assert figure.axes[0].get_gridspec().get_geometry() == shape
        assert [axes.get_xlabel() for axes in figure.axes] == [f"number {i}" for i in range(count)]
        assert [float(axes.images[0].get_array()[0, 0, 0]) for axes in figure.axes] == pytest.approx(
            [i / 10 for i in range(count)]
        )

    def test_grid_of_wrong_numbers(self) -> None:
        with pytest.raises(ValueError, match="1 captions for 2 pictures: give one for each, or none"):
            plot.show_pictures([PICTURE] * 2, ["a"])
        with pytest.raises(ValueError, match="0 pictures in 4 columns: give at least one of each"):
            plot.show_pictures([])
        with pytest.raises(ValueError, match="2 pictures in 0 columns"):
            plot.show_pictures([PICTURE] * 2, columns=0)

    @pytest.mark.parametrize(("size", "numbered"), [(16, True), (8, True), (4, False)])
    def test_patches(self, size: int, numbered: bool) -> None:
        figure = plot.patch_grid(PICTURE, size)
        whole, cut, row = figure.axes
        side = 64 // size
        step = size + max(1, size // 8)
        mosaic, strip = cut.images[0].get_array(), row.images[0].get_array()
        assert mosaic.shape[:2] == (side * step - step + size,) * 2
        assert strip.shape[:2] == (size, 16 * step - step + size)
        for number in range(side**2):
            r, c = divmod(number, side)
            patch = PICTURE[r * size : r * size + size, c * size : c * size + size] / 255
            assert np.allclose(mosaic[r * step : r * step + size, c * step : c * step + size, :3], patch, atol=1e-6)
            if number < 16:
                assert np.allclose(strip[:, number * step : number * step + size, :3], patch, atol=1e-6)
        assert np.isclose(mosaic[:, :, 3].mean(), 64 * 64 / mosaic[:, :, 3].size)
        assert [text.get_text() for text in cut.texts] == ([str(i) for i in range(side**2)] if numbered else [])
        assert f"a sequence of {side**2} tokens" in row.get_title(loc="left")
        assert ("the first 16 are shown" in row.get_title(loc="left")) == (side > 4)
        assert len(whole.collections[0].get_segments()) == side - 1

    def test_patches_of_an_oblong(self) -> None:
        figure = plot.patch_grid(np.zeros((16, 32, 3)), 8)
        assert figure.axes[1].get_title(loc="left") == "4x2 patches of 8x8 pixels"

    @pytest.mark.parametrize("size", [0, -4, 5, 128])
    def test_patches_that_do_not_tile(self, size: int) -> None:
        with pytest.raises(ValueError, match=f"patches of {size} pixels do not tile a picture of 64x64"):
            plot.patch_grid(PICTURE, size)


class TestAttention:
    def test_veil_is_thin_where_the_model_looks(self) -> None:
        weights = np.zeros((4, 4))
        weights[1, 2], weights[3, 0] = 0.4, 0.1
        figure = plot.attention_over_picture(PICTURE, weights, "dog")
        plain, lit = figure.axes
        assert np.allclose(plain.images[0].get_array(), lit.images[0].get_array())
        veil = lit.images[1].get_array()[:, :, 3]
        assert veil[1, 2] == 0
        assert np.isclose(veil[3, 0], 0.85 * 0.75)
        assert np.isclose(veil[0, 0], 0.85)
        [frame] = lit.patches
        assert (frame.get_x(), frame.get_y(), frame.get_width(), frame.get_height()) == (31.5, 15.5, 16, 16)
        assert [text.get_text() for text in lit.texts] == [f"{100 * weight:.0f}" for weight in weights.flat]
        assert lit.get_xlabel() == "50% is on the picture (numbers in %)"
        assert lit.get_title(loc="left") == "the attention of “dog”"

    def test_veil_lies_on_the_picture(self) -> None:
        figure = plot.attention_over_picture(np.ones((30, 60, 3)), np.ones((2, 3)), "x")
        picture, veil = figure.axes[1].images
        assert tuple(picture.get_extent()) == tuple(veil.get_extent())

    def test_no_attention_at_all_is_all_dark(self) -> None:
        figure = plot.attention_over_picture(PICTURE, np.zeros((8, 8)), "x")
        assert np.all(figure.axes[1].images[1].get_array()[:, :, 3] == 0.85)
        assert not figure.axes[1].texts

    def test_sentence_has_a_scale_for_each_word(self) -> None:
        maps = np.stack([MAP, MAP / 10, MAP[::-1]])
        figure = plot.attention_over_sentence(PICTURE, maps, ["the", " dog", "。"], 2)
        assert figure.axes[0].get_gridspec().get_geometry() == (2, 2)
        first, second, third = (axes.images[1].get_array()[:, :, 3] for axes in figure.axes)
        assert np.allclose(first, second)
        assert np.allclose(first, third[::-1])
        assert [axes.get_title() for axes in figure.axes] == ["the", "␣dog", "。"]
        assert figure.axes[1].get_xlabel() == f"{MAP.sum() / 10:.0%} on the picture"
        assert "“the dog 。”" in figure.alt_text

    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            (np.zeros(4), r"attention of shape \[4\] is no map: give \[rows, columns\]"),
            (np.zeros((0, 4)), r"attention of shape \[0, 4\]"),
            (np.array([[1, -1]]), "attention from -1 to 1: give finite weights"),
            (np.array([[1, np.nan]]), "attention from nan to nan"),
        ],
    )
    def test_what_is_no_attention(self, weights: np.ndarray, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            plot.attention_over_picture(PICTURE, weights, "x")

    def test_words_without_maps(self) -> None:
        with pytest.raises(ValueError, match="2 words for 1 attention maps: give one word for each map"):
            plot.attention_over_sentence(PICTURE, [MAP], ["a", "b"])
        with pytest.raises(ValueError, match="0 pictures"):
            plot.attention_over_sentence(PICTURE, [], [])


class TestConfidence:
    def test_bars_are_the_probabilities(self) -> None:
        figure = plot.answer_confidence(["a", " dog"], [0.9, 0.5], [[(" an", 0.05)], [("猫", 0.3), ("狐狸", 0.02)]])
        [axes] = figure.axes
        bars = [(round(bar.get_y() + bar.get_height() / 2), bar.get_x(), bar.get_width()) for bar in axes.patches]
        expected = [(0, 0, 1), (0, 0, 0.9), (0, 0.9, 0.05), (1, 0, 1), (1, 0, 0.5), (1, 0.5, 0.3), (1, 0.8, 0.02)]
        assert np.allclose(bars, expected)
        assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "␣dog"]
        written = [text.get_text() for text in axes.texts]
        assert written == ["90%", "␣an 5%", "猫", "50%", "猫 30%, 狐狸 2%"]  # inside the bar only where there is room

    def test_three_runners_up_at_most(self) -> None:
        axes = plot.answer_confidence(["a"], [0.5], [[("b", 0.1), ("c", 0.09), ("d", 0.08), ("e", 0.07)]]).axes[0]
        assert len(axes.patches) == 2 + 3
        assert axes.texts[-1].get_text() == "b 10%, c 9%, d 8%"

    def test_first_token_is_on_top(self) -> None:
        bottom, top = plot.answer_confidence(["a", "b"], [1, 1], [[], []]).axes[0].get_ylim()
        assert bottom > top

    @pytest.mark.parametrize(
        "arguments", [([], [], []), (["a"], [0.5, 0.5], [[]]), (["a"], [0.5], []), (["a", "b"], [1.0], [[], []])]
    )
    def test_unequal_lengths(self, arguments: tuple[list, list, list]) -> None:
        with pytest.raises(ValueError, match="give as many of each, at least one"):
            plot.answer_confidence(*arguments)

    @pytest.mark.parametrize(("chance", "other"), [(1.5, 0), (-0.1, 0), (np.nan, 0), (0.5, 2)])
    def test_no_probabilities(self, chance: float, other: float) -> None:
        with pytest.raises(ValueError, match=r"a probability is .*: give numbers in 0..1"):
            plot.answer_confidence(["a"], [chance], [[("b", other)]])


class TestCurves:
    def test_short_curves_are_drawn_as_they_are(self) -> None:
        history = [{"step": i, "seconds": i / 4, "loss": 1 / i, "val_loss": 2 / i} for i in range(1, 11)]
        history.append({"step": 10, "seconds": 2.5, "accuracy": 0.5, "note": "text", "best": True})
        loss, accuracy = plot.training_curves(history).axes
        assert loss.get_title(loc="left") == "loss"
        assert loss.get_xlabel() == "step"
        assert {line.get_label() for line in loss.lines} == {"loss", "val loss"}
        assert np.allclose(loss.lines[0].get_xydata(), [(i, 1 / i) for i in range(1, 11)])
        assert loss.lines[0].get_linestyle() != loss.lines[1].get_linestyle()
        assert [line.get_label() for line in accuracy.lines] == ["accuracy"]
        assert accuracy.get_ylim()[0] == 0
        assert accuracy.get_ylim()[1] >= 1

    def test_time_as_the_axis(self) -> None:
        loss = plot.training_curves(HISTORY, "seconds").axes[0]
        assert loss.get_xlabel() == "seconds"
        assert np.allclose(loss.lines[0].get_xdata(), [entry["seconds"] for entry in HISTORY if "loss" in entry])

    def test_long_curves_get_their_running_mean(self) -> None:
        values = np.random.default_rng(0).random(150)
        loss = plot.training_curves([{"step": 10 * i, "loss": v} for i, v in enumerate(values)]).axes[0]
        raw, mean = loss.lines
        assert np.allclose(raw.get_ydata(), values)
        assert mean.get_label() == "loss (mean of 5)"
        assert np.isclose(mean.get_ydata()[0], values[:5].mean())
        assert mean.get_xdata()[0] == 20
        assert np.isclose(mean.get_ydata()[-1], values[-5:].mean())
        assert mean.get_xdata()[-1] == 1470

    def test_history_file_of_a_run(self, tmp_path: Path) -> None:
        (tmp_path / "history.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in HISTORY))
        history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
        figure = plot.training_curves(history)
        assert figure.alt_text == "Training curves against step: loss, token_accuracy, held_out_style"

    def test_thousands_are_written_in_full(self) -> None:
        axes = plot.training_curves([{"step": s, "loss": 1.0} for s in (0, 20_000)]).axes[0]
        assert "20,000" in [label.get_text() for label in axes.get_xticklabels()]

    def test_bad_histories(self) -> None:
        with pytest.raises(ValueError, match="against is 'epoch': choose 'step' or 'seconds'"):
            plot.training_curves(HISTORY, "epoch")
        for history in ([], [{"step": 1}], [{"seconds": 1.0, "loss": 2.0}]):
            with pytest.raises(ValueError, match="no numbers to draw against 'step'"):
                plot.training_curves(history)


class TestConfusion:
    def test_numbers_and_shares(self) -> None:
        counts = np.array([[8, 2, 0], [0, 0, 0], [1, 1, 2]])
        axes = plot.confusion_matrix(counts, ["狗", "cat", "fox"]).axes[0]
        assert np.allclose(axes.images[0].get_array(), [[0.8, 0.2, 0], [0, 0, 0], [0.25, 0.25, 0.5]])
        assert axes.images[0].get_clim() == (0, 1)
        written = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
        assert written == {(r, c): str(n) if n else "" for (r, c), n in np.ndenumerate(counts)}
        assert [label.get_text() for label in axes.get_xticklabels()] == ["狗", "cat", "fox"]
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("answer", "truth")

    def test_counts_may_be_shares_already(self) -> None:
        axes = plot.confusion_matrix([[0.2, 0.2], [0, 0]], ["a", "b"]).axes[0]
        assert np.allclose(axes.images[0].get_array(), [[0.5, 0.5], [0, 0]])

    def test_numbers_read_on_their_ground(self) -> None:
        square = np.diag(np.linspace(1, 100, 20)) + np.diag(np.linspace(99, 0, 20)[:19], 1)  # every share there is
        axes = plot.confusion_matrix(square, list("abcdefghijklmnopqrst")).axes[0]
        image = axes.images[0]
        for text in axes.texts:
            column, row = text.get_position()
            ground = image.cmap(image.norm(image.get_array()[row, column]))
            assert contrast(text.get_color(), ground) > 4.5

    def test_many_classes_have_no_numbers(self) -> None:
        axes = plot.confusion_matrix(np.eye(64), [f"n{i}" for i in range(64)]).axes[0]
        assert not axes.texts
        assert len(axes.get_xticklabels()) == 64

    @pytest.mark.parametrize("counts", [np.zeros((2, 3)), np.zeros(2), np.zeros((0, 0))])
    def test_not_square(self, counts: np.ndarray) -> None:
        with pytest.raises(ValueError, match=r"counts of shape .* for 2 labels: give \[2, 2\]"):
            plot.confusion_matrix(counts, ["a", "b"])

    def test_not_counts(self) -> None:
        with pytest.raises(ValueError, match="counts from -1 to -1: give finite numbers of at least 0"):
            plot.confusion_matrix([[-1]], ["a"])
        with pytest.raises(ValueError, match="counts of shape"):
            plot.confusion_matrix(np.zeros((0, 0)), [])


class TestFamilies:
    def test_bars_intervals_and_baselines(self) -> None:
        figure = plot.accuracy_by_family(ROWS)
        [axes] = figure.axes
        assert [bar.get_width() for bar in axes.patches] == [0.9, 0.8, 1.0]
        intervals = [np.array(bars.get_segments()[0])[:, 0] for bars in axes.collections]
        assert np.allclose(intervals, [(0.85, 0.93), (0.75, 0.86), (0.99, 1.0)])
        markers = [line for line in axes.lines if line.get_marker() in ("D", "X")]
        assert [(line.get_xdata()[0], line.get_marker()) for line in markers] == [(0.25, "D"), (0.2, "D"), (0.5, "X")]
        for bar, marker in zip(axes.patches, markers, strict=True):
            assert np.isclose(bar.get_y() + bar.get_height() / 2, marker.get_ydata()[0])
        assert axes.patches[0].get_facecolor() == axes.patches[2].get_facecolor() != axes.patches[1].get_facecolor()
        assert [label.get_text() for label in axes.get_yticklabels()] == ["where", "计数"]
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["seen", "held out", "blind", "guess"]
        assert {"90.0%", "80.0%", "100.0%"} <= set(texts_of(figure))

    def test_bars_do_not_overlap(self) -> None:
        rows = [{"family": f, "split": s, "accuracy": 0.5} for f in "ab" for s in "xyz"]
        bars = sorted(
            (bar.get_y(), bar.get_y() + bar.get_height()) for bar in plot.accuracy_by_family(rows).axes[0].patches
        )
        assert all(before[1] < after[0] for before, after in pairwise(bars))

    def test_many_splits_and_rounding(self) -> None:
        rows = [{"family": "a", "split": str(i), "accuracy": 0.3, "low": 0.1 + 0.2, "high": 0.3} for i in range(8)]
        assert rows[0]["low"] > rows[0]["accuracy"]
        assert len(plot.accuracy_by_family(rows).axes[0].patches) == 8

    def test_one_split_needs_no_legend(self) -> None:
        assert not plot.accuracy_by_family([{"family": "a", "accuracy": 0.5}]).legends

    @pytest.mark.parametrize(
        "row", [{"accuracy": 1.2}, {"accuracy": 0.5, "low": 0.6}, {"accuracy": 0.5, "high": 0.4}, {"accuracy": np.nan}]
    )
    def test_out_of_order(self, row: dict[str, float]) -> None:
        with pytest.raises(ValueError, match=r"'count': .* must rise from low to high inside 0"):
            plot.accuracy_by_family([{"family": "count", **row}])

    def test_no_rows(self) -> None:
        with pytest.raises(ValueError, match="no rows to draw: evaluate first"):
            plot.accuracy_by_family([])


class TestDemo:
    def test_everything_asked_is_there(self) -> None:
        figure = plot.demo_figure(PANELS, "Title", "Subtitle")
        written = texts_of(figure)
        for text in ("Title", "Subtitle", "What is left of the apple?", "a dog", "98% sure", "汽车", "truth: 没有东西"):
            assert text in written
        assert [text for text in written if text in "✓✗→"] == ["✓", "✗", "→", "✗", "✓"]
        assert "where it looked for “dog”" in written
        assert not any(text.startswith("truth") and "dog" in text for text in written)
        everything = "".join(written).replace("\n", "")
        assert LONG in everything
        assert "And $5 or $6?" in written

    def test_marks_say_it_without_colour(self) -> None:
        for right, mark in ((True, "✓"), (False, "✗"), (None, "→")):
            figure = plot.demo_figure([Panel(PICTURE, [Answer("q", "a", right)])])
            assert mark in texts_of(figure)

    def test_truth_is_shown_only_where_it_helps(self) -> None:
        shown = [texts_of(plot.demo_figure([Panel(PICTURE, [Answer("q", "a", r, "t")])])) for r in (True, False, None)]
        assert ["truth: t" in texts for texts in shown] == [False, True, False]

    def test_pictures_and_maps(self) -> None:
        figure = plot.demo_figure(PANELS)
        pictures = [axes for axes in figure.axes if axes.images]
        assert [len(axes.images) for axes in pictures] == [1, 2, 1, 1, 2]
        for axes in pictures:
            assert np.allclose(axes.images[0].get_array(), PICTURE / 255, atol=1e-6)
            width, height = axes.get_window_extent().size
            assert np.isclose(width, height)

    @pytest.mark.parametrize("columns", [1, 2, 3])
    def test_no_text_touches_another_or_leaves_its_panel(self, columns: int) -> None:
        panels = [*PANELS, Panel(PICTURE, PANELS[0].answers * 3)]  # the last is longer than its picture
        figure = plot.demo_figure(panels, "Title", "Subtitle", columns)
        figure.canvas.draw()
        page = figure.axes[0]
        boxes = [text.get_window_extent() for text in page.texts if text.get_text()]
        boxes += [axes.get_tightbbox() for axes in figure.axes[1:]]
        for one, other in combinations(boxes, 2):
            assert not one.shrunk(0.98, 0.98).overlaps(other.shrunk(0.98, 0.98))
        cards = [card.get_window_extent() for card in page.patches]
        assert len(cards) == len(panels)
        for box in boxes[2:]:
            assert sum(c.x0 <= box.x0 and box.x1 <= c.x1 and c.y0 <= box.y0 and box.y1 <= c.y1 for c in cards) == 1
        for one, other in combinations(cards, 2):
            assert not one.overlaps(other)

    def test_nothing_to_show(self) -> None:
        with pytest.raises(ValueError, match="0 panels in 2 columns: give at least one of each"):
            plot.demo_figure([])
        with pytest.raises(ValueError, match="in 0 columns"):
            plot.demo_figure(PANELS, columns=0)


class TestFonts:
    def test_every_noun_and_mark_of_the_course_has_a_glyph(self) -> None:
        lines = (data_folder() / "emoji" / "nouns.jsonl").read_text(encoding="utf-8").splitlines()
        nouns = [json.loads(line) for line in lines]
        words = "".join(noun["en"] + noun["zh"] + noun["measure"] for noun in nouns)
        sentence = "猫在哪里？在苹果的左边。一共有几样东西？它们是同一类吗？不是；“最大的”、还是……（小）《诗》！：，"
        assert fonts.missing_characters(words + sentence + "✓✗→␣⏎⇥∅�“”…") == ""

    def test_fonts_agree_with_fonttools(self) -> None:
        from fontTools.ttLib import TTFont

        path = font_manager.findfont("DejaVu Sans")
        with TTFont(path) as font:
            oracle = set(font.getBestCmap())
        assert fonts._characters_of("DejaVu Sans") <= oracle
        assert len(fonts._characters_of("DejaVu Sans")) > 0.9 * len(oracle)

    def test_what_no_font_has_becomes_one_sign(self) -> None:
        assert fonts.missing_characters("a🐶b🐶\x1b\n") == "🐶\x1b"
        assert fonts.drawable("a🐶\x07狗\ud800") == "a��狗�"

    @given(st.text(max_size=20))
    def test_any_text_can_be_drawn(self, text: str) -> None:
        assert fonts.missing_characters(fonts.drawable(text)) == ""
        assert len(fonts.drawable(text)) == len(text)

    @pytest.mark.parametrize(
        ("token", "seen"),
        [(" dog", "␣dog"), ("a b ", "a b␣"), ("\n", "⏎"), ("\t", "⇥"), ("", "∅"), ("  ", "␣␣"), ("狗", "狗")],
    )
    def test_visible_tokens(self, token: str, seen: str) -> None:
        assert fonts.visible(token) == seen

    @given(st.text("abc W，。狗猫“”-🐶\n\t", max_size=60), st.floats(0.3, 4), st.booleans())
    def test_wrapping_keeps_every_letter_and_the_width(self, text: str, width: float, bold: bool) -> None:
        wrapped = fonts.wrap(text, width, 10, bold=bold)
        assert "".join(wrapped.split()) == "".join(fonts.drawable(text.replace("\t", " ")).split())
        for line in wrapped.split("\n"):
            assert len(line) == 1 or fonts.text_width(line, 10, bold=bold) <= width
            assert not line.endswith(" ")
        assert wrapped.count("\n") >= text.count("\n")

    def test_lines_end_between_words(self) -> None:
        words = "the quick brown fox jumps over the lazy dog"
        assert fonts.wrap(words, 1.2).replace("\n", " ") == words
        assert fonts.wrap("猫在苹果的左边，狗在右边。", 0.75).split("\n") == ["猫在苹果的", "左边，狗在", "右边。"]

    def test_closing_punctuation_begins_no_line(self) -> None:
        for width in np.linspace(0.4, 2, 30):
            lines = fonts.wrap("一只猫，一只狗，一只熊猫。一棵树！", width).split("\n")
            assert not any(line[0] in "，。！" for line in lines)

    @pytest.mark.parametrize("bold", [True, False])
    @pytest.mark.parametrize("text", ["Where is the cat?", "WWWW", "iiii", "猫在哪里？", "a 狗 b"])
    def test_measured_width_is_the_drawn_width(self, text: str, bold: bool) -> None:
        with plot.style():
            figure = plt.figure(dpi=300)
            drawn = figure.text(0, 0, text, fontsize=20, fontweight="bold" if bold else "normal")
            width = drawn.get_window_extent().width / 300
        assert fonts.text_width(text, 20, bold=bold) == pytest.approx(width, rel=0.06, abs=0.04)


@pytest.fixture
def fresh_fonts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A data folder without a font, and nothing remembered about fonts."""
    cached = (fonts.chinese_font, fonts._characters_of, fonts._advance)
    for function in cached:
        function.cache_clear()
    (tmp_path / "fonts").mkdir()
    monkeypatch.setattr(fonts, "data_folder", lambda: tmp_path)
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    yield tmp_path / "fonts"
    for function in cached:
        function.cache_clear()


def write_font(path: Path, family: str, letters: str) -> None:
    """A font in which every letter is a filled square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    names = [".notdef", *(f"glyph{i}" for i in range(len(letters)))]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): name for letter, name in zip(letters, names[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


class TestChoiceOfFont:
    def test_bundled_font_comes_first(
        self, fresh_fonts: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(fonts, "BUNDLED_FONT", "CourseSquares")
        write_font(fresh_fonts / "CourseSquares.ttf", "DejaVu Sans", "狗猫")  # the name inside does not count
        assert fonts.font_families() == ("DejaVu Sans", "CourseSquares")
        for weight in ("normal", "bold"):
            found = font_manager.findfont(FontProperties(family="CourseSquares", weight=weight))
            assert found == str(fresh_fonts / "CourseSquares.ttf")
        assert not caplog.records  # matplotlib logs it when it has to make do with another weight
        assert fonts.missing_characters("狗猫鱼 cat") == "鱼"
        assert fonts.text_width("狗", 72) == pytest.approx(0.8)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            drawn = pixels(plot.show_picture(np.ones((4, 4, 3)), "狗 cat 鱼"))
        assert drawn.min() < 100

    def test_system_font_is_second(self, fresh_fonts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_font(fresh_fonts / "other.ttf", "Somebody's Font", "狗")
        font_manager.fontManager.addfont(fresh_fonts / "other.ttf")
        monkeypatch.setattr(fonts, "SYSTEM_FONTS", ("Not Installed", "Somebody's Font"))
        assert fonts.chinese_font() == "Somebody's Font"

    def test_no_font_is_said_aloud_and_drawn_without_boxes(
        self, fresh_fonts: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fonts, "SYSTEM_FONTS", ("Not Installed",))
        with pytest.warns(UserWarning, match="no font for Chinese: data/fonts/NotoSansSC-subset.otf is missing"):
            assert fonts.font_families() == ("DejaVu Sans",)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # neither a second warning, nor matplotlib's about boxes
            figure = plot.show_picture(PICTURE, "一只 cat")
            pixels(figure)
        assert figure.axes[0].get_xlabel() == "�� cat"
        assert fonts.text_width("狗", 72) == 1.0
