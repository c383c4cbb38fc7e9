"""Stands in for the package `kernels`, which loads compiled code from a hub: it notes each try."""

import os


def get_kernel(name, **_):
    with open(os.environ["TEST_FETCHED"], "a") as file:
        file.write(f"{name}\n")
    raise OSError("no hub in tests")
