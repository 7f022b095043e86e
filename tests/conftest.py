"""Tests compute on one thread, here and in the processes they start: their tensors are tiny, and threads that wait for
each other make them several times slower."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator:
    """A running app for the tests of one module, see `tests.web.serving`."""
    from tests.web.serving import serving

    with serving(tmp_path_factory.mktemp("served")) as app:
        yield app
