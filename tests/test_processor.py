"""The picture door: every kind of picture comes in right, and every bad one is refused in one clear sentence."""

from __future__ import annotations

import io
import os
import random
import socket
import statistics
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import GifImagePlugin, Image, ImageOps, TiffImagePlugin

from minigpt4v.processor import FORMATS, PictureError, PictureProcessor

process = PictureProcessor()
SIDES = st.integers(1, 150)


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def gradient(height: int, width: int) -> Image.Image:
    """A smooth picture in which no two corners look alike."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = 255 * rows / height, 255 * columns / width
    return Image.fromarray(np.stack([red, green, 255 - red / 2 - green / 2], axis=2).astype(np.uint8))


def as_bytes(tensor: torch.Tensor) -> np.ndarray:
    """The tensor as uint8 [h, w, 3]; exact, or the test fails."""
    scaled = np.moveaxis(tensor.numpy(), 0, 2) * 255
    assert np.abs(scaled - scaled.round()).max() < 1e-4
    return scaled.round().astype(np.uint8)


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds no pixels: decoding it would be reported as damage."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT", b"IEND"]
    body = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


class TestNothingToDo:
    def test_array_tensor_image_and_file_pass_bit_for_bit(self, tmp_path: Path) -> None:
        pixels = noise(64, 64)
        Image.fromarray(pixels).save(tmp_path / "noise.png")
        expected = torch.from_numpy(pixels).permute(2, 0, 1) / 255
        channels_first = torch.from_numpy(pixels).permute(2, 0, 1)
        pictures = [pixels, Image.fromarray(pixels), tmp_path / "noise.png", str(tmp_path / "noise.png")]
        pictures += [torch.from_numpy(pixels), channels_first, expected]
        for picture in pictures:
            tensor, notes = process(picture)
            assert notes == ()
            assert tensor.dtype == torch.float32
            assert tensor.shape == (3, 64, 64)
            assert tensor.is_contiguous()
            assert torch.equal(tensor, expected)

    def test_floats_keep_every_bit(self) -> None:
        pixels = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
        tensor, notes = process(pixels)
        assert notes == ()
        assert np.array_equal(tensor.numpy(), np.moveaxis(pixels, 2, 0))

    @pytest.mark.parametrize("size", [1, 64])
    def test_result_shares_no_memory_with_the_picture(self, size: int) -> None:
        for pixels in (np.full((size, size, 3), 0.5, np.float32), np.full((size, size, 3), 128, np.uint8)):
            before = pixels.copy()
            PictureProcessor(size)(pixels).tensor.fill_(0)
            PictureProcessor(size)(torch.from_numpy(pixels)).tensor.fill_(0)
            assert np.array_equal(pixels, before)

    def test_callers_image_is_left_as_it_was(self) -> None:
        image = Image.fromarray(noise(30, 20, 4))
        before = image.copy()
        process(image)
        assert image.mode == "RGBA"
        assert image.size == (20, 30)
        assert image.tobytes() == before.tobytes()

    def test_opaque_alpha_changes_nothing(self) -> None:
        pixels = noise(64, 64, 4)
        pixels[:, :, 3] = 255
        tensor, notes = process(pixels)
        assert notes == ()
        assert np.array_equal(as_bytes(tensor), pixels[:, :, :3])


class TestSize:
    @given(SIDES, SIDES, st.integers(0, 99))
    def test_proportions_resize_and_padding(self, height: int, width: int, seed: int) -> None:
        pixels = noise(height, width, seed=seed)
        tensor, notes = process(pixels)
        inner_height, inner_width = (max(1, round(64 * side / max(height, width))) for side in (height, width))
        assert max(inner_height, inner_width) == 64
        top, left = (64 - inner_height) // 2, (64 - inner_width) // 2
        result = as_bytes(tensor)
        inside = np.zeros((64, 64), dtype=bool)
        inside[top : top + inner_height, left : left + inner_width] = True
        oracle = Image.fromarray(pixels).resize((inner_width, inner_height), Image.Resampling.LANCZOS)
        assert np.array_equal(result[inside], np.asarray(oracle).reshape(-1, 3))
        border = [(r, c) for r in range(height) for c in range(width) if r in (0, height - 1) or c in (0, width - 1)]
        for channel in range(3):
            middle = statistics.median(int(pixels[place][channel]) for place in border)
            assert np.all(np.abs(result[~inside][:, channel] - middle) <= 0.5)
        assert ("padded" in "".join(notes)) == (not inside.all())
        assert ("resized" in "".join(notes)) == ((height, width) != (inner_height, inner_width))

    @pytest.mark.parametrize(
        ("width", "height", "note"),
        [
            (1200, 800, "1200x800 resized to 64x43 and padded with the border colour"),
            (64, 43, "64x43 padded with the border colour"),
            (128, 128, "128x128 resized to 64x64"),
            (8, 8, "8x8 resized to 64x64"),
            (20_000, 1, "20000x1 resized to 64x1 and padded with the border colour"),
        ],
    )
    def test_notes_say_it_in_words(self, width: int, height: int, note: str) -> None:
        assert process(Image.new("RGB", (width, height))).notes == (note,)

    @given(SIDES, SIDES, st.tuples(*[st.integers(0, 255)] * 3))
    def test_one_colour_stays_that_colour(self, height: int, width: int, colour: tuple[int, int, int]) -> None:
        result = as_bytes(process(Image.new("RGB", (width, height), colour)).tensor)
        assert np.all(result == colour)

    def test_shrinking_does_not_alias(self) -> None:
        checkers = (np.indices((640, 640)).sum(axis=0) % 2 * 255).astype(np.uint8)
        tensor = process(checkers).tensor
        assert torch.all((tensor - 0.5).abs() < 0.02)

    @given(SIDES, SIDES)
    def test_floats_are_resized_like_bytes(self, height: int, width: int) -> None:
        pixels = np.asarray(gradient(height, width)) // 2 + 64  # in the middle: Pillow clips bytes twice, floats never
        assert torch.allclose(process(pixels / 255).tensor, process(pixels).tensor, atol=1.5 / 255)

    @given(SIDES, SIDES)
    def test_floats_stay_in_range(self, height: int, width: int) -> None:
        tensor = process(np.round(np.random.default_rng(height).random((height, width)))).tensor
        assert tensor.min() >= 0
        assert tensor.max() <= 1

    def test_image_size_can_be_chosen(self) -> None:
        assert PictureProcessor(16)(noise(40, 20)).tensor.shape == (3, 16, 16)

    @pytest.mark.parametrize("bad", [0, -1])
    def test_sizes_below_one_are_refused(self, bad: int) -> None:
        with pytest.raises(ValueError, match=f"image_size is {bad}: give at least 1"):
            PictureProcessor(bad)
        with pytest.raises(ValueError, match=f"max_pixels is {bad}: give at least 1"):
            PictureProcessor(max_pixels=bad)

    @pytest.mark.parametrize("bad", [64.0, "64", True, None])
    def test_sizes_of_another_type_are_refused(self, bad: object) -> None:
        with pytest.raises(TypeError, match="whole number of pixels"):
            PictureProcessor(bad)


class TestModes:
    @given(st.sampled_from(["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"]), st.integers(0, 99))
    def test_opaque_modes_are_pillows_own_conversion(self, mode: str, seed: int) -> None:
        image = Image.fromarray(noise(64, 64, seed=seed)).convert("RGB" if mode == "RGBX" else mode)
        tensor, notes = process(image)
        assert np.array_equal(as_bytes(tensor), np.asarray(image.convert("RGB")))
        assert len(notes) == (mode not in ("RGB", "RGBX"))

    @pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La", "PA"])
    def test_transparency_is_put_on_white(self, mode: str) -> None:
        rgba = noise(64, 64, 4)
        rgba[:8, :, 3], rgba[8:16, :, 3] = 0, 255
        image = Image.fromarray(rgba)
        grey_alpha = image.convert("LA")
        alpha = image.getchannel("A")
        if mode == "PA":
            image = Image.fromarray(rgba[:, :, :3]).convert("P").convert("PA")
            image.putalpha(alpha)
        else:
            image = {"RGBA": image, "RGBa": image.convert("RGBa"), "LA": grey_alpha}.get(mode, grey_alpha)
            image = image.convert("La") if mode == "La" else image
        oracle = Image.new("RGB", (64, 64), "white")
        opaque = image.convert("LA").convert("RGB") if mode == "La" else image.convert("RGBA").convert("RGB")
        oracle.paste(opaque, mask=alpha)
        tensor, notes = process(image)
        assert image.mode == mode
        assert "transparent parts put on white" in notes
        result = as_bytes(tensor).astype(int)
        assert np.all(result[:8] == 255)
        assert np.abs(result - np.asarray(oracle)).max() <= 1

    def test_palette_with_a_transparent_colour(self, tmp_path: Path) -> None:
        image = Image.new("P", (64, 64), 1)
        image.putpalette([255, 0, 0, 0, 0, 255])
        image.paste(0, (0, 0, 64, 32))
        image.save(tmp_path / "p.png", transparency=0)
        image.save(tmp_path / "p.gif", transparency=0)
        for name in ("p.png", "p.gif"):
            tensor, notes = process(tmp_path / name)
            result = as_bytes(tensor)
            assert np.all(result[:32] == 255)
            assert np.all(result[32:] == (0, 0, 255))
            assert notes == ("palette colours looked up", "transparent parts put on white")

    @pytest.mark.parametrize(("mode", "key"), [("L", 7), ("RGB", (7, 7, 7)), ("1", 0)])
    def test_one_colour_named_transparent(self, tmp_path: Path, mode: str, key: object) -> None:
        image = Image.new(mode, (64, 64), 1 if mode == "1" else 90 if mode == "L" else (90, 90, 90))
        image.paste(key, (0, 0, 10, 64))
        image.save(tmp_path / "keyed.png", transparency=key)
        result = as_bytes(process(tmp_path / "keyed.png").tensor)
        assert np.all(result[:, :10] == 255)
        assert np.all(result[:, 10:] == (255 if mode == "1" else 90))

    @pytest.mark.parametrize("dtype", [np.uint16, np.dtype(">u2")])
    def test_sixteen_bits_keep_their_precision(self, tmp_path: Path, dtype: np.dtype) -> None:
        values = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
        image = Image.fromarray(values)
        image.save(tmp_path / "deep.png")
        image.save(tmp_path / "deep.tif")
        expected = values / 65535
        pictures = [values.astype(dtype), values[:, :, None], image, image.convert("I"), torch.from_numpy(values)]
        for picture in [*pictures, tmp_path / "deep.png", tmp_path / "deep.tif"]:
            tensor, notes = process(picture)
            assert notes == ("16-bit values scaled to 0..1", "greyscale copied to three channels")
            for channel in tensor.numpy():
                assert np.allclose(channel, expected, atol=1e-7)

    def test_sixteen_bits_big_end_first(self) -> None:
        values = np.arange(64 * 64, dtype=">u2").reshape(64, 64)
        image = Image.frombytes("I;16B", (64, 64), values.tobytes())
        assert np.allclose(process(image).tensor[0].numpy(), values / 65535, atol=1e-7)

    def test_float_image(self) -> None:
        values = np.random.default_rng(0).random((64, 64), dtype=np.float32)
        tensor, notes = process(Image.fromarray(values))
        assert notes == ("greyscale copied to three channels",)
        assert np.array_equal(tensor[1].numpy(), values)

    def test_float_transparency(self) -> None:
        rgba = np.random.default_rng(0).random((64, 64, 4))
        tensor, notes = process(rgba)
        assert notes == ("transparent parts put on white",)
        expected = rgba[..., :3] * rgba[..., 3:] + 1 * (1 - rgba[..., 3:])
        assert np.allclose(np.moveaxis(tensor.numpy(), 0, 2), expected, atol=1e-6)
        rgba[..., 3] = 1
        assert process(rgba).notes == ()

    @pytest.mark.parametrize("low_high", [(-1, 5), (0, 70_000)])
    def test_wide_whole_numbers_are_refused(self, low_high: tuple[int, int]) -> None:
        image = Image.fromarray(np.array([low_high], dtype=np.int32))
        with pytest.raises(PictureError, match=f"from {low_high[0]} to {low_high[1]}: scale them to 16 bits"):
            process(image)


class TestFiles:
    @pytest.mark.parametrize("file_format", [*FORMATS, "MPO"])  # MPO: the JPEG of phones that keep a second picture
    def test_every_format(self, tmp_path: Path, file_format: str) -> None:
        path = tmp_path / "picture.data"  # the bytes decide, not the name
        gradient(64, 64).save(path, format=file_format)
        oracle = np.asarray(Image.open(path).convert("RGB"))
        assert np.array_equal(as_bytes(process(path).tensor), oracle)
        assert np.abs(oracle.astype(int) - np.asarray(gradient(64, 64))).max() < 60

    def test_cmyk_jpeg(self, tmp_path: Path) -> None:
        gradient(64, 64).convert("CMYK").save(tmp_path / "ink.jpg")
        tensor, notes = process(tmp_path / "ink.jpg")
        assert notes == ("CMYK converted to RGB",)
        assert np.abs(as_bytes(tensor).astype(int) - np.asarray(gradient(64, 64))).mean() < 3

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
    def test_exif_orientation(self, tmp_path: Path, suffix: str, orientation: int) -> None:
        stored = gradient(64, 48)
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"turned.{suffix}"
        stored.save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
        stored.info["exif"] = exif.tobytes()
        upright = ImageOps.exif_transpose(stored)
        assert upright.size == ((64, 48) if orientation > 4 else (48, 64))
        expected, plain_notes = process(np.asarray(upright))
        for picture in (path, Image.open(path), stored):
            tensor, notes = process(picture)
            assert torch.equal(tensor, expected)
            turned = ("turned upright as its EXIF tag says",) if orientation > 1 else ()
            assert notes == turned + plain_notes

    @pytest.mark.parametrize("exif", [b"Exif\0\0broken", b"Exif\0\0MM\0\x2a\0\0\xff\xff", b"\0"])
    def test_damaged_exif_is_no_reason_to_refuse(self, tmp_path: Path, exif: bytes) -> None:
        gradient(64, 64).save(tmp_path / "odd.png", exif=exif)
        assert process(tmp_path / "odd.png").notes == ()

    @pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
    def test_animation_gives_its_first_frame(self, tmp_path: Path, suffix: str) -> None:
        frames = [Image.new("RGB", (64, 64), (20 * i, 0, 0)) for i in range(12)]
        frames[0] = Image.new("RGB", (64, 64), (0, 255, 0))
        options = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(tmp_path / f"film.{suffix}", save_all=True, append_images=frames[1:], **options)
        tensor, notes = process(tmp_path / f"film.{suffix}")
        assert notes[0] == "first of several frames"
        assert np.all(as_bytes(tensor) == (0, 255, 0))

    @pytest.mark.parametrize("suffix", ["gif", "tif"])
    def test_frames_are_not_counted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
        """To count those of a small TIFF takes the square of their number, those of a GIF a read each."""
        frames = [Image.new("L", (1, 1), i % 250) for i in range(300)]
        frames[0].save(tmp_path / f"film.{suffix}", save_all=True, append_images=frames[1:])
        for plugin in (GifImagePlugin.GifImageFile, TiffImagePlugin.TiffImageFile):
            monkeypatch.setattr(plugin, "n_frames", property(lambda _: pytest.fail("frames were counted")))
        assert process(tmp_path / f"film.{suffix}").notes[0] == "first of several frames"

    @pytest.mark.parametrize("size", [(1, 1), (20_000, 1), (1, 20_000), (20_000, 30)])
    @pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "ppm"])
    def test_tiny_and_narrow_files(self, tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
        Image.new("RGB", size, (200, 100, 50)).save(tmp_path / f"odd.{suffix}")
        tensor, notes = process(tmp_path / f"odd.{suffix}")
        assert tensor.shape == (3, 64, 64)
        assert torch.all((tensor - torch.tensor([200, 100, 50])[:, None, None] / 255).abs() < 0.05)
        assert notes[-1].startswith(f"{size[0]}x{size[1]} resized to ")

    def test_opened_animation_gives_the_frame_it_is_at(self, tmp_path: Path) -> None:
        frames = [Image.new("RGB", (64, 64), (80 * i, 0, 0)) for i in range(4)]
        frames[0].save(tmp_path / "film.tif", save_all=True, append_images=frames[1:])
        with Image.open(tmp_path / "film.tif") as film:
            film.seek(2)
            tensor, notes = process(film)
            assert notes == ("frame 3 of several",)
            assert np.all(as_bytes(tensor) == (160, 0, 0))
            assert film.tell() == 2


class TestBadFiles:
    def refusal(self, path: str | Path) -> str:
        with pytest.raises(PictureError) as caught:
            process(path)
        message = str(caught.value)
        assert "\n" not in message
        assert repr(os.fspath(path)) in message
        assert ": " in message
        return message

    def test_missing(self, tmp_path: Path) -> None:
        assert self.refusal(tmp_path / "no.png").endswith("no.png': check name and folder")

    def test_web_address(self) -> None:
        assert "save web pictures to a file first" in self.refusal("https://example.org/cat.png")

    def test_folder(self, tmp_path: Path) -> None:
        assert "is a folder: give the path of one picture file" in self.refusal(tmp_path)

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "empty.png").touch()
        assert "is an empty file (0 bytes)" in self.refusal(tmp_path / "empty.png")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
    def test_pipe_and_socket_and_device(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.png")
        assert "is a pipe, socket or device" in self.refusal(tmp_path / "pipe.png")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "s"))
            assert "is a pipe, socket or device" in self.refusal(tmp_path / "s")
        assert "is a pipe, socket or device" in self.refusal("/dev/zero")

    def test_no_picture(self, tmp_path: Path) -> None:
        (tmp_path / "poem.png").write_text("The fog comes on little cat feet.")
        assert "is not a picture that can be read (PNG, JPEG" in self.refusal(tmp_path / "poem.png")

    def test_formats_that_start_other_programs_are_not_tried(self, tmp_path: Path) -> None:
        gradient(8, 8).save(tmp_path / "page.eps")
        assert "is not a picture that can be read" in self.refusal(tmp_path / "page.eps")

    @pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
    def test_truncated(self, tmp_path: Path, file_format: str) -> None:
        buffer = io.BytesIO()
        Image.fromarray(noise(64, 64)).save(buffer, format=file_format)
        path = tmp_path / "half"
        path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
        assert "is damaged or cut short (" in self.refusal(path) or file_format in ("WEBP", "TIFF")
        path.write_bytes(buffer.getvalue()[:5])
        self.refusal(path)

    @pytest.mark.parametrize("side", [8_001, 9_900, 12_000])  # below and above the size at which Pillow itself warns
    def test_gigantic_is_refused_before_decoding(self, tmp_path: Path, side: int) -> None:
        (tmp_path / "huge.png").write_bytes(png_header(side, side))
        limit = "which is over the limit of 64,000,000 pixels: make it smaller first"
        assert f"is {side}x{side}, {limit}" in self.refusal(tmp_path / "huge.png")

    @pytest.mark.parametrize("name", [b"iCCP", b"zTXt"])
    def test_texts_and_profiles_that_unpack_to_hundreds_of_megabytes(self, tmp_path: Path, name: bytes) -> None:
        """They are left out, or refused: nothing of them is kept, and nothing is printed."""
        buffer = io.BytesIO()
        Image.fromarray(noise(64, 64)).save(buffer, "PNG")
        body = name + b"x\0\0" + zlib.compress(bytes(300_000_000), 9)
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        (tmp_path / "bomb.png").write_bytes(buffer.getvalue()[:33] + chunk + buffer.getvalue()[33:])
        tracemalloc.start()
        try:
            assert np.array_equal(as_bytes(process(tmp_path / "bomb.png").tensor), noise(64, 64))
        except PictureError as error:
            assert "is damaged or cut short (" in str(error)  # noqa: PT017
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 150e6

    def test_decompression_bomb(self, tmp_path: Path) -> None:
        (tmp_path / "bomb.png").write_bytes(png_header(100_000, 100_000))
        assert "has too many pixels (" in self.refusal(tmp_path / "bomb.png")

    def test_limit_is_the_largest_size_allowed(self) -> None:
        small = PictureProcessor(max_pixels=600)
        small(Image.new("RGB", (30, 20)))
        for picture in (Image.new("RGB", (601, 1)), np.zeros((601, 1), np.uint8), torch.zeros(3, 601, 1)):
            with pytest.raises(PictureError, match="over the limit of 600 pixels"):
                small(picture)

    def test_long_name_and_zero_byte(self) -> None:
        assert "cannot be reached (File name too long)" in self.refusal("x" * 5_000)
        self.refusal("a\0b.png")

    @pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
    def test_no_permission(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "secret.png"
        gradient(4, 4).save(path)

        def refuse(*args: object, **kwargs: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Image, "open", refuse)  # root may read everything: the refusal is played
        assert "cannot be opened (Permission denied): change its permissions" in self.refusal(path)

    def test_names_cannot_write_to_the_terminal(self, tmp_path: Path) -> None:
        path = tmp_path / "evil\x1b]0;owned\x07.png"
        assert "\x1b" not in self.refusal(path)
        path.write_bytes(png_header(4, 4))
        assert self.refusal(path).isprintable()

    def test_closed_image(self, tmp_path: Path) -> None:
        gradient(4, 4).save(tmp_path / "x.png")
        image = Image.open(tmp_path / "x.png")
        image.close()
        with pytest.raises(PictureError, match="this PIL image is damaged or cut short"):
            process(image)

    @pytest.mark.parametrize("orientation", [6, None])
    @pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
    def test_random_damage_never_crashes(self, tmp_path: Path, file_format: str, orientation: int | None) -> None:
        exif = Image.Exif()
        if orientation:
            exif[0x0112] = orientation
        buffer = io.BytesIO()
        gradient(24, 16).save(buffer, format=file_format, **({"exif": exif} if orientation else {}))
        good, chance, path = buffer.getvalue(), random.Random(file_format), tmp_path / "damaged"
        small = PictureProcessor(max_pixels=100_000)
        for _ in range(40):
            data = bytearray(good)
            for _ in range(chance.randint(1, 6)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            path.write_bytes(data[: chance.randint(1, len(data))] if chance.random() < 0.3 else data)
            try:
                tensor = small(path).tensor
            except PictureError as error:
                assert str(error).isprintable()  # noqa: PT017
            else:
                assert tensor.shape == (3, 64, 64)
                assert torch.all((tensor >= 0) & (tensor <= 1))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    Image.open(path).load()  # what Pillow refuses must not come through

    def test_pillows_words_cannot_write_to_the_terminal(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "x.png"
        gradient(4, 4).save(path)

        def fail(*args: object, **kwargs: object) -> None:
            raise OSError("bad \x1b[31m chunk\nin line two.")

        monkeypatch.setattr(Image, "open", fail)
        assert "is damaged or cut short (bad \\x1b[31m chunk in line two): save" in self.refusal(path)


class TestBadValues:
    @pytest.mark.parametrize("picture", [None, 3, b"\x89PNG", [[1, 2], [3, 4]], io.BytesIO()])
    def test_other_types(self, picture: object) -> None:
        with pytest.raises(TypeError, match=f"a picture cannot be a {type(picture).__name__}: give a file path"):
            process(picture)

    @pytest.mark.parametrize(
        ("shape", "fix"),
        [
            ((64,), "give [height, width], or"),
            ((64, 64, 2), "give [height, width], or"),
            ((64, 64, 5), "give [height, width], or"),
            ((3, 64, 64), "put the channels last, picture.transpose(1, 2, 0)"),
            ((1, 64, 64, 3), "give one picture at a time, picture[0]"),
            ((), "give [height, width], or"),
        ],
    )
    def test_shapes(self, shape: tuple[int, ...], fix: str) -> None:
        with pytest.raises(PictureError) as caught:
            process(np.zeros(shape))
        assert str(caught.value).startswith(f"this array has the shape {list(shape)}, which is no picture: {fix}")

    def test_tensor_shapes(self) -> None:
        for shape in [(2, 64, 64), (1, 3, 64, 64), (7,)]:
            with pytest.raises(PictureError) as caught:
                process(torch.zeros(shape))
            assert str(caught.value).startswith(f"this tensor has the shape {list(shape)}, which is no picture: give")

    def test_zero_sized(self) -> None:
        for picture in (np.zeros((0, 5, 3)), np.zeros((5, 0), np.uint8), Image.new("L", (0, 5)), torch.zeros(3, 0, 5)):
            with pytest.raises(PictureError, match=r"\dx\d and has no pixels: give a picture of at least 1x1"):
                process(picture)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, bad: float) -> None:
        pixels = np.zeros((20, 30, 3), np.float32)
        pixels[4, 7, 1] = bad
        message = "this array holds NaN or infinity, first in row 4, column 7: replace such values"
        with pytest.raises(PictureError, match=message):
            process(pixels)
        with pytest.raises(PictureError, match="this tensor holds NaN or infinity, first in row 4, column 7"):
            process(torch.from_numpy(pixels).permute(2, 0, 1).bfloat16())

    @pytest.mark.parametrize(("low", "high"), [(-0.5, 1), (0, 255), (0, 1.01)])
    def test_out_of_range_floats(self, low: float, high: float) -> None:
        with pytest.raises(PictureError, match=f"holds floats from {low:g} to {high:g}: scale them to 0..1"):
            process(np.array([[low, high]], np.float64))

    def test_rounding_errors_are_clipped(self) -> None:
        for picture in (np.array([[-1e-7, 1 + 1e-6]]), np.tile([-1e-7, 1 + 1e-6], (64, 32))):
            tensor = process(picture).tensor
            assert tensor.min() == 0
            assert tensor.max() == 1

    @pytest.mark.parametrize("dtype", [np.int64, np.uint32, bool, complex, object])
    def test_other_numbers(self, dtype: type) -> None:
        with pytest.raises(TypeError, match=f"holds numbers of type {np.dtype(dtype)}: give uint8"):
            process(np.zeros((4, 4), dtype))


class TestTensors:
    @pytest.mark.parametrize("shape", [(1, 64, 64), (64, 64, 1), (64, 64)])
    def test_greyscale(self, shape: tuple[int, ...]) -> None:
        grey = torch.rand(64, 64)
        tensor, notes = process(grey.reshape(shape))
        assert notes == ("greyscale copied to three channels",)
        assert torch.equal(tensor, grey.expand(3, 64, 64))

    def test_channels_come_first_if_both_ways_could_be(self) -> None:
        picture = torch.rand(3, 10, 3)
        assert torch.equal(process(picture).tensor, process(picture.permute(1, 2, 0).numpy()).tensor)

    def test_four_channels(self) -> None:
        rgba = torch.rand(4, 64, 64)
        assert torch.equal(process(rgba).tensor, process(rgba.permute(1, 2, 0).numpy()).tensor)

    def test_gradients_and_brain_floats(self) -> None:
        picture = torch.rand(3, 64, 64, dtype=torch.bfloat16, requires_grad=True)
        tensor, notes = process(picture)
        assert notes == ()
        assert not tensor.requires_grad
        assert torch.equal(tensor, picture.detach().float())


def test_pytorch_is_loaded_only_when_a_picture_is_good() -> None:
    program = """
import sys
from minigpt4v.processor import PictureProcessor
try:
    PictureProcessor()("missing.png")
except ValueError:
    print("torch" in sys.modules)
PictureProcessor()(__import__("numpy").zeros((4, 4)))
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
