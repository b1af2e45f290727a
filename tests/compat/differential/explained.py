"""Where rsnet differs from CPython on purpose. Each explanation is checked, not believed."""

import errno
import re
import sys

from .outcome import Raised
from .world import Blocked, Program, Seen, World

# In CPython these are Python functions, in rsnet native ones: the interpreter itself words
# differently that they were called with a wrong number of arguments, or wrong names.
_NATIVE_HERE = "accept|close|detach|__init__|_decref_socketios"
_PYTHON_WORDING = re.compile(
    rf"socket\.(?P<name>{_NATIVE_HERE})\(\) (?:missing \d|takes (?:from )?\d|got an unexpected)"
)
_NATIVE_WORDING = re.compile(
    rf"(?:unbound method )?(?:socket\.)?(?P<name>{_NATIVE_HERE})\(\) "
    r"(?:takes|needs an argument|got an unexpected|missing)"
)

# A view in the place of a sequence, not of a buffer in one.
_SEQUENCE_RELEASED = re.compile(r"\b(?:sendmsg|recvmsg_into|send_fds)\((?:.*[,=] ?|)released\(")
_RELEASED = "operation forbidden on released memoryview object"

_ALL_FLAGS = re.compile(r"\.(?:sendmsg|recvmsg|recvmsg_into)\(.*(?:, |flags=)-1\b")


def is_explained(program: Program, standard: World, expected: Seen, found: Seen) -> bool:
    """Whether what was `found` after the last line may differ from what was `expected`."""
    return (
        _only_words_the_call_differently(expected, found)
        or _iterates_over_what_was_released(program, found)
        or _is_closed_before_its_flags_are_wrong(program, expected, found)
        or _asked_the_kernel_first(program, standard, expected, found)
    )


def _only_words_the_call_differently(expected: Seen, found: Seen) -> bool:
    texts = [seen.result.args[0] for seen in (expected, found) if _is(TypeError, seen)]
    if len(texts) != 2:
        return False
    python, native = _PYTHON_WORDING.match(texts[0]), _NATIVE_WORDING.match(texts[1])
    same = python and native and python["name"] == native["name"]
    return bool(same) and _but_for_result(expected) == _but_for_result(found)


def _iterates_over_what_was_released(program: Program, found: Seen) -> bool:
    """Before 3.13 CPython takes a released view for an empty sequence, its error notwithstanding.

    memoryview.__iter__ gives an iterator and has an exception set; the iterator is used.
    """
    if sys.version_info >= (3, 13) or not _SEQUENCE_RELEASED.search(program[-1]):
        return False
    return _is(ValueError, found) and found.result.args == (_RELEASED,)


def _is_closed_before_its_flags_are_wrong(program: Program, expected: Seen, found: Seen) -> bool:
    """sendmsg(2) and recvmsg(2) refuse MSG_CMSG_COMPAT before they look for the descriptor.

    CPython passes them the -1 of a closed socket; rsnet makes no system call on a closed one.
    """
    errors = [seen.result.args[:1] for seen in (expected, found) if _is(OSError, seen)]
    codes = [((int, errno.EINVAL),), ((int, errno.EBADF),)]
    return errors == codes and bool(_ALL_FLAGS.search(program[-1]))


def _asked_the_kernel_first(program: Program, standard: World, expected: Seen, found: Seen) -> bool:
    """CPython polls before a call that has a timeout, and times out where poll says nothing.

    rsnet makes the call and polls when the kernel says that it would block. Where poll is silent
    and the call would not block (a listener that is asked for data, a datagram for which there is
    still room) it gives at once what the kernel says; which has to be exactly what the standard
    library gives on a non-blocking socket in the same place.
    """
    waited = _is(TimeoutError, expected) or _is(Blocked, expected)
    if not waited or _is(BlockingIOError, found):
        return False
    *_, at_once = _up_to(program, standard)
    return at_once.result == found.result


def _up_to(program: Program, standard: World) -> list[Seen]:
    run = standard.run(program, hasty=len(program) - 1)
    seen = [step for step, _ in zip(run, program, strict=False)]
    run.close()
    return seen


def _is(error: type[BaseException], seen: Seen) -> bool:
    return isinstance(seen.result, Raised) and seen.result.type is error


def _but_for_result(seen: Seen) -> object:
    return seen.variables, seen.buffers, seen.events, seen.warnings, seen.free_descriptor
