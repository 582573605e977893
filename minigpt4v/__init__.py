"""minigpt4v: a GPT that sees, built from scratch in small, readable parts.

The public names and modules are listed in ``__init__.pyi``, where type checkers and editors find them too.
``lazy_loader`` imports each on first use, so that ``import minigpt4v`` does not wait for PyTorch.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
