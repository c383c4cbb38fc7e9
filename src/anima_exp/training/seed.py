"""One seed -> the generators of Python, NumPy, torch and every GPU."""

import random

import numpy as np
import torch


def set_seed(seed: int) -> None:
    """Let what is drawn from here on depend on `seed` alone."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # of the GPUs too
