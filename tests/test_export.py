"""Exported graphs give what the model gives, computed by another runtime."""

import json
import random
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from cli_helpers import refuse, succeed
from small_models import pictures, small_gpt4v

from minigpt4v import GPT4V
from minigpt4v.attention import causal_mask
from minigpt4v.datasets.conversation import ConversationEncoder
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import load_world, scenes_of
from minigpt4v.export import Past, Reader, export

FORMS = {
    "classic": {"position": "learned", "norm": "layer", "activation": "gelu", "bias": True, "tie_embeddings": True},
    "waves": {"position": "sinusoidal", "norm_place": "post", "activation": "swiglu"},
}


class Session:
    """A folder that `export` wrote, read token by token."""

    def __init__(self, folder: Path) -> None:
        self.see, self.read = (onnxruntime.InferenceSession(folder / name) for name in ("see.onnx", "read.onnx"))
        self.facts = json.loads((folder / "reader.json").read_text(encoding="utf-8"))

    def start(self, image: torch.Tensor) -> None:
        (self.picture,) = self.see.run(None, {"image": image[None].numpy()})
        self.past = np.zeros(self.facts["past_shape"], np.float32)

    def step(self, ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = {"ids": np.array([ids]), "picture": self.picture, "past": self.past}
        logits, self.past, looked = self.read.run(None, inputs)
        return torch.from_numpy(logits), torch.from_numpy(looked)


@pytest.mark.parametrize(("form", "kind"), [("classic", "patch"), ("waves", "conv")])
def test_the_graphs_agree_with_the_model_word_by_word(form: str, kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = small_gpt4v(kind, **FORMS[form]).train()
    sizes = export(model, tmp_path / "new")
    assert model.training
    model.eval()
    assert sizes == {path.name: path.stat().st_size for path in (tmp_path / "new").iterdir()}
    session, encoder = Session(tmp_path / "new"), ConversationEncoder(model.tokenizer, model.tokens_per_image)
    (image,) = pictures(1)
    session.start(image)
    ids, new = [], encoder.prompt("What is the cat 猫")
    for _ in range(4):
        ids = ids + new
        logits, looked = session.step(new)
        with torch.no_grad():
            expected, weights = model(torch.tensor([ids]), image[None], return_weights=True)
        torch.testing.assert_close(logits, expected[0, -1], atol=2e-4, rtol=1e-4)
        over_picture = weights[1][0, :, -1, : model.tokens_per_image].mean(0)
        torch.testing.assert_close(looked.flatten(), over_picture, atol=1e-4, rtol=0)
        new = [random.Random(len(ids)).randrange(5, model.tokenizer.vocabulary_size)]


def test_the_command_exports_the_shipped_model_which_answers_the_same_token_for_token(tmp_path: Path) -> None:
    said = succeed("export", tmp_path).stdout
    assert [line.split()[0] for line in said.splitlines()] == [
        str(tmp_path / name) for name in ("see.onnx", "read.onnx", "tokenizer.json", "reader.json")
    ]
    model = GPT4V.from_pretrained("laptop")
    session, encoder = Session(tmp_path), ConversationEncoder(model.tokenizer, model.tokens_per_image)
    world = load_world("core64")
    images = Renderer(world)(scenes_of(world, "style", 11, 10))
    for image, question in zip(images, ["What is in the picture?", "图里有什么？"] * 5, strict=True):
        expected = [step.token for step in model.ask(image, question).steps]
        session.start(image)
        written, new = [], encoder.prompt(question)
        while new != [encoder.end] and len(written) < 64:
            logits, _ = session.step(new)
            logits[session.facts["never_said"]] = -torch.inf
            new = [int(logits.argmax())]
            written += new
        assert written == [*expected, encoder.end]


def test_one_picture_token_sees_all_of_the_picture_and_no_word() -> None:
    model = small_gpt4v("patch")
    prompt = ConversationEncoder(model.tokenizer, model.tokens_per_image).prompt("What")
    first = torch.randn(1, model.tokens_per_image, 16)
    other = first.clone()
    other[:, -1] += 1  # the last part of the picture
    past = torch.zeros(2, 2, 2, 0, 8)
    with torch.no_grad():
        reader, ids = Reader(model), torch.tensor([prompt])
        _, present, _ = reader(ids, first, past)
        _, changed, _ = reader(ids, other, past)
        _, longer, _ = reader(torch.tensor([[*prompt, 7]]), first, past)
    second_layer = present[1, 0, :, 0]  # the key of the picture's first part, after one round of looking
    assert not torch.allclose(second_layer, changed[1, 0, :, 0])
    assert torch.allclose(present, longer[:, :, :, :-1], atol=1e-5)
    assert causal_mask(3).sum() == 6  # words, as everywhere, look back only


def test_the_past_grows() -> None:
    past = Past(torch.zeros(2, 2, 3, 4, 5))
    keys, values = torch.randn(2, 1, 3, 1, 5)
    for layer in range(2):
        seen = past.append(layer, keys, values)
        assert seen[0].shape == seen[1].shape == (1, 3, 5, 5)
        assert torch.equal(seen[0][:, :, -1:], keys)
        assert torch.equal(seen[1][:, :, -1:], values)
    assert past.present().shape == (2, 2, 3, 5, 5)


def test_the_command_refuses_a_file_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    assert "is a file" in refuse("export", tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"


def test_the_command_refuses_an_unknown_model(tmp_path: Path) -> None:
    assert "no model at 'nobody'" in refuse("export", tmp_path / "web", "--model", "nobody")
    assert not (tmp_path / "web").exists()
