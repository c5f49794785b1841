"""The nouns of the house: plain frozen dataclasses that all other modules share.

A page becomes a `Document`, and a chat a `Conversation` of `Message`s. A judgement of answers is a `Preference`, a
`Rating`, a `Ranking` or a `Demonstration`. A `Request` goes into the engine and a `Sample` comes back. Metrics, rules,
reward models and people that judge are `Scorer`s and give `Score`s. All records convert to plain dicts (and so to JSON)
and back without loss.
"""

from __future__ import annotations

from jielong.records.conversations import ROLES, Content, Conversation, Document, Message, to_dict
from jielong.records.generation import (
    KEPT_CANDIDATES,
    Candidate,
    Cut,
    Draw,
    Event,
    Generator,
    LocalGenerator,
    Request,
    Sample,
    Sampling,
)
from jielong.records.judgements import (
    OUTCOMES,
    AnswerSource,
    Demonstration,
    Judgement,
    PairOutcome,
    Preference,
    Ranking,
    Rating,
    Vote,
    judgement_from,
    judgement_to,
    kind_of,
)
from jielong.records.scores import Observation, Score, Scorer

__all__ = [
    "KEPT_CANDIDATES",
    "OUTCOMES",
    "ROLES",
    "AnswerSource",
    "Candidate",
    "Content",
    "Conversation",
    "Cut",
    "Demonstration",
    "Document",
    "Draw",
    "Event",
    "Generator",
    "Judgement",
    "LocalGenerator",
    "Message",
    "Observation",
    "PairOutcome",
    "Preference",
    "Ranking",
    "Rating",
    "Request",
    "Sample",
    "Sampling",
    "Score",
    "Scorer",
    "Vote",
    "judgement_from",
    "judgement_to",
    "kind_of",
    "to_dict",
]
