"""The feed-forward layer: what a token does on its own with what it has gathered (chapter 05)."""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from minigpt4v.attention import check_width


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)^2 (So et al. 2021, "Primer: Searching for Efficient Transformers")."""
    return F.relu(x).square()


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),  # the form GPT-2 was trained with
    "squared_relu": squared_relu,
}


class FeedForward(nn.Module):
    """activation(x W1 + b1) W2 + b2, for every token alone (Vaswani et al. 2017, equation 2).

    Args:
        width: width of the tokens, in and out.
        hidden: width in between.
        activation: a name from ACTIVATIONS.
        bias: whether both matrices add a bias.
        zero_init: start the second matrix at zero, so that a new layer changes nothing.
    """

    def __init__(
        self, width: int, hidden: int, activation: str = "relu", *, bias: bool = True, zero_init: bool = False
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}: choose one of {', '.join(ACTIVATIONS)}")
        self.width = width
        self.activation = ACTIVATIONS[activation]
        self.hidden = nn.Linear(width, hidden, bias=bias)
        self.output = nn.Linear(hidden, width, bias=bias)
        if zero_init:
            nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., width]."""
        check_width(x, self.width, "FeedForward")
        return self.output(self.activation(self.hidden(x)))


class SwiGLU(nn.Module):
    """(SiLU(x W_gate) * x W_hidden) W_output: one half decides how much of the other passes.

    Shazeer 2020, "GLU Variants Improve Transformer", equation 6. Arguments as in `FeedForward`.
    """

    def __init__(self, width: int, hidden: int, *, bias: bool = False, zero_init: bool = False) -> None:
        super().__init__()
        self.width = width
        self.gate = nn.Linear(width, hidden, bias=bias)
        self.hidden = nn.Linear(width, hidden, bias=bias)
        self.output = nn.Linear(hidden, width, bias=bias)
        if zero_init:
            nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., width]."""
        check_width(x, self.width, "SwiGLU")
        return self.output(F.silu(self.gate(x)) * self.hidden(x))
