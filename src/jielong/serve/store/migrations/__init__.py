"""The versions of the store's tables. A change of `tables` comes with a file in `versions` that brings older ones there.

Versions are numbered "1", "2" and so on; each names the one before it in `down_revision`. `store/database` runs them when a
store is opened.
"""
