"""The live page's scripts, run by Node, against the library that they retell: tokenizer, pictures, scenes."""

import json
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from book import live_model
from minigpt4v import GPT4V
from minigpt4v.chat import tidy_question
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import load_world, scenes_of
from minigpt4v.gpt4v import find_checkpoint
from minigpt4v.processor import PictureProcessor

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="the live page's scripts are tested with Node.js: install it")

HARNESS = """
import { readFileSync } from "node:fs";
const { folder, work, data } = JSON.parse(readFileSync(0, "utf8"));
const load = (name) => import(`${folder}/${name}.js`);
const done = await (await import("data:text/javascript," + encodeURIComponent(work))).default(load, data);
process.stdout.write(JSON.stringify(done));
"""


def in_node(work: str, data: object) -> object:
    """What the JavaScript function `work(load, data)` gives; `load` imports a script of the live page by its name."""
    message = json.dumps(
        {"folder": live_model.SCRIPTS.resolve().as_uri(), "work": f"export default async {work}", "data": data}
    )
    command = [str(NODE), "--input-type=module", "-e", HARNESS]
    run = subprocess.run(command, input=message, capture_output=True, text=True, encoding="utf-8", timeout=60)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def model() -> GPT4V:
    return GPT4V.from_pretrained("laptop")


def a_hundred_texts() -> list[str]:
    """Texts of every kind that hypothesis finds, the same in every run."""
    texts: list[str] = []

    @settings(max_examples=400, derandomize=True, database=None)
    @given(st.text(max_size=40))
    def collect(text: str) -> None:
        texts.append(text)

    collect()
    return texts


QUESTIONS = [
    "What is at the top left?",
    "图里有什么？",
    "  it's  a\tdog's “tail”... <|end|> 10²½ Ⅷ ①_x_ 🐱👩‍🚀 ",
    "a\x1cb\x85c\ufeffd\u2003e",
    "where is the CAT",
    "猫在哪里?",
    "ßtraße",
    "'s 're 'LL don't",
]


def test_the_tokenizer_agrees_with_pythons(model: GPT4V) -> None:
    texts = QUESTIONS + a_hundred_texts()
    file = json.loads((find_checkpoint("laptop") / "tokenizer.json").read_text(encoding="utf-8"))
    work = """(load, { file, texts }) => load("tokenizer").then(({ Tokenizer }) => {
        const tokenizer = new Tokenizer(file);
        return texts.map((text) => { const ids = tokenizer.encode(text); return [ids, tokenizer.decode(ids)]; });
    })"""
    found = in_node(work, {"file": file, "texts": texts})
    expected = [[ids := model.tokenizer.encode(text), model.tokenizer.decode(ids)] for text in texts]
    for text, theirs, ours in zip(texts, found, expected, strict=True):
        assert theirs[0] == ours[0], text
        assert theirs[1] == ours[1].removeprefix("\ufeff"), text  # a browser takes a byte order mark off


def test_pieces_are_pythons(model: GPT4V) -> None:
    file = json.loads((find_checkpoint("laptop") / "tokenizer.json").read_text(encoding="utf-8"))
    work = """(load, file) => load("tokenizer").then(({ Tokenizer }) => {
        const tokenizer = new Tokenizer(file);
        return tokenizer.bytes.map((_, id) => tokenizer.piece(id));
    })"""
    found = in_node(work, file)
    ours = [model.tokenizer.piece(token) for token in range(model.tokenizer.vocabulary_size)]
    broken = {token for token, piece in enumerate(ours) if "\\x" in piece}
    assert [p for i, p in enumerate(found) if i not in broken] == [p for i, p in enumerate(ours) if i not in broken]
    assert all("\\x" in found[token] for token in broken)


def test_questions_are_tidied_as_in_python() -> None:
    texts = [text for text in QUESTIONS + a_hundred_texts() if text.split()]
    work = """(load, texts) => load("tokenizer").then(({ tidyQuestion }) => texts.map((text) => tidyQuestion(text)))"""
    assert in_node(work, texts) == [tidy_question(text) for text in texts]


@pytest.mark.parametrize(
    ("width", "height"),
    [(64, 64), (65, 64), (200, 100), (31, 300), (1, 1), (7, 5), (640, 480), (129, 128), (2, 200), (3, 26), (50, 100)],
)
def test_pictures_are_fitted_pixel_for_pixel(width: int, height: int) -> None:
    rng = np.random.default_rng(width * 1000 + height)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    work = """(load, { width, height, rgb }) => load("picture").then(({ fit }) => {
        const { image, notes } = fit({ width, height, rgb: Uint8ClampedArray.from(rgb) }, 64);
        return [[...image], notes];
    })"""
    image, notes = in_node(work, {"width": width, "height": height, "rgb": pixels.reshape(-1).tolist()})
    expected = PictureProcessor(64)(Image.fromarray(pixels))
    found = torch.tensor(image).view(3, 64, 64)
    assert torch.equal((found * 255).round(), (expected.tensor * 255).round())
    assert tuple(notes) == expected.notes


def test_scenes_are_drawn_as_in_python() -> None:
    world = load_world("core64")
    scenes = scenes_of(world, "seen", 5, 12) + scenes_of(world, "style", 5, 12)
    facts = live_model.facts(world)
    used = {(thing.style, thing.noun) for scene in scenes for thing in scene.objects}
    tiles = {style: {noun: world.tiles[style][noun].reshape(-1).tolist() for s, noun in used if s == style}
             for style in facts["allStyles"]}  # fmt: skip
    work = """(load, { scenes, world }) => load("scene").then(({ draw }) =>
        scenes.map((scene) => [...draw(scene, world)]))"""
    found = in_node(work, {"scenes": [asdict(scene) for scene in scenes], "world": facts | {"tiles": tiles}})
    torch.testing.assert_close(torch.tensor(found).view(-1, 3, 64, 64), Renderer(world)(scenes), atol=2e-6, rtol=0)


def test_places_have_the_words_of_python() -> None:
    things = [thing for scene in scenes_of(load_world("core64"), "seen", 6, 60) for thing in scene.objects]
    work = """(load, things) => load("scene").then(({ placeOf }) => things.map((thing) => placeOf(thing, 64)))"""
    assert in_node(work, [asdict(thing) for thing in things]) == [thing.place for thing in things]


def test_random_scenes_are_fair_ones() -> None:
    world = load_world("core64")
    work = """(load, world) => load("scene").then(({ randomScene }) =>
        Array.from({ length: 200 }, () => randomScene(world)))"""
    scenes = in_node(work, live_model.facts(world))
    assert {len(scene["objects"]) for scene in scenes} == {1, 2, 3, 4}
    for scene in scenes:
        things = scene["objects"]
        assert len({thing["noun"] for thing in things}) == len(things)
        assert len(
            {(thing["x"] + thing["size"] / 2 < 32, thing["y"] + thing["size"] / 2 < 32) for thing in things}
        ) == len(things)
        for thing in things:
            assert 0 <= min(thing["x"], thing["y"]) <= max(thing["x"], thing["y"]) <= 64 - thing["size"]


def test_the_likeliest_tokens_and_their_probabilities() -> None:
    logits = torch.randn(50, generator=torch.Generator().manual_seed(0)) * 3
    forbidden = [int(logits.argmax()), 4]
    work = (
        """(load, { logits, forbidden }) => load("reader").then(({ likeliest }) => likeliest(logits, forbidden, 5))"""
    )
    found = in_node(work, {"logits": logits.tolist(), "forbidden": forbidden})
    expected = logits.index_fill(0, torch.tensor(forbidden), -torch.inf).softmax(0).topk(5)
    assert [token["id"] for token in found] == expected.indices.tolist()
    assert [token["probability"] for token in found] == pytest.approx(expected.values.tolist(), rel=1e-5)


def test_the_tile_sheet_keeps_every_bit(tmp_path: Path) -> None:
    world = load_world("core64")
    path = tmp_path / "tiles.png"
    path.write_bytes(live_model.tile_sheet(world))
    colours, alphas = np.split(np.asarray(Image.open(path)), 2)
    styles = (*world.styles, world.held_out_style)
    tiles = rearrange(np.dstack([colours, alphas[:, :, 0]]), "(s y) (n x) c -> s n y x c", y=32, x=32)
    for style, drawn in zip(styles, tiles, strict=True):
        assert (drawn == world.tiles[style][: world.trained]).all()
