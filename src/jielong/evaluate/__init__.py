"""Measuring a model: held-out text, exams, tasks, judges, and how sure a difference is."""
