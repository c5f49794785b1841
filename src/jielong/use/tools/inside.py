"""The first process inside a sandbox: it runs a program alone, or a program or its tests, with pipes between the two.

It imports the standard library alone. Between a program and its tests only plain data goes, as JSON with tags: None,
bool, int, float, complex, str, bytes, list, tuple, dict, set and frozenset, within `MAX_DEPTH` and `MAX_MESSAGE` bytes.
Any other object of a program stays where it is, and its tests get a number for it (`Foreign`): they ask for attributes,
items and calls one by one, and never compare it with plain data, for its `__eq__` belongs to the program.
"""

from __future__ import annotations

import ast
import builtins
import functools
import json
import operator
import os
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any

MAX_DEPTH = 100
MAX_MESSAGE = 8 * 2**20
_TOO_DEEP = f"data nested more than {MAX_DEPTH} deep does not go between a program and its tests"
_NO_ANSWER = "the program's side said something that is no answer"
_SEQUENCES: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


class Refused(BaseException):
    """Raised for an object that cannot cross between a program and its tests; `except Exception` does not catch it."""


def pack_value(value: Any, other: Callable[[Any], Any], depth: int = 0) -> Any:
    """Pack a value as JSON, with pairs of tag and content for what JSON lacks; `other` packs what is no plain data."""
    if depth > MAX_DEPTH:
        raise Refused(_TOO_DEEP)
    if value is None or isinstance(value, (bool, float, str)):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else ["int", hex(value)]
    if isinstance(value, (bytes, bytearray)):
        return ["bytes", value.hex()]
    if isinstance(value, complex):
        return ["complex", [value.real, value.imag]]
    if isinstance(value, dict):
        return ["dict", [[pack_value(part, other, depth + 1) for part in pair] for pair in dict.items(value)]]
    if isinstance(value, (list, tuple, set, frozenset)):
        name, kind = next(pair for pair in _SEQUENCES.items() if isinstance(value, pair[1]))
        return [name, [pack_value(part, other, depth + 1) for part in kind.__iter__(value)]]
    return other(value)


def unpack_value(value: Any, other: Callable[[str, Any], Any], depth: int = 0) -> Any:
    """Unpack a value; `other` gets tag and content of objects that are no plain data."""
    if depth > MAX_DEPTH:
        raise Refused(_TOO_DEEP)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    tag, content = value
    if tag == "int":
        return int(content, 16)
    if tag == "bytes":
        return bytes.fromhex(content)
    if tag == "complex":
        return complex(*content)
    if tag == "dict":
        return {unpack_value(k, other, depth + 1): unpack_value(v, other, depth + 1) for k, v in content}
    if tag in _SEQUENCES:
        return _SEQUENCES[tag](unpack_value(part, other, depth + 1) for part in content)
    return other(tag, content)


def names_taken(tests: str) -> set[str]:
    """Return the names that tests may take from the program: all that they read, but the names of Python."""
    # a program must not judge itself with its own `all`; but tests that name nothing else are about a function `sum`, say
    nodes = list(ast.walk(ast.parse(tests)))
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    made = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    made |= {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
    made |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    made |= {node.asname or node.name for node in nodes if isinstance(node, ast.alias)}
    return {name for name in read if not hasattr(builtins, name)} if read - made - set(dir(builtins)) else read


class Channel:
    """Messages to and from the other sandbox, a line each."""

    def __init__(self, hears: int, says: int) -> None:
        self._hears, self._says = os.fdopen(hears, "rb"), says

    def send(self, message: Any) -> None:
        """Send a message. Raises Refused if it is too large."""
        line = json.dumps(message).encode() + b"\n"
        if len(line) > MAX_MESSAGE:
            raise Refused(f"more than {MAX_MESSAGE // 2**20} MiB at once do not go between a program and its tests")
        while line:
            line = line[os.write(self._says, line) :]

    def receive(self) -> Any:
        """Return the next message. Raises EOFError if none will come."""
        line = self._hears.readline(MAX_MESSAGE + 1)
        if not line.endswith(b"\n"):
            raise EOFError
        return json.loads(line)


_DO: dict[str, Callable[..., Any]] = {
    "call": lambda thing, *args, **kwargs: thing(*args, **kwargs),
    "attribute": getattr,
    "set attribute": setattr,
    "item": operator.getitem,
    "set item": operator.setitem,
    "delete item": operator.delitem,
    "length": len,
    "truth": bool,
    "text": str,
    "shown": repr,
    "iterate": iter,
    "next": next,
    "instance": lambda kind, thing: isinstance(thing, kind),
    **{name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
}
"""Operations of tests on a thing of the program."""


class ProgramSide:
    """The program's side, which answers requests of the tests until they end."""

    def __init__(self, channel: Channel, names: dict[str, Any]) -> None:
        self._channel, self._names = channel, names
        self._things: list[Any] = []  # kept for as long as the tests run, so that no id is used twice
        self._numbers: dict[int, int] = {}

    def serve(self) -> None:
        while True:
            try:
                message = self._channel.receive()
            except EOFError:
                return
            try:
                self._channel.send(self._execute(*message))
            except Refused as refused:
                self._channel.send(["refused", str(refused)])
            except BaseException as error:  # whatever a program raises, its tests hear of
                is_stop = message[0] == "next" and isinstance(error, StopIteration)
                self._channel.send(["stop"] if is_stop else self._raised(error))

    def _execute(self, operation: str, args: Any, kwargs: Any) -> Any:
        """Do one request and return its result, with changes to mutable arguments."""
        if operation == "name":
            return ["value", self._packed(self._names[args[0]]), []] if args[0] in self._names else ["missing"]
        positional = [unpack_value(arg, self._thing) for arg in args]
        named = {k: unpack_value(v, self._thing) for k, v in kwargs.items()}
        value = self._packed(_DO[operation](*positional, **named))
        # a caller sees changes that a function makes to its lists and dicts
        after = {**dict(enumerate(map(self._packed, positional))), **{k: self._packed(v) for k, v in named.items()}}
        before = {**dict(enumerate(args)), **kwargs}
        return ["value", value, [[key, new] for key, new in after.items() if new != before[key]]]

    def _packed(self, value: Any) -> Any:
        return pack_value(value, self._number)

    def _number(self, value: Any) -> Any:
        if isinstance(value, type) and issubclass(value, Exception):
            return ["error", _class_names(value)]
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._things)
            self._things.append(value)
        return ["thing", [self._numbers[id(value)], type(value).__name__]]

    def _thing(self, tag: str, content: Any) -> Any:
        return self._things[content[0]]

    def _raised(self, error: BaseException) -> Any:
        return ["raised", _class_names(type(error)), pack_value(error.args, str)]


def _class_names(kind: type[BaseException]) -> list[str]:
    """Return the names of an error's class and its bases, down to the first that Python has."""
    names: list[str] = []
    for each in kind.__mro__:
        names.append(each.__name__)
        if getattr(builtins, each.__name__, None) is each:
            break
    return names


class RemoteProgram:
    """The program as its tests see it, through requests to its side; `refused` is the first refusal."""

    def __init__(self, channel: Channel) -> None:
        self._channel, self.refused = channel, ""
        self._errors: dict[str, type[Exception]] = {}

    def refuse(self, sentence: str) -> Refused:
        self.refused = self.refused or sentence
        return Refused(sentence)

    def request(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        message = [operation, [self._packed(arg) for arg in args], {k: self._packed(v) for k, v in kwargs.items()}]
        return self._answer(message, args, kwargs)

    def _packed(self, value: Any) -> Any:
        try:
            return pack_value(value, self._other)
        except Refused as refused:
            raise self.refuse(str(refused)) from None

    def _other(self, value: Any) -> Any:
        if isinstance(value, Foreign):
            return ["thing", [value._foreign_number_]]
        raise Refused(f"the tests hand the program a {type(value).__name__}, and only plain data goes to it")

    def _answer(self, message: Any, args: Any, kwargs: Any) -> Any:
        """Send a request and return its result, or raise the program's error."""
        try:
            self._channel.send(message)
            kind, *content = self._channel.receive()
            if kind == "refused":
                raise Refused(str(content[0])[:400])
            if kind == "value":
                value, changed = content
                for key, new in changed:
                    _take_over(args[key] if isinstance(key, int) else kwargs[key], unpack_value(new, self._built))
                return unpack_value(value, self._built)
            if kind == "raised":
                error = self._error(content[0])(*unpack_value(content[1], self._built))
        except (EOFError, OSError):
            raise self.refuse("the program ended before its tests did") from None
        except Refused as refused:
            raise self.refuse(str(refused)) from None
        except Exception:  # the program's side may say anything
            raise self.refuse(_NO_ANSWER) from None
        if kind == "raised":
            raise error
        if kind == "missing":
            raise KeyError(args[0])
        if kind == "stop" and message[0] == "next":
            raise StopIteration
        raise self.refuse(_NO_ANSWER)

    def _built(self, tag: str, content: Any) -> Any:
        """Build an error class or a stand-in for an object of the program from its packed form."""
        if tag == "error":
            return self._error(content)
        if tag == "thing":
            return Foreign(self, int(content[0]), str(content[1]))
        raise ValueError(tag)

    def _error(self, names: list[str]) -> type[Exception]:
        """Return an error's class: Python's, or one made here that comes from Python's."""
        # SystemExit and StopIteration would end the tests or a loop of theirs quietly, so they come as RuntimeError
        *own, last = map(str, names)
        made = getattr(builtins, last, None)
        if not (isinstance(made, type) and issubclass(made, Exception)) or made in (StopIteration, StopAsyncIteration):
            made = RuntimeError
        for name in reversed(own[:10]):
            made = self._errors.setdefault(name, type(name, (made,), {}))
        return made


def _take_over(old: Any, new: Any) -> None:
    """Change a list, dict or set of the tests as the program changed it."""
    if isinstance(old, list):
        old[:] = new
    elif isinstance(old, (dict, set)):
        old.clear()
        old.update(new)


class Foreign:
    """An object of the program, seen from its tests: a function, a class, an instance, a generator."""

    def __init__(self, program: RemoteProgram, number: int, kind: str) -> None:
        vars(self).update(_foreign_program_=program, _foreign_number_=number, _foreign_kind_=kind)

    def _foreign_(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        return self._foreign_program_.request(operation, self, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._foreign_("attribute", name)

    def __iter__(self) -> Iterator[Any]:
        found = self._foreign_("iterate")
        return found if isinstance(found, Foreign) else iter(found)

    def __instancecheck__(self, thing: Any) -> bool:
        return isinstance(thing, Foreign) and self._foreign_("instance", thing) is True

    def __contains__(self, thing: Any) -> bool:
        raise self._foreign_refused_("cannot be asked what it holds")

    def __hash__(self) -> int:
        raise self._foreign_refused_("cannot be in a set of its tests, or a key of a dict")

    def _foreign_compared_(self, how: str, other: Any) -> bool:
        if other is None:
            return how == "ne"
        if not isinstance(other, Foreign):
            raise self._foreign_refused_(f"cannot be compared with a {type(other).__name__}")
        return self._foreign_(how, other) is True

    def _foreign_refused_(self, told: str) -> Refused:
        return self._foreign_program_.refuse(f"an object of the program ({self._foreign_kind_}) {told}")


_ASKED = {
    "__call__": "call",
    "__setattr__": "set attribute",
    "__getitem__": "item",
    "__setitem__": "set item",
    "__delitem__": "delete item",
    "__len__": "length",
    "__bool__": "truth",
    "__str__": "text",
    "__repr__": "shown",
    "__next__": "next",
}
"""Methods that Python calls on a thing, each with its request to the program."""
for _method, _what in _ASKED.items():
    setattr(Foreign, _method, functools.partialmethod(Foreign._foreign_, _what))
for _what in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Foreign, f"__{_what}__", functools.partialmethod(Foreign._foreign_compared_, _what))


class Names(dict):  # type: ignore[type-arg]
    """The global names of the tests; an unknown one is asked of the program."""

    def __init__(self, program: RemoteProgram, of_program: set[str]) -> None:
        super().__init__({"__name__": "tests"})
        self._program, self._of_program = program, of_program

    def __missing__(self, name: str) -> Any:
        if name not in self._of_program:
            raise KeyError(name)
        return self._program.request("name", name)


def run(source: str) -> None:
    """Run a program and print the value of its last line."""
    tree, names, value = ast.parse(source, "program.py"), {"__name__": "__main__"}, None
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "program.py", "exec"), names)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), "program.py", "eval"), names)
    if value is not None:
        print(repr(value))


def serve(source: str, hears: int, says: int) -> None:
    """Run a program, and then the calls of its tests."""
    module = types.ModuleType("program")
    sys.modules["program"] = module
    exec(compile(source, "program.py", "exec"), vars(module))
    ProgramSide(Channel(hears, says), vars(module)).serve()


def examine(source: str, hears: int, says: int) -> str:
    """Run tests on the program at the other end; return "passed", or the sentence on what could not cross."""
    program = RemoteProgram(Channel(hears, says))
    try:
        program.request("name", "__name__")  # it is there, and has run to its end
        exec(compile(source, "tests.py", "exec"), Names(program, names_taken(source)))
    except Refused:
        pass  # told below, also where the tests caught it
    except SystemExit:
        raise AssertionError("the tests left before their end") from None
    if program.refused:
        print(program.refused)
        return f"refused: {program.refused}"
    return "passed"


def main(role: str, limits: str, status: int, *pipes: int) -> None:
    """Begin as `role`, within limits, and write to the pipe `status` that it has begun, and for tests how they ended."""
    import resource

    for name, limit in json.loads(limits).items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (limit, limit))
    source = sys.stdin.buffer.read().decode()
    os.write(status, b"started\n")
    try:
        if role == "tests":
            os.write(status, examine(source, *pipes).encode(errors="replace"))
            return
        os.close(status)  # nothing of the program can write there
        run(source) if role == "run" else serve(source, *pipes)
    except Exception as error:
        frames = error.__traceback__.tb_next.tb_next if error.__traceback__ and error.__traceback__.tb_next else None
        traceback.print_exception(type(error), error, frames)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
