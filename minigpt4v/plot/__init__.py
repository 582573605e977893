"""Every figure of the course, in one style: arrays and words in, a matplotlib figure out.

Each function takes `alt`, a description for readers who cannot see the figure; without one it says what is drawn (names
and sizes, but no measured values, which differ a little from machine to machine). It ends up in `figure.alt_text` and
in the figure's `repr`. Pictures are [h, w, 3] or [3, h, w], uint8 or floats in 0..1. The figures belong to pyplot: a
notebook shows them with `plt.show()`, a program saves them with `figure.savefig` and closes them with `plt.close`.
Drawings of your own look like the rest inside `with plot.style():`.
"""

from minigpt4v.plot.attention import attention_over_picture, attention_over_sentence
from minigpt4v.plot.attention_steps import attention_steps
from minigpt4v.plot.attribution import attribution_maps
from minigpt4v.plot.base import PALETTE, CourseFigure, finish, style
from minigpt4v.plot.charts import bars, curves, matrices
from minigpt4v.plot.convolutions import kernel_at_work, receptive_fields
from minigpt4v.plot.course_map import course_map
from minigpt4v.plot.decoding import Candidate, beam_tree, nucleus, trade_off
from minigpt4v.plot.demo import Answer, Panel, demo_figure
from minigpt4v.plot.depth import through_depth
from minigpt4v.plot.explore import explore
from minigpt4v.plot.fusion import who_sees_whom
from minigpt4v.plot.heads import head_maps, heads_and_tokens
from minigpt4v.plot.letters import letter_map
from minigpt4v.plot.patches import patch_attention
from minigpt4v.plot.pictures import patch_grid, show_picture, show_pictures
from minigpt4v.plot.positions import patch_similarity, position_clocks, rotary_pair
from minigpt4v.plot.results import accuracy_by_family, answer_confidence, confusion_matrix, training_curves
from minigpt4v.plot.tokens import token_boxes
from minigpt4v.plot.training import loss_mask, packing, seed_dots
from minigpt4v.plot.writing import learning_to_write, show_texts

__all__ = [
    "PALETTE",
    "Answer",
    "Candidate",
    "CourseFigure",
    "Panel",
    "accuracy_by_family",
    "answer_confidence",
    "attention_over_picture",
    "attention_over_sentence",
    "attention_steps",
    "attribution_maps",
    "bars",
    "beam_tree",
    "confusion_matrix",
    "course_map",
    "curves",
    "demo_figure",
    "explore",
    "finish",
    "head_maps",
    "heads_and_tokens",
    "kernel_at_work",
    "learning_to_write",
    "letter_map",
    "loss_mask",
    "matrices",
    "nucleus",
    "packing",
    "patch_attention",
    "patch_grid",
    "patch_similarity",
    "position_clocks",
    "receptive_fields",
    "rotary_pair",
    "seed_dots",
    "show_picture",
    "show_pictures",
    "show_texts",
    "style",
    "through_depth",
    "token_boxes",
    "trade_off",
    "training_curves",
    "who_sees_whom",
]
