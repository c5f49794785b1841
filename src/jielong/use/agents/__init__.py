"""Agents: strategies that decide by themselves what to do next, within hard limits."""
