"""What every test shares: one thread, no window, no network, fixed seeds."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch loads; the workers of pytest-xdist share the cores
os.environ["MPLBACKEND"] = "Agg"

import random
import socket
from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import settings

# The same examples in every run, so that a red test is red again; `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("repeatable")

torch.set_num_threads(1)

LOOPBACK = ("127.0.0.1", "127.0.0.2", "::1", "localhost")


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Start every test from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - other libraries draw from the global state
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to other machines: everything here works offline."""
    connect = socket.socket.connect

    def connect_on_this_machine(self: socket.socket, address) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOOPBACK:
            raise AssertionError(f"a test tried to reach {address[0]} over the network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_on_this_machine)


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    """Close the figures that a test leaves open."""
    yield
    plt.close("all")
