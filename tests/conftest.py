"""Tests compute on one thread, here and in the processes they start: their tensors are tiny, and threads that wait for
each other make them several times slower."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch
