"""The doors for data: pictures, JSON lines with plain text beside them, and what people ask."""

from __future__ import annotations

import io
import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image

from bench.doors import Door, Files, Odd, check_printable, check_refusal
from bench.doors_models import TOKENIZER, small_gpt4v
from bench.mutations import damage_bytes
from minigpt4v.chat import Chat
from minigpt4v.datasets.folder import DataError, load_conversations, load_plain_text
from minigpt4v.processor import PictureError, PictureProcessor
from minigpt4v.tokenizer import CharTokenizer

_SIZE = (12, 10)


def picture_files() -> list[bytes]:
    """Pictures in every format and mode that is read: noise, of which almost every byte matters."""
    noise = Image.fromarray(np.random.default_rng(0).integers(256, size=(*_SIZE[::-1], 4), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(np.random.default_rng(0).integers(2**16, size=_SIZE[::-1], dtype=np.uint16))
    floats = Image.fromarray(np.random.default_rng(0).random(_SIZE[::-1], dtype=np.float32))
    rgb, palette = noise.convert("RGB"), noise.convert("RGB").quantize(16)
    film: dict[str, Any] = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    wanted: list[tuple[Image.Image, str, dict[str, Any]]] = [
        *((noise.convert(mode), "PNG", {}) for mode in ("1", "L", "LA", "RGB", "RGBA")),
        *((image, "PNG", options) for image, options in ((deep, {}), (palette, {"transparency": 3}), (rgb, film))),
        *((noise.convert(mode), "JPEG", {"exif": exif}) for mode in ("L", "RGB", "CMYK")),
        *((rgb, "JPEG", {"progressive": True}), (palette, "GIF", {}), (rgb, "GIF", film), (rgb, "MPO", film)),
        *((noise.convert(mode), "BMP", {}) for mode in ("1", "P", "RGB", "RGBA")),
        *((rgb, "WEBP", options) for options in ({}, {"lossless": True, "exif": exif}, film)),
        *((noise.convert("1"), "TIFF", {"compression": way}) for way in ("group3", "group4")),
        *((rgb, "TIFF", {"compression": way}) for way in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
        *((image, "TIFF", {}) for image in (deep, floats, palette, noise.convert("CMYK"), rgb.convert("LAB"))),
        *((rgb, "TIFF", film), (rgb, "PPM", {}), (noise.convert("1"), "PPM", {})),
        *((rgb, kind, {}) for kind in ("AVIF", "JPEG2000")),
    ]
    return [_encoded(image, kind, options) for image, kind, options in wanted]


def _encoded(image: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    copies = [frame.copy() for frame in options.get("append_images", [])]  # saving an image leaves options in it
    image.copy().save(file, format=kind, **(options | ({"append_images": copies} if copies else {})))
    return file.getvalue()


class Pictures(Door):
    """A picture file, read by `PictureProcessor`."""

    name = "pictures"
    refusals = (PictureError,)

    def make_samples(self, _: Path) -> list[Files]:
        self.processor = PictureProcessor(16)
        return [{"picture.png": content} for content in picture_files()]

    def enter(self) -> None:
        tensor, notes = self.processor(self.folder / "picture.png")
        assert tensor.shape == (3, 16, 16)
        assert ((tensor >= 0) & (tensor <= 1)).all(), "numbers outside 0..1"
        assert all(note.isprintable() for note in notes)


_LINES = [
    {"images": ["cat.png"], "turns": [{"question": "What is it?", "answer": "a cat"}]},
    {"images": ["cat.png"], "turns": [{"caption": "一只猫"}]},
    {"images": ["cat.png", "sub/狗 1.png"], "turns": [{"question": "q\u2028", "answer": 'a\\"🐱', "family": "f"}]},
    {"images": [], "turns": [{"question": "1", "answer": "2"}] * 3, "family": "all"},
]
_TOKENS = (
    *rb'{ } [ ] , : " \ \u001b \ud83d \udc31 null true NaN -1e999 ../ / ~ cat.png'.split(),
    *b'"images" "turns" "answer" "caption" "question" "family"'.split(),
    *(b"\0", b"\r", b"\n", b"\xff", b"\xf0\x9f", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x1b[2J", b'"a":' * 300),
    *(b"[" * 900, b'{"a":' * 900, b"9" * 5000),
)


class Lines(Door):
    """A JSON-lines file and the pictures that it names, read by `load_conversations`, and as plain text."""

    name = "lines"
    refusals = (DataError,)

    def make_samples(self, folder: Path) -> list[Files]:
        lines = [json.dumps(line, ensure_ascii=False).encode() for line in _LINES]
        pictures = {name: _encoded(Image.new("RGB", (3, 2), "red"), "PNG", {}) for name in ("cat.png", "sub/狗 1.png")}
        (folder.parent / "secret.png").write_bytes(pictures["cat.png"])
        return [{"my.jsonl": b"\n".join(lines)} | pictures, {"my.jsonl": lines[0]} | pictures]

    def damage(self, random: Random, name: str, content: bytes | Odd) -> bytes | Odd:
        """Most often a line of JSON, in which each value may be another; else its bytes, or a picture."""
        if name != "my.jsonl" or isinstance(content, Odd) or random.random() < 0.02:
            return super().damage(random, name, content)
        if random.random() < 0.5:
            return damage_bytes(random, content, _TOKENS)
        lines = content.split(b"\n")
        place = random.randrange(len(lines))
        damaged = super().damage(random, "line.json", lines[place])
        return b"\n".join([*lines[:place], damaged if isinstance(damaged, bytes) else b"", *lines[place + 1 :]])

    def enter(self) -> None:
        path = self.folder / "my.jsonl"
        try:
            load_plain_text(path)
        except DataError as error:
            check_refusal(error)
        try:
            records = load_conversations(path)
        except DataError as error:
            for _, fault in error.faults:
                check_printable(fault)
            raise
        for record in records:
            assert record.turns
            assert all(turn.question.strip() and turn.answer.strip() for turn in record.turns)
            assert all(image.resolve().is_relative_to(self.folder.resolve()) for image in record.images)


_PIECES = (
    *("What is this?", "图里有什么？", "مرحبا", "<|end|>", "<|image|>", "<|user|>", "<|assistant|>", "<|pad|>"),
    *("\x1b[2J", "\x1b]0;x\x07", "\0", "\x7f", "\u202e", "\u2066", "\u2028", "\ud800", "\udfff", "\ufeff", "\ufffd"),
    *("👨‍👩‍👧", "𠮷", "½Ⅷ²", "e\u0301", "\u0301" * 30, "\U0010ffff", "\n", "\t", " ", " " * 50, "x" * 200),
    *("'s", "..", "?", "？", "a"),
)
_MEGABYTE = 2**20


class Questions(Door):
    """What somebody asks, as UTF-8 that may hold lone surrogates, put to `Chat`, and to both tokenizers."""

    name = "questions"
    refusals = (ValueError,)
    odd = 0.0

    def make_samples(self, _: Path) -> list[Files]:
        torch.manual_seed(0)
        self.model = small_gpt4v(context_length=400)
        with torch.no_grad():  # all the weight is on `<|end|>`: an answer is one step
            self.model.gpt.head.weight[:] = 0
        self.characters = CharTokenizer.train(["What is this?"])
        self.picture = torch.rand(3, 8, 8)
        return [{"question": piece.encode()} for piece in ("What is this?", "图里有什么？", "and now")]

    def draw(self, random: Random) -> Files:
        """Pieces in a row; one in a thousand is a megabyte long."""
        count = random.choice((1, 2, 3, 5, 8, 20))
        text = "".join(random.choice(_PIECES) if random.random() < 0.9 else _any_letter(random) for _ in range(count))
        if random.random() < 0.001:
            text = (text + "a")[:200] * (_MEGABYTE // min(200, len(text) + 1))
        return {"question": text.encode("utf-8", "surrogatepass")}

    def put(self, files: Files) -> None:
        """A question is no file."""
        content = files["question"]
        assert isinstance(content, bytes)
        self.text = content.decode("utf-8", "surrogatepass")

    def visit(self, files: Files) -> bool:
        """The text goes through the tokenizers and comes back as it was, or is refused."""
        self.put(files)
        for tokenizer in (TOKENIZER, self.characters):
            try:
                ids = tokenizer.encode(self.text)
            except ValueError as error:
                check_refusal(error)
                continue
            assert tokenizer.decode(ids) == self.text, "it does not come back"
            assert min(ids, default=5) >= len(tokenizer.special_tokens), "it became a special token"
            assert all(isinstance(piece, str) for piece in tokenizer.pieces(self.text[:100]))
        return super().visit(files)

    def enter(self) -> None:
        self.reading = False  # a refusal has no file to name
        chat = Chat(self.model, self.picture)
        answer = chat.ask(self.text)
        assert len(chat.history) == 1
        assert 0 <= answer.confidence <= 1


def _any_letter(random: Random) -> str:
    return chr(random.choice((random.randrange(0x300), random.randrange(0x3000), random.randrange(0x110000))))
