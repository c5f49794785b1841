"""Kinds of work, a room each: a stage says what it is (a frozen config) and what it does (`run`)."""
