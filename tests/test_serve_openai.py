"""OpenAI's own client against a real server; `bench.serve libraries` asks `llm` and LangChain too."""

from __future__ import annotations

import pytest
from bench.peers.openai_clients import of_openai
from tests.serving import serving, tiny_model

from jielong.serve.models import Memory


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openai")
    memory = Memory(slots=4, length=2048)  # its tokens are short, and a prompt with tools takes many
    with serving((str(tiny_model(folder / "tiny", length=2048)),), folder, memory=memory) as found:
        yield found


def test_every_call_of_openais_client_works(served):
    failed = {}
    for name, call in of_openai(f"{served.address}/v1", "tiny"):
        try:
            call()
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
    assert not failed
