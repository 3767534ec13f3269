"""Every regular expression of the product, found in its source, and text that is nasty to each of them.

``re`` holds the interpreter while it matches, and a daemon that stands still for seconds is a daemon that is down.
"""

from __future__ import annotations

import ast
import importlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from attrs import field, frozen

from tests.rig.pace import on_this_machine

ROOT = Path(__file__).parents[2]
_parser: Any = importlib.import_module("re._parser")

MATCHING = frozenset({"match", "fullmatch", "search", "findall", "finditer", "sub", "subn", "split"})
LARGE = 8_000
SLOW_S = 0.015
"""Seconds of the processor for the large text: what is linear takes a tenth of it."""
MOST_S = 0.5
STEEPEST = 8.0
"""How many times longer a text of four times the length may take: a square is sixteen."""


@frozen
class Use:
    """A place where the product uses a regular expression."""

    module: str
    """Its file, relative to the repository."""
    name: str
    """The constant, or the function that it is written in."""
    patterns: tuple[re.Pattern[Any], ...] = field(eq=False)
    """None where it is made at run time."""
    methods: frozenset[str] = field(eq=False)

    @property
    def key(self) -> str:
        package = Path(self.module).parts
        return f"{'/'.join(package[package.index('src') + 1 :])}:{self.name}"


def modules() -> Iterator[Path]:
    """The product's modules."""
    for room in ("core", "plugins"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if "src" in path.parts and "skeleton" not in path.parts:
                yield path


def uses(path: Path) -> list[Use]:
    """What a module does with regular expressions."""
    source = path.read_text()
    if not re.search(r"\b(?:re|regex)\b", source):
        return []
    tree = ast.parse(source)
    visitor = _Visitor(path)
    visitor.visit(tree)
    called: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MATCHING:
            called.setdefault(_root_name(node.func.value), set()).add(node.func.attr)
    merged: dict[str, Use] = {}
    for name, patterns, methods in visitor.found:
        before = merged.get(name)
        how = frozenset(methods or called.get(name, set()))
        merged[name] = Use(
            str(path.relative_to(ROOT)),
            name,
            (*(before.patterns if before else ()), *patterns),
            how | (before.methods if before else frozenset()),
        )
    return list(merged.values())


def _root_name(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


class _Visitor(ast.NodeVisitor):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._module: ModuleType | None = None
        self._names: list[str] = []
        self.found: list[tuple[str, tuple[re.Pattern[Any], ...], set[str]]] = []

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.module not in {"re", "regex"}, f"{self._path}: import re, so that its uses are found"

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            assert alias.asname is None or alias.name not in {"re", "regex"}, f"{self._path}: re by another name"
            assert alias.name not in {"fnmatch", "glob"}, f"{self._path}: {alias.name} is re underneath"

    def _inside(self, name: str, node: ast.AST) -> None:
        self._names.append(name)
        self.generic_visit(node)
        self._names.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._inside(node.name, node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._inside(node.name, node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._inside(node.name, node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._inside(ast.unparse(node.targets[0]), node) if not self._names else self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._inside(ast.unparse(node.target), node) if not self._names else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        function = node.func
        if not isinstance(function, ast.Attribute) or not isinstance(function.value, ast.Name):
            return
        if function.value.id not in {"re", "regex"} or function.attr not in MATCHING | {"compile"}:
            return
        methods = {function.attr} - {"compile"}
        self.found.append((".".join(self._names), self._patterns(node), methods))

    def _patterns(self, node: ast.Call) -> tuple[re.Pattern[Any], ...]:
        expression = node if ast.unparse(node.func) == "re.compile" else node.args[0]
        try:
            value = eval(ast.unparse(expression), self._namespace())
        except NameError:
            return ()
        return (value if isinstance(value, re.Pattern) else re.compile(value),)

    def _namespace(self) -> dict[str, Any]:
        if self._module is None:
            parts = self._path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[parts.index("src") + 1 :]).removesuffix(".__init__")
            self._module = importlib.import_module(name)
        return dict(vars(self._module))


# --- nasty text -------------------------------------------------------------------------------------------------------

_OF_A_CATEGORY = {
    "CATEGORY_SPACE": " ",
    "CATEGORY_DIGIT": "0",
    "CATEGORY_WORD": "a",
    "CATEGORY_NOT_SPACE": "x",
    "CATEGORY_NOT_DIGIT": "x",
    "CATEGORY_NOT_WORD": "-",
}
_ANYTHING = " ax0-\n\"';/.:=\\"


def _members(items: Sequence[Any]) -> str:
    """Some characters of a set."""
    chars = ""
    negated = False
    for kind, value in items:
        match str(kind):
            case "NEGATE":
                negated = True
            case "LITERAL":
                chars += chr(value)
            case "RANGE":
                chars += chr(value[0]) + chr(value[1])
            case "CATEGORY":
                chars += _OF_A_CATEGORY[str(value)]
    if not negated:
        return chars
    positive = re.compile(f"[{''.join(re.escape(char) for char in chars)}]") if chars else None
    return "".join(char for char in _ANYTHING if positive is None or not positive.match(char)) or "\x01"


def _walk(items: Any, sample: list[str], repeated: list[str], alphabet: list[str], inside: bool) -> None:
    """Write a text that matches, and what is repeated, and which characters there are."""

    def take(chars: str) -> None:
        sample.append(chars[0])
        alphabet.extend(chars[:3])
        if inside:
            repeated.extend(chars[:3])

    for kind, value in items:
        match str(kind):
            case "LITERAL":
                take(chr(value))
            case "NOT_LITERAL":
                take("a" if value != ord("a") else "b")
            case "ANY":
                take("x")
            case "IN":
                take(_members(value))
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                least, most, body = value
                for _ in range(max(1, min(least, 64)) if most else 0):
                    _walk(body, sample, repeated, alphabet, inside=True)
            case "SUBPATTERN":
                _walk(value[3], sample, repeated, alphabet, inside)
            case "ATOMIC_GROUP":
                _walk(value, sample, repeated, alphabet, inside)
            case "BRANCH":
                _walk(value[1][0], sample, repeated, alphabet, inside)
                for other in value[1][1:]:
                    _walk(other, [], repeated, alphabet, inside)
            case "ASSERT":
                _walk(value[1], sample if value[0] < 0 else [], repeated, alphabet, inside)
            case "AT" | "ASSERT_NOT" | "GROUPREF" | "GROUPREF_EXISTS" | "FAILURE":
                pass
            case other:
                raise NotImplementedError(f"{other}: teach this test what it matches")


def nasty_texts(pattern: re.Pattern[Any]) -> Iterator[Callable[[int], Any]]:
    """Texts of any length that make a pattern work: what it repeats, behind each beginning of what it matches, with an
    end that does not fit."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    flags = pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags
    tree = _parser.parse(source if isinstance(pattern.pattern, str) else pattern.pattern, flags)
    sample: list[str] = []
    repeated: list[str] = []
    alphabet: list[str] = []
    _walk(tree, sample, repeated, alphabet, inside=False)
    whole = "".join(sample)
    letters = list(dict.fromkeys([*repeated, *alphabet]))[:8]
    cuts = sorted({len(whole) * part // 8 for part in range(9)} | {min(at, len(whole)) for at in range(4)})
    units = [
        *letters,
        *(one + other for one in letters[:5] for other in letters[:5] if one != other),
        *(whole[:cut] for cut in cuts if cut),
        *(whole[:cut] + letter for cut in cuts if cut for letter in letters[:3]),
    ]

    def made(prefix: str, unit: str, ending: str) -> Callable[[int], Any]:
        def make(length: int) -> Any:
            text = (prefix + unit * (length // len(unit) + 1))[: max(0, length - len(ending))] + ending
            return text if isinstance(pattern.pattern, str) else text.encode("latin-1", "replace")

        return make

    for prefix in ("", *(whole[:cut] for cut in cuts if cut)):
        for unit in dict.fromkeys(units):
            for ending in ("", "\x00"):
                yield made(prefix, unit, ending)


def _run(pattern: re.Pattern[Any], method: str, text: Any) -> float:
    began = time.process_time()
    if method in {"sub", "subn"}:
        pattern.sub(text[:0], text)
    elif method == "finditer":
        for _ in pattern.finditer(text):
            pass
    else:
        getattr(pattern, method)(text)
    return time.process_time() - began


def slowest(pattern: re.Pattern[Any], methods: frozenset[str], limit: int | None) -> str | None:
    """What a pattern takes too long for, or ``None``.

    :param limit: the longest text that it is given; ``None`` where there is none
    """
    large = min(limit, LARGE) if limit else LARGE
    for make in nasty_texts(pattern):
        text = make(large)
        for method in methods:
            if _run(pattern, method, text) < SLOW_S:
                continue
            took = min(_run(pattern, method, text) for _ in range(2))
            before = min(_run(pattern, method, make(large // 4)) for _ in range(2))
            limited = limit is not None and limit <= LARGE
            pace = on_this_machine(1.0)
            if took > MOST_S * pace or (took > SLOW_S * pace and (limited or took > STEEPEST * max(before, 1e-6))):
                return f"{pattern.pattern!r}.{method}: {took:.3f} s for {large} characters like {text[:60]!r}"
    return None
