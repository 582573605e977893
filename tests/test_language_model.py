"""A GPT with its tokenizer: writing, measuring, saving, and files that do not fit."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from minigpt4v.gpt import GPT, GPTConfig
from minigpt4v.language_model import LanguageModel, is_language_model
from minigpt4v.tokenizer import CharTokenizer, Tokenizer

TEXT = "to be, or not to be"


def make(tokenizer, context_length=16):
    torch.manual_seed(1)
    config = GPTConfig(
        vocabulary_size=tokenizer.vocabulary_size,
        context_length=context_length,
        layers=1,
        heads=2,
        width=8,
        zero_init_outputs=False,
    )
    return LanguageModel(GPT(config).eval(), tokenizer)


@pytest.fixture
def model():
    return make(CharTokenizer.train([TEXT]))


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path / "model")
    return tmp_path / "model"


def test_it_writes_on_without_special_tokens(model):
    written = "".join(model.write("to", 8, temperature=3.0, generator=torch.Generator().manual_seed(0)))
    assert len(written) == 8  # one character a token
    assert set(written) <= set(TEXT)


def test_it_writes_as_far_as_the_context_reaches(model):
    assert len("".join(model.write("to be", 1000))) == 16 - 5


def test_half_a_character_waits_for_its_other_half():
    model = make(Tokenizer.train(["abc"], 261))
    ids = model.tokenizer.encode("a猫b")
    assert list(model._decoded(iter(ids))) == ["a", "猫", "b"]


@pytest.mark.parametrize(
    ("beginning", "fault"), [("", "has 0 tokens"), ("to be or not to b", "has 17 tokens"), ("x", "character 'x'")]
)
def test_a_beginning_that_cannot_be_read_is_refused(model, beginning, fault):
    with pytest.raises(ValueError, match=fault):
        model.write(beginning)


def test_measure_is_the_mean_loss_of_every_token_but_the_first(model):
    ids = model.tokenizer.encode(TEXT)
    logits = torch.cat([model.gpt(torch.tensor([ids[:16]]))[0], model.gpt(torch.tensor([ids[16:-1]]))[0]])
    loss = F.cross_entropy(logits, torch.tensor(ids[1:])).item()
    found = model.measure(TEXT)
    assert found["tokens"] == len(ids) - 1
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-5)
    assert found["bits_per_byte"] == pytest.approx(loss / math.log(2), rel=1e-5)  # here a token is a byte


def test_bits_per_byte_counts_bytes_and_not_tokens():
    model = make(CharTokenizer.train(["猫狗"]))
    found = model.measure("猫狗猫狗猫")
    assert found["tokens"] == 4
    assert found["bits_per_byte"] == pytest.approx(found["loss"] / math.log(2) / 3)  # three bytes a character


def test_measure_may_stop_early(model):
    assert model.measure(TEXT * 100, max_windows=2)["tokens"] == 32 * 16  # a whole batch at a time
    assert model.measure(TEXT * 100)["tokens"] == len(TEXT) * 100 - 1


@pytest.mark.parametrize("text", ["", "t"])
def test_a_text_with_nothing_to_foretell_is_refused(model, text):
    with pytest.raises(ValueError, match="nothing to foretell"):
        model.measure(text)


def test_a_saved_model_writes_the_same(model, folder):
    loaded = LanguageModel.load(folder)
    assert loaded.tokenizer == model.tokenizer
    assert list(loaded.write("to be", 8)) == list(model.write("to be", 8))
    assert not loaded.gpt.training
    assert is_language_model(folder)


def test_a_tokenizer_of_another_size_is_refused(model):
    with pytest.raises(ValueError, match=r"tokenizer has 7 tokens but the model is configured for"):
        LanguageModel(model.gpt, CharTokenizer(("a", "b")))


def damage_config(folder):
    (folder / "config.json").write_text('{"text": {"layers": 1}}')


def damage_tokenizer(folder):
    (folder / "tokenizer.json").write_text("[]")


def remove_weights(folder):
    (folder / "model.safetensors").unlink()


def truncate_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])


def rename_tensor(folder):
    weights = load_file(folder / "model.safetensors")
    weights["other.weight"] = weights.pop("head.weight")
    save_file(weights, folder / "model.safetensors")


def nest_deeply(folder):
    (folder / "config.json").write_text('{"text": ' + "[" * 100_000)


@pytest.mark.parametrize("factor", [1e5, 1e38])
def test_a_model_with_far_too_large_weights_is_not_measured(model, factor):
    """Each weight is finite, and the loss is not, or is too large for its exponential to be a number."""
    with torch.no_grad():
        model.gpt.head.weight.mul_(factor)
    with pytest.raises(ValueError, match="scores are not finite numbers: its weights are broken or too large"):
        model.measure(TEXT)


def put_a_nan(folder):
    weights = load_file(folder / "model.safetensors")
    weights["head.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (damage_config, "cannot be used"),
        (damage_tokenizer, "tokenizer"),
        (nest_deeply, "no language model at"),
        (remove_weights, "cannot be read"),
        (truncate_weights, "cannot be read"),
        (rename_tensor, "head.weight is missing; other.weight is left over"),
        (put_a_nan, "head.weight holds numbers that are not finite"),
    ],
)
def test_files_that_do_not_fit_are_refused(folder, damage, fault):
    damage(folder)
    with pytest.raises(ValueError, match=fault):
        LanguageModel.load(folder)


@pytest.mark.parametrize("content", [None, "{", "[]", json.dumps({"text": {}, "vision": {}})])
def test_a_folder_without_a_language_model_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    assert not is_language_model(tmp_path)
    with pytest.raises(ValueError, match="no language model at"):
        LanguageModel.load(tmp_path)


def test_tied_embeddings_are_saved_and_loaded(tmp_path):
    tokenizer = CharTokenizer.train(["abc"])
    size = tokenizer.vocabulary_size
    config = GPTConfig(vocabulary_size=size, context_length=8, layers=1, heads=2, width=8, tie_embeddings=True)
    tied = LanguageModel(GPT(config), tokenizer)
    tied.save(tmp_path)
    ids = torch.arange(size)[None, :8]
    assert torch.equal(LanguageModel.load(tmp_path).gpt(ids), tied.gpt(ids))


def test_a_folder_with_a_config_is_a_whole_model(model, tmp_path, monkeypatch):
    """A process that dies while it writes leaves none, or the one before."""
    files = []
    monkeypatch.setattr("minigpt4v.language_model.write_atomically", lambda path, _: files.append(path.name))
    monkeypatch.setattr("minigpt4v.tokenizer.write_atomically", lambda path, _: files.append(path.name))
    model.save(tmp_path / "other")
    assert files == ["model.safetensors", "tokenizer.json", "config.json"]
