#!/bin/sh
# Finds CPython 3.11 or newer and prints the paths of interpreters that really run.
#
#   tools/find_python.sh             the one that `make demo` and `make test` use
#   tools/find_python.sh all         one of each version found, oldest first
#   tools/find_python.sh 3.11        that version
#   tools/find_python.sh /a/python   that interpreter, if it will do
#
# A name on PATH proves nothing: pyenv's shims are there for versions that are not selected and fail
# when run. So every candidate is run. Of several interpreters of one version the first that can make
# virtual environments and has CPython's own tests (for `make compat`) is taken.
set -u

# The versions that the tests run on, newest first, then those that are only supported.
versions="3.13 3.12 3.11 3.15 3.14"
pyenv_root=${PYENV_ROOT:-${HOME:-}/.pyenv}

# Prints "VERSION POINTS PATH" of a suitable interpreter: CPython with the GIL, 3.11 or newer.
probe() {
    "$1" -I -c '
import sys, sysconfig
from importlib.util import find_spec
if (
    sys.implementation.name == "cpython"
    and sys.version_info >= (3, 11)
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
):
    points = 2 * (find_spec("ensurepip") is not None)
    points += find_spec("test") is not None and find_spec("test.test_socket") is not None
    path = getattr(sys, "_base_executable", None) or sys.executable
    print("%d.%d" % sys.version_info[:2], points, path)
' 2>/dev/null
}

# Every file that may be an interpreter of that version, on PATH and in pyenv.
candidates() {
    for name in "python$1" python3 python; do
        printf '%s\n' "$PATH" | tr ':' '\n' | while IFS= read -r folder; do
            [ -x "$folder/$name" ] && printf '%s\n' "$folder/$name"
        done
    done
    for path in "$pyenv_root"/versions/"$1"*/bin/"python$1"; do
        [ -x "$path" ] && printf '%s\n' "$path"
    done
}

# The best interpreter of one version, e.g. 3.11.
find_version() {
    candidates "$1" | while IFS= read -r candidate; do
        probe "$candidate"
    done | awk -v version="$1" '
        $1 == version && $2 > best { best = $2; sub(/^[^ ]+ [^ ]+ /, ""); path = $0 }
        BEGIN { best = -1 }
        END { if (path == "") exit 1; print path }'
}

missing() {
    echo "$1" >&2
    exit 1
}

case ${1:-} in
"")
    for version in $versions; do
        find_version "$version" && exit 0
    done
    missing "Python is missing: rsnet needs CPython 3.11 or newer, and none was found on PATH or in pyenv (PYTHON=/path/to/python names one elsewhere)."
    ;;
all)
    found=
    for version in $(printf '%s\n' $versions | sort -V); do
        find_version "$version" && found=yes
    done
    [ -n "$found" ] || missing "Python is missing: rsnet needs CPython 3.11 or newer, and none was found on PATH or in pyenv."
    ;;
[0-9]*)
    find_version "$1" || missing "Python $1 is missing: none was found on PATH or in pyenv."
    ;;
*)
    answer=$(probe "$1")
    [ -n "$answer" ] || missing "$1 will not do: rsnet needs an interpreter that runs and is CPython 3.11 or newer, with the GIL."
    echo "${answer#* * }"
    ;;
esac
