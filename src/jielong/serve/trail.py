"""The trail of a strategy's steps towards an answer, for the page: notes, calls, tools, passages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jielong.use.ledger import Happening
from jielong.use.retrieval.passages import Passage

MOST_ITEMS = 2000
MOST_CHARS = 4000
"""Of the text of one item; what is longer is for the model and not for the page."""


class Trail:
    """The items of a trail; `tell` is called with each new or changed item and its index."""

    def __init__(self, tell: Callable[[int, dict[str, Any]], None], *, is_direct: bool) -> None:
        self.items: list[dict[str, Any]] = []
        self._tell, self._is_direct = tell, is_direct
        self._calls: dict[int, int] = {}

    def happen(self, happening: Happening) -> None:
        """Add an item for a strategy's step, or change the item that the step belongs to."""
        data = happening.data
        # a call without a label writes the answer itself
        if happening.kind == "begins" and not self._is_direct and happening.text:
            self._calls[happening.call] = len(self.items)
            head = {"kind": "call", "number": happening.call, "label": happening.text, "depth": happening.depth}
            self.add({**head, "text": "", "is_over": False})
        elif happening.kind == "ends" and happening.call in self._calls:
            self.change(self._calls[happening.call], text=happening.text[:MOST_CHARS], is_over=True)
        elif "passage" in data:
            self._add_passage(data["passage"], data["number"], data["query"])
        elif "tool" in data:
            self._finish_call(data["tool"], data["line"], data["result"])
        elif happening.kind == "note":
            self.add({"kind": "note", "text": happening.text[:MOST_CHARS]})

    def add(self, item: dict[str, Any]) -> int:
        """Add an item and return its place."""
        if len(self.items) < MOST_ITEMS:
            self.items.append(item)
            self._tell(len(self.items) - 1, item)
        return len(self.items) - 1

    def change(self, index: int, **fields: Any) -> None:
        """Change an unfinished item."""
        self.items[index] = {**self.items[index], **fields}
        self._tell(index, self.items[index])

    @property
    def passages(self) -> list[dict[str, Any]]:
        """Return the passages of the last search."""
        found = [item["passages"] for item in self.items if item["kind"] == "passages"]
        return found[-1] if found else []

    def _add_passage(self, passage: Passage, number: int, query: str) -> None:
        """Add a passage to the last search, or begin a new item."""
        shown = {"n": number, "title": passage.source, "place": passage.place, "text": passage.text}
        shown |= {"score": passage.score}
        if number == 1 or not self.items or self.items[-1]["kind"] != "passages":
            self.add({"kind": "passages", "query": query, "passages": [shown]})
        else:
            last = len(self.items) - 1
            self.change(last, passages=[*self.items[last]["passages"], shown])

    def _finish_call(self, name: str, line: str, result: str) -> None:
        """Finish the item of a tool's call, or add one."""
        for index in reversed(range(len(self.items))):
            item = self.items[index]
            if item["kind"] == "tool" and item["name"] == name and item["state"] in ("asks", "runs"):
                state = "done" if item["state"] == "runs" else "refused"
                self.change(index, state=state, line=line, result=result[:MOST_CHARS])
                return
        head = {"kind": "tool", "id": "", "name": name, "line": line, "changes": False}
        self.add({**head, "state": "done", "result": result[:MOST_CHARS]})
