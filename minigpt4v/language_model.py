"""A GPT with its tokenizer: a language model that can be saved, loaded, asked to write, and measured (chapter 07)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors.torch import save

from minigpt4v.datasets.text import TextDataset
from minigpt4v.decoding import BROKEN, generate_stream
from minigpt4v.foreign_files import plain, read_json, reason
from minigpt4v.gpt import GPT, GPTConfig
from minigpt4v.gpt4v import find_checkpoint, load_model_tokenizer, shipped_checkpoints
from minigpt4v.paths import write_atomically
from minigpt4v.tokenizer import CharTokenizer, Tokenizer
from minigpt4v.weights import check_size, check_weights, read_weights

_BATCH = 32
_LARGEST_LOSS = 700.0  # nats a token: its exponential is still a float


def is_language_model(folder: Path) -> bool:
    """Whether the config.json in a folder is that of a language model, which has no encoder for pictures."""
    try:
        fields = read_json(folder / "config.json")
    except (OSError, ValueError):
        return False
    return isinstance(fields, dict) and fields.keys() == {"text"}


@dataclass(frozen=True)
class LanguageModel:
    """A GPT and the tokenizer that its ids come from."""

    gpt: GPT
    tokenizer: Tokenizer | CharTokenizer

    def __post_init__(self) -> None:
        expected = self.gpt.config.vocabulary_size
        if self.tokenizer.vocabulary_size != expected:
            raise ValueError(
                f"the tokenizer has {self.tokenizer.vocabulary_size} tokens but the model is configured for "
                f"{expected}: use the tokenizer that the model was made with"
            )

    def save(self, folder: str | Path) -> None:
        """Write config.json, tokenizer.json and model.safetensors into a folder, each whole or not at all.

        config.json comes last: a folder that has one is a whole model.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # copies, since safetensors refuses two names for one memory, as tied embeddings have
        copied = {"memory_format": torch.contiguous_format}
        weights = {name: tensor.detach().cpu().clone(**copied) for name, tensor in self.gpt.state_dict().items()}
        write_atomically(folder / "model.safetensors", save(weights))
        self.tokenizer.save(folder / "tokenizer.json")
        write_atomically(folder / "config.json", json.dumps({"text": asdict(self.gpt.config)}, indent=2) + "\n")

    @classmethod
    def load(cls, name_or_folder: str | Path, device: str | torch.device = "cpu") -> LanguageModel:
        """A shipped language model ("shakespeare") or one from a folder of your own, ready to write.

        Raises ValueError where there is none, or its config, tokenizer and weights do not fit each other; the message
        names the tensors. Nothing is ever unpickled.
        """
        folder = Path(name_or_folder)
        if not folder.exists() and str(name_or_folder) in shipped_checkpoints():
            folder = find_checkpoint(name_or_folder)
        if not is_language_model(folder):
            raise ValueError(
                f"no language model at {str(folder)!r}: give a folder that `minigpt4v train --data text.txt` wrote, "
                "or 'shakespeare'"
            )
        try:
            config = GPTConfig(**read_json(folder / "config.json")["text"])
        except (OSError, TypeError, ValueError) as error:
            raise ValueError(f"{plain(folder / 'config.json')} cannot be used: {reason(error)}") from error
        tokenizer = load_model_tokenizer(folder)
        weights = read_weights(folder / "model.safetensors")
        check_size(config.least_size, weights, folder)
        try:
            model = cls(GPT(config), tokenizer)
        except ValueError as error:
            raise ValueError(f"{plain(folder)} is not a whole model: {error}") from error
        check_weights(model.gpt, weights, folder)
        model.gpt.load_state_dict(weights)
        model.gpt.to(device).eval()
        return model

    def write(self, beginning: str, max_new_tokens: int = 100, **options: Any) -> Iterator[str]:
        """Go on with a text, piece by piece, as it is written; the beginning itself is not repeated.

        options: `temperature`, `top_k`, ... of `decoding.generate`. The text ends early where the context is full.

        Raises ValueError where the beginning is empty, holds a character that a CharTokenizer does not know, or leaves
        no room in the context.
        """
        ids = self.tokenizer.encode(beginning)
        room = self.gpt.config.context_length - len(ids)
        if not ids or room < 1:
            raise ValueError(
                f"the beginning has {len(ids)} tokens, but this model reads 1 to {self.gpt.config.context_length - 1}: "
                f"write a {'longer' if not ids else 'shorter'} one"
            )
        specials = range(len(self.tokenizer.special_tokens))
        steps = generate_stream(self.gpt, ids, min(room, max_new_tokens), forbidden_tokens=specials, **options)
        return self._decoded(step.token for step in steps)

    def _decoded(self, tokens: Iterator[int]) -> Iterator[str]:
        unsaid: list[int] = []
        for token in tokens:
            unsaid.append(token)
            text = self.tokenizer.decode(unsaid)
            if not text.endswith("\ufffd"):  # half a character: wait for its other bytes
                yield text
                unsaid = []

    @torch.no_grad()
    def measure(self, text: str, max_windows: int | None = None) -> dict[str, float]:
        """How well the model foretells a text, each token from at most a context of tokens before it.

        max_windows: read only so many windows from the front; None reads all.

        Returns "loss" (nats a token), "perplexity" (its exponential), "bits_per_byte" (which does not depend on the
        tokenizer), and "tokens", the number of tokens foretold.

        Raises ValueError where the text has fewer than two tokens, or a character that a CharTokenizer does not know,
        or where the model is broken: its scores are not finite numbers.
        """
        ids = self.tokenizer.encode(text)
        if len(ids) < 2:
            raise ValueError(f"a text of {len(ids)} tokens has nothing to foretell: give a longer one")
        dataset = TextDataset(ids, min(self.gpt.config.context_length, len(ids) - 1))
        total, count = 0.0, 0
        for inputs, targets in dataset.validation_batches(_BATCH):
            logits = rearrange(self.gpt(inputs.to(self._device)), "b t v -> (b t) v").float()
            total += F.cross_entropy(
                logits, rearrange(targets, "b t -> (b t)").to(self._device), reduction="sum"
            ).item()
            count += targets.numel()
            if max_windows and count >= max_windows * dataset.context_length:
                break
        if not total / count < _LARGEST_LOSS:  # or NaN
            raise ValueError(BROKEN)
        size = len(b"".join(map(self.tokenizer.token_bytes, ids[1 : count + 1])))
        return {
            "loss": total / count,
            "perplexity": math.exp(total / count),
            "bits_per_byte": total / math.log(2) / size,
            "tokens": count,
        }

    @property
    def _device(self) -> torch.device:
        return next(self.gpt.parameters()).device
