"""Rust source as the checks of this folder read it: without comments, texts and tests."""

from __future__ import annotations

import re
from collections.abc import Iterator

# In order of precedence: what starts first hides what it contains.
_HIDDEN = re.compile(
    r"""
      (?P<line_comment>//[^\n]*)
    | (?P<block_comment>/\*)
    | (?P<raw_text>\b[bc]?r(?P<fence>\#*)".*?"(?P=fence))
    | (?P<text>\b[bc]?"(?:\\.|[^"\\])*"|"(?:\\.|[^"\\])*")
    | (?P<character>b?'(?:\\(?:x[0-9a-fA-F]{2}|u\{[^}]*\}|.)|[^'\\\n])')
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_COMMENT_EDGE = re.compile(r"/\*|\*/")
_TEST_ONLY = re.compile(r"#\[cfg\((?:all\()?test\b[^\]]*\]")


def code_of(source: str) -> str:
    """The code with everything else blanked, so that offsets and line numbers stay the same."""
    code = []
    position = 0
    while hidden := _HIDDEN.search(source, position):
        code.append(source[position : hidden.start()])
        end = hidden.end()
        if hidden["block_comment"]:
            end = _end_of_block_comment(source, hidden.start())
        code.append(_blank(source[hidden.start() : end]))
        position = end
    code.append(source[position:])
    return "".join(code)


def code_without_tests(source: str) -> str:
    """The same, with the items that only tests see blanked as well."""
    code = code_of(source)
    while marker := _TEST_ONLY.search(code):
        end = _end_of_item(code, marker.end())
        code = code[: marker.start()] + _blank(code[marker.start() : end]) + code[end:]
    return code


def line_number(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def crate_paths(code: str) -> Iterator[tuple[str, int]]:
    """The first segment after `crate::`, with its offset, also of groups: `crate::{a, b::c}`."""
    for path in re.finditer(r"\bcrate::(?:(\w+)|\{)", code):
        if path[1]:
            yield path[1], path.start()
        else:
            yield from _first_segments(code, path.end())


def _first_segments(code: str, start: int) -> Iterator[tuple[str, int]]:
    depth = 0
    at_segment = True
    for token in re.finditer(r"\w+|[{},]", code[start:]):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}":
            if depth == 0:
                return
            depth -= 1
        elif token[0] == ",":
            at_segment = depth == 0
        elif at_segment:
            at_segment = False
            yield token[0], start + token.start()


def _end_of_block_comment(source: str, start: int) -> int:
    """Block comments nest."""
    depth = 0
    for edge in _BLOCK_COMMENT_EDGE.finditer(source, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(source)


def _end_of_item(code: str, start: int) -> int:
    """The end of the item that begins at `start`: its semicolon or its closing brace."""
    depth = 0
    for token in re.finditer(r"[;{}]", code[start:]):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}":
            depth -= 1
        if depth == 0:
            return start + token.end()
    return len(code)


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)
