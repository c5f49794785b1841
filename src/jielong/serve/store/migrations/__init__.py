"""The migrations of the store's tables. A change of `tables` needs a file in `versions` that migrates older tables.

Versions are numbered "1", "2" and so on; `down_revision` is the one before. `store/database` runs them when a store is
opened.
"""
