"""The commands of the command line, one module for each kind; `minigpt4v/cli.py` gathers them.

Modules here import PyTorch and all that is built on it inside the commands, so that `--help` answers at once.
"""
