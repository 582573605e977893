"""The command line, but for training (test_cli_train.py): what it answers, and how it says no."""

import io
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import zlib

import pytest
from cli_helpers import assert_harmless, invoke, program, refuse, succeed, write_own_data
from PIL import Image
from safetensors.torch import load_file, save_file

from minigpt4v import __version__, evaluation
from minigpt4v.cli import main
from minigpt4v.commands import info, options, output
from minigpt4v.datasets.emoji import HELD_OUT_STYLE, STYLES
from minigpt4v.datasets.scenes import SPLITS
from minigpt4v.presets import PRESETS


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_own_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def own(data, tmp_path_factory):
    """A model that knows two pictures by heart."""
    folder = tmp_path_factory.mktemp("own") / "model"
    result = succeed("train", "--data", data, "--steps", 100, "--out", folder)
    assert result.stdout == f"{folder}\n"
    return folder


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    """A language model that knows one sentence."""
    folder = tmp_path_factory.mktemp("writer")
    (folder / "text.txt").write_text("the cat sat on the mat. " * 300)
    succeed("train", "--data", folder / "text.txt", "--tokenizer", "char", "--steps", 8, "--out", folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model of EmojiScenes that has hardly begun to learn."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    succeed("train", "--preset", "tiny", "--steps", 2, "--out", folder)
    return folder


@pytest.fixture
def red(data):
    return data.parent / "red.png"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Help


COMMANDS = (
    *("ask", "caption", "chat", "check", "evaluate", "export", "grade", "handout"),
    *("info", "progress", "scene", "start", "train", "write"),
)


def test_help_names_every_command_in_full():
    result = succeed("--help")
    assert tuple(re.findall(r"^  (\w+)  +[A-Z]\w+ .+\.$", result.stdout, re.MULTILINE)) == COMMANDS
    assert "..." not in result.stdout.partition("Commands:")[2]  # no description is cut off
    assert "Examples:\n    minigpt4v scene" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command):
    result = succeed(command, "-h")
    assert result.stdout.startswith(f"Usage: main {command} ")
    assert command == "info" or f"Examples:\n    minigpt4v {command}" in result.stdout or command == "write"
    assert "Traceback" not in result.output


def test_no_command_shows_the_help():
    result = invoke()
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


def test_version():
    assert succeed("--version").stdout == f"minigpt4v, version {__version__}\n"


def test_the_names_to_choose_from_are_those_of_the_library():
    assert tuple(PRESETS) == options.PRESETS
    assert ("train", *options.SPLITS) == SPLITS
    assert (*STYLES, HELD_OUT_STYLE) == options.STYLES
    assert options.WORLDS == ("core16", "core64", "all")


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["evaluate", "--help"], ["--version"]])
def test_help_does_not_wait_for_what_is_slow(arguments):
    code = (
        "import sys; from minigpt4v.cli import main; main(sys.argv[1:], standalone_mode=False); "
        "slow = {'torch', 'numpy', 'PIL', 'matplotlib', 'accelerate', 'einops'} & set(sys.modules); "
        "assert not slow, slow"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


# Answers


def test_ask_answers_on_stdout_and_says_the_rest_on_stderr(own, red):
    result = succeed("ask", red, "what colour is it", "--model", own)
    assert result.stdout == "red\n"
    assert "picture: 30x20 resized to 64x43 and padded with the border colour" in result.stderr
    assert re.search(r"^\d+% sure$", result.stderr, re.MULTILINE)


def test_ask_in_json(own, red):
    found = json.loads(succeed("ask", red, "What colour is it?", "--model", own, "--json").stdout)
    assert (found["answer"], found["question"], found["picture"]) == ("red", "What colour is it?", str(red))
    assert found["notes"] == ["30x20 resized to 64x43 and padded with the border colour"]
    assert "".join(token["text"] for token in found["tokens"]) == "red"
    product = 1.0
    for token in found["tokens"]:
        assert all(0 <= chance <= token["probability"] for _, chance in token["runners_up"])
        product *= token["probability"]
    assert found["confidence"] == pytest.approx(product, abs=1e-4)
    assert 0.5 < product <= 1


@pytest.mark.parametrize(
    ("lang", "answer"), [([], "only red"), (["--lang", "en"], "only red"), (["--lang", "zh"], "红色")]
)
def test_caption_speaks_two_languages(own, red, lang, answer):
    assert succeed("caption", red, "--model", own, *lang).stdout == f"{answer}\n"
    assert json.loads(succeed("caption", red, "--model", own, *lang, "--json").stdout)["answer"] == answer


@pytest.mark.parametrize(
    "question", ["<|end|><|user|>", "a" * 300, "猫" * 50, "\x1b[31mred?\x07", "what\ncolour", "-", "\u202eevil"]
)
def test_any_question_that_fits_is_answered(own, red, question):
    result = succeed("ask", "--model", own, "--", red, question)
    assert_harmless(result.output)
    found = succeed("ask", "--json", "--model", own, "--", red, question)
    assert_harmless(found.output)
    assert " ".join(question.split()).lower() in json.loads(found.stdout)["question"].lower()


def test_sampling_follows_its_seed(own, red):
    hot = ("ask", red, "What colour is it?", "--model", own, "--temperature", 8, "--json")
    first, again, other = (succeed(*hot, "--seed", seed).stdout for seed in (1, 1, 2))
    assert first == again != other
    assert len({succeed(*hot).stdout for _ in range(3)}) > 1  # without a seed, every call draws anew
    sure = ("--top-k", 1), ("--top-p", 0.0001)
    assert all(json.loads(succeed(*hot, *only).stdout)["answer"] == "red" for only in sure)


def test_the_model_may_be_a_shipped_one(own, red, tmp_path, monkeypatch):
    shutil.copytree(own, tmp_path / "checkpoints" / "laptop")
    monkeypatch.setattr("minigpt4v.gpt4v.data_folder", lambda: tmp_path)
    assert succeed("ask", red, "What colour is it?").stdout == "red\n"


# Chat


def test_chat_remembers(own, red):
    result = succeed("chat", red, "--model", own, stdin="What colour is it?\n\nand what is it\n")
    assert result.stdout == "red\na red wall\n"
    assert "Ask about" not in result.stderr  # nobody is there to read it


def test_chat_in_json_gives_a_line_for_each_answer(own, red):
    lines = succeed(
        "chat", red, "--model", own, "--json", stdin="What colour is it?\nAnd what is it?"
    ).stdout.splitlines()
    assert [json.loads(line)["answer"] for line in lines] == ["red", "a red wall"]
    assert json.loads(lines[0]).keys() == {"question", "answer", "confidence"}


@pytest.mark.parametrize("word", ["exit", "quit", "EXIT"])
def test_chat_ends_at_a_word(own, red, word):
    assert (
        succeed("chat", red, "--model", own, stdin=f"What colour is it?\n{word}\nAnd what is it?\n").stdout == "red\n"
    )


def test_chat_forgets_at_a_word(own, red):
    remembered = succeed("chat", red, "--model", own, "--json", stdin="What colour is it?\nAnd what is it?\n")
    forgotten = succeed("chat", red, "--model", own, "--json", stdin="What colour is it?\nnew\nAnd what is it?\n")
    alone = succeed("chat", red, "--model", own, "--json", stdin="And what is it?\n")
    assert forgotten.stdout.splitlines()[1] == alone.stdout.splitlines()[0] != remembered.stdout.splitlines()[1]


def test_chat_by_pipe_ends_at_what_cannot_be_answered(own, red):
    result = invoke("chat", red, "--model", own, stdin=f"What colour is it?\n{'why ' * 500}\nAnd what is it?\n")
    assert result.exit_code == 2
    assert result.stdout == "red\n"
    assert "Error: the conversation has" in result.stderr


def test_chat_by_hand(own, red):
    """At a terminal: a prompt, answers, an error that ends nothing, and Ctrl-D."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "minigpt4v", "chat", str(red), "--model", str(own)]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        os.write(ours, b"what colour is it\n" + b"why " * 500 + b"\nand what is it\n\x04")
        stdout, stderr = process.communicate(timeout=60)
    os.close(ours), os.close(theirs)
    assert process.returncode == 0
    assert stdout == "red\na red wall\n"
    assert 'Ask about the picture, in English or Chinese. "new" starts again, "exit" ends.' in stderr
    assert stderr.count("> ") == 4
    assert "Error: the conversation has" in stderr


def test_chat_survives_bytes_that_are_no_text(own, red, tmp_path):
    process = program("chat", red, "--model", own, cwd=tmp_path)
    stdout, stderr = process.communicate(b"\xff\xfe\nWhat colour is it?\n", timeout=60)
    assert process.returncode == 0, stderr
    assert len(stdout.decode().splitlines()) == 2


def test_ctrl_c_ends_a_chat(own, red, tmp_path):
    process = program("chat", red, "--model", own, cwd=tmp_path)
    process.stdin.write(b"What colour is it?\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"red\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    assert b"stopped" in stderr


# Writing


def test_write_goes_on_with_a_text(writer):
    assert succeed("write", "the cat sat on the", "--model", writer, "--tokens", 5).stdout.startswith(
        "the cat sat on the"
    )
    found = json.loads(succeed("write", "the cat", "--model", writer, "--tokens", 5, "--json").stdout)
    assert found["beginning"] == "the cat"
    assert len(found["text"]) == 5


def test_a_text_is_measured(writer, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat. " * 10)
    found = json.loads(succeed("evaluate", "--model", writer, "--data", text, "--json").stdout)
    assert found["tokens"] == 239
    assert found["bits_per_byte"] < 5
    shown = succeed("evaluate", "--model", writer, "--data", text).stdout
    assert f"perplexity     {found['perplexity']:>12,.6g}" in shown


# Evaluation


def test_evaluate_counts_exact_matches(own, data):
    found = json.loads(succeed("evaluate", "--model", own, "--data", data, "--json").stdout)
    assert (found["accuracy"], found["questions"]) == (1, 10)
    assert {name: row["count"] for name, row in found["families"].items()} == {"colour": 2, "thing": 2, "other": 6}
    shown = succeed("evaluate", "--model", own, "--data", data).stdout
    assert shown.startswith("100.0% of 10 answers right\n")
    assert re.search(r"^  colour +100\.0%  100\.0% to 100\.0% +2$", shown, re.MULTILINE)


def test_evaluate_on_scenes(tiny, monkeypatch):
    monkeypatch.setattr(evaluation.TextOnly.__init__, "__defaults__", (120,))
    command = ("evaluate", "--model", tiny, "--scenes", 2, "--split", "style", "--split", "seen", "--split", "style")
    result = succeed(*command, "--json")
    found = json.loads(result.stdout)
    assert (found["world"], found["scenes"], found["seed"]) == ("core16", 2, 1)  # the world of its training
    assert list(found["splits"]) == ["style", "seen"]
    assert found["splits"]["style"]["baselines"].keys() == {"guess", "text_only", "blind", "shuffled"}
    assert result.stderr.splitlines() == [
        f"2 scenes of the split {split!r} of core16 ..." for split in ("style", "seen")
    ]
    shown = succeed(*command).stdout
    assert re.search(r"^style: \d+\.\d% over all families, \d+ questions$", shown, re.MULTILINE)
    assert re.search(r"^  family +right  95% interval +count +guess +text_only +blind +shuffled$", shown, re.MULTILINE)
    assert re.search(r"^  all families +\d+\.\d%( +\d+\.\d%){4}$", shown, re.MULTILINE)
    assert re.search(r"^by language: en \d+\.\d%, zh \d+\.\d%; confidence is off by", shown, re.MULTILINE)


def test_evaluate_without_baselines_in_another_world(tiny):
    command = ("evaluate", "--model", tiny, "--scenes", 2, "--split", "seen", "--no-baselines", "--world", "core64")
    found = json.loads(succeed(*command, "--json", "--seed", 7).stdout)
    assert (found["world"], found["seed"]) == ("core64", 7)
    assert "baselines" not in found["splits"]["seen"]
    assert "guess" not in succeed(*command).stdout


# Scenes


def test_scene_draws_what_is_described(here):
    text = "a cat at the top left, a dog at the bottom right, on a blue ground"
    result = succeed("scene", text, "--seed", 3, "--style", "noto")
    assert result.stdout == "A cat at the top left and a dog at the bottom right.\n左上角有一只猫，右下角有一只狗。\n"
    assert result.stderr == "scene.png, seed 3\n"
    with Image.open("scene.png") as picture:
        assert (picture.size, picture.mode, picture.format) == ((64, 64), "RGB", "PNG")
        assert picture.getpixel((63, 0)) == (170, 205, 250)


def test_scene_in_json_is_the_record(here):
    found = json.loads(succeed("scene", "左上角有一只猫", "--seed", 3, "--style", "twemoji", "--json").stdout)
    (thing,) = found["things"]
    assert (thing["en"], thing["zh"], thing["place"], thing["style"]) == ("cat", "猫", "top left", "twemoji")
    assert found["captions"] == {"en": "A cat at the top left.", "zh": "左上角有一只猫。"}
    x, y, size = thing["box"]
    with Image.open(found["picture"]) as picture:
        ground = picture.getpixel((63, 63))
        inside = picture.crop((x, y, x + size, y + size))
    assert len(inside.getcolors(4096)) > 50
    assert max(abs(a - b) for a, b in zip(ground, {"white": (255,) * 3}.get(found["ground"], ground), strict=True)) < 2


def test_scenes_follow_their_seed(here):
    first, again = (succeed("scene", "--seed", 5, "--json", "--out", f"{name}.png").stdout for name in "ab")
    assert json.loads(first)["things"] == json.loads(again)["things"]
    assert (here / "a.png").read_bytes() == (here / "b.png").read_bytes()
    others = {succeed("scene", "--out", "c.png").stdout for _ in range(4)}
    assert len(others) > 1


@pytest.mark.parametrize("world", ["core16", "core64", "all"])
@pytest.mark.parametrize("style", [None, *options.STYLES])
def test_random_scenes_of_every_style_and_world(here, world, style):
    found = json.loads(
        succeed("scene", "--world", world, "--seed", 1, "--json", *(["--style", style] if style else [])).stdout
    )
    assert 1 <= len(found["things"]) <= 4
    assert {thing["style"] for thing in found["things"]} <= ({style} if style else set(STYLES))


# Info


def test_info_says_what_is_there(own, tmp_path, monkeypatch):
    folder = tmp_path / "checkpoints" / "laptop"
    shutil.copytree(own, folder)
    metrics = {"splits": {"seen": {"accuracy": 0.961}, "style": {"accuracy": 0.84}}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    shutil.copytree(own, tmp_path / "checkpoints" / "other")
    shutil.copytree(own, tmp_path / "checkpoints" / "plays")
    (tmp_path / "checkpoints" / "plays" / "metrics.json").write_text('{"held_out": {"bits_per_byte": 2.056}}')
    for module in ("gpt4v", "paths"):
        monkeypatch.setattr(f"minigpt4v.{module}.data_folder", lambda: tmp_path)
    monkeypatch.setattr(info, "_nouns", lambda: {"core64": 71})
    monkeypatch.setattr("minigpt4v.plot.fonts.font_families", lambda: ("DejaVu Sans",))
    shown = succeed("info").stdout
    assert shown.startswith(f"minigpt4v {__version__}, Python ")
    assert "model     laptop: seen 96.1%, style 84.0%\n" in shown
    assert "model     other: not measured\n" in shown
    assert "model     plays: writes; 2.06 bits per byte of held-out text\n" in shown
    found = json.loads(succeed("info", "--json").stdout)
    assert found["models"][0] == {"name": "laptop", "accuracy": {"seen": 0.961, "style": 0.84}}


def test_info_without_a_shipped_model(monkeypatch):
    monkeypatch.setattr("minigpt4v.gpt4v.shipped_checkpoints", list)
    shown = succeed("info").stdout
    assert "model     none is shipped: train one with `minigpt4v train --preset laptop`" in shown
    assert "world     core64: " in shown
    assert "twemoji (never seen in training)" in shown


@pytest.mark.parametrize("gpu", [None, "H100"])
def test_info_names_the_device(monkeypatch, gpu):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu is not None)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: gpu)
    assert succeed("info").stdout.splitlines()[1] == f"device    {'GPU: H100' if gpu else 'CPU, threads: 1'}"


# Bad input: pictures


def png_header(width, height):
    """A PNG that claims to be that large, and is a hundred bytes."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def truncated_png():
    file = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(file, "PNG")
    return file.getvalue()[:600]


BAD_PICTURES = {
    "missing.png": (None, "there is no picture file"),
    "empty.png": (b"", "is an empty file"),
    "truncated.png": (truncated_png(), "is damaged or cut short"),
    "text.png": (b"hello, I am a picture", "is not a picture that can be read"),
    "huge.png": (png_header(60_000, 60_000), "has too many pixels"),
    "evil\x1b[31m\x07.png": (b"", "is an empty file"),
    "\u202egnp.exe": (None, "there is no picture file"),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
@pytest.mark.parametrize("command", [("ask", "why"), ("caption",), ("chat",)], ids=lambda command: command[0])
def test_bad_pictures(own, tmp_path, command, name):
    content, fault = BAD_PICTURES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    error = refuse(command[0], tmp_path / name, *command[1:], "--model", own, stdin="why\n")
    assert fault in error
    assert name.encode("unicode_escape").decode() in error


def test_a_folder_or_a_pipe_is_no_picture(own, tmp_path):
    assert "is a folder" in refuse("ask", tmp_path, "why", "--model", own)
    os.mkfifo(tmp_path / "pipe.png")
    assert "is a pipe" in refuse("ask", tmp_path / "pipe.png", "why", "--model", own)


def test_a_bad_picture_is_refused_without_waiting_for_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr("minigpt4v.commands.talk.load_model", lambda name: pytest.fail("the model was loaded"))
    refuse("ask", tmp_path / "missing.png", "why")


# Bad input: questions and options


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["ask", "{red}", ""], "the question is empty"),
        (["ask", "{red}", " \n "], "the question is empty"),
        (["ask", "{red}", "why " * 500], "tokens but the model reads at most 384"),
        (["ask", "{red}", "\ud800"], "lone surrogate"),
        (["ask", "{red}"], "Missing argument 'QUESTION'. (see main ask --help)"),
        (["ask", "{red}", "why", "more"], "unexpected extra argument"),
        (["ask", "{red}", "why", "--temperature", "-1"], "temperature must be 0 (greedy) or at least 0.001, not -1.0"),
        (["ask", "{red}", "why", "--temperature", "nan"], "not nan"),
        (["ask", "{red}", "why", "--temperature", "hot"], "'hot' is not a valid float"),
        (["ask", "{red}", "why", "--temperature", "1", "--top-k", "0"], "top_k must be a whole number of at least 1"),
        (["ask", "{red}", "why", "--temperature", "1", "--top-k", "1.5"], "'1.5' is not a valid integer"),
        (["ask", "{red}", "why", "--temperature", "1", "--top-p", "0"], "top_p must be above 0 and at most 1"),
        (["ask", "{red}", "why", "--temperature", "1", "--top-p", "1.5"], "not 1.5"),
        (["ask", "{red}", "why", "--temperature", "1", "--seed", "-1"], "-1 is not in the range"),
        (["ask", "{red}", "why", "--temperature", "1", "--seed", "9" * 30], "is not in the range"),
        (["ask", "{red}", "why", "--top-k", "5"], "--top-k does nothing at temperature 0"),
        (["ask", "{red}", "why", "--seed", "5"], "--seed does nothing at temperature 0"),
        (["caption", "{red}", "--lang", "fr"], "'fr' is not one of 'en', 'zh'"),
        (["caption", "{red}", "--lang", "\x1b[31m"], r"'\x1b[31m' is not one of"),
        (["caption", "{red}", "--\x1b[31mevil"], "No such option"),
        (["capti\x1bon", "{red}"], "No such command"),
        (["ask", "{red}", "why", "--model", "gpt5"], "no model at 'gpt5': give a folder"),
        (["ask", "{red}", "why", "--model", "\x1b[31m"], "no model at"),
        (["write", "once", "--model", "{own}"], "no language model at"),
        (["write", "once", "--model", "nowhere"], "no language model at 'nowhere'"),
        (["write", "", "--model", "{writer}"], "the beginning has 0 tokens"),
        (["write", "X", "--model", "{writer}"], "character 'X' (U+0058)"),
        (["write", "t", "--tokens", "0", "--model", "{writer}"], "0 is not in the range"),
        (["ask", "{red}", "why", "--model", "{writer}"], "is a language model and cannot see"),
        (["evaluate", "--scenes", "1"], "1 is not in the range"),
        (["evaluate", "--split", "train"], "'train' is not one of 'seen', 'style', 'pairs', 'concepts'"),
        (["evaluate", "--world", "mars"], "'mars' is not one of"),
        (["evaluate", "--device", "tpu"], "'tpu' is not one of"),
        (["evaluate", "--allow-outside"], "--allow-outside goes with --data"),
        (["evaluate", "--data", "{data}", "--scenes", "9"], "--scenes is for scenes: leave it out with --data"),
        (["evaluate", "--data", "{data}", "--split", "seen"], "--split is for scenes"),
        (["evaluate", "--data", "{data}", "--no-baselines"], "--baselines is for scenes"),
        (["evaluate", "--data", "nowhere.jsonl"], "there is no file 'nowhere.jsonl'"),
        (["evaluate", "--data", "my.csv"], "'my.csv' is no data file by its name"),
        (["evaluate", "--data", "{text}", "--model", "{own}"], "no language model at"),
        (["evaluate", "--data", "{text}", "--model", "{writer}"], "nothing to foretell"),
        (["scene", "a dodo"], "unknown thing 'dodo'"),
        (["scene", "\x1b[31m"], "unknown thing"),
        (["scene", ""], "names no thing"),
        (["scene", "--style", "crayon"], "'crayon' is not one of"),
        (["scene", "--seed", "x"], "'x' is not a valid integer"),
        (["scene", "--out", "scene.jpg"], "--out 'scene.jpg': the picture is a PNG"),
        (["scene", "--out", "nowhere/scene.png"], "'nowhere/scene.png' cannot be written"),
        (["scene", "--out", "folder.png"], "'folder.png' cannot be written"),
    ],
)
def test_bad_questions_and_options(own, writer, data, red, here, arguments, fault):
    (here / "t.txt").write_text("t")
    (here / "folder.png").mkdir()
    before = sorted(here.rglob("*"))
    values = {"own": own, "writer": writer, "data": data, "red": red, "text": here / "t.txt"}
    filled = [re.sub(r"\{(\w+)\}", lambda slot: str(values[slot[1]]), each) for each in arguments]
    if filled[0] in ("ask", "caption") and "--model" not in filled:
        filled += ["--model", str(own)]
    error = refuse(*filled)
    assert fault in error
    assert sorted(here.rglob("*")) == before  # nothing half written, nothing written at all


def test_cuda_is_refused_where_there_is_none(tiny, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "no CUDA device was found" in refuse("evaluate", "--model", tiny, "--device", "cuda")
    assert options.choose_device("auto").type == "cpu"


def test_cuda_is_chosen_where_there_is_one(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert options.choose_device("auto").type == options.choose_device("cuda").type == "cuda"
    assert options.choose_device("cpu").type == "cpu"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert options.choose_device("auto").index == options.choose_device("cuda").index == 3
    assert options.choose_device("cpu").index is None


# Bad input: models


def change(name, value):
    def damage(folder):
        config = json.loads((folder / "config.json").read_text())
        section, _, field = name.partition(".")
        config[section][field] = value
        (folder / "config.json").write_text(json.dumps(config))

    return damage


def replace_file(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def remove(name):
    return lambda folder: (folder / name).unlink()


def poison(folder):
    weights = load_file(folder / "model.safetensors")
    weights["gpt.head.weight"][0, 0] = float("inf")
    save_file(weights, folder / "model.safetensors")


def rename(folder):
    weights = load_file(folder / "model.safetensors")
    weights["evil\x1b[31m"] = weights.pop("gpt.head.weight")
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (change("text.layers", 2), "do not fit its config.json: gpt.blocks.2."),
        (change("text.width", 48), "encoder makes tokens of width 96 but the GPT reads width 48"),
        (change("text.vocabulary_size", 300), "tokens but the model is configured for 300"),
        (change("text.colour", "red"), "not a model configuration"),
        (change("text.heads", "six"), "heads"),
        (change("vision.image_size", 60), "image_size 60 is not a multiple of patch_size 16"),
        (replace_file("config.json", b"{"), "not a model configuration"),
        (replace_file("config.json", b"[]"), "not a model configuration"),
        (replace_file("config.json", b"\xff\xfe"), "config.json cannot be used"),
        (replace_file("model.safetensors", b"\x80\x04\x95pickle"), "cannot be read as safetensors"),
        (replace_file("model.safetensors", b""), "cannot be read as safetensors"),
        (replace_file("tokenizer.json", b"{}"), "tokenizer.json"),
        (remove("model.safetensors"), "cannot be read as safetensors"),
        (remove("tokenizer.json"), "tokenizer.json"),
        (remove("config.json"), "no model at"),
        (poison, "gpt.head.weight holds numbers that are not finite"),
        (rename, "gpt.head.weight is missing"),
    ],
)
def test_models_that_do_not_fit_together(own, red, tmp_path, damage, fault):
    folder = tmp_path / "model"
    shutil.copytree(own, folder)
    damage(folder)
    assert fault in refuse("ask", red, "why", "--model", folder)


# Bad input: data


def test_every_faulty_line_is_reported(own, tmp_path):
    (tmp_path / "my.jsonl").write_text(
        "\n".join(
            [
                '{"images": [], "turns": [{"question": "Why?", "answer": "so"}]}',
                '{"images": ["missing.png"], "turns": [{"answer": "a cat"}]}',
                "{",
                '{"images": [], "turns": [{"question": "\\u001b[31m", "answer": "so"}]}',
                '{"images": [], "turns": [{"question": "Why?", "ansver": "so"}]}',
            ]
        )
    )
    result = invoke("evaluate", "--model", own, "--data", tmp_path / "my.jsonl")
    assert result.exit_code == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert [line.split(": ")[0] for line in lines] == [*(f"my.jsonl:{number}" for number in (2, 3, 4, 5)), "Error"]
    assert lines[-1] == "Error: my.jsonl has 4 faulty lines: correct what is listed above"
    assert_harmless(result.output)


def test_pictures_outside_the_folder_must_be_allowed(own, red, tmp_path):
    (tmp_path / "my.jsonl").write_text(
        json.dumps({"images": [str(red)], "turns": [{"question": "What colour is it?", "answer": "red"}]})
    )
    result = invoke("evaluate", "--model", own, "--data", tmp_path / "my.jsonl")
    assert result.exit_code == 2
    assert "is outside the folder of the data" in result.stderr
    assert "my.jsonl has 1 faulty line:" in result.stderr
    assert (
        "100.0% of 1" in succeed("evaluate", "--model", own, "--data", tmp_path / "my.jsonl", "--allow-outside").stdout
    )


# The program as a whole


@pytest.mark.parametrize("text", ["plain 猫\ttab\n", "", "👩‍🚀 é مرحبا"])
def test_writing_is_printed_as_it_is(text):
    assert output.printable(text) == text


@pytest.mark.parametrize(
    "text", ["\x1b[31m", "\x07", "\x9b31m", "\x7f", "\r", "\u202e", "\u2066", "\ud800", "\x00", "\u2028"]
)
def test_what_could_steer_a_terminal_is_not_printed(text):
    shown = output.printable(f"a{text}b")
    assert_harmless(shown)
    assert json.loads(f'"{shown}"') == f"a{text}b"  # in JSON the same character still


def test_an_answer_that_a_terminal_cannot_show_is_escaped(own, red, tmp_path):
    process = program("caption", red, "--lang", "zh", "--model", own, cwd=tmp_path, env={"PYTHONIOENCODING": "latin-1"})
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert stdout.decode("latin-1") == "\\u7ea2\\u8272\n"


def test_a_process_ends_with_one_sentence_and_the_right_code(tmp_path):
    process = program("ask", "missing.png", "why", cwd=tmp_path)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (2, b"")
    assert stderr.decode() == "Error: there is no picture file 'missing.png': check name and folder\n"


def test_a_reader_that_has_gone_is_no_traceback(tmp_path):
    with program("scene", "--json", cwd=tmp_path) as process:
        process.stdout.close()
        process.wait(timeout=60)
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("bad\nvalue \x1b"), 2, "Error: bad value \\u001b\n"),
        (OSError(28, "No space left on device"), 1, "Error: the disk is full: make room, and try again\n"),
        (OSError(30, "Read-only", "my.txt"), 1, "Error: 'my.txt' may not be written to: its disk is read-only\n"),
        (OSError(5, "Input/output error", "my.txt"), 1, "Error: 'my.txt': Input/output error\n"),
        (OSError("nothing of the system"), 1, "Error: nothing of the system\n"),
        (FloatingPointError("the loss became nan"), 1, "Error: the loss became nan\n"),
        (KeyboardInterrupt(), 130, "\nError: stopped\n"),
    ],
)
def test_errors_become_exit_codes(monkeypatch, error, code, said):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("minigpt4v.commands.info._gather", fail)
    result = invoke("info")
    assert (result.exit_code, result.stderr) == (code, said)


def test_a_mistake_of_ours_is_not_taken_for_bad_input(monkeypatch):
    monkeypatch.setattr("minigpt4v.commands.info._gather", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        invoke("info")


def test_it_can_be_called_from_a_program():
    assert main(["--version"], standalone_mode=False) == 0
