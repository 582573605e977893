"""The doors for models: folders of a GPT4V or a language model, training checkpoints with their history, tokenizers."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.doors import Door, Files
from minigpt4v.gpt import GPT, GPTConfig
from minigpt4v.gpt4v import GPT4V, GPT4VConfig
from minigpt4v.language_model import LanguageModel
from minigpt4v.tokenizer import CharTokenizer, Tokenizer, load_tokenizer
from minigpt4v.training import Trainer, TrainingSettings
from minigpt4v.vision import VisionConfig

TOKENIZER = Tokenizer.train(["the cat is", " on the mat", "猫在这里"] * 2, 280)
_TEXT = {"context_length": 48, "layers": 1, "heads": 2, "width": 8}
_FORMS: tuple[dict[str, Any], ...] = (
    {},
    {"position": "sinusoidal", "bias": True, "norm": "layer", "norm_place": "post"},
    {"position": "learned", "tie_embeddings": True, "activation": "swiglu", "qk_norm": False},
)
_VISIONS: tuple[dict[str, Any], ...] = ({"kind": "patch", "layers": 1, "heads": 2}, {"kind": "conv", "channels": (3,)})


def files_in(folder: Path) -> Files:
    """The files of a folder and of those in it, and the folder empty again."""
    files: Files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name in files:
        (folder / name).unlink()
    return files


def small_gpt4v(vision: int = 0, **text: Any) -> GPT4V:
    """A model whose every number counts; it reads pictures of 8 x 8 and answers at once with `<|end|>`."""
    config = GPT4VConfig(
        GPTConfig(vocabulary_size=TOKENIZER.vocabulary_size, **(_TEXT | text)),
        VisionConfig(width=8, image_size=8, patch_size=4, **_VISIONS[vision]),
    )
    model = GPT4V(config, TOKENIZER).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


class Models(Door):
    """A folder with config.json, tokenizer.json and model.safetensors, read by `GPT4V.from_pretrained`."""

    name = "models"
    refusals = (ValueError, OSError, FloatingPointError)

    def make_samples(self, folder: Path) -> list[Files]:
        torch.manual_seed(0)
        samples = []
        for number, form in enumerate(_FORMS):
            small_gpt4v(number % 2, **form).save_pretrained(folder)
            samples.append(files_in(folder))
        return samples

    def enter(self) -> None:
        model = GPT4V.from_pretrained(self.folder)
        self.reading = False
        assert all(tensor.isfinite().all() for tensor in model.state_dict().values()), "weights that are not finite"
        size = model.config.vision.image_size
        if size <= 64 and model.config.text.context_length > 40:
            str(model.ask(torch.rand(3, size, size), "a?", temperature=1.0).confidence)


class LanguageModels(Door):
    """The same without eyes, read by `LanguageModel.load`."""

    name = "language models"
    refusals = (ValueError, OSError, FloatingPointError)

    def make_samples(self, folder: Path) -> list[Files]:
        torch.manual_seed(0)
        samples = []
        for form in _FORMS:
            config = GPTConfig(vocabulary_size=TOKENIZER.vocabulary_size, **(_TEXT | form))
            LanguageModel(GPT(config), TOKENIZER).save(folder)
            samples.append(files_in(folder))
        return samples

    def enter(self) -> None:
        model = LanguageModel.load(self.folder)
        self.reading = False
        measured = model.measure("the cat is on")
        assert all(map(math.isfinite, measured.values())), f"measured {measured}"
        "".join(islice(model.write("the", 3, temperature=1.0), 3))


class _Objective(nn.Module):
    """The smallest thing that is trained by AdamW and Muon."""

    def __init__(self) -> None:
        super().__init__()
        self.gpt = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(3, 3)])})
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        return (self.gpt["blocks"][0](batch["x"]) * self.scale).square().sum(), torch.tensor(1.0)


class _Stream:
    def batch(self, *_: int) -> dict[str, Any]:
        return {"x": torch.ones(1, 3), "count": 1}


class Checkpoints(Door):
    """The folder of a training run, read by `Trainer.resume`."""

    name = "checkpoints"
    refusals = (ValueError, OSError, FloatingPointError)

    def make_samples(self, folder: Path) -> list[Files]:
        torch.manual_seed(0)
        settings = TrainingSettings(steps=10**6, log_every=2, checkpoint_every=4)
        self.trainer = Trainer(_Objective(), _Stream(), settings, folder=folder)
        for _ in range(4):
            self.trainer._totals += self.trainer.train_step()
            if self.trainer.step % 2 == 0:
                self.trainer._record({"loss": 1.0, "training_accuracy": 0.5})
        self.trainer.save()
        return [files_in(folder)]

    def enter(self) -> None:
        self.trainer.resume()
        self.reading = False
        assert all(weight.isfinite().all() for weight in self.trainer.objective.state_dict().values())
        assert not self.trainer.is_over
        self.trainer._totals += self.trainer.train_step()
        self.trainer._log(_NoBar())


class _NoBar:
    n = 0

    def set_postfix_str(self, text: str, refresh: bool) -> None: ...

    def update(self, by: float) -> None: ...


class Tokenizers(Door):
    """A tokenizer file, read by `load_tokenizer`."""

    name = "tokenizers"

    def make_samples(self, folder: Path) -> list[Files]:
        samples = []
        for tokenizer in (TOKENIZER, CharTokenizer.train(["the cat is on <|end|> 猫"])):
            tokenizer.save(folder / "tokenizer.json")
            samples.append(files_in(folder))
        return samples

    def enter(self) -> None:
        tokenizer = load_tokenizer(self.folder / "tokenizer.json")
        text = "the cat"
        if isinstance(tokenizer, CharTokenizer):
            text = "".join(letter for letter in text if letter in tokenizer.characters)
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert all(len(tokenizer.special_tokens) <= number < tokenizer.vocabulary_size for number in ids)
