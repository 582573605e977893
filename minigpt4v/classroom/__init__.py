"""The notebooks on their way to learners and back: copies of one's own, handouts without solutions, and grading."""
