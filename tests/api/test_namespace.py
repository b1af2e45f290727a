"""`import rsnet as socket` finds every name that `socket` has, and the same thing under it."""

import inspect
import json
import socket as standard
from enum import Enum

import pytest

import rsnet

MODULE_ONLY = {"__builtins__", "__cached__", "__doc__", "__file__", "__loader__", "__name__"} | {
    "__package__",
    "__spec__",
}
NAMES = sorted(set(dir(standard)) - MODULE_ONLY)
# What rsnet has of its own: the class, its native half, and Python functions that make sockets.
OWN = {"socket", "SocketIO", "SocketType"} | {
    name for name in NAMES if inspect.isfunction(getattr(standard, name))
}
CLASS_NAMES = [name for name in dir(standard.socket) if not name.startswith("_")]


def signature_of(thing):
    """Names, kinds and defaults; the annotations are rsnet's own.

    A method in Rust shows `self` as positional-only, one in Python does not. Nobody names it.
    """
    try:
        signature = inspect.signature(thing)
    except ValueError:
        return None
    kinds = {"self": None}
    return [(p.name, kinds.get(p.name, p.kind), p.default) for p in signature.parameters.values()]


def kind_of(thing):
    if inspect.isclass(thing):
        return "class"
    if inspect.isroutine(thing):
        return "function"
    return type(thing)


def test_no_name_is_missing():
    assert set(NAMES) - set(dir(rsnet)) == set()


@pytest.mark.parametrize("name", NAMES)
def test_the_kind_of_value(name):
    assert kind_of(getattr(rsnet, name)) == kind_of(getattr(standard, name))


def test_constants_enums_exceptions_and_sentinels_are_the_same_objects():
    different = [
        name
        for name in NAMES
        if name not in OWN and not inspect.isroutine(getattr(standard, name))
        if getattr(rsnet, name) is not getattr(standard, name)
        # Compiled in, and equal, is all that can be asked of the names' own list.
        if name != "__all__"
    ]
    assert different == []


@pytest.mark.parametrize("name", ["error", "timeout", "gaierror", "herror"])
def test_classes_that_programs_compare_are_the_same_objects(name):
    assert getattr(rsnet, name) is getattr(standard, name)


def test_the_aliases_of_builtin_exceptions():
    assert rsnet.error is OSError
    assert rsnet.timeout is TimeoutError


def test_every_enum_member_is_the_same_object():
    enums = [v for v in vars(standard).values() if inspect.isclass(v) and issubclass(v, Enum)]
    assert {"AddressFamily", "SocketKind", "MsgFlag", "AddressInfo"} <= {e.__name__ for e in enums}
    for enum in enums:
        for name, member in enum.__members__.items():
            if hasattr(standard, name):
                assert getattr(rsnet, name) is member


def test_private_sentinels_are_the_same_objects():
    assert rsnet._GLOBAL_DEFAULT_TIMEOUT is standard._GLOBAL_DEFAULT_TIMEOUT
    assert rsnet._GiveupOnSendfile is standard._GiveupOnSendfile


def test_all_is_the_same_list():
    assert rsnet.__all__ == standard.__all__
    assert all(hasattr(rsnet, name) for name in rsnet.__all__)


def test_star_import_gives_the_same_names():
    ours, theirs = {}, {}
    exec("from rsnet import *", ours)
    exec("from socket import *", theirs)
    assert ours.keys() == theirs.keys()
    assert ours["socket"] is rsnet.socket


@pytest.mark.parametrize("name", [n for n in NAMES if inspect.isroutine(getattr(standard, n))])
def test_signatures_of_functions(name):
    assert signature_of(getattr(rsnet, name)) == signature_of(getattr(standard, name))


def test_signature_of_the_class():
    assert signature_of(rsnet.socket) == signature_of(standard.socket)


def test_the_class_has_the_same_public_names_and_its_own():
    own = {"gro", "metadata", "recverr", "recvmmsg", "recvmmsg_into", "sendmmsg", "tcp_info"}
    assert {name for name in dir(rsnet.socket) if not name.startswith("_")} - own == set(
        CLASS_NAMES
    )
    assert own <= set(dir(rsnet.socket))


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_members_of_the_class(name):
    ours, theirs = getattr(rsnet.socket, name), getattr(standard.socket, name)
    assert inspect.isroutine(ours) == inspect.isroutine(theirs)
    if callable(theirs):
        assert signature_of(ours) == signature_of(theirs)


@pytest.mark.parametrize("name", [n for n in CLASS_NAMES if callable(getattr(standard.socket, n))])
def test_help_on_methods(name):
    theirs = inspect.getdoc(getattr(standard.socket, name))
    assert inspect.getdoc(getattr(rsnet.socket, name)) == theirs


def test_methods_bound_to_an_instance(opened):
    ours, theirs = opened(rsnet.socket()), opened(standard.socket())
    for name in CLASS_NAMES:
        if callable(getattr(theirs, name)):
            assert signature_of(getattr(ours, name)) == signature_of(getattr(theirs, name))
            assert getattr(ours, name).__name__ == getattr(theirs, name).__name__


def test_the_class_says_where_it_is_from():
    assert rsnet.socket.__module__ == "rsnet"
    assert rsnet.socket.__qualname__ == rsnet.socket.__name__ == "socket"
    assert rsnet.create_connection.__module__ == "rsnet"
    assert isinstance(rsnet.socket, type)


def test_sockets_pass_for_the_standard_socket_type(opened):
    assert rsnet.SocketType is standard.SocketType
    assert isinstance(opened(rsnet.socket()), rsnet.SocketType)


def test_a_constant_that_a_new_python_adds_appears_by_itself(run_python):
    source = """
        import _socket
        _socket.SO_INVENTED_TOMORROW = 4321
        import rsnet
        print(rsnet.SO_INVENTED_TOMORROW, "SO_INVENTED_TOMORROW" in rsnet.__all__)
    """
    assert run_python(source) == "4321 True\n"


def test_importing_leaves_the_standard_module_alone(run_python):
    source = """
        import json, socket
        before = dict(vars(socket)), dict(vars(socket.socket))
        import rsnet
        after = dict(vars(socket)), dict(vars(socket.socket))
        changed = [
            sorted(name for name in was.keys() | now.keys() if was.get(name) is not now.get(name))
            for was, now in zip(before, after)
        ]
        print(json.dumps(changed))
    """
    module_changes, class_changes = json.loads(run_python(source))
    assert (module_changes, class_changes) == ([], [])


def test_names_that_linux_does_not_have_are_absent():
    for name in ("share", "ioctl"):
        assert not hasattr(rsnet.socket, name)
    assert not hasattr(rsnet, "fromshare")
