"""Settings of all tests."""

from hypothesis import settings

# These machines have busy moments: how long an example takes says nothing about the code.
settings.register_profile("jielong", deadline=None)
settings.load_profile("jielong")
