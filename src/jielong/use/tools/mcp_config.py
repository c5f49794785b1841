"""The MCP servers in a config file, in the formats of the programs that people use.

The usual form is {"mcpServers": {"NAME": {"command": "...", "args": [...], "env": {...}}}}, or a "url" and "headers" in
place of a command; VS Code's {"servers": {...}} and other words for the same are read too. Entries that would be
ignored although they matter (a typing error, a login that is not spoken here) are refused by name. ${VAR} is the
environment's, filled in when the server is started.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jielong.errors import ConfigError, DataError, ResourceError, did_you_mean
from jielong.outside import read_json_file, shorten_value

Transport = Literal["stdio", "http", "sse"]

_TRANSPORTS: dict[str, Transport] = {
    "stdio": "stdio",
    "local": "stdio",
    "http": "http",
    "streamable-http": "http",
    "streamablehttp": "http",
    "remote": "http",
    "sse": "sse",
}
_SAME = {
    "serverUrl": "url",
    "httpUrl": "url",
    "transport": "type",
    "transportType": "type",
    "environment": "env",
    "http_headers": "headers",
    "requestInit": "headers",
    "excludeTools": "disabledTools",
    "disabled_tools": "disabledTools",
    "includeTools": "enabledTools",
    "enabled_tools": "enabledTools",
}
"""Other words for a key."""
_KNOWN = (
    *("command", "args", "env", "cwd", "url", "headers", "type"),
    *("timeout", "disabled", "enabled", "disabledTools", "enabledTools"),
)
_NEEDLESS = frozenset("name title description note comment icon version alwaysAllow autoApprove trust gallery".split())
"""Keys that change nothing here: words about a server, and tools that another program would call without asking."""
_REFUSED = {
    "envFile": 'write its variables into "env"',
    "auth": 'write the token into "headers", as in {"Authorization": "Bearer ${TOKEN}"}',
    "oauth": 'write the token into "headers", as in {"Authorization": "Bearer ${TOKEN}"}',
}
_MOST_S = 3600.0
_VARIABLE = re.compile(r"\$\{([^{}]*)\}")


@dataclass(frozen=True)
class Server:
    """One server: a command to start, or an address to reach. `timeout_s` is None if the config says none."""

    name: str
    type: Transport = "stdio"
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float | None = None
    is_disabled: bool = False
    disabled_tools: frozenset[str] = frozenset()
    enabled_tools: frozenset[str] | None = None

    @property
    def where(self) -> str:
        """Return its command line or its address, for a person to read. Variables stay unfilled: they may be secret."""
        return " ".join((self.command, *self.args)) if self.type == "stdio" else self.url

    def offers(self, tool: str) -> bool:
        """Whether the config lets this tool be offered."""
        return tool not in self.disabled_tools and (self.enabled_tools is None or tool in self.enabled_tools)


def read_servers(path: Path) -> dict[str, Mapping[str, Any]]:
    """Read the servers of a config file, by name, as they are written. Raises ConfigError if it is no such file."""
    try:
        data = read_json_file(path)
    except DataError as error:
        raise ConfigError(f"{path} is no MCP config: {str(error).removeprefix(f'{path}: ')}") from None
    servers = _servers_in(data)
    if servers is None:
        raise ConfigError(f'{path} is no MCP config; expected {{"mcpServers": {{"NAME": {{"command": ...}}}}}}')
    for name, server in servers.items():
        try:
            parse_server(name, server)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
    return dict(servers)


def _servers_in(data: Any) -> Mapping[str, Any] | None:
    """Return the servers by name, or None if there are none."""
    if not isinstance(data, dict):
        return None
    for key in ("mcpServers", "servers", "mcp_servers", "mcp"):
        inner = data.get(key)
        if isinstance(inner, dict) and inner:
            return inner if key != "mcp" else _servers_in(inner) or inner
    return None


def parse_server(name: str, written: Any) -> Server:
    """Parse a server's config. Raises ConfigError, which names the key that is wrong. A disabled one may hold
    anything.
    """
    if not isinstance(written, Mapping):
        raise ConfigError(
            f'the server {name!r} is {shorten_value(written)}; expected {{"command": ...}} or {{"url": ...}}'
        )
    if _is_disabled(name, written):
        return Server(name, is_disabled=True)
    given = _renamed(name, written)
    kind = _type_of(name, given)

    def read(key: str, parse: Callable[[Any], Any], right: str, default: Any) -> Any:
        """Parse a key's value, or return the default if it is missing."""
        if key not in given or given[key] is None:
            return default
        try:
            return parse(given[key])
        except ValueError:
            raise ConfigError(
                f"the server {name!r}: {key!r} is {shorten_value(given[key])}; expected {right}"
            ) from None

    command = read("command", _command, 'the name of a program, such as "npx"', ("",))
    return Server(
        name,
        kind,
        command[0],
        (*command[1:], *read("args", _texts, 'a list of strings, such as ["-y", "package"]', ())),
        read("env", _by_name, 'an object of strings, such as {"KEY": "value"}', {}),
        read("cwd", _text, "the path of a folder", None),
        read("url", _address, "an address that begins with http:// or https://", ""),
        read("headers", _headers, 'an object of strings, such as {"Authorization": "Bearer ..."}', {}),
        read("timeout", _seconds, f"seconds, above 0 and at most {_MOST_S:g}", None),
        disabled_tools=frozenset(read("disabledTools", _texts, "a list of names of tools", ())),
        enabled_tools=read("enabledTools", lambda v: frozenset(_texts(v)), "a list of names of tools", None),
    )


def fill_variables(text: str) -> str:
    """Fill in each ${VAR}, ${env:VAR} and ${VAR:-otherwise}. Raises ResourceError if one is not set."""

    def value(found: re.Match[str]) -> str:
        """Return the value of one variable."""
        name, otherwise_given, otherwise = found[1].removeprefix("env:").partition(":-")
        if name == "userHome":
            return str(Path.home())
        if name == "workspaceFolder":
            return os.getcwd()
        if found[1].startswith(("input:", "command:", "config:")):
            raise ResourceError(
                f"its config holds {found[0]}, which only another program can fill in; "
                f"write an environment variable, such as ${{{name.partition(':')[2].upper().replace('-', '_')}}}"
            )
        if name in os.environ:
            return os.environ[name]
        if otherwise_given:
            return otherwise
        raise ResourceError(f"its config needs the environment variable {name}, which is not set")

    return _VARIABLE.sub(value, text)


def _is_disabled(name: str, written: Mapping[str, Any]) -> bool:
    """Whether an entry is switched off, by either key."""
    for key, off in (("disabled", True), ("enabled", False)):
        value = written.get(key, not off)
        if not isinstance(value, bool):
            raise ConfigError(f"the server {name!r}: {key!r} is {shorten_value(value)}; expected true or false")
        if value is off:
            return True
    return False


def _renamed(name: str, written: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with its keys under our names."""
    given: dict[str, Any] = {}
    for key, value in written.items():
        if key in _REFUSED:
            raise ConfigError(f"the server {name!r}: {key!r} is not read; {_REFUSED[key]}")
        known = _SAME.get(key, key)
        if known in given:
            raise ConfigError(f"the server {name!r} has {known!r} twice, under two words for it; leave one of them out")
        if known in _KNOWN:
            given[known] = value
        elif key not in _NEEDLESS and not key.startswith(("_", "$", "//")):
            raise ConfigError(f"the server {name!r}: unknown key {key!r}; {did_you_mean(key, _KNOWN)}")
    return given


def _type_of(name: str, given: Mapping[str, Any]) -> Transport:
    """Return the transport of a server: stdio, http or sse."""
    if ("command" in given) == ("url" in given):
        raise ConfigError(f'the server {name!r} needs either a "command" or a "url"')
    written = given.get("type")
    if written is None:
        if "command" in given:
            return "stdio"
        return "sse" if str(given["url"]).partition("?")[0].rstrip("/").endswith("/sse") else "http"
    kind = _TRANSPORTS.get(str(written).lower().replace("_", "-"))
    if kind is None:
        raise ConfigError(f"the server {name!r}: 'type' is {shorten_value(written)}; expected stdio, http or sse")
    if (kind == "stdio") != ("command" in given):
        needed = "command" if kind == "stdio" else "url"
        raise ConfigError(f"the server {name!r} is of type {written!r}, which needs a {needed!r}")
    return kind


# Each of these raises ValueError where the value is of another kind.


def _text(value: Any) -> str:
    """Accept a text that is not blank. Raises ValueError for anything else."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value


def _text_of_scalar(value: Any) -> str:
    """Accept a string, a number (as a port is one), or true and false as JSON writes them."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, (str, int, float)):
        raise ValueError
    return str(value)


def _texts(value: Any) -> tuple[str, ...]:
    """Accept a list of texts or other scalars. Raises ValueError for anything else."""
    if not isinstance(value, (list, tuple)):
        raise ValueError
    return tuple(map(_text_of_scalar, value))


def _command(value: Any) -> tuple[str, ...]:
    """Parse the words of a command."""
    words = (value,) if isinstance(value, str) else _texts(value)
    if not words or not words[0].strip():
        raise ValueError
    return words


def _by_name(value: Any) -> dict[str, str]:
    """Accept an object of texts or other scalars by name. Raises ValueError for anything else."""
    if not isinstance(value, Mapping):
        raise ValueError
    return {str(key): _text_of_scalar(one) for key, one in value.items()}


def _headers(value: Any) -> dict[str, str]:
    inner = value.get("headers") if isinstance(value, Mapping) else None
    return _by_name(inner if isinstance(inner, Mapping) else value)


def _address(value: Any) -> str:
    """Accept an http address, or a variable that holds one. Raises ValueError for anything else."""
    if not isinstance(value, str) or not value.startswith(("http://", "https://", "${")):
        raise ValueError
    return value


def _seconds(value: Any) -> float:
    """Accept a positive number of seconds within bounds. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _MOST_S:
        raise ValueError
    return float(value)
