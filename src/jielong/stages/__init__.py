"""Stages, the kinds of work in a recipe, a module each: a frozen config with a method `run`."""
