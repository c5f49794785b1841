"""Reports of a run for people: tables in the terminal, and a page with curves; made of records alone."""
