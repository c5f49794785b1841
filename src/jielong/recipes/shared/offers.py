"""Ranges worth searching, in small models on one machine: the offers of recipes to `jielong tune`.

Each is about a factor of ten to either side of the recipes' defaults.
"""

from __future__ import annotations

from jielong.stages.recipe import Offer

FROM_RANDOM = (
    Offer("optimizer.name", choices=("muon", "adamw")),
    Offer("optimizer.lr", 3e-4, 2e-2, log=True),
    Offer("optimizer.muon_lr", 3e-3, 1e-1, log=True, when=("optimizer.name", "muon")),
    Offer("optimizer.warmup_steps", 5, 60),
    Offer("optimizer.decay_fraction", 0.2, 1.0),
    Offer("optimizer.weight_decay", 0.0, 0.3),
)
"""For a model that begins with random numbers."""

FROM_WEIGHTS = (
    Offer("optimizer.lr", 5e-5, 1e-2, log=True),
    Offer("optimizer.warmup_steps", 2, 40),
    Offer("optimizer.weight_decay", 0.0, 0.3),
)
"""For a model that goes on from what it has learned."""
