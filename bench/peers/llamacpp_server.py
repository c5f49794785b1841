"""llama.cpp's own server on the job's GGUF file, through xllamacpp: it listens until the input ends."""

from __future__ import annotations

import os
from typing import Any

import xllamacpp  # type: ignore[import-not-found]

from bench.peers.protocol import Line


def main() -> None:
    line = Line()
    job = line.job
    params = xllamacpp.CommonParams()
    params.model.path = job["gguf"]
    params.hostnames, params.port = ["127.0.0.1"], job["port"]
    # all slots together; each has an equal part
    params.n_parallel, params.n_ctx = job["slots"], job["slots"] * job["length"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = job["threads"]
    params.n_gpu_layers, params.warmup = 0, True
    server = xllamacpp.Server(params)

    def listening() -> dict[str, Any]:
        return {"address": server.listening_address, "pid": os.getpid(), "built": xllamacpp.get_system_info()}

    line.say(versions={"xllamacpp": xllamacpp.__version__})
    line.serve({"listening": listening})


if __name__ == "__main__":
    main()
