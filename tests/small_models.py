"""Small models with random weights, for the tests of everything that is built on GPT4V."""

import torch
from torch import nn

from minigpt4v.gpt import GPTConfig
from minigpt4v.gpt4v import GPT4V, GPT4VConfig
from minigpt4v.tokenizer import Tokenizer
from minigpt4v.vision import VisionConfig

TOKENIZER = Tokenizer.train([" cat", " dog", "What", " is", " the", "猫", "狗", "有"] * 2, 340)
PICTURE = 16  # pixels; 4 tokens of 8 x 8 pixels
VISIONS = {
    "patch": {"kind": "patch", "layers": 1, "heads": 2},
    "conv": {"kind": "conv", "channels": (4, 6)},
}


def small_gpt4v(kind: str = "patch", *, tokenizer=TOKENIZER, picture: int = PICTURE, **text) -> GPT4V:
    """A GPT4V in which every parameter matters: no zeros, no ones. In evaluation mode."""
    sizes = {"context_length": 160, "layers": 2, "heads": 2, "width": 16} | text
    config = GPT4VConfig(
        GPTConfig(vocabulary_size=tokenizer.vocabulary_size, **sizes),
        VisionConfig(width=sizes["width"], image_size=picture, patch_size=8, **VISIONS[kind]),
    )
    model = GPT4V(config, tokenizer).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    for name, buffer in model.named_buffers():
        if "running" in name:
            nn.init.uniform_(buffer, 0.5, 1.5)
    return model


def pictures(count: int, size: int = PICTURE) -> torch.Tensor:
    """Noise, [count, 3, size, size] in 0..1."""
    return torch.rand(count, 3, size, size)


def close(actual, expected, tolerance=1e-4) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)
