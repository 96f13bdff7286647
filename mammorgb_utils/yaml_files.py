"""YAML files that people write: read as they look, and refused with line, field and remedy."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

# Plain values that are what they look like. YAML 1.1 reads others in its own way: 010 is 8, 1:30 is 90, no is false.
_AS_IT_LOOKS = {"bool": r"true|false", "int": r"[-+]?(0|[1-9]\d*)", "float": r"[-+]?\d+\.?\d*([eE][-+]?\d+)?",
                "timestamp": r"(?!)"}


class Record(BaseModel):
    """What such a file holds: frozen, finite, and without fields that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


R = TypeVar("R", bound=Record)
Place = tuple[str | int, ...]  # the fields and numbers that lead to a value


class _Loader(yaml.SafeLoader):
    """Without aliases, which can make a short file endless."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="an alias isn't read; write the value itself",
                                       problem_mark=self.peek_event().start_mark)
        return super().compose_node(parent, index)


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))


def read_record(path: Path, record: type[R], error: type[ValueError], defaults: dict[str, Any] | None = None,
                **overrides: Any) -> R:
    """A YAML file as the record that it holds.

    Args:
        path: The file.
        record: What it must hold.
        error: Raised for whatever is wrong; the message names file, line, field and remedy.
        defaults, overrides: Fields that the file's replace, and fields that replace the file's.
    """
    lines: dict[Place, int] = {}
    try:
        loader = _Loader(path.read_bytes())
        node = loader.get_single_node()
        surprise = next(_surprises(node, lines), "")
        fields = loader.construct_document(node) if node and not surprise else {}
    except FileNotFoundError:
        raise error(f"{path}: not found") from None
    except yaml.YAMLError as problem:
        remedy = "; save the file as UTF-8" if isinstance(problem, yaml.reader.ReaderError) else ""
        raise error(f"{path.name}: not valid YAML: {' '.join(str(problem).split())}{remedy}") from None
    if surprise or not isinstance(fields, dict):
        raise error(f"{path.name}: {surprise or 'must hold fields and values, such as `epochs: 3`'}")
    return validated(record, {**(defaults or {}), **fields, **overrides}, path.name, error, lines)


def validated(record: type[R], fields: dict[str, Any], source: str, error: type[ValueError],
              lines: dict[Place, int] | None = None) -> R:
    """Fields as a record; what is wrong is raised as `error`, with the field's line where `source` is a file."""
    try:
        return record.model_validate(fields)
    except ValidationError as problem:
        found = [_explain(item, record, lines or {}) for item in problem.errors()]
        raise error(f"{source}: {'; '.join(found)}") from None


def _surprises(node: yaml.Node | None, lines: dict[Place, int]) -> Iterator[str]:
    """Fields that stand twice, and plain values that YAML reads as something else than they look; notes `lines`."""
    for place, line, value in _values(node):
        what = f"line {line}, field {'.'.join(map(str, place))!r}: "
        if place in lines:
            yield f"{what}stands in line {lines[place]} already; keep one"
        lines[place] = line
        kind = value.tag.rpartition(":")[2] if isinstance(value, yaml.ScalarNode) and value.style is None else ""
        if kind in _AS_IT_LOOKS and not re.fullmatch(_AS_IT_LOOKS[kind], value.value):
            yield (f"{what}YAML reads {value.value} as {yaml.safe_load(value.value)}; write a decimal number, true or "
                   "false, or put quotes around a text")


def _values(node: yaml.Node | None, place: Place = ()) -> Iterator[tuple[Place, int, yaml.Node]]:
    """Every value of a document with its place and line."""
    children: list[tuple[str | int, yaml.Node, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        children = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(number, value, value) for number, value in enumerate(node.value)]
    for name, head, value in children:
        yield (*place, name), head.start_mark.line + 1, value
        yield from _values(value, (*place, name))


def _explain(item: dict[str, Any], record: type[Record], lines: dict[Place, int]) -> str:
    field, place = ".".join(map(str, item["loc"])), ()
    for part in item["loc"]:
        place = (*place, part) if (*place, part) in lines else place  # pydantic's own parts aren't in the file
    where = f"line {lines[place]}, " if place else ""
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(field, record.model_fields, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"{record.__module__.replace('.', '/')}.py lists them all"
        return f"{where}unknown field {field!r}; {remedy}"
    message = item["msg"].removeprefix("Value error, ")
    got = "" if item["type"] == "missing" else f" (got {reprlib.repr(item['input'])})"
    return f"{where}field {field!r}: {message}{got}" if field else message
