"""Settings of all tests."""

import os
import tempfile

from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # a process a core: more threads would only wait for each other; before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# These machines have busy moments: how long an example takes says nothing about the code.
settings.register_profile("jielong", deadline=None)
settings.load_profile("jielong")

# what commands keep for a user must not come from tests, nor go into them
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="jielong-tests-")
