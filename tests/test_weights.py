"""Weights of strangers: what cannot be read, what does not fit, and what would take more memory than there is."""

import json
import os
import pickle
import struct

import pytest
import torch
from safetensors.torch import save_file
from small_models import small_gpt4v

from minigpt4v import gpt4v, language_model
from minigpt4v.gpt4v import GPT4V
from minigpt4v.language_model import LanguageModel
from minigpt4v.weights import Size, check_size, fault_of, read_weights

HEAD = "gpt.head.weight"


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "model"
    small_gpt4v("conv").save_pretrained(folder)
    return folder


def one_tensor(path, kind, shape, content):
    """A safetensors file with one tensor, of any type."""
    header = json.dumps({"a": {"dtype": kind, "shape": shape, "data_offsets": [0, len(content)]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + content)


@pytest.mark.parametrize("kind", ["F6_E2M3", "F8_E8M0", "Q4", "f32"])
def test_types_that_nobody_knows_are_refused(tmp_path, kind):
    """safetensors raises a KeyError for those that PyTorch has not."""
    path = tmp_path / "model.safetensors"
    one_tensor(path, kind, [4], bytes(3 if "6" in kind else 2))
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read as safetensors: "):
        read_weights(path)


@pytest.mark.parametrize("content", [pickle.dumps({}), b"PK\x03\x04 and so on"])
def test_a_pickle_is_refused_with_a_word_why(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="it looks like a pickle, which could run any program when loaded: save the"):
        read_weights(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_pipe_is_not_waited_for(saved, name):
    (saved / name).unlink()
    os.mkfifo(saved / name)
    with pytest.raises(ValueError, match=f"{name}.* is a pipe, socket or device"):
        GPT4V.from_pretrained(saved)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (torch.ones(2, 3), ""),
        (torch.ones(2, 3, dtype=torch.float64), ""),
        (torch.ones(2, 3, dtype=torch.bfloat16), ""),
        (torch.ones(3, 2), "is [3, 2] instead of [2, 3]"),
        (torch.full((2, 3), 1e300, dtype=torch.float64), "holds numbers that are not finite"),
        (torch.full((2, 3), torch.nan), "holds numbers that are not finite"),
        (torch.ones(2, 3, dtype=torch.complex64), "holds torch.complex64 instead of torch.float32"),
        (torch.ones(2, 3, dtype=torch.float8_e4m3fn), "holds torch.float8_e4m3fn instead of torch.float32"),
        (torch.ones(2, 3, dtype=torch.int64), "holds torch.int64 instead of torch.float32"),
    ],
)
def test_tensors_that_fit_and_that_do_not(given, fault):
    assert fault_of(given, torch.zeros(2, 3)) == fault


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e5m2, torch.float64])
def test_a_model_with_numbers_of_another_kind_is_refused(saved, dtype):
    weights = read_weights(saved / "model.safetensors")
    weights = {name: tensor.clone() for name, tensor in weights.items()}
    value = 1e300 if dtype is torch.float64 else 1.0
    weights[HEAD] = torch.full(weights[HEAD].shape, value, dtype=torch.float64).to(dtype)
    save_file(weights, saved / "model.safetensors")
    with pytest.raises(ValueError, match=rf"{HEAD} holds (torch\.|numbers that are not finite)"):
        GPT4V.from_pretrained(saved)


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("text", {"vocabulary_size": 10**12}),
        ("text", {"layers": 10**9}),
        ("text", {"hidden_multiple": 10**9}),
        ("text", {"hidden_multiple": 10**9, "activation": "swiglu"}),
        ("text", {"context_length": 2**24, "position": "learned"}),
        ("vision", {"channels": [10**9, 10**9]}),
        ("vision", {"image_size": 8 * 10**6}),
        ("vision", {"kind": "patch", "layers": 10**9, "heads": 1}),
        ("vision", {"kind": "patch", "layers": 1, "heads": 1, "patch_size": 10**6, "image_size": 10**6}),
        ("both", {"width": 2**40}),
    ],
)
def test_a_gigantic_config_takes_no_memory(saved, monkeypatch, part, changes):
    """It is refused before a model is made of it."""
    config = json.loads((saved / "config.json").read_text())
    for name in config if part == "both" else [part]:
        config[name] |= changes
    (saved / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(gpt4v, "make_encoder", None)
    with pytest.raises(ValueError, match=r"do not fit its config\.json: .* the config asks for a far larger model"):
        GPT4V.from_pretrained(saved)


def test_a_gigantic_language_model_takes_no_memory(saved, monkeypatch):
    text = json.loads((saved / "config.json").read_text())["text"] | {"layers": 10**9}
    (saved / "config.json").write_text(json.dumps({"text": text}))
    monkeypatch.setattr(language_model, "GPT", None)
    with pytest.raises(ValueError, match="the config asks for a far larger model"):
        LanguageModel.load(saved)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"context_length": 2**24 + 1}, "context_length must be at most 16,777,216"),
        ({"context_length": 2**22, "position": "sinusoidal"}, "the table of sinusoidal positions must hold at most"),
    ],
)
def test_what_no_weights_pay_for_has_a_limit(saved, changes, fault):
    config = json.loads((saved / "config.json").read_text())
    config["text"] |= changes
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f"config.json cannot be used: not a model configuration: {fault}"):
        GPT4V.from_pretrained(saved)


@pytest.mark.parametrize("kind", ["conv", "patch"])
@pytest.mark.parametrize(
    "text", [{}, {"activation": "swiglu"}, {"position": "learned", "bias": True}, {"hidden_multiple": 1}, {"layers": 5}]
)
def test_the_least_size_is_a_little_below_the_true_one(kind, text):
    model = small_gpt4v(kind, **text)
    size = model.config.least_size
    tensors = model.state_dict().values()
    assert 0.2 * len(tensors) < size.tensors <= len(tensors)
    assert 0.5 * model.parameter_count() < size.numbers <= model.parameter_count()


def test_a_config_that_is_nearly_right_is_told_what_is_wrong(saved):
    config = json.loads((saved / "config.json").read_text())
    config["text"]["layers"] += 1
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"gpt\.blocks\.2\.attention\.key\.weight is missing"):
        GPT4V.from_pretrained(saved)
    with pytest.raises(ValueError, match="far larger"):
        check_size(Size(10**6, 0), {}, saved)


def test_a_file_with_a_hole_of_terabytes_is_refused_at_once(saved):
    with (saved / "model.safetensors").open("r+b") as file:
        file.truncate(2**42)
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read as safetensors"):
        GPT4V.from_pretrained(saved)


def test_names_of_tensors_cannot_steer_a_terminal(saved):
    weights = read_weights(saved / "model.safetensors")
    save_file(weights | {"\x1b[2J" + "x" * 900: torch.ones(1)}, saved / "new.safetensors")
    (saved / "new.safetensors").rename(saved / "model.safetensors")
    with pytest.raises(ValueError, match=r"x1b\[2Jx{100,200}\.\.\. is left over") as caught:
        GPT4V.from_pretrained(saved)
    assert str(caught.value).isprintable()
