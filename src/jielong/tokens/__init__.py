"""Text and chats to token ids and back."""

from jielong.tokens.chat import Rendered, RenderedAnswer, RenderedPair, parse, render, render_preference, render_prompt
from jielong.tokens.foreign import SideFiles
from jielong.tokens.tokenizer import SPECIAL_TOKENS, Tokenizer, TokenizerConfig, train_tokenizer

__all__ = [
    "SPECIAL_TOKENS",
    "Rendered",
    "RenderedAnswer",
    "RenderedPair",
    "SideFiles",
    "Tokenizer",
    "TokenizerConfig",
    "parse",
    "render",
    "render_preference",
    "render_prompt",
    "train_tokenizer",
]
