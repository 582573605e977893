"""GPT4V: a GPT whose sentences may contain pictures (chapter 11).

An encoder turns a picture into a short sequence of vectors as wide as word embeddings. They are put where
`<|image|>` stands in the text, and from there on one transformer reads one sequence. The only other change is the
mask: words see what came before them, as in any GPT, while the tokens of one picture all see each other.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange
from safetensors.torch import save
from torch import nn

from minigpt4v.attention import KeyValueCache, causal_mask
from minigpt4v.foreign_files import parse_json, plain, read_text, reason
from minigpt4v.gpt import GPT, GPTConfig
from minigpt4v.paths import data_folder, write_atomically
from minigpt4v.tokenizer import CharTokenizer, Tokenizer, load_tokenizer
from minigpt4v.vision import VisionConfig, make_encoder
from minigpt4v.weights import Size, check_size, check_weights, read_weights

if TYPE_CHECKING:
    from minigpt4v.chat import Answer, Chat


@dataclass(frozen=True)
class GPT4VConfig:
    """Everything that fixes the shapes of a model; saved as config.json beside its weights."""

    text: GPTConfig
    vision: VisionConfig

    def __post_init__(self) -> None:
        if self.text.width != self.vision.width:
            raise ValueError(
                f"the encoder makes tokens of width {self.vision.width} but the GPT reads width {self.text.width}: "
                "give both the same width"
            )

    def to_json(self) -> str:
        """The text of config.json."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> GPT4VConfig:
        """Raises ValueError where the text is not JSON or a field is missing, unknown or of the wrong type."""
        try:
            fields = parse_json(text, "it")
            if not isinstance(fields, dict) or fields.keys() != {"text", "vision"}:
                found = sorted(fields) if isinstance(fields, dict) else type(fields).__name__
                raise TypeError(f"it must hold 'text' and 'vision' and nothing else, not {found}")
            return cls(GPTConfig(**fields["text"]), VisionConfig(**fields["vision"]))
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a model configuration: {reason(error)}") from error

    @property
    def least_size(self) -> Size:
        """What a model of this config has at least."""
        text, vision = self.text.least_size, self.vision.least_size
        return Size(text.tensors + vision.tensors, text.numbers + vision.numbers)


def same_picture_mask(ids: torch.Tensor, image_id: int, tokens_per_image: int) -> torch.Tensor:
    """True where both tokens belong to the same picture: bool [b, t, t] for ids [b, t].

    Raises ValueError where a row's picture tokens are not whole pictures.
    """
    is_image = ids == image_id
    counts = is_image.sum(1)
    if (counts % tokens_per_image).any():
        raise ValueError(
            f"the rows hold {counts.tolist()} picture tokens, but one picture is {tokens_per_image} tokens: "
            f"repeat <|image|> {tokens_per_image} times for each picture"
        )
    number = (is_image.cumsum(1) - 1) // tokens_per_image  # pictures are numbered 0, 1, ... along the row
    return (number[:, :, None] == number[:, None, :]) & is_image[:, :, None] & is_image[:, None, :]


def prefix_mask(
    ids: torch.Tensor, image_id: int, tokens_per_image: int, segments: torch.Tensor | None = None
) -> torch.Tensor:
    """Which token may look at which: bool [b, t, t], True = the token of the row may look at that of the column.

    A token looks at itself and at every earlier one; a token of a picture also looks at the later tokens of the same
    picture. ids: [b, t]. segments: [b, t] or None; a token of segment s looks only at segment s and at the shared
    prefix, segment 0. Padding is a segment of its own, -1.
    """
    mask = causal_mask(ids.shape[1], device=ids.device) | same_picture_mask(ids, image_id, tokens_per_image)
    if segments is not None:
        mask = mask & ((segments[:, None, :] == 0) | (segments[:, :, None] == segments[:, None, :]))
    return mask


class GPT4V(nn.Module):
    """A picture encoder and a GPT in one.

    tokenizer: travels with the model, since ids mean nothing without it.
    """

    def __init__(self, config: GPT4VConfig, tokenizer: Tokenizer | CharTokenizer):
        super().__init__()
        if tokenizer.vocabulary_size != config.text.vocabulary_size:
            raise ValueError(
                f"the tokenizer has {tokenizer.vocabulary_size} tokens but the model is configured for "
                f"{config.text.vocabulary_size}: use the tokenizer that the model was made with"
            )
        self.config = config
        self.tokenizer = tokenizer
        self.image_id = tokenizer.special_id("<|image|>")
        self.encoder = make_encoder(config.vision)
        self.gpt = GPT(config.text)

    @property
    def tokens_per_image(self) -> int:
        """How many tokens a picture becomes."""
        return self.config.vision.tokens

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def new_cache(self, batch: int, length: int | None = None) -> KeyValueCache:
        """An empty cache for `batch` conversations of up to `length` tokens (None = the whole context)."""
        return self.gpt.new_cache(batch, length)

    def parameter_count(self) -> int:
        """Number of learned numbers, those of the encoder included."""
        return sum(parameter.numel() for parameter in self.parameters())

    def embed(self, ids: torch.Tensor, images: torch.Tensor | None, positions: torch.Tensor | None) -> torch.Tensor:
        """Words and pictures as vectors [b, t, d]: word embeddings, with image tokens put where <|image|> stands.

        ids: [b, t]; images: [pictures, 3, h, w] in the order in which they stand in the batch, row by row.
        """
        vectors = self.gpt.embed(ids, positions)
        is_image = ids == self.image_id
        expected = int(is_image.sum())
        if images is None:
            if expected:
                raise ValueError(f"the text holds {expected} picture tokens but no pictures were given: pass images=")
            return vectors
        tokens = rearrange(self.encoder(images), "pictures n d -> (pictures n) d")
        if len(tokens) != expected:
            raise ValueError(
                f"{len(images)} pictures make {len(tokens)} tokens but the text has room for {expected}: "
                f"each <|image|> must be repeated {self.tokens_per_image} times"
            )
        return vectors.masked_scatter(is_image[..., None], tokens.to(vectors.dtype))

    def hidden(
        self,
        ids: torch.Tensor,
        images: torch.Tensor | None = None,
        *,
        mask: torch.Tensor | None = None,
        segments: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        cache: KeyValueCache | None = None,
        return_weights: bool = False,
    ) -> Any:
        """The last hidden states [b, t, d], before the head; with `return_weights` also each layer's attention.

        ids: [b, t]; images: [pictures, 3, h, w]; segments: see `prefix_mask`. mask: [b, t, t], True = may look, None
        for causal; tokens of one picture always see each other. With a cache, pictures come in its first call.
        """
        if images is not None and cache is not None and cache.length:
            raise ValueError(f"pictures must come first, but the cache already holds {cache.length} tokens")
        if mask is not None and segments is not None:
            raise ValueError("mask and segments both say who may look at whom: give one of them")
        if mask is not None and images is not None:
            mask = mask | same_picture_mask(ids, self.image_id, self.tokens_per_image)
        elif images is not None or segments is not None:
            mask = prefix_mask(ids, self.image_id, self.tokens_per_image, segments)
        if positions is None:
            positions = self.gpt.next_positions(ids, cache)
        vectors = self.embed(ids, images, positions)
        return self.gpt.transform(vectors, mask=mask, positions=positions, cache=cache, return_weights=return_weights)

    def forward(self, ids: torch.Tensor, images: torch.Tensor | None = None, **options: Any) -> Any:
        """Logits [b, t, vocabulary] for ids [b, t]; the options are those of `hidden`."""
        if options.get("return_weights"):
            hidden, weights = self.hidden(ids, images, **options)
            return self.gpt.head(hidden), weights
        return self.gpt.head(self.hidden(ids, images, **options))

    # -- files --------------------------------------------------------------------------------------------------

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, tokenizer.json and model.safetensors into a folder, each whole or not at all.

        config.json comes last: a folder that has one is a whole model.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # clones, because safetensors refuses tensors that share their memory, as tied embeddings do
        weights = {
            name: tensor.cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.state_dict().items()
        }
        write_atomically(folder / "model.safetensors", save(weights))
        self.tokenizer.save(folder / "tokenizer.json")
        write_atomically(folder / "config.json", self.config.to_json())

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, device: str | torch.device = "cpu") -> GPT4V:
        """A shipped model ("laptop") or one from a folder of your own, ready to be asked.

        Raises ValueError where there is no such model, or its config, tokenizer and weights do not fit each other; the
        message names the tensors. Nothing is ever unpickled.
        """
        folder = find_checkpoint(name_or_folder)
        config, tokenizer = _load_config(folder / "config.json"), load_model_tokenizer(folder)
        weights = read_weights(folder / "model.safetensors")
        check_size(config.least_size, weights, folder)
        try:
            model = cls(config, tokenizer)
        except ValueError as error:
            raise ValueError(f"{plain(folder)} is not a whole model: {error}") from error
        check_weights(model, weights, folder)
        model.load_state_dict(weights)
        return model.to(device).eval()

    # -- talking ------------------------------------------------------------------------------------------------

    def ask(self, picture: Any, question: str, **options: Any) -> Answer:
        """Answer a question about a picture (see `Chat.ask` for the options); `str(answer)` is the text."""
        return self.chat(picture).ask(question, **options)

    def caption(self, picture: Any, language: str = "en", **options: Any) -> Answer:
        """Say what is in a picture, in English ("en") or Chinese ("zh")."""
        return self.chat(picture).caption(language, **options)

    def chat(self, picture: Any) -> Chat:
        """A conversation about a picture that remembers what was said."""
        from minigpt4v.chat import Chat

        return Chat(self, picture)


def shipped_checkpoints() -> list[str]:
    """The names of the models that come with the library."""
    folder = data_folder() / "checkpoints"
    return sorted(path.parent.name for path in folder.glob("*/config.json"))


def find_checkpoint(name_or_folder: str | Path) -> Path:
    """The folder of a shipped model or of one's own. Raises ValueError where there is neither."""
    folder = Path(name_or_folder)
    if not _has_config(folder) and str(name_or_folder) in shipped_checkpoints():
        folder = data_folder() / "checkpoints" / folder
    if not _has_config(folder):
        raise ValueError(
            f"no model at {str(name_or_folder)!r}: give a folder with a config.json that training wrote, "
            f"or a shipped model ({', '.join(shipped_checkpoints()) or 'there are none'})"
        )
    return folder


def _has_config(folder: Path) -> bool:
    try:
        return (folder / "config.json").is_file()
    except OSError:  # a name that is too long, or a folder that may not be read
        return False


def _load_config(path: Path) -> GPT4VConfig:
    try:
        return GPT4VConfig.from_json(read_text(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"{plain(path)} cannot be used: {reason(error)}") from error


def load_model_tokenizer(folder: Path) -> Tokenizer | CharTokenizer:
    """The tokenizer of the model in a folder. Raises ValueError where there is none."""
    path = folder / "tokenizer.json"
    try:
        return load_tokenizer(path)
    except OSError as error:
        raise ValueError(f"{plain(path)} cannot be read: {reason(error)}") from error
