"""At install: build the C++ where there is a compiler. Without one the package is complete too."""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version
        file = Path(self.root, "src", "jielong", "native", "build.py")
        spec = importlib.util.spec_from_file_location("build_native", file)
        assert spec is not None and spec.loader is not None
        build_native = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(build_native)
        if build_native.build():
            build_data["pure_python"] = False
            # bound to the processor and system, not to a version of Python
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
