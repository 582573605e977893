"""What an earlier version saved is read and answers as it did; what a seed made, it makes still (tests/golden).

Red, and the change was meant? `python tests/golden_files.py` renews the files: see there.
"""

import json

import golden_files
import numpy as np
import pytest
from golden_files import EXPECTED, FOLDER, SCENES
from PIL import Image


@pytest.fixture(scope="module")
def expected() -> dict:
    return json.loads(EXPECTED.read_text(encoding="utf-8"))


def test_a_saved_model_answers_as_it_did(expected):
    found = golden_files.answers()
    assert found == expected["answers"]
    assert len(set(found.values())) == len(found)
    assert all(found.values())


def test_saved_tokenizers_give_the_ids_they_gave(expected):
    assert golden_files.token_ids() == expected["tokens"]


def test_a_saved_checkpoint_goes_on_as_it_did(expected):
    assert golden_files.losses() == pytest.approx(expected["losses"], rel=1e-4)


def test_seeds_make_the_scenes_and_questions_they_made(expected):
    assert golden_files.scene_hashes() == expected["scenes"]


def test_scenes_are_drawn_as_they_were():
    """But for rounding, which may differ from one processor to another by one step of 255."""
    with Image.open(SCENES) as file:
        then = np.asarray(file.convert("RGB")).astype(int)
    now = golden_files.drawn_scenes().astype(int)
    assert now.shape == then.shape
    assert np.abs(now - then).max() <= 1


def test_the_golden_files_are_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) < 150_000
