"""Search, drawing and MCP servers as tools: what is found names its source, and what is missing costs one sentence."""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from jielong.errors import ConfigError, DataError, ResourceError
from jielong.records import Document, to_dict
from jielong.use.retrieval.passages import Passage
from jielong.use.tools.drawing import drawing_tool
from jielong.use.tools.mcp_servers import opened, read_servers
from jielong.use.tools.search import Pages, SearXNG, search_tool

DOCUMENTS = [
    Document(
        "The capital of France is Paris.\n" + "Wine is made there. " * 60 + "\nIts river is the Seine.",
        source="http://a/fr",
    ),
    Document("The capital of Japan is Tokyo.", source="http://a/jp"),
    Document("床前明月光，疑是地上霜。", source="http://a/poem"),
    Document("举头望明月，低头思故乡。", source="http://a/poem2"),
]


def search(pages: Pages, query: str, k: int = 3) -> Sequence[Passage]:
    return asyncio.run(pages.search(query, k))


@pytest.fixture
def pages() -> Iterator[Pages]:
    pages = Pages(DOCUMENTS)
    yield pages
    pages.close()


def test_pages_are_found_by_their_words_best_first(pages: Pages) -> None:
    assert search(pages, "What is the capital of Japan?")[0].source == "http://a/jp"
    river = search(pages, "river Seine")[0]
    assert (river.source, river.place) == ("http://a/fr", "passage 3") and "Wine" not in river.text
    assert search(pages, "zebra") == [] and search(pages, "") == [] and search(pages, '"* OR (') == []


def test_a_chinese_word_of_two_characters_is_found(pages: Pages) -> None:
    assert {p.source for p in search(pages, "明月")} == {"http://a/poem", "http://a/poem2"}
    assert [p.source for p in search(pages, "故乡在哪里")] == ["http://a/poem2"]


def test_the_tool_names_sources_and_says_when_nothing_was_found(pages: Pages) -> None:
    tool = search_tool(pages, "search_pages", "some pages")
    told = asyncio.run(tool.answer({"query": "capital of Japan"}))
    assert told.startswith("[1] http://a/jp, passage 1\nThe capital of Japan is Tokyo.\n\n[2] http://a/fr")
    assert asyncio.run(tool.answer({"query": "zebra"})) == "nothing was found"


def test_documents_of_a_run_are_read_and_a_wrong_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    path.write_text("".join(json.dumps(to_dict(d)) + "\n" for d in DOCUMENTS))
    pages = Pages.read(path)
    assert search(pages, "Tokyo")[0].source == "http://a/jp"
    pages.close()
    path.write_text('{"text": "a"}\n{"txt": "b"}\n')
    with pytest.raises(DataError, match=r"documents\.jsonl:2"):
        Pages.read(path)
    with pytest.raises(DataError, match="cannot be read"):
        Pages.read(tmp_path / "none.jsonl")


class Engine(http.server.BaseHTTPRequestHandler):
    """A search engine that speaks as SearXNG does."""

    def do_GET(self) -> None:
        query = parse_qs(urlparse(self.path).query)
        status, body = (
            200,
            json.dumps({"results": [{"url": "http://x/1", "title": query["q"][0], "content": "found"}] * 9}),
        )
        if query["q"][0] == "forbidden":
            status, body = 403, "no"
        if query["q"][0] == "broken" or query.get("format") != ["json"]:
            body = "<html>"
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments: Any) -> None:
        pass


def test_a_search_engine_is_asked_as_searxng_is() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Engine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        engine = SearXNG(f"http://127.0.0.1:{server.server_port}/")
        found = asyncio.run(engine.search("明月 & 霜", 2))
        assert [(p.text, p.source) for p in found] == [("明月 & 霜\nfound", "http://x/1")] * 2
        tool = search_tool(engine, "search_web", "the web")
        told = asyncio.run(tool.answer({"query": "forbidden"}))
        assert told.startswith("error: http://127.0.0.1") and "allow json" in told
        assert "did not answer with results" in asyncio.run(tool.answer({"query": "broken"}))
        server.shutdown()
    with pytest.raises(ResourceError, match="cannot be reached"):
        asyncio.run(SearXNG("http://127.0.0.1:9").search("x", 1))


def test_a_drawing_lies_where_the_tool_says(tmp_path: Path) -> None:
    class Pencil:
        async def draw(self, prompt: str) -> bytes:
            return b"\x89PNG" + prompt.encode()

    told = asyncio.run(drawing_tool(Pencil(), tmp_path / "drawn").answer({"prompt": "a house"}))
    path = Path(told.removeprefix("the picture lies in "))
    assert path.read_bytes() == b"\x89PNGa house" and path.parent == tmp_path / "drawn"
    assert [f.name for f in path.parent.iterdir()] == [path.name]


SERVER = '''
import sys
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("little")

@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> str:
    """Adds."""
    return f"{a} + {b} = {a + b}"

@server.tool()
def forget(what: str) -> str:
    """Deletes."""
    raise ValueError("there is no " + what)

if sys.argv[1:]:
    server.run("streamable-http", port=int(sys.argv[1]))
else:
    server.run()
'''


@pytest.fixture
def little(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "server.py").write_text(SERVER)
    return {"command": sys.executable, "args": [str(tmp_path / "server.py")]}


def test_the_tools_of_a_server_are_called_over_stdio(little: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"my little": little}}))

    async def work() -> list[str]:
        async with opened(read_servers(config)) as tools:
            add, forget = tools
            assert (add.name, add.description, add.changes) == ("my_little_add", "Adds.", False)
            assert (forget.name, forget.changes) == ("my_little_forget", True)
            several = asyncio.gather(*(add.answer({"a": i, "b": 1}) for i in range(3)))
            return [*await several, await add.answer({"a": "x", "b": 1}), await forget.answer({"what": "thing"})]

    told = asyncio.run(work())
    assert told[:3] == ["0 + 1 = 1", "1 + 1 = 2", "2 + 1 = 3"]
    assert told[3] == "error: 'a' must be of type integer; got \"x\""
    assert told[4].startswith("error: ")


def test_the_tools_of_a_server_are_called_over_http(little: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async def work() -> str:
        for _ in range(100):
            try:
                async with opened({"far": {"url": f"http://127.0.0.1:{port}/mcp", "headers": {"X-Key": "k"}}}) as tools:
                    return await tools[0].answer({"a": 1, "b": 2})
            except ResourceError:  # it is not up yet
                await asyncio.sleep(0.2)
        raise AssertionError("the server did not start")

    with subprocess.Popen([little["command"], *little["args"], str(port)], stderr=subprocess.DEVNULL) as process:
        try:
            assert asyncio.run(work()) == "1 + 2 = 3"
        finally:
            process.kill()


def test_an_error_of_the_work_passes_the_servers_unchanged(little: dict[str, Any]) -> None:
    async def work() -> None:
        async with opened({"little": little}):
            raise DataError("mine")

    with pytest.raises(DataError, match="mine"):
        asyncio.run(work())


@pytest.mark.parametrize("server", [{"command": "no-such-program"}, {"url": "http://127.0.0.1:9/mcp"}])
def test_a_server_that_is_not_there_is_named(server: dict[str, Any]) -> None:
    async def work() -> None:
        async with opened({"absent": server}):
            raise AssertionError("it was opened")

    with pytest.raises(ResourceError, match="the MCP server 'absent' cannot be used"):
        asyncio.run(work())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is no MCP config"),
        ("[]", "is no MCP config"),
        ('{"servers": {}}', "is no MCP config"),
        ('{"mcpServers": {"a": {}}}', "'a' needs either"),
        ('{"mcpServers": {"a": {"url": "x", "command": "y"}}}', "'a' needs either"),
    ],
)
def test_a_wrong_config_of_servers_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        read_servers(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_servers(tmp_path / "none.json")
