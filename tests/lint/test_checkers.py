"""The checks of this folder find what they are for, and nothing else."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HERE = Path(__file__).parent

LAYERS = """
[core]
language = "rust"
folder = "core/src"
without = ["pyo3"]
layers = [["lib"], ["sys"], ["errno"]]

[extension]
language = "rust"
folder = "src"
layers = [["lib"], ["socket", "options"], ["call"], ["errors"]]

[package]
language = "python"
folder = "python/rsnet"
layers = [["__init__"], ["tcp", "_socket"], ["_rsnet"]]
"""

CONTRIBUTING = """
# Contributing

| `src/socket.rs` | a row of another table |

## Where unsafe code stands

| file | reason |
| --- | --- |
| `core/src/sys.rs` | system calls |
| `src/options.rs` |  |

## Something else
"""

CLEAN = {
    "core/src/lib.rs": "pub mod errno;\npub mod sys;\n",
    "core/src/sys.rs": "use crate::errno::Errno;\n// SAFETY: none needed.\nunsafe fn f() {}\n",
    "core/src/errno.rs": "//! Not pyo3:: at all.\n",
    "src/lib.rs": "mod socket;\nuse crate::socket::Socket;\n",
    "src/socket.rs": "use crate::{call::{wait, Op}, options};\n",
    "src/options.rs": "use super::errors::Error;\n",
    "src/call.rs": "fn f(py: Python) { py.detach(|| 1); py.check_signals(); crate::errors::g() }\n",
    "src/errors.rs": "fn g() { PyOSError::new_err(1); }\n",
    "python/rsnet/__init__.py": "from rsnet import tcp\nfrom rsnet._socket import socket\n",
    "python/rsnet/tcp.py": "import json\nfrom rsnet import _rsnet\nfrom . import _socket\n",
    "python/rsnet/_socket.py": "import socket\nimport rsnet._rsnet\n",
    "python/rsnet/_rsnet.pyi": "",
}


class Tree:
    """A small project, checked by copies of the scripts with layers of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in CLEAN.items():
            self.write(name, text)
        self.write("CONTRIBUTING.md", CONTRIBUTING)
        self.write("checks/layers.toml", LAYERS)
        for script in ("import_directions.py", "confined.py", "rust_source.py"):
            self.write(f"checks/{script}", (HERE / script).read_text())

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def problems(self, script: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, self.root / "checks" / script, self.root],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stderr == ""
        *problems, summary = done.stdout.splitlines()
        assert summary.endswith(f": {len(problems)} problems")
        assert done.returncode == bool(problems)
        return problems


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_nothing_wrong(tree: Tree) -> None:
    assert tree.problems("import_directions.py") == []


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("src/call.rs", "\nuse crate::socket::Socket;", "2: call imports socket, which is higher"),
        ("src/call.rs", "\n\nuse super::options;", "3: call imports options, which is higher"),
        (
            "src/call.rs",
            "use crate::{errors::{Error,\n Result}, socket};",
            "2: call imports socket, which is higher",
        ),
        (
            "src/errors.rs",
            "fn f() { crate::call::wait() }",
            "1: errors imports call, which is higher",
        ),
        ("src/call/wait.rs", "use crate::socket;", "1: call imports socket, which is higher"),
        ("src/call.rs", "use crate::Socket;", "1: call imports lib, which is higher"),
        ("core/src/errno.rs", "use crate::sys;", "1: errno imports sys, which is higher"),
        ("core/src/errno.rs", "\nuse pyo3::ffi;", "2: core/src does without pyo3"),
        ("python/rsnet/_rsnet.py", "import rsnet.tcp", "1: _rsnet imports tcp, which is higher"),
        ("python/rsnet/tcp.py", "\nimport rsnet", "2: tcp imports __init__, which is higher"),
        (
            "python/rsnet/tcp.py",
            "def f():\n    from . import socket",
            "2: tcp imports __init__, which is higher",
        ),
        (
            "python/rsnet/tcp.py",
            "from .. import tcp\nfrom rsnet import connect",
            "2: tcp imports __init__, which is higher",
        ),
    ],
)
def test_import_that_runs_up(tree: Tree, name: str, text: str, problem: str) -> None:
    tree.write(name, text)
    assert tree.problems("import_directions.py") == [f"{name}:{problem}"]


def test_modules_that_import_each_other(tree: Tree) -> None:
    tree.write("src/options.rs", "use crate::socket::Socket;")
    (problem,) = tree.problems("import_directions.py")
    assert problem.startswith("imports run in a circle: ")
    assert {"socket", "options"} <= set(problem.replace(":", "").split())


def test_module_without_a_place(tree: Tree) -> None:
    tree.write("src/batch.rs", "")
    tree.write("python/rsnet/udp.py", "")
    assert tree.problems("import_directions.py") == [
        "batch: has no place in layers.toml",
        "udp: has no place in layers.toml",
    ]


def test_place_without_a_module(tree: Tree) -> None:
    (tree.root / "core/src/sys.rs").unlink()
    assert tree.problems("import_directions.py") == ["sys: is in layers.toml but not there"]


@pytest.mark.parametrize(
    "text",
    [
        "// crate::socket",
        "/* /* nested */ crate::socket */",
        'const TEXT: &str = "crate::socket \\" crate::socket";',
        'const TEXT: &str = r#"crate::socket " crate::socket"#;',
        "#[cfg(test)]\nmod tests {\n    mod inner {}\n    use crate::socket;\n}",
        "#[cfg(test)]\nuse crate::socket;",
        "const QUOTE: char = '\"'; // crate::socket",
        "fn f<'a>(x: &'a str) {} // '",
    ],
)
def test_what_is_not_code_does_not_count(tree: Tree, text: str) -> None:
    tree.write("src/call.rs", text)
    assert tree.problems("import_directions.py") == []


def test_code_after_what_is_not_code_counts(tree: Tree) -> None:
    tree.write(
        "src/call.rs", "#[cfg(test)]\nmod tests {}\nconst Q: char = '\"';\nuse crate::socket;"
    )
    assert tree.problems("import_directions.py") == [
        "src/call.rs:4: call imports socket, which is higher"
    ]


UNSAFE = "unsafe code (CONTRIBUTING.md lists the files that may have it)"
DETACH = "letting go of the interpreter"
SIGNALS = "running signal handlers"
EXCEPTION = "making an exception"
PANIC = "what may panic"


def test_nothing_dangerous_out_of_place(tree: Tree) -> None:
    assert tree.problems("confined.py") == []


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("src/socket.rs", "unsafe { f() }", UNSAFE),
        ("src/options.rs", "unsafe impl Send for X {}", UNSAFE),
        ("core/src/errno.rs", "unsafe extern {}", UNSAFE),
        ("src/socket.rs", "py.detach(work)", DETACH),
        ("src/socket.rs", "this.py().detach(work)", DETACH),
        ("src/socket.rs", "token\n    .detach(move || f())", DETACH),
        ("src/socket.rs", "Python::detach(py, f)", DETACH),
        ("src/socket.rs", "py.allow_threads(f)", DETACH),
        ("src/socket.rs", "ffi::PyEval_SaveThread()", DETACH),
        ("src/socket.rs", "py.check_signals()?", SIGNALS),
        ("src/socket.rs", "ffi::PyErr_CheckSignals()", SIGNALS),
        ("src/call.rs", "PyErr::new::<PyOSError, _>(1)", EXCEPTION),
        ("src/call.rs", "PyValueError::new_err(1)", EXCEPTION),
        ("src/call.rs", "PyErr::from_value(v)", EXCEPTION),
        ("src/call.rs", "ffi::PyErr_SetString(a, b)", EXCEPTION),
        ("src/errors.rs", "x.unwrap()", PANIC),
        ("src/errors.rs", "x\n.expect(1)", PANIC),
        ("core/src/sys.rs", "panic!(1)", PANIC),
        ("core/src/sys.rs", "unreachable!()", PANIC),
        ("core/src/sys.rs", "    assert_eq!(1, 1);", PANIC),
    ],
)
def test_what_is_out_of_place(tree: Tree, name: str, text: str, what: str) -> None:
    tree.write(name, f"fn f() {{\n{text}\n}}")
    (problem,) = tree.problems("confined.py")
    assert problem.startswith(f"{name}:")
    assert problem.endswith(f": {what}")


@pytest.mark.parametrize(
    "text",
    [
        "#![forbid(unsafe_code)]",
        "// unsafe, .unwrap(), panic!(1)",
        'const TEXT: &str = "unsafe .unwrap() panic!(1)";',
        "#[cfg(test)]\nmod tests { fn f() { x.unwrap(); assert!(unsafe { g() }); } }",
        "fn f() { x.unwrap_or(0); x.unwrap_or_else(g); debug_assert!(y); }",
        "const _: () = assert!(SIZE == 8);",
        "fn f() { self.descriptor.detach(); this.get().descriptor().detach(); }",
        "fn f() { if error.is_instance_of::<PyOSError>(py) { PyErr::take(py); } }",
    ],
)
def test_what_is_in_place_everywhere(tree: Tree, text: str) -> None:
    tree.write("src/socket.rs", text)
    assert tree.problems("confined.py") == []


def test_unsafe_file_that_is_gone(tree: Tree) -> None:
    (tree.root / "core/src/sys.rs").unlink()
    assert tree.problems("confined.py") == [
        "CONTRIBUTING.md: core/src/sys.rs may have unsafe code but does not exist"
    ]
