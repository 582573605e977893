"""Any picture to the tensor the model sees: float32 [3, 64, 64] in 0..1.

The proportions are kept: a picture is resized until it fits, then centred on a square of its own border colour. A
picture that already is image_size x image_size RGB passes through unchanged, bit for bit. What was done to a picture is
said in plain words in `Processed.notes`.

Pictures come from strangers: a file is looked at before it is opened (reading a pipe would wait for ever), its size in
pixels is checked before anything is decoded, and only the formats in FORMATS are tried.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from einops import rearrange, repeat
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from minigpt4v.foreign_files import reason

if TYPE_CHECKING:
    import torch

# Pillow knows some forty formats more, but a few start other programs (EPS runs Ghostscript) and the rest are rare.
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "PPM", "JPEG2000")
MAX_PIXELS = 64_000_000  # a 64-megapixel camera; 192 MB once decoded
ROUNDING = 1e-5  # floats this little outside 0..1 come from arithmetic, not from another scale: they are clipped

MODE_NOTES = {  # a PIL mode that is missing here needs no word, or a word of its own
    "1": "black and white copied to three channels",
    "L": "greyscale copied to three channels",
    "LA": "greyscale copied to three channels",
    "La": "greyscale copied to three channels",
    "P": "palette colours looked up",
    "PA": "palette colours looked up",
    "CMYK": "CMYK converted to RGB",
    "YCbCr": "YCbCr converted to RGB",
    "HSV": "HSV converted to RGB",
    "LAB": "LAB converted to RGB",
}
TURNS = {  # EXIF orientation -> what puts the picture upright (EXIF 2.32, section 4.6.4, tag 274)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PictureError(ValueError):
    """A picture that cannot be used. The message is one sentence that names it and says what to do."""


class Processed(NamedTuple):
    """A picture made ready.

    Attributes:
        tensor: float32 [3, image_size, image_size] in 0..1, RGB.
        notes: what was done to the picture, in order, in plain words; empty if nothing was.
    """

    tensor: torch.Tensor
    notes: tuple[str, ...]


class PictureProcessor:
    """Makes any picture into the tensor that the model sees.

    Args:
        image_size: height and width of the tensor, in pixels.
        max_pixels: pictures with more pixels (width x height) are refused before they are decoded.

    Raises:
        TypeError: an argument is not a whole number.
        ValueError: an argument is less than 1.
    """

    def __init__(self, image_size: int = 64, *, max_pixels: int = MAX_PIXELS) -> None:
        for name, value in (("image_size", image_size), ("max_pixels", max_pixels)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} is {value!r}: give a whole number of pixels, such as 64")
            if value < 1:
                raise ValueError(f"{name} is {value}: give at least 1 pixel")
        self.image_size = image_size
        self.max_pixels = max_pixels

    def __call__(self, picture: str | os.PathLike[str] | Image.Image | NDArray | torch.Tensor) -> Processed:
        """Make one picture ready.

        A picture is one of

        - the path of a picture file: PNG, JPEG, GIF, WebP, AVIF, BMP, TIFF, PPM or JPEG 2000 (an animation: its first
          frame);
        - a PIL image of any mode ("I" is read as 16 bits, 0..65535, and "F" as 0..1; an animation: the frame it is at);
        - an array [h, w], [h, w, 1], [h, w, 3] or [h, w, 4] of uint8, uint16 or floats in 0..1;
        - a tensor of the same numbers, [h, w], [c, h, w] or [h, w, c]: the channels are taken to come first, as is the
          habit in PyTorch, if the first of three axes is 1, 3 or 4 long, and last otherwise.

        Transparent parts are put on white. EXIF rotation is applied to files and PIL images.

        Args:
            picture: the picture.

        Returns:
            The tensor and the notes.

        Raises:
            PictureError: (a ValueError) no picture can be had from this value.
            TypeError: the value, or the type of its numbers, is none of the above.
        """
        notes: list[str] = []
        if isinstance(picture, (str, os.PathLike)):
            pixels = self._from_path(picture, notes)
        elif isinstance(picture, Image.Image):
            with _damage_as_errors("this PIL image"):
                pixels = self._from_pil(picture, "this PIL image", notes)
        elif isinstance(picture, np.ndarray):
            pixels = self._from_array(picture, "this array", notes)
        else:
            pixels = self._from_array(_tensor_to_array(picture), "this tensor", notes)
        square = rearrange(_fit(pixels, self.image_size, notes), "h w c -> c h w")
        if square.dtype == np.uint8:
            square = square.astype(np.float32) / 255

        import torch  # only now: a wrong path is reported without the second that PyTorch takes to load

        return Processed(torch.from_numpy(np.array(square, order="C")), tuple(notes))

    def _from_path(self, path: str | os.PathLike[str], notes: list[str]) -> NDArray:
        name = repr(os.fspath(path))  # repr: a name may hold escape sequences, which must not reach a terminal
        _check_is_filled_file(Path(path), name)
        with _damage_as_errors(name), Image.open(path, formats=FORMATS) as image:
            return self._from_pil(image, name, notes)

    def _from_pil(self, image: Image.Image, name: str, notes: list[str]) -> NDArray:
        self._check_size(image.height, image.width, name)
        if getattr(image, "is_animated", False):  # not `n_frames`: to count them can take hours
            number = image.tell() + 1
            notes.append("first of several frames" if number == 1 else f"frame {number} of several")
        return _to_rgb(_upright(image, notes), name, notes)

    def _from_array(self, array: NDArray, name: str, notes: list[str]) -> NDArray:
        if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
            raise PictureError(f"{name} has the shape {list(array.shape)}, which is no picture: {_shape_fix(array)}")
        self._check_size(array.shape[0], array.shape[1], name)
        if array.ndim == 3 and array.shape[2] == 1:
            array = rearrange(array, "h w 1 -> h w")
        if array.dtype == np.uint8:
            return _to_rgb(Image.fromarray(array), name, notes)
        return _floats_to_rgb(_to_floats(array, name, notes), notes)

    def _check_size(self, height: int, width: int, name: str) -> None:
        if height < 1 or width < 1:
            raise PictureError(f"{name} is {width}x{height} and has no pixels: give a picture of at least 1x1")
        if width * height > self.max_pixels:
            limit = f"the limit of {self.max_pixels:,} pixels"
            raise PictureError(f"{name} is {width}x{height}, which is over {limit}: make it smaller first")


def _check_is_filled_file(path: Path, name: str) -> None:
    try:
        status = path.stat()
    except FileNotFoundError:
        fix = "save web pictures to a file first" if path.parts[0] in ("http:", "https:") else "check name and folder"
        raise PictureError(f"there is no picture file {name}: {fix}") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise PictureError(f"{name} cannot be reached ({reason(error)}): give the path of a picture file") from error
    if stat.S_ISDIR(status.st_mode):
        raise PictureError(f"{name} is a folder: give the path of one picture file")
    if not stat.S_ISREG(status.st_mode):
        raise PictureError(f"{name} is a pipe, socket or device: copy the picture to a plain file first")
    if status.st_size == 0:
        raise PictureError(f"{name} is an empty file (0 bytes): save or copy the picture again")


@contextmanager
def _damage_as_errors(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises on a bad picture into a PictureError that names the picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes below our limit and of odd metadata
            yield
    except PictureError:
        raise
    except UnidentifiedImageError:
        readable = ", ".join(FORMATS)
        raise PictureError(f"{name} is not a picture that can be read ({readable}): convert it to PNG") from None
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name} has too many pixels ({reason(error)}): make it smaller first") from None
    except PermissionError as error:
        raise PictureError(f"{name} cannot be opened ({reason(error)}): change its permissions") from error
    except Exception as error:  # on damaged bytes Pillow's readers raise nearly every type of error there is
        raise PictureError(f"{name} is damaged or cut short ({reason(error)}): save or copy it again") from error


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    """Decode the picture and turn it as its EXIF orientation says."""
    if image.format != "TIFF":
        image.load()  # before the EXIF tag is asked for: for a PNG Pillow decodes then, and damage must not go unseen
    if _orientation(image) in TURNS:
        notes.append("turned upright as its EXIF tag says")
    image.load()
    turn = TURNS.get(_orientation(image))  # asked again: Pillow itself turns a TIFF while it loads, and drops the tag
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF raises anything, and is no reason to refuse a picture that can be decoded
        return 1


def _to_rgb(image: Image.Image, name: str, notes: list[str]) -> NDArray:
    """Decoded picture of any mode -> [h, w, 3], uint8, or float32 in 0..1 where 8 bits would lose something."""
    if image.mode == "F" or image.mode.startswith("I"):  # I, I;16, I;16B: one channel of 16 or 32 bits
        array = _whole_numbers_as_16_bits(image, name) if image.mode == "I" else np.asarray(image)
        return _floats_to_rgb(_to_floats(array, name, notes), notes)
    if image.mode in MODE_NOTES:
        notes.append(MODE_NOTES[image.mode])
    if image.mode == "La":  # Pillow knows no direct way from greyscale with premultiplied alpha to colour
        image = image.convert("LA")
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode == "RGBA" and np.asarray(image)[:, :, 3].min() < 255:
        notes.append("transparent parts put on white")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def _whole_numbers_as_16_bits(image: Image.Image, name: str) -> NDArray[np.uint16]:
    array = np.asarray(image)  # int32
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 65535:
        raise PictureError(f"{name} holds whole numbers from {low} to {high}: scale them to 16 bits, 0..65535")
    return array.astype(np.uint16)


def _to_floats(array: NDArray, name: str, notes: list[str]) -> NDArray[np.float32]:
    """Array [h, w] or [h, w, c] of 16-bit whole numbers or floats in 0..1 -> float32 in 0..1, same shape."""
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        notes.append("16-bit values scaled to 0..1")
        return array.astype(np.float32) / np.float32(65535)
    if array.dtype.kind != "f":
        fix = "give uint8 (0..255), uint16 (0..65535) or floats in 0..1, for example with picture.astype('uint8')"
        raise TypeError(f"{name} holds numbers of type {array.dtype}: {fix}")
    if not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0, :2]
        raise PictureError(f"{name} holds NaN or infinity, first in row {row}, column {column}: replace such values")
    low, high = float(array.min()), float(array.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        fix = "scale them to 0..1 (0..255 divided by 255)"
        raise PictureError(f"{name} holds floats from {low:g} to {high:g}: {fix}")
    return array.astype(np.float32).clip(0, 1)


def _floats_to_rgb(array: NDArray[np.float32], notes: list[str]) -> NDArray[np.float32]:
    """[h, w], [h, w, 3] or [h, w, 4] -> [h, w, 3]."""
    if array.ndim == 2:
        notes.append(MODE_NOTES["L"])
        return repeat(array, "h w -> h w c", c=3)
    if array.shape[2] == 4:
        colour, alpha = array[:, :, :3], array[:, :, 3:]
        if alpha.min() < 1:
            notes.append("transparent parts put on white")
        return colour * alpha + (1 - alpha)
    return array


def _tensor_to_array(picture: object) -> NDArray:
    """Tensor [h, w], [c, h, w] or [h, w, c] -> array, with the channels last."""
    import torch

    if not isinstance(picture, torch.Tensor):
        kind = type(picture).__name__
        raise TypeError(f"a picture cannot be a {kind}: give a file path, a PIL image, a NumPy array or a tensor")
    if picture.dtype == torch.bfloat16:  # NumPy has no bfloat16
        picture = picture.float()
    array = picture.detach().cpu().numpy()
    return rearrange(array, "c h w -> h w c") if array.ndim == 3 and array.shape[0] in (1, 3, 4) else array


def _shape_fix(array: NDArray) -> str:
    if array.ndim == 4:
        return "give one picture at a time, picture[0]"
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        return "put the channels last, picture.transpose(1, 2, 0)"
    return "give [height, width], or [height, width, channels] with 1, 3 or 4 channels"


def _fit(pixels: NDArray, size: int, notes: list[str]) -> NDArray:
    """[h, w, 3] -> [size, size, 3]: resized in proportion, then centred on the colour of its border."""
    height, width, _ = pixels.shape
    scale = size / max(height, width)
    inner_height, inner_width = max(1, round(height * scale)), max(1, round(width * scale))
    done = []
    inner = pixels
    if (height, width) != (inner_height, inner_width):
        inner = _resize(pixels, inner_height, inner_width)
        done.append(f"resized to {inner_width}x{inner_height}")
    if (inner_height, inner_width) != (size, size):
        square = np.empty((size, size, 3), dtype=pixels.dtype)
        square[:] = _border_colour(pixels)
        top, left = (size - inner_height) // 2, (size - inner_width) // 2
        square[top : top + inner_height, left : left + inner_width] = inner
        inner = square
        done.append("padded with the border colour")
    if done:
        notes.append(f"{width}x{height} " + " and ".join(done))
    return inner


def _resize(pixels: NDArray, height: int, width: int) -> NDArray:
    """[h, w, 3] -> [height, width, 3], by Lanczos' filter, which Pillow widens when shrinking: no aliasing."""
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
    channels = rearrange(pixels, "h w c -> c h w")
    resized = [Image.fromarray(channel).resize((width, height), Image.Resampling.LANCZOS) for channel in channels]
    return rearrange([np.asarray(channel) for channel in resized], "c h w -> h w c").clip(0, 1)


def _border_colour(pixels: NDArray) -> NDArray:
    """[h, w, 3] -> [3]: the median of each channel over the outermost pixels, each counted once."""
    if min(pixels.shape[:2]) <= 2:
        border = rearrange(pixels, "h w c -> (h w) c")
    else:
        border = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    colour = np.median(border, axis=0)
    return np.rint(colour) if pixels.dtype == np.uint8 else colour
