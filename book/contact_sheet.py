"""Every figure of the book on contact sheets, as the pages show them: `python -m book.contact_sheet`.

One sheet for each chapter and theme, in build/contact_sheet, with the figures at the width of a phone: to see at a
glance whether they belong together, and whether one is unreadable when it is small or on a dark page.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
THEMES = {"light": ("#ffffff", "#000000"), "navy": ("#161923", "#bcbdd0")}  # mdBook's grounds and text colours
CARD = "#fbfaf7"  # page.css puts it under every figure
WIDTH, COLUMNS, GAP, LINE = 360, 4, 16, 18  # pixels


def main() -> None:
    """Write all sheets into build/contact_sheet."""
    folder = ROOT / "build" / "contact_sheet"
    folder.mkdir(parents=True, exist_ok=True)
    chapters = {path.stem: figures_of(path) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
    chapters["docs"] = {path.stem: Image.open(path) for path in sorted((ROOT / "docs/images").glob("*.png"))}
    for chapter, figures in chapters.items():
        for theme in THEMES:
            sheet(figures, theme).save(folder / f"{chapter}_{theme}.png")
    print(f"{sum(map(len, chapters.values()))} figures on {len(chapters) * len(THEMES)} sheets in {folder}")


def figures_of(notebook: Path) -> dict[str, Image.Image]:
    """The saved figures of a notebook by their place, such as "03 figure 2, cell 46"."""
    figures: dict[str, Image.Image] = {}
    for place, cell in enumerate(json.loads(notebook.read_text(encoding="utf-8"))["cells"]):
        for output in cell.get("outputs", []):
            encoded = output.get("data", {}).get("image/png")
            if encoded:
                name = f"{notebook.stem[:2]} figure {len(figures) + 1}, cell {place}"
                figures[name] = Image.open(io.BytesIO(base64.b64decode("".join(encoded))))
    return figures


def sheet(figures: Mapping[str, Image.Image], theme: str) -> Image.Image:
    """The figures with their names, row by row, on the ground of a theme."""
    ground, ink = THEMES[theme]
    cards = [_card(figure) for figure in figures.values()]
    rows = [cards[start : start + COLUMNS] for start in range(0, len(cards), COLUMNS)]
    heights = [LINE + max(card.height for card in row) + GAP for row in rows]
    page = Image.new("RGB", (COLUMNS * (WIDTH + GAP) + GAP, sum(heights) + GAP), ground)
    pen, names, top = ImageDraw.Draw(page), iter(figures), GAP
    for row, height in zip(rows, heights, strict=True):
        for column, card in enumerate(row):
            left = GAP + column * (WIDTH + GAP)
            pen.text((left, top), next(names), fill=ink)
            page.paste(card, (left, top + LINE))
        top += height
    return page


def _card(figure: Image.Image) -> Image.Image:
    """A figure on the card of the page, no wider than a phone shows it."""
    card = Image.new("RGBA", figure.size, CARD)
    card.alpha_composite(figure.convert("RGBA"))
    card.thumbnail((WIDTH, 10 * WIDTH), Image.Resampling.LANCZOS)
    return card.convert("RGB")


if __name__ == "__main__":
    main()
