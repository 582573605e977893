"""`scene`: draw a random or a described scene."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minigpt4v.commands.options import SEED, STYLES, WORLDS, examples, json_option
from minigpt4v.commands.output import note, say, say_json
from minigpt4v.commands.pictures import png_path

if TYPE_CHECKING:
    from minigpt4v.datasets.scenes import Scene, World


@click.command(
    epilog=examples(
        "minigpt4v scene",
        'minigpt4v scene "a cat at the top left, a dog at the bottom right, on a blue ground"',
        'minigpt4v scene "左上角有一只猫，右下角有一只狗" --style twemoji --out two.png',
    )
)
@click.argument("description", required=False)
@click.option("--out", default="scene.png", show_default=True, metavar="FILE", help="The picture, a .png file.")
@click.option("--seed", type=SEED, metavar="N", help="Draw the same again.")
@click.option("--style", type=click.Choice(STYLES), help="Of all drawings. Models never see twemoji in training.")
@click.option("--world", type=click.Choice(WORLDS), default="core64", show_default=True, help="The things there are.")
@json_option
def scene(description: str | None, out: str, seed: int | None, style: str | None, world: str, as_json: bool) -> None:
    """Draw a random or a described scene.

    DESCRIPTION says in English or Chinese what is to be seen. Writes a picture of 64x64 pixels, and says what is in it.
    """
    path = png_path(out)
    from minigpt4v.datasets.scenes import load_world
    from minigpt4v.describe import caption_of

    known = load_world(world)
    seed = random.randrange(2**31) if seed is None else seed
    drawn = _make(known, description, seed, style)
    _save(known, drawn, path)
    note(f"{out}, seed {seed}")
    captions = {language: caption_of(known, drawn, language) for language in ("en", "zh")}
    if as_json:
        say_json({"picture": out, "seed": seed, "world": world, "captions": captions} | _record(known, drawn))
        return
    for text in captions.values():
        say(text)


def _make(world: World, description: str | None, seed: int, style: str | None) -> Scene:
    from minigpt4v.datasets.scenes import random_scene
    from minigpt4v.describe import draw_from, in_style, parse_description

    rng = random.Random(seed)
    if description is not None:
        return draw_from(parse_description(description, world), world, rng, style)
    made = random_scene(world, rng)
    return in_style(made, world, style, rng) if style else made


def _save(world: World, scene: Scene, path: Path) -> None:
    import numpy as np
    from einops import rearrange
    from PIL import Image

    from minigpt4v.datasets.rendering import Renderer
    from minigpt4v.paths import write_atomically

    picture = rearrange(Renderer(world)([scene])[0], "c h w -> h w c")
    file = io.BytesIO()
    Image.fromarray((255 * picture.numpy()).round().astype(np.uint8)).save(file, format="PNG")
    write_atomically(path, file.getvalue())


def _record(world: World, scene: Scene) -> dict[str, Any]:
    things = []
    for thing in scene.objects:
        noun = world.nouns[thing.noun]
        things.append(
            {
                "id": noun.id,
                "en": noun.en,
                "zh": noun.zh,
                "category": noun.category,
                "place": thing.place,
                "box": [thing.x, thing.y, thing.size],
                "style": thing.style,
                "flipped": thing.flipped,
                "colour": thing.colour,
            }
        )
    return {"ground": scene.ground, "things": things}
