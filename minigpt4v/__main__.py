"""The command line as ``python -m minigpt4v``."""

from minigpt4v.cli import main

if __name__ == "__main__":
    main()
