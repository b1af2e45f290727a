"""Checks which way imports run, in Rust and in Python.

    python tests/lint/import_directions.py [ROOT]

layers.toml, beside this file, lists the modules of each part from the top down. A module may import
what stands lower, or beside it when that closes no circle; never what stands higher. A module that
stands nowhere is an error, so that a new one gets its place.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import rust_source

LAYERS = Path(__file__).with_name("layers.toml")
SUFFIXES = (".rs", ".py", ".pyi")


@dataclass(frozen=True)
class Import:
    importer: str
    imported: str
    place: str


def check(root: Path) -> list[str]:
    parts = tomllib.loads(LAYERS.read_text())
    problems = []
    for part in parts.values():
        folder = root / part["folder"]
        reader = {"rust": rust_imports, "python": python_imports}[part["language"]]
        modules = modules_in(folder)
        problems += check_layers(part["layers"], modules, list(reader(folder, root, modules)))
        problems += [
            f"{place}: {part['folder']} does without {outsider}"
            for outsider in part.get("without", ())
            for place in uses_of(outsider, folder, root)
        ]
    return problems


def check_layers(layers: list[list[str]], modules: set[str], imports: list[Import]) -> list[str]:
    depth = {module: number for number, layer in enumerate(layers) for module in layer}
    problems = [
        f"{module}: has no place in {LAYERS.name}" for module in sorted(modules - set(depth))
    ]
    problems += [f"{module}: is in {LAYERS.name} but not there" for module in set(depth) - modules]
    for edge in imports:
        if depth.get(edge.imported, len(layers)) < depth.get(edge.importer, -1):
            problems.append(
                f"{edge.place}: {edge.importer} imports {edge.imported}, which is higher"
            )
    return problems or circles(imports)


def circles(imports: list[Import]) -> list[str]:
    graph: dict[str, set[str]] = {}
    for edge in imports:
        graph.setdefault(edge.importer, set()).add(edge.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return [f"imports run in a circle: {' <- '.join(circle)}"]
    return []


def modules_in(folder: Path) -> set[str]:
    """Modules by their first name: what a folder contains belongs to the module of that name."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix in SUFFIXES)
    return {file.parts[0].split(".")[0] for file in files}


def rust_imports(folder: Path, root: Path, known: set[str]) -> Iterator[Import]:
    for path in sorted(folder.rglob("*.rs")):
        importer = module_of(path, folder)
        code = rust_source.code_without_tests(path.read_text())
        if path.parent == folder:
            code = code.replace("super::", "crate::")
        for name, offset in rust_source.crate_paths(code):
            # `crate::name` that is no module is an item of the crate's root.
            imported = name if name in known else "lib"
            if imported != importer:
                line = rust_source.line_number(code, offset)
                yield Import(importer, imported, f"{path.relative_to(root)}:{line}")


def python_imports(folder: Path, root: Path, known: set[str]) -> Iterator[Import]:
    package = folder.name
    for path in sorted(folder.rglob("*.py")):
        importer = module_of(path, folder)
        for node in ast.walk(ast.parse(path.read_text())):
            for imported in imported_modules(node, package, known):
                if imported != importer:
                    place = f"{path.relative_to(root)}:{node.lineno}"  # type: ignore[attr-defined]
                    yield Import(importer, imported, place)


def imported_modules(node: ast.AST, package: str, known: set[str]) -> Iterator[str]:
    """The modules of the package that an import statement names."""
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        start = package if node.level else ""
        parent = ".".join(filter(None, (start, node.module)))
        names = [f"{parent}.{alias.name}" for alias in node.names]
    for name in names:
        first, *rest = name.split(".")
        if first == package:
            yield rest[0] if rest and rest[0] in known else "__init__"


def uses_of(outsider: str, folder: Path, root: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*.rs")):
        code = rust_source.code_of(path.read_text())
        if (offset := code.find(f"{outsider}::")) >= 0:
            yield f"{path.relative_to(root)}:{rust_source.line_number(code, offset)}"


def module_of(path: Path, folder: Path) -> str:
    return path.relative_to(folder).parts[0].split(".")[0]


def main(arguments: Sequence[str]) -> int:
    root = Path(arguments[0]) if arguments else Path(__file__).parents[2]
    problems = check(root)
    for problem in problems:
        print(problem)
    print(f"import directions: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
