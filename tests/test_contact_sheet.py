"""The contact sheets hold every figure, each named, on the ground of its theme."""

import base64
import io
import json
from pathlib import Path

from PIL import Image

from book.contact_sheet import CARD, COLUMNS, GAP, LINE, ROOT, THEMES, WIDTH, figures_of, sheet


def notebook(folder: Path, *figures: Image.Image) -> Path:
    outputs = [{"output_type": "stream", "text": ["no figure"]}]
    for figure in figures:
        file = io.BytesIO()
        figure.save(file, "PNG")
        encoded = base64.b64encode(file.getvalue()).decode()
        outputs.append({"output_type": "display_data", "data": {"image/png": encoded}})
    path = folder / "42_answers.ipynb"
    cells = [{"cell_type": "markdown"}, {"cell_type": "code", "outputs": outputs}]
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return path


def test_figures_are_found_and_named_after_their_place(tmp_path):
    figures = figures_of(notebook(tmp_path, Image.new("RGB", (30, 20), "red"), Image.new("RGB", (9, 9), "blue")))
    assert {name: figure.size for name, figure in figures.items()} == {
        "42 figure 1, cell 1": (30, 20),
        "42 figure 2, cell 1": (9, 9),
    }


def test_a_sheet_shows_all_figures_on_the_ground_of_its_theme():
    wide, clear = Image.new("RGB", (2 * WIDTH, 100), "red"), Image.new("RGBA", (50, 50), (0, 0, 0, 0))
    figures = {f"red {number}": wide for number in range(COLUMNS)} | {"clear": clear}
    for theme, (ground, _) in THEMES.items():
        page = sheet(figures, theme).convert("RGB")
        assert page.size == (COLUMNS * (WIDTH + GAP) + GAP, 2 * (LINE + GAP) + 50 + 50 + GAP)
        assert {page.getpixel(corner) for corner in ((0, 0), (page.width - 1, page.height - 1))} == {rgb(ground)}
        assert page.getpixel((GAP + (COLUMNS - 1) * (WIDTH + GAP) + 5, GAP + LINE + 5)) == (255, 0, 0)
        assert page.getpixel((GAP + 5, page.height - 2 * GAP - 5)) == rgb(CARD)


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def test_the_card_is_that_of_the_page():
    assert f"figure img {{ background: {CARD};" in (ROOT / "book/page.css").read_text(encoding="utf-8")
