"""Drawing as a tool, on an image model that is handed in."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from jielong.runs import disk_errors
from jielong.use.tools.tool import Arguments, Tool


class Draws(Protocol):
    """The protocol of an image model: a description goes in, the bytes of a PNG come out."""

    async def draw(self, prompt: str) -> bytes: ...


def drawing_tool(model: Draws, folder: Path) -> Tool:
    """Make the tool `draw`, which saves the model's picture in `folder` and says where it lies."""

    async def run(arguments: Arguments) -> str:
        """Draw a prompt and save the picture."""
        prompt = arguments["prompt"]
        drawn = await model.draw(prompt)
        path = folder / f"{hashlib.blake2b(prompt.encode(), digest_size=6).hexdigest()}.png"
        with disk_errors(path):
            folder.mkdir(parents=True, exist_ok=True)
            aside = path.with_suffix(".tmp")
            aside.write_bytes(drawn)
            aside.replace(path)
        return f"the picture lies in {path}"

    return Tool(
        "draw",
        "Draws a picture of what the prompt describes. 按描述画一张图。",
        {"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]},
        run,
        is_foreign=False,
        limit_s=600.0,
    )
