"""What strategies are worth: against models whose error is known, and on real ones at equal cost."""
