"""Files from anybody: what is opened, how much of it is read, and how it is quoted."""

import os

import pytest

from minigpt4v import foreign_files
from minigpt4v.foreign_files import check_file, is_finite, parse_json, plain, read_json, read_text, reason, shown


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a cat, 一只猫", "a cat, 一只猫"),
        ("\x1b[2J\r\n\t\x7f\x9b", r"\x1b[2J\r\n\t\x7f\x9b"),
        ("\u202egnp.\u2028\ud800", r"\u202egnp.\u2028\ud800"),
        ("x" * 12, "x" * 10 + "..."),
    ],
)
def test_what_could_steer_a_terminal_is_quoted(text, seen):
    assert plain(text, 10 if len(text) == 12 else 5000) == seen
    assert seen.isprintable()


def test_values_are_cut_where_they_are_long_or_deep():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    assert len(shown(deep)) < 100
    assert len(shown(["x" * 10_000] * 100)) < 2000
    assert shown("\x1b") == r"'\x1b'"


def test_the_reason_of_an_error_fits_into_a_sentence():
    assert reason(OSError(2, "No such file", "\x1b.json")) == "No such file"
    assert reason(ValueError("two\nlines \x1b[2J.")) == r"two lines \x1b[2J"
    assert reason(KeyError()) == "KeyError"
    assert len(reason(ValueError("x" * 10_000))) < 600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_what_is_no_file_is_not_opened(tmp_path):
    """A pipe would be waited for, and a device never ends."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, kind in (("pipe", "a pipe, socket or device"), ("zero", "a pipe, socket or device"), ("", "a folder")):
        for read in (check_file, read_text, read_json):
            with pytest.raises(ValueError, match=f"is {kind}: give a plain file"):
                read(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none")


def test_no_more_is_read_than_an_honest_file_holds(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[1]", encoding="utf-8")
    assert read_json(path, 3) == [1]
    with pytest.raises(ValueError, match=r"a\.json has over 2 bytes: more than any such file needs"):
        read_json(path, 2)


@pytest.mark.skipif(os.name == "nt", reason="needs files with holes")
def test_a_file_of_terabytes_is_refused_at_once(tmp_path):
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(2**42)
    with pytest.raises(ValueError, match="has over 67,108,864 bytes"):
        read_json(tmp_path / "huge.json")


@pytest.mark.parametrize("content", ["[" * 100_000, "9" * 5000, "", "{", "\udcff"])
def test_what_is_not_json_is_refused(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"a\.json is not (a JSON file|UTF-8 text) \(") as caught:
        read_json(path)
    assert str(caught.value).isprintable()


def test_the_name_of_a_file_cannot_steer_a_terminal(tmp_path):
    path = tmp_path / "\x1b[2J.json"
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"x1b\[2J\.json is not UTF-8 text") as caught:
        read_text(path)
    assert str(caught.value).isprintable()
    with pytest.raises(ValueError, match=r"^it is not a JSON file"):
        parse_json("", "it")


@pytest.mark.parametrize(
    ("value", "sound"),
    [
        *((0, True), (-1.5, True), (10**29, True), (10**400, False), (float("nan"), False), (float("inf"), False)),
        *((True, False), ("1", False), (None, False), ([1], False)),
    ],
)
def test_numbers_to_compute_with(value, sound):
    assert is_finite(value) is sound


def test_the_limit_leaves_room_for_every_file_that_ships():
    from minigpt4v.paths import data_folder

    largest = max(path.stat().st_size for path in (data_folder() / "checkpoints").rglob("*.json*"))
    assert largest * 100 < foreign_files.MAX_TEXT_BYTES
