"""trafilatura on pages, as it is by default: `python -m bench.peers.trafilatura_pages DIR OUT.json`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import trafilatura


def main() -> None:
    """Write the text of each page of DIR by its number, and the CPU time of each in seconds."""
    found = {}
    for path in sorted(Path(sys.argv[1]).glob("*.html")):
        html = path.read_text(encoding="utf-8", errors="replace")
        began_s = time.process_time()
        text = trafilatura.extract(html) or ""
        found[path.stem] = {"text": text, "seconds": time.process_time() - began_s}
    Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
