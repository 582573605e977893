"""A transformer block: attention, then feed-forward, each a correction added to the stream of tokens (chapter 05)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minigpt4v.attention import KeyValueCache, MultiHeadAttention, check_heads
from minigpt4v.feedforward import ACTIVATIONS, FeedForward, SwiGLU
from minigpt4v.position import RotaryEmbedding

NORMS = ("layer", "rms")
NORM_PLACES = ("pre", "post")
LEAST_TENSORS = 6  # a block's matrices: four of attention, at least two of the feed-forward layer


@dataclass(frozen=True, kw_only=True)
class BlockConfig:
    """What a transformer block is made of. The defaults are the modern choice; `GPTConfig.gpt2` has the classic one.

    Attributes:
        width: width of the tokens.
        heads: attention heads; must divide the width.
        hidden_multiple: the feed-forward layer is this many times as wide as the tokens.
        norm: "layer" or "rms".
        norm_place: "pre" (normalise what a layer reads) or "post" (normalise after adding, the original form).
        activation: a name from ACTIVATIONS, or "swiglu".
        bias: whether linear layers and LayerNorm add a bias.
        qk_norm: normalise queries and keys.
        dropout: share of each correction that is dropped in training, 0 <= dropout < 1.
        zero_init_outputs: start every output projection at zero, so that a new block changes nothing.
    """

    width: int
    heads: int
    hidden_multiple: int = 4
    norm: str = "rms"
    norm_place: str = "pre"
    activation: str = "squared_relu"
    bias: bool = False
    qk_norm: bool = True
    dropout: float = 0.0
    zero_init_outputs: bool = True

    def __post_init__(self) -> None:
        check_counts(self, "width", "heads", "hidden_multiple")
        check_flags(self, "bias", "qk_norm", "zero_init_outputs")
        check_choice(self, "norm", NORMS)
        check_choice(self, "norm_place", NORM_PLACES)
        check_choice(self, "activation", (*ACTIVATIONS, "swiglu"))
        check_heads(self.width, self.heads)
        if not (isinstance(self.dropout, int | float) and 0 <= self.dropout < 1):
            raise ValueError(f"dropout must be a number from 0 to below 1, got {self.dropout!r}")

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads

    @property
    def least_numbers(self) -> int:
        """How many numbers a block has at least: those of its matrices."""
        hidden = self.hidden_multiple * self.width
        if self.activation == "swiglu":
            hidden = 3 * (2 * hidden // 3) // 2
        return 4 * self.width**2 + 2 * self.width * hidden


def check_counts(config: object, *names: str) -> None:
    """Refuse a config in which one of the named fields is not a positive whole number."""
    for name in names:
        value = getattr(config, name)
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} must be a positive whole number, got {value!r}")


def check_flags(config: object, *names: str) -> None:
    """Refuse a config in which one of the named fields is neither True nor False."""
    for name in names:
        if type(getattr(config, name)) is not bool:
            raise ValueError(f"{name} must be True or False, got {getattr(config, name)!r}")


def check_choice(config: object, name: str, choices: tuple[str, ...]) -> None:
    """Refuse a config in which the named field is none of the choices."""
    if getattr(config, name) not in choices:
        raise ValueError(f"unknown {name} {getattr(config, name)!r}: choose one of {', '.join(choices)}")


def make_norm(kind: str, width: int, bias: bool = False) -> nn.Module:
    """A layer that brings every token [..., width] to a standard size.

    "layer" also takes the mean away (Ba et al. 2016, "Layer Normalization"); "rms" only divides by the root mean square
    (Zhang and Sennrich 2019, "Root Mean Square Layer Normalization") and never has a bias.
    """
    if kind == "layer":
        return nn.LayerNorm(width, bias=bias)
    if kind == "rms":
        return nn.RMSNorm(width, eps=1e-6)
    raise ValueError(f"unknown norm {kind!r}: choose one of {', '.join(NORMS)}")


def make_feed_forward(config: BlockConfig) -> FeedForward | SwiGLU:
    """The feed-forward layer a config asks for, of about the same size whichever it is."""
    hidden = config.hidden_multiple * config.width
    if config.activation == "swiglu":
        # Three matrices instead of two: two thirds of the width keep the number of parameters.
        return SwiGLU(config.width, 2 * hidden // 3, bias=config.bias, zero_init=config.zero_init_outputs)
    return FeedForward(config.width, hidden, config.activation, bias=config.bias, zero_init=config.zero_init_outputs)


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)); with norm_place "post" norm(x + layer(x)) instead.

    Vaswani et al. 2017 normalise after adding; Xiong et al. 2020, "On Layer Normalization in the Transformer
    Architecture", show why normalising before is easier to train.
    """

    def __init__(self, config: BlockConfig, rotary: RotaryEmbedding | None = None) -> None:
        super().__init__()
        self.config = config
        self.attention = MultiHeadAttention(
            config.width,
            config.heads,
            bias=config.bias,
            qk_norm=config.qk_norm,
            rotary=rotary,
            zero_init=config.zero_init_outputs,
        )
        self.attention_norm = make_norm(config.norm, config.width, config.bias)
        self.feed_forward = make_feed_forward(config)
        self.feed_forward_norm = make_norm(config.norm, config.width, config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: KeyValueCache | None = None,
        layer: int = 0,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """[b, t, width] -> [b, t, width]; arguments, weights and errors as in `MultiHeadAttention.forward`."""
        pre = self.config.norm_place == "pre"
        attended = self.attention(self.attention_norm(x) if pre else x, mask, positions, cache, layer, return_weights)
        if return_weights:
            attended, weights = attended

        if pre:
            x = x + self.dropout(attended)
            x = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        else:
            x = self.attention_norm(x + self.dropout(attended))
            x = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        return (x, weights) if return_weights else x


@torch.no_grad()
def initialise(model: nn.Module) -> None:
    """Random start of a transformer: normal with standard deviation 0.02, biases zero (Radford et al. 2019, GPT-2).

    The output projections, which write into the stream of tokens, start at zero or, in the classic form, smaller by
    1 / sqrt(2 * layers): the stream adds up two of them per block and keeps its size.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    blocks = [module for module in model.modules() if isinstance(module, TransformerBlock)]
    for block in blocks:
        shrink = 0.0 if block.config.zero_init_outputs else 1 / math.sqrt(2 * len(blocks))
        for projection in (block.attention.output, block.feed_forward.output):
            projection.weight *= shrink
