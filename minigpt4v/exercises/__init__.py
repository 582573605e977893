"""Exercises with instant feedback: `card("03.2")` shows one, `check("03.2", answer)` judges an answer.

One file per chapter holds its exercises with their solutions and the mistakes that people make.
"""

from minigpt4v.exercises.cards import card
from minigpt4v.exercises.checking import check
from minigpt4v.exercises.progress import Progress, progress_widget

__all__ = ["Progress", "card", "check", "progress_widget"]
