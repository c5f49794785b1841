"""Measuring a model: held-out text, exams, and how sure a difference is."""
