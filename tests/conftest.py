"""Settings of all tests."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # a process a core: more threads would only wait for each other; before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# These machines have busy moments: how long an example takes says nothing about the code.
settings.register_profile("jielong", deadline=None)
settings.load_profile("jielong")

# what commands keep for a user must not come from tests, nor go into them
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="jielong-tests-")


@pytest.fixture(scope="session", autouse=True)
def no_learning_is_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """End the learning processes that outlive the servers of tests, as they are made to."""
    yield
    place = str(tmp_path_factory.getbasetemp())
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "jielong.learning.child" in words and any(word.startswith(place) for word in words):
            with suppress(psutil.NoSuchProcess):
                process.kill()
