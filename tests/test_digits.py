"""The scanned digits against scikit-learn's own arrays."""

import sys

import numpy as np
import pytest
import torch
from sklearn import datasets
from sklearn.neighbors import KNeighborsClassifier

from minigpt4v.datasets.digits import load_digits


def test_the_splits_are_all_the_scans_in_their_order():
    scans = datasets.load_digits()
    images = torch.cat([load_digits("train")[0], load_digits("validation")[0]])
    labels = torch.cat([load_digits("train")[1], load_digits("validation")[1]])
    assert np.array_equal(images[:, 0].numpy() * 16, scans.images)  # sixteenths are exact in float32
    assert np.array_equal(labels.numpy(), scans.target)


@pytest.mark.parametrize(("split", "count"), [("train", 1437), ("validation", 360)])
def test_shapes_types_and_ranges(split, count):
    images, labels = load_digits(split)
    assert images.shape == (count, 1, 8, 8)
    assert images.dtype == torch.float32
    assert images.min() == 0
    assert images.max() == 1
    assert labels.shape == (count,)
    assert labels.dtype == torch.int64
    shares = torch.bincount(labels, minlength=10) / count
    assert len(shares) == 10
    assert (shares - 0.1).abs().max() < 0.015  # about as many of each digit


def test_unseen_writers_are_harder_than_a_shuffled_split():
    (images, labels), (validation_images, validation_labels) = load_digits("train"), load_digits("validation")
    neighbour = KNeighborsClassifier(1).fit(images.flatten(1).numpy(), labels.numpy())
    score = neighbour.score(validation_images.flatten(1).numpy(), validation_labels.numpy())
    assert score == pytest.approx(0.9556, abs=5e-4)  # the number in the module's docstring


def test_what_is_returned_belongs_to_the_caller():
    load_digits()[0].zero_()
    assert load_digits()[0].max() == 1


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="split must be one of 'train', 'validation', not 'test'"):
        load_digits("test")


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)  # what an import finds when a package is not there
    with pytest.raises(ImportError, match=r'pip install "minigpt4v\[course\]"'):
        load_digits()
