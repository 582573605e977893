"""Digits: 1,797 real scanned digits of 8x8 pixels, the smallest real images there are (Alpaydin & Kaynak, 1998).

They come with scikit-learn: the test part of "Optical Recognition of Handwritten Digits" of the UCI repository.
The digits lie in the order in which their writers wrote them, so the split takes the end of the file: most of its
writers are unseen. A shuffled split would put every writer on both sides and flatter a model: one nearest neighbour
scores 98.6% on shuffled splits (mean of ten) and 95.6% on this one.
"""

from __future__ import annotations

import torch
from einops import rearrange

SPLITS = ("train", "validation")
VALIDATION_DIGITS = 360
_BRIGHTEST = 16  # the scans count dark pixels in 4x4 cells: 0..16


def load_digits(split: str = "train") -> tuple[torch.Tensor, torch.Tensor]:
    """The digits of one split, in their original order: the first 1,437 ("train") or the last 360 ("validation").

    Returns:
        images: float32 [n, 1, 8, 8] in 0..1, 1 = ink.
        labels: int64 [n] in 0..9.

    Raises:
        ValueError: `split` is neither "train" nor "validation".
        ImportError: scikit-learn, which brings the scans, is not installed.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(map(repr, SPLITS))}, not {split!r}")
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError(
            'the digits come with scikit-learn, which is not installed: pip install "minigpt4v[course]"'
        ) from error
    pixels, labels = datasets.load_digits(return_X_y=True)
    part = slice(None, -VALIDATION_DIGITS) if split == "train" else slice(-VALIDATION_DIGITS, None)
    images = torch.tensor(pixels[part] / _BRIGHTEST, dtype=torch.float32)
    images = rearrange(images, "n (row column) -> n 1 row column", row=8)
    return images, torch.tensor(labels[part], dtype=torch.int64)
