"""Evaluation: held-out text, exams, tasks, judges, and the significance of differences."""
