"""The warm-up exercises judge right answers as right and name the mistakes in others."""

import torch
from exercise_checks import assert_diagnosed, assert_passes


def test_share_of_right_answers() -> None:
    assert_passes("00.1", lambda mine, true: len([1 for a, b in zip(mine, true, strict=True) if a == b]) / len(mine))
    assert_diagnosed("00.1", lambda mine, true: len([1 for a, b in zip(mine, true, strict=True) if a == b]), "divide")
    assert_diagnosed(
        "00.1", lambda mine, true: 100 * len([1 for a, b in zip(mine, true, strict=True) if a == b]) / 3 * 3 / len(mine)
    )
    assert_diagnosed("00.1", lambda mine, true: [a == b for a, b in zip(mine, true, strict=True)], "verdict for each")
    assert_diagnosed("00.1", lambda mine, true: mine == true, "as wholes")
    assert_diagnosed(
        "00.1", lambda mine, true: sum(a != b for a, b in zip(mine, true, strict=True)) / len(true), "wrong answers"
    )
    assert_diagnosed("00.1", lambda mine, true: len([a for a in mine if a in set(true)]) / len(mine), "its own place")


def test_always_guess() -> None:
    assert_passes("00.2", lambda true: max(true.count(answer) for answer in set(true)) / len(true))
    assert_diagnosed("00.2", lambda true: max(true.count(answer) for answer in true), "how often")
    assert_diagnosed("00.2", lambda true: max(sorted(set(true)), key=true.count), "answer itself")
    assert_diagnosed("00.2", lambda true: 1 / len(dict.fromkeys(true)), "equally frequent")
    assert_diagnosed(
        "00.2", lambda true: sum(answer == true[0] for answer in true) / len(true), "always gives the first"
    )


def test_channels_first() -> None:
    assert_passes("00.3", lambda pictures: pictures.permute(0, 3, 1, 2))
    assert_diagnosed("00.3", lambda pictures: pictures.transpose(1, 3), "its side")
    assert_diagnosed(
        "00.3", lambda x: torch.as_tensor(x.flatten().tolist()).view(len(x), x.shape[3], *x.shape[1:3]), "moved"
    )
    assert_diagnosed("00.3", lambda pictures: pictures.movedim(3, 0), "come second")
