"""First weights that depend on a part's name: the same whatever other parts a network has."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded_by_name(name: str) -> Iterator[None]:
    """Draw what is made inside from random numbers that depend on the seed around and on the name alone.

    A part then starts with the same weights in every variant of a network, and what is made after it does not depend on
    it. It nests: inside, the seed is the name's.

    Args:
        name: of the part, unique among its siblings.
    """
    seed = np.random.SeedSequence([torch.initial_seed(), zlib.crc32(name.encode())])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed.generate_state(1, np.uint64)[0] >> np.uint64(1)))
        yield
