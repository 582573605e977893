"""Bring your own data: what is read, what is refused and how it is said, and hostile files."""

import contextlib
import json
import os
import random
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from minigpt4v.datasets import folder as folder_module
from minigpt4v.datasets import folder_line
from minigpt4v.datasets.folder import (
    DataError,
    Record,
    Turn,
    kind_of,
    load_conversations,
    load_plain_text,
    save_conversations,
)

GOOD = {"images": ["cat.png"], "turns": [{"question": "What is it?", "answer": "a cat"}]}


@pytest.fixture
def data(tmp_path):
    """A folder `data` with pictures in it, beside a picture that is not in it."""
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    Image.new("RGB", (8, 6), "orange").save(folder / "cat.png")
    Image.new("L", (3, 3), 90).save(folder / "sub" / "狗 1.png")
    Image.new("RGB", (4, 4), "red").save(tmp_path / "secret.png")
    return folder


def write(folder, *lines):
    """A file of lines: bytes as they are, text as UTF-8, anything else as JSON."""
    encoded = [
        line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
        for line in lines
    ]
    path = folder / "my.jsonl"
    path.write_bytes(b"\n".join(encoded) + b"\n")
    return path


def fault_of(folder, line, **options):
    """What is said about a file whose second line is this one."""
    path = write(folder, GOOD, line, GOOD)
    with pytest.raises(DataError) as caught:
        load_conversations(path, **options)
    ((number, fault),) = caught.value.faults
    assert number == 2
    assert str(caught.value) == f"my.jsonl has 1 faulty line: line 2: {fault}"
    return fault


def noise():
    """A picture that hardly packs: almost every byte of its file matters."""
    return Image.fromarray(np.random.default_rng(0).integers(256, size=(12, 20, 3), dtype=np.uint8))


def turn(**keys):
    return {"images": ["cat.png"], "turns": [keys]}


# What is read


def test_a_conversation_is_read_as_it_stands(data):
    line = {
        "images": ["cat.png", "sub/狗 1.png"],
        "turns": [
            {"question": "Which is bigger?", "answer": "the first", "family": "size"},
            {"question": " <|end|>\tand\nnow? ", "answer": "🐱‍👤 مرحبا"},  # kept to the letter
        ],
    }
    (record,) = load_conversations(write(data, line))
    assert record == Record(
        (data / "cat.png", data / "sub" / "狗 1.png"),
        (Turn("Which is bigger?", "the first", "size"), Turn(" <|end|>\tand\nnow? ", "🐱‍👤 مرحبا", None)),
        line=1,
    )


def test_lines_are_numbered_as_an_editor_numbers_them(data):
    path = write(data, "", GOOD, "   \t", b"\r", GOOD)
    assert [record.line for record in load_conversations(path)] == [2, 5]


@pytest.mark.parametrize(("start", "end"), [(b"\xef\xbb\xbf", b"\n"), (b"", b"\r\n"), (b"", b"")])
def test_byte_order_marks_windows_line_ends_and_a_missing_last_line_end_are_fine(data, start, end):
    path = data / "my.jsonl"
    path.write_bytes(start + json.dumps(GOOD).encode() + end)
    assert len(load_conversations(path)) == 1


def test_a_line_separator_inside_a_text_does_not_end_the_line(data):
    line = json.dumps(turn(question="a\u2028b", answer="x"), ensure_ascii=False)
    assert load_conversations(write(data, line))[0].turns[0].question == "a\u2028b"


@pytest.mark.parametrize(
    ("answer", "question"),
    [
        ("a cat", "What is in the picture?"),
        ("un chat, ein Kätzchen, кот", "What is in the picture?"),
        ("一只猫", "图里有什么？"),
        ("3 只", "图里有什么？"),
        ("𠮷", "图里有什么？"),
        ("42", "What is in the picture?"),
    ],
)
@pytest.mark.parametrize("key", ["caption", "answer"])
def test_a_turn_without_a_question_answers_the_default_one_in_its_language(data, key, answer, question):
    (record,) = load_conversations(write(data, turn(**{key: answer})))
    assert record.turns == (Turn(question, answer, None),)


def test_the_family_of_a_conversation_holds_for_turns_without_their_own(data):
    line = {"images": ["cat.png"], "turns": [{"answer": "a"}, {"answer": "b", "family": "own"}], "family": "whole"}
    (record,) = load_conversations(write(data, line))
    assert [turn.family for turn in record.turns] == ["whole", "own"]


def test_a_conversation_may_have_no_picture(data):
    (record,) = load_conversations(write(data, {"images": [], "turns": [{"question": "2+2?", "answer": "4"}]}))
    assert record == Record((), (Turn("2+2?", "4"),), 1)


def test_pictures_may_be_named_from_another_folder(data, tmp_path):
    path = write(tmp_path, GOOD)
    assert load_conversations(path, root=data)[0].images == (data / "cat.png",)
    with pytest.raises(DataError, match="there is no picture file"):
        load_conversations(path)


def test_paths_of_records_do_not_depend_on_where_python_was_started(data, monkeypatch):
    write(data, GOOD)
    monkeypatch.chdir(data)
    (image,) = load_conversations("my.jsonl")[0].images
    assert image.is_absolute()
    assert image.samefile(data / "cat.png")


def test_a_picture_named_by_many_lines_is_decoded_once(data, monkeypatch):
    decoded = []
    original = folder_line.PictureProcessor.__call__
    monkeypatch.setattr(
        folder_line.PictureProcessor, "__call__", lambda self, path: decoded.append(path) or original(self, path)
    )
    bad = {"images": ["cat.png", "gone.png"], "turns": [{"answer": "a"}]}
    with pytest.raises(DataError) as caught:
        load_conversations(write(data, GOOD, GOOD, bad, bad, GOOD))
    assert [number for number, _ in caught.value.faults] == [3, 4]
    assert decoded == [data / "cat.png", data / "gone.png"]


# What is refused, and how it is said


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "is not JSON (Expecting property name enclosed in double quotes, column 2): write one JSON object"),
        ("{'images': []}", "is not JSON"),
        (json.dumps(GOOD) + ",", "is not JSON (Extra data"),
        (b'{"images": ["\xff.png"]}', "is not UTF-8 (byte 0xff, place 14): save the file as UTF-8"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"images": ' + "9" * 5000 + "}", "is nested too deeply or holds a huge number"),
        ('{"images": [], "images": []}', "has the key 'images' twice in one object: keep one"),
        ('{"images": [], "turns": [{"answer": "a", "answer": "b"}]}', "has the key 'answer' twice"),
        ("3", "the conversation must be an object in { }, not a number"),
        ("NaN", "the conversation must be an object in { }, not a number"),
        ([GOOD], "the conversation must be an object in { }, not a list"),
        ("null", "the conversation must be an object in { }, not null"),
        ({}, 'the conversation has no "images"'),
        ({"images": ["cat.png"]}, 'the conversation has no "turns"'),
        ({"images": "cat.png", "turns": []}, '"images" must be a list, not a text: write it in [ ]'),
        ({"images": ["cat.png", True], "turns": []}, '"images" must list file names, not true or false'),
        ({"images": [], "turns": {}}, '"turns" must be a list, not an object'),
        ({"images": [], "turns": []}, '"turns" is empty: write at least one question and answer'),
        (GOOD | {"image": "cat.png"}, "the conversation has the unknown key 'image': did you mean \"images\"?"),
        (GOOD | {"x": 1}, 'has the unknown key \'x\': known keys are "images", "turns", "family"'),
        (GOOD | {"family": 3}, 'the "family" of the conversation must be a text, not a number'),
        (GOOD | {"family": "a\nb"}, "the \"family\" of the conversation must stand on one line: 'a\\nb'"),
        (turn(question="q", anwser="a"), "turn 1 has the unknown key 'anwser': did you mean \"answer\"?"),
        ({"images": ["cat.png"], "turns": [{"answer": "a"}, "b"]}, "turn 2 must be an object in { }, not a text"),
        (turn(), 'turn 1 has no "answer"'),
        (turn(question="q"), 'turn 1 has no "answer"'),
        (turn(question="q", answer=""), 'the "answer" of turn 1 is empty'),
        (turn(question="q", answer=" \n\u3000"), 'the "answer" of turn 1 is empty'),
        (turn(question="q", answer="\u200b\u2060"), 'the "answer" of turn 1 is empty'),  # zero-width: nothing to see
        (turn(caption=" "), 'the "caption" of turn 1 is empty'),
        (turn(question="", answer="a"), 'the "question" of turn 1 is empty'),
        (turn(question=None, answer="a"), 'the "question" of turn 1 must be a text, not null'),
        (turn(question="q", answer=["a"]), 'the "answer" of turn 1 must be a text, not a list'),
        (turn(answer="a", family=""), 'the "family" of turn 1 is empty'),
        (turn(answer="a", caption="b"), 'turn 1 has a "caption" and a "answer": write one of them'),
        (turn(question="a", caption="b"), 'turn 1 has a "caption" and a "question": write one of them'),
        ({"images": [], "turns": [{"answer": "a"}]}, 'turn 1 has no "question", and "images" is empty'),
        (
            turn(answer="a\x1b[31mb"),
            "the \"answer\" of turn 1 holds the character '\\x1b', which is not writing (place 2)",
        ),
        (turn(answer="a\ud800"), "the \"answer\" of turn 1 holds the character '\\ud800'"),
        (turn(question="a\x00", answer="b"), "holds the character '\\x00'"),
        (turn(question="a\x9b", answer="b"), "holds the character '\\x9b'"),
        ({"images": [""], "turns": [{"answer": "a"}]}, "'' in \"images\" is no file name: write a path such as"),
        ({"images": ["a\x00.png"], "turns": [{"answer": "a"}]}, "'a\\x00.png' in \"images\" is no file name"),
        ({"images": ["\udc80.png"], "turns": [{"answer": "a"}]}, "'\\udc80.png' in \"images\" is no file name"),
        ({"images": ["a" * 300], "turns": [{"answer": "a"}]}, "cannot be reached (File name too long)"),
        ({"images": ["a/" * 501], "turns": [{"answer": "a"}]}, '...\' in "images" is no file name'),
        ({"images": ["gone.png"], "turns": [{"answer": "a"}]}, "there is no picture file '"),
        ({"images": ["sub"], "turns": [{"answer": "a"}]}, "sub' is a folder: give the path of one picture file"),
    ],
)
def test_a_faulty_line_is_named_with_the_fix(data, line, message):
    assert message in fault_of(data, line)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", "cut", "flipped"])
def test_broken_pictures_are_faults_of_their_lines(data, content):
    noise().save(data / "bad.png")
    whole = (data / "bad.png").read_bytes()
    damaged = {"cut": whole[: len(whole) // 2], "flipped": whole[:99] + bytes([whole[99] ^ 255]) + whole[100:]}
    (data / "bad.png").write_bytes(damaged.get(content, content))
    assert "bad.png' is " in fault_of(data, {"images": ["cat.png", "bad.png"], "turns": [{"answer": "a"}]})


def test_a_picture_of_too_many_pixels_is_refused_unread(data):
    Image.new("1", (10_000, 7_000)).save(data / "huge.png")
    assert "10000x7000" in fault_of(data, {"images": ["huge.png"], "turns": [{"answer": "a"}]})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_are_refused_without_waiting(data):
    os.mkfifo(data / "pipe.png")
    assert "is a pipe, socket or device" in fault_of(data, {"images": ["pipe.png"], "turns": [{"answer": "a"}]})
    os.mkfifo(data / "pipe.jsonl")
    with pytest.raises(DataError, match="is not a file"):
        load_conversations(data / "pipe.jsonl")


def outside_names(data):
    secret = data.parent / "secret.png"
    (data / "link.png").symlink_to(secret)
    (data / "up").symlink_to(data.parent)
    return ["../secret.png", "sub/../../secret.png", str(secret), "link.png", "up/secret.png"]


def test_pictures_outside_the_folder_are_refused(data):
    for name in outside_names(data):
        fault = fault_of(data, {"images": [name], "turns": [{"answer": "a"}]})
        assert fault == (
            f"the picture {name!r} is outside the folder of the data: move it there "
            "or allow pictures outside (allow_outside)"
        )


def test_what_is_outside_cannot_be_probed(data):
    """A stranger's file must not tell an existing file from a missing one."""
    there, missing = (
        fault_of(data, {"images": [f"../{name}"], "turns": [{"answer": "a"}]}) for name in ("secret.png", "no")
    )
    assert there.replace("secret.png", "no") == missing


def test_pictures_outside_the_folder_can_be_allowed(data):
    for name in outside_names(data):
        path = write(data, {"images": [name], "turns": [{"answer": "a"}]})
        (image,) = load_conversations(path, allow_outside=True)[0].images
        assert image.samefile(data.parent / "secret.png")


def test_roundabout_ways_to_a_picture_inside_are_fine(data):
    (data / "inner.png").symlink_to(data / "cat.png")
    for name in ("sub/../cat.png", "./cat.png", str(data / "cat.png"), "inner.png"):
        path = write(data, {"images": [name], "turns": [{"answer": "a"}]})
        assert load_conversations(path)[0].images[0].samefile(data / "cat.png")


def test_a_sibling_whose_name_begins_like_the_folder_is_outside(data):
    sibling = data.parent / "data2"
    sibling.mkdir()
    (data / "cat.png").rename(sibling / "cat.png")
    with pytest.raises(DataError, match="is outside the folder"):
        load_conversations(write(data, {"images": ["../data2/cat.png"], "turns": [{"answer": "a"}]}))


def test_links_in_a_circle_lead_nowhere(data):
    (data / "a.png").symlink_to(data / "b.png")
    (data / "b.png").symlink_to(data / "a.png")
    assert "a.png" in fault_of(data, {"images": ["a.png"], "turns": [{"answer": "a"}]})


def test_every_faulty_line_is_reported_in_one_error(data):
    path = write(data, GOOD, "", "oops", GOOD, {"images": ["gone.png"], "turns": [{"answer": "a"}]}, turn(answer=""))
    with pytest.raises(DataError) as caught:
        load_conversations(path)
    assert [number for number, _ in caught.value.faults] == [3, 5, 6]
    assert isinstance(caught.value, ValueError)
    message = str(caught.value)
    assert message.startswith("my.jsonl has 3 faulty lines: line 3: is not JSON")
    assert re.findall(r"(?:: |; )line (\d+): ", message) == ["3", "5", "6"]


@pytest.mark.parametrize(("count", "end"), [(20, "is empty"), (21, "; and 1 more"), (1000, "; and 980 more")])
def test_a_long_list_of_faults_is_cut_with_a_count(data, count, end):
    with pytest.raises(DataError) as caught:
        load_conversations(write(data, *[turn(answer="")] * count))
    message = str(caught.value)
    assert message.startswith(f"my.jsonl has {count} faulty lines: ")
    assert message.endswith(end)
    assert message.count("line ") == 20
    assert len(caught.value.faults) == count


def test_a_line_of_more_than_a_megabyte_is_refused(data):
    assert re.match(
        r"is 1,\d{3},\d{3} bytes long, over the limit of 1,048,576", fault_of(data, turn(answer="a" * 2**20))
    )
    assert len(load_conversations(write(data, turn(answer="a" * (2**20 - 100))))) == 1


def test_what_a_message_quotes_is_cut(data):
    for line in (GOOD | {"k" * 900_000: 1}, turn(answer="a", family="f\n" * 400_000)):
        assert len(fault_of(data, line)) < 700


def test_control_sequences_from_a_file_never_reach_the_terminal(data):
    nasty = "\x1b]0;owned\x07\u202eevil\r"
    lines = [
        GOOD | {nasty: 1},
        turn(answer="a", **{nasty: 1}),
        turn(answer=nasty),
        GOOD | {"family": "\u202e\n"},
        {"images": [nasty], "turns": [{"answer": "a"}]},
        {"images": ["\u202egone\n.png"], "turns": [{"answer": "a"}]},
        json.dumps({nasty: 1})[:-1] + "," + json.dumps({nasty: 2})[1:],
        "\x1b[2J",
    ]
    path = write(data, *lines)
    path = path.rename(data / "my\x1b[2J.jsonl")
    with pytest.raises(DataError) as caught:
        load_conversations(path)
    assert len(caught.value.faults) == len(lines)
    assert str(caught.value).isprintable()
    for load in (load_conversations, load_plain_text, kind_of):
        with pytest.raises(DataError) as caught:
            load(data / "gone\x1b[2J")
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"\n\n \n", b"\xef\xbb\xbf\n"])
def test_a_file_without_conversations_is_refused(data, content):
    (data / "my.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=r"my\.jsonl' has no conversations: write one JSON object on each line"):
        load_conversations(data / "my.jsonl")


@pytest.mark.parametrize("load", [load_conversations, load_plain_text])
def test_files_that_cannot_be_read(data, monkeypatch, load):
    with pytest.raises(DataError, match=r"there is no file '.*gone\.txt': check name and folder"):
        load(data / "gone.txt")
    with pytest.raises(DataError, match="is not a file"):
        load(data)
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        load(data / ("a" * 300))
    with pytest.raises(DataError, match="there is no file"):
        load(data / "a\0b")
    utf16 = data / "utf16.txt"
    utf16.write_bytes("a cat".encode("utf-16"))
    with pytest.raises(DataError, match="is UTF-16 text: save it as UTF-8"):
        load(utf16)
    monkeypatch.setattr(folder_module, "MAX_FILE_BYTES", 5)
    with pytest.raises(DataError, match="has over 5 bytes: split it"):
        load(utf16)


def test_a_file_that_may_not_be_read(data, monkeypatch):
    path = write(data, GOOD)

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", refuse)
    with pytest.raises(DataError, match=r"my\.jsonl' cannot be read: Permission denied"):
        load_conversations(path)


# Saving


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=20).map(lambda text: text + "x")
FAMILIES = st.none() | st.text("abc é字", max_size=5).map(lambda text: text + "f")
TURNS = st.builds(Turn, TEXTS, TEXTS, FAMILIES)
NAMES = st.lists(st.sampled_from(["cat.png", "sub/狗 1.png", "sub/../cat.png"]), max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(conversations=st.lists(st.tuples(NAMES, st.lists(TURNS, min_size=1, max_size=3)), min_size=1, max_size=4))
def test_what_is_saved_loads_the_same(data, conversations):
    records = [
        Record(tuple(data / name for name in names), tuple(turns), number)
        for number, (names, turns) in enumerate(conversations, start=1)
    ]
    path = data / "saved.jsonl"
    save_conversations(path, records)
    assert load_conversations(path) == records
    once = path.read_bytes()
    save_conversations(path, load_conversations(path))
    assert path.read_bytes() == once


def test_saved_files_are_plain_to_read_and_can_move_with_their_pictures(data):
    save_conversations(
        data / "my.jsonl", [Record((data / "sub" / "狗 1.png",), (Turn("这是什么？", "一只狗", "naming"),))]
    )
    assert (data / "my.jsonl").read_text(encoding="utf-8") == (
        '{"images": ["sub/狗 1.png"], "turns": [{"question": "这是什么？", "answer": "一只狗", "family": "naming"}]}\n'
    )
    moved = data.rename(data.parent / "moved")
    assert load_conversations(moved / "my.jsonl")[0].images == (moved / "sub" / "狗 1.png",)


def test_saving_beside_another_folder_of_pictures(data, tmp_path):
    records = [Record((data / "cat.png",), (Turn("q", "a"),), 1)]
    save_conversations(tmp_path / "my.jsonl", records, root=data)
    assert load_conversations(tmp_path / "my.jsonl", root=data) == records


def test_what_would_not_load_is_not_saved(data):
    path = data / "my.jsonl"
    path.write_text("old")
    good = Record((data / "cat.png",), (Turn("q", "a"),))
    outside = Record((data.parent / "secret.png",), (Turn("q", "a"),))
    bad = [
        outside,
        Record((data / "gone.png",), (Turn("q", "a"),)),
        Record((), (Turn("q", ""),)),
        Record((), (Turn("q", "\ud800"),)),
        Record((), (Turn("q", 3),)),
        Record((), ()),
        Record((), (Turn("q", "a" * 2**20),)),
        Record((data / "\udc80.png",), (Turn("q", "a"),)),
    ]
    with pytest.raises(DataError, match=r"my\.jsonl has 8 faulty lines: line 2: the picture .* is outside") as caught:
        save_conversations(path, [good, *bad])
    assert [number for number, _ in caught.value.faults] == list(range(2, 10))
    with pytest.raises(DataError, match="there are no conversations to save"):
        save_conversations(path, [])
    assert path.read_text() == "old"
    save_conversations(path, [outside], allow_outside=True)
    assert load_conversations(path, allow_outside=True)[0].images == outside.images


def test_a_save_that_fails_leaves_the_old_file(data, monkeypatch):
    path = write(data, GOOD)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_conversations(path, [Record((), (Turn("q", "a"),))])
    assert path.read_bytes() == before
    assert sorted(file.name for file in data.iterdir()) == ["cat.png", "my.jsonl", "sub"]


# Plain text and kinds


def test_plain_text_is_read_with_newlines_as_line_ends(data):
    path = data / "my.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n" + "四\u2028".encode())
    assert load_plain_text(path) == "one\ntwo\nthree\n四\u2028"


@pytest.mark.parametrize("content", [b"", b" \n\t\n", b"\xef\xbb\xbf"])
def test_an_empty_text_is_refused(data, content):
    (data / "my.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"my\.txt' is empty: there is nothing to learn from"):
        load_plain_text(data / "my.txt")


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_text_that_is_not_utf8_is_refused_with_the_offset_of_the_byte(data, start):
    content = start + "日本".encode() + "狗".encode("gbk")
    (data / "my.txt").write_bytes(content)
    offset = len(start) + 6
    with pytest.raises(DataError, match=rf"is not UTF-8 text: the byte 0xb9 at offset {offset} does not fit"):
        load_plain_text(data / "my.txt")
    assert content[offset] == 0xB9


def test_binary_files_are_no_texts(data):
    (data / "my.txt").write_bytes("é".encode() + b"a\0b")
    with pytest.raises(DataError, match="is not a text: it has a zero byte at offset 3"):
        load_plain_text(data / "my.txt")


def test_a_text_must_be_longer_than_the_context(data):
    path = data / "my.txt"
    path.write_text("字" * 10 + "ab", encoding="utf-8")  # 32 bytes
    assert len(load_plain_text(path, context_length=31)) == 12
    with pytest.raises(DataError, match=r"my\.txt' has 32 bytes, too short for a context of 32 tokens"):
        load_plain_text(path, context_length=32)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.jsonl", "jsonl"), ("b.JSONL", "jsonl"), ("c.d.txt", "txt"), ("jsonl.txt", "txt")]
)
def test_the_kind_of_a_file_is_in_its_name(name, kind):
    assert kind_of(name) == kind


@pytest.mark.parametrize("name", ["a.json", "a.csv", "jsonl", ".txt", "a.txt.gz", ""])
def test_other_names_are_refused(name):
    with pytest.raises(DataError, match=r"must end in \.jsonl \(conversations, one JSON object a line\) or \.txt"):
        kind_of(name)


# Hostile files: whatever the bytes are, the only error is DataError

SEED_LINES = [
    GOOD,
    turn(caption="一只猫"),
    {"images": ["cat.png", "sub/狗 1.png"], "turns": [{"question": "q\u2028", "answer": 'a\\"🐱', "family": "f"}]},
    {"images": [], "turns": [{"question": "1", "answer": "2"}] * 3, "family": "all"},
]
TOKENS = (
    *rb'{ } [ ] , : " \ \u001b \ud83d \udc31 null true NaN -1e999 ../ / ~ cat.png'.split(),
    *b'"images" "turns" "answer" "caption" "question" "family"'.split(),
    *(b"\0", b"\r", b"\n", b"\xff", b"\xf0\x9f", b"\xed\xa0\x80", b"\xef\xbb\xbf"),
)


def mutated(content, generator):
    """A few bytes changed, cut, doubled, or replaced by something that JSON or a path may trip over."""
    content = bytearray(content)
    for _ in range(generator.choice((1, 1, 1, 2, 3, 8))):
        place = generator.randrange(len(content) + 1)
        length = generator.choice((0, 1, 1, 2, 10, 40))
        replacement = generator.choice(
            (
                b"",
                bytes([generator.randrange(256)]),
                generator.choice(TOKENS),
                bytes(content[place : place + length]) * 2,
            )
        )
        content[place : place + length] = replacement
    return bytes(content)


def outcome(path):
    """How many records there are, or the faults; anything but a DataError goes through and fails the test."""
    try:
        records = load_conversations(path)
    except DataError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert message.isprintable()
        return "refused"
    assert all(record.turns for record in records)
    assert all(turn.answer.strip() and turn.question.strip() for record in records for turn in record.turns)
    assert all(path.parent in image.resolve().parents for record in records for image in record.images)
    return "read"


def test_mutated_files_are_read_or_refused(data):
    generator = random.Random(2)
    whole = "\n".join(json.dumps(line, ensure_ascii=False) for line in SEED_LINES).encode()
    path = data / "my.jsonl"
    outcomes = []
    for _ in range(500):
        path.write_bytes(mutated(whole, generator))
        outcomes.append(outcome(path))
    assert {"read", "refused"} == set(outcomes)
    assert outcomes.count("read") > 20  # or the mutations are too wild to reach the deeper checks


def test_mutated_pictures_are_read_or_refused(data):
    generator = random.Random(3)
    path = write(data, {"images": ["bad.png"], "turns": [{"answer": "a"}]})
    sources = []
    for format_name in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"):
        noise().save(data / "source", format=format_name)
        sources.append((data / "source").read_bytes())
    outcomes = []
    for number in range(240):
        (data / "bad.png").write_bytes(mutated(sources[number % len(sources)], generator))
        outcomes.append(outcome(path))
    assert {"read", "refused"} == set(outcomes)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["cat.png", "../x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["images", "turns", "question", "answer", "caption", "family"]) | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
NEARLY_TURNS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["question", "answer", "caption", "family"], JSON_VALUES)
)
NEARLY_CONVERSATIONS = st.fixed_dictionaries(
    {"images": st.lists(JSON_VALUES, max_size=2), "turns": st.lists(NEARLY_TURNS | JSON_VALUES, max_size=2)},
    optional={"family": JSON_VALUES},
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(line=NEARLY_CONVERSATIONS | JSON_VALUES)
def test_any_json_is_read_or_refused(data, line):
    outcome(write(data, line))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data, content):
    path = data / "my.jsonl"
    path.write_bytes(content)
    assert outcome(path) == "refused"
    with contextlib.suppress(DataError):
        assert load_plain_text(path).strip()
