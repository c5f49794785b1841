"""Measure the first hour with documents of one's own: citations, follow-up questions, answers, and the time of a question."""
