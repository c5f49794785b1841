"""`jielong completion`: a script that completes commands and options in a shell."""

from __future__ import annotations

import argparse

SHELLS = {
    "bash": "jielong completion bash > ~/.local/share/bash-completion/completions/jielong",
    "zsh": 'jielong completion zsh > "${fpath[1]}/_jielong"',
    "tcsh": "jielong completion tcsh >> ~/.cshrc",
}
"""The shells, and how each is told."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "completion",
        help="print a script that completes commands and options in a shell",
        description="Once: " + "; or ".join(SHELLS.values()),
    )
    parser.add_argument("shell", choices=tuple(SHELLS), help="for which shell")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the script; return exit code 0."""
    import shtab

    from jielong.cli.main import build_parser

    print(shtab.complete(build_parser(), arguments.shell))
    return 0
