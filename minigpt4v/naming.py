"""First lesson for an encoder: to name what it sees (chapter 10).

A GPT that must learn to see, to read and to find at the same time learns for a long while almost nothing. An encoder
that already tells a cat from a car spares it the first of the three; and where a name is a single token, that token's
embedding can start as the classifier's vector for the name, so that words and pictures begin aligned.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat
from torch import nn

from minigpt4v.datasets.conversation import IGNORED, check_labels
from minigpt4v.datasets.emoji import Noun
from minigpt4v.gpt4v import GPT4V
from minigpt4v.vision import ConvEncoder, PatchEncoder

_LOGIT_SCALE = 3.0  # averaged tokens are short vectors; this lets the classifier become certain within seconds


class NamingObjective(nn.Module):
    """Cross-entropy of the name of the thing at each place.

    What the encoder says about a place is the mean of its tokens there: of a quarter of the grid, or of the whole grid
    for a close-up in the middle. With `every_token` it learns more: each token is to name the thing by itself. Then a
    model that looks at a single token of a thing knows what it is.
    """

    def __init__(self, encoder: ConvEncoder | PatchEncoder, nouns: int, width: int, *, every_token: bool = False):
        super().__init__()
        self.encoder, self.every_token = encoder, every_token
        self.classifier = nn.Linear(width, nouns, bias=False)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """images [b, 3, 64, 64] -> scores [b, 5 places, nouns], places as in `scenes.PLACES`."""
        grid = self._grid(images)
        quarters = reduce(grid, "b (qy y) (qx x) d -> b (qy qx) d", "mean", qy=2, qx=2)
        whole = reduce(quarters, "b q d -> b 1 d", "mean")
        return _LOGIT_SCALE * self.classifier(torch.cat([quarters, whole], dim=1))

    def _grid(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.encoder.features(images)
        return rearrange(tokens, "b (y x) d -> b y x d", y=int(tokens.shape[1] ** 0.5))

    def forward(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """Summed loss and the number of right names of a batch of `NamingStream`.

        With `every_token`, as if each thing had one token: the sum over things of what its tokens have on average.

        Raises ValueError where nothing has a name.
        """
        check_labels(batch["labels"])
        if self.every_token:
            grid = self._grid(batch["images"])
            labels = token_labels(batch["labels"], grid.shape[1])
            logits = _LOGIT_SCALE * self.classifier(grid)
            share = batch["count"] / (labels != IGNORED).sum()
        else:
            labels, logits, share = batch["labels"], self.logits(batch["images"]), 1
        labels, logits = labels.flatten(), logits.float().flatten(end_dim=-2)
        loss = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
        return share * loss, share * (logits.argmax(-1) == labels).sum()


def token_labels(labels: torch.Tensor, side: int) -> torch.Tensor:
    """What each token of a grid is to name, [b, side, side], given the noun at each of `scenes.PLACES`, [b, 5].

    A quarter's tokens name the thing there; the middle half, each way, names a close-up.
    """
    quarters = rearrange(labels[:, :4], "b (qy qx) -> b qy qx", qy=2)
    grid = repeat(quarters, "b qy qx -> b (qy y) (qx x)", y=side // 2, x=side // 2).clone()
    core = slice(side // 4, side - side // 4)
    close_up = rearrange(labels[:, 4], "b -> b 1 1")
    grid[:, core, core] = torch.where(close_up != IGNORED, close_up, grid[:, core, core])
    return grid


@torch.no_grad()
def align_names(model: GPT4V, classifier: nn.Linear, nouns: Sequence[Noun]) -> int:
    """Start the embeddings of single-token names from the classifier's vectors; returns how many names that were.

    Both the embedding that is read and the head's row that is written take the vector, scaled to unit size and to a
    tenth of it.
    """
    aligned = 0
    for vector, noun in zip(F.rms_norm(classifier.weight, classifier.weight.shape[-1:]), nouns, strict=False):
        for written in (f" {noun.en}", noun.zh):
            ids = model.tokenizer.encode(written)
            if len(ids) == 1:
                model.gpt.token_embedding.weight[ids[0]] = vector
                model.gpt.head.weight[ids[0]] = 0.1 * vector
                aligned += 1
    return aligned
