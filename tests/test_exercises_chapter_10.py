"""Chapter 10's exercises: answers written in other ways pass, and wrong ones hear what is wrong with them."""

import torch
import torch.nn.functional as F
from exercise_checks import assert_diagnosed, assert_passes
from torch import nn

from minigpt4v.vision import patchify


def counted(colours=3, bias=True, square=False):
    def answer(height, width, patch_size, token_width):
        layer = nn.Linear(colours * patch_size * patch_size, token_width, bias=bias)
        tokens = len(range(0, width if square else height, patch_size)) * len(range(0, width, patch_size))
        return tokens, sum(parameter.numel() for parameter in layer.parameters())

    return answer


def test_size_of_a_sentence():
    assert_passes("10.1", counted())
    assert_diagnosed("10.1", counted(colours=1), "colour")
    assert_diagnosed("10.1", counted(bias=False), "biases")
    assert_diagnosed("10.1", counted(square=True), "square")

    def for_each(height, width, patch_size, token_width):
        tokens, numbers = counted()(height, width, patch_size, token_width)
        return [tokens, tokens * numbers]

    assert_diagnosed("10.1", for_each, "*one* layer")


def test_a_shuffled_picture():
    assert_passes("10.2", "a")
    assert_diagnosed("10.2", "b", "neighbours")
    assert_diagnosed("10.2", "c", "order")


def laid_down(pixels=lambda patch: patch, *, down_first=False):
    """Patch by patch into an empty picture."""

    def answer(patches, patch_size, height, width):
        picture = torch.zeros(len(patches), 3, height, width)
        for number in range(patches.shape[1]):
            column, row = divmod(number, height // patch_size)
            if not down_first:
                row, column = divmod(number, width // patch_size)
            patch = pixels(patches[:, number].reshape(-1, 3, patch_size, patch_size))
            top, left = row * patch_size, column * patch_size
            picture[:, :, top : top + patch_size, left : left + patch_size] = patch
        return picture

    return answer


def test_picture_from_patches():
    assert_passes("10.3", laid_down())

    def fold(patches, patch_size, height, width):
        return F.fold(patches.transpose(1, 2), (height, width), patch_size, stride=patch_size)

    assert_passes("10.3", fold)
    assert_diagnosed("10.3", laid_down(lambda patch: patch.mT), "diagonal")
    colours_last = laid_down(lambda p: p.reshape(len(p), p.shape[2], p.shape[3], 3).permute(0, 3, 1, 2))
    assert_diagnosed("10.3", colours_last, "colours")
    by_columns = laid_down(down_first=True)
    assert_diagnosed("10.3", by_columns, "column by column")
    assert_diagnosed("10.3", lambda patches, p, h, w: patches.flatten().view(-1, 3, h, w), "reshape alone")

    def combed(patches, patch_size, height, width):
        picture = torch.zeros(len(patches), 3, height, width)
        rows, columns = height // patch_size, width // patch_size
        for number in range(rows * columns):
            row, column = divmod(number, columns)
            patch = patches[:, number].reshape(-1, 3, patch_size, patch_size)
            picture[:, :, row::rows, column::columns] = patch
        return picture

    assert_diagnosed("10.3", combed, "combed")


def test_kernel_of():
    def by_asking(weight, patch_size):
        """What the layer answers to each pixel alone."""
        pixels = torch.eye(3 * patch_size**2).view(-1, 3, patch_size, patch_size)
        answers = patchify(pixels, patch_size)[:, 0] @ weight.T
        return answers.T.reshape(-1, 3, patch_size, patch_size)

    assert_passes("10.4", by_asking)
    assert_diagnosed("10.4", lambda w, p: w.view(-1, p, p, 3).permute(0, 3, 1, 2), "slowest")
    assert_diagnosed("10.4", lambda w, p: w.view(-1, 3, p, p).transpose(2, 3), "swapped")
    assert_diagnosed("10.4", lambda w, p: torch.rot90(w.view(-1, 3, p, p), 2, dims=(2, 3)), "half a turn")


def matrix(old, new):
    """Bilinear weights [new, old] along one side, written out."""
    centres = ((torch.arange(new) + 0.5) * old / new - 0.5).clamp(0, old - 1)
    return (1 - (centres[:, None] - torch.arange(old)).abs()).clamp(min=0)


def test_resize_positions():
    def written_out(table, rows, columns):
        along = torch.einsum("Rr,rcw->Rcw", matrix(table.shape[0], rows), table)
        return torch.einsum("Cc,Rcw->RCw", matrix(table.shape[1], columns), along)

    assert_passes("10.5", written_out)
    assert_diagnosed("10.5", lambda table, r, c: written_out(table.transpose(0, 1), r, c), "swapped")

    def viewed(table, rows, columns):
        return written_out(table.flatten().view(-1, *table.shape[:2]).permute(1, 2, 0), rows, columns)

    assert_diagnosed("10.5", viewed, "moved no number")

    def in_a_line(table, rows, columns):
        line = table.flatten(0, 1)
        return (matrix(len(line), rows * columns) @ line).view(rows, columns, -1)

    assert_diagnosed("10.5", in_a_line, "one line")

    def copies(table, rows, columns):
        old_rows, old_columns, _ = table.shape
        return table[torch.arange(rows) * old_rows // rows][:, torch.arange(columns) * old_columns // columns]

    assert_diagnosed("10.5", copies, "nearest")
