"""The protocol's fields with their meaning, and which of them the paper leaves open."""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from pathlib import PureWindowsPath
from typing import Any, NamedTuple

from mammorgb_utils.protocol import Protocol


class ProtocolField(NamedTuple):
    """A choice of the study."""

    group: str
    name: str
    meaning: str
    open: bool


def protocol_fields() -> list[ProtocolField]:
    """All fields in the order of `protocol.py`; meaning and group are the comments that stand there.

    A comment that begins with *open* marks what the paper doesn't state.
    """
    source = inspect.getsource(Protocol)
    comments = {token.start[0]: token.string.lstrip("# ").strip()
                for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type == tokenize.COMMENT}
    fields, group, last = [], "", 0
    for node in ast.parse(source).body[0].body:
        if not isinstance(node, ast.AnnAssign):
            continue
        headings = [comments[line] for line in range(last + 1, node.lineno) if line in comments]
        group, last = (headings[-1] if headings and last else group), node.end_lineno
        comment = comments.get(node.end_lineno, "")
        is_open = comment == "open" or comment.startswith("open:")
        fields.append(ProtocolField(group, node.target.id, comment.removeprefix("open").lstrip(": "), is_open))
    return fields


def protocol_rows(protocol: Protocol) -> list[dict[str, Any]]:
    """One row a field: `group`, `name`, `meaning`, `open`, `value`, `paper` (its profile's, where it differs)."""
    paper = Protocol.load("paper")
    return [field._asdict() | {"value": show_value(getattr(protocol, field.name)),
                               "paper": "" if getattr(protocol, field.name) == getattr(paper, field.name)
                               else show_value(getattr(paper, field.name))}
            for field in protocol_fields()]


def show_value(value: Any) -> str:
    """A field's value as text; of a path that leads out of the project its last part, as a folder may name a person."""
    if value is None:
        return "all"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    return _inside(str(value))


def _inside(text: str) -> str:
    """A hub id or a path within the project as it is; of any other path, of whatever system, the last part."""
    path = PureWindowsPath(text)  # splits at both slashes
    return path.name if path.drive or path.root or ".." in path.parts or text.startswith("~") else text
