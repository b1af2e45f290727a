"""The doc strings of the names that only rsnet has: what they describe, and that examples run."""

import doctest
import inspect
import re
import socket as standard
from pathlib import Path

import pytest

import rsnet


def own_names():
    """Each name of rsnet's that `socket` has not, and what it stands for."""
    found = {f"rsnet.{name}": thing for name, thing in vars(rsnet).items() if is_own(name, thing)}
    members = {
        f"rsnet.socket.{name}": getattr(rsnet.socket, name)
        for name in dir(rsnet.socket)
        if name[0] != "_" and not hasattr(standard.socket, name)
    }
    measures = {
        f"rsnet.{module}.{name}": getattr(getattr(rsnet, module), name)
        for module in ("records", "tcp", "udp")
        for name in getattr(rsnet, module).__all__
    }
    measures |= {f"rsnet.{name}": getattr(rsnet, name) for name in ("TcpInfo", "reflector")}
    methods = {
        f"rsnet.records.Records.{name}": thing
        for name, thing in vars(rsnet.records.Records).items()
        if name[0] != "_"
    }
    return found | members | measures | methods


def is_own(name, thing):
    return (
        name[0] != "_"
        and not hasattr(standard, name)
        and (inspect.isroutine(thing) or inspect.isclass(thing))
    )


OWN = own_names()
CALLABLE = [name for name, thing in OWN.items() if callable(thing)]


def test_there_are_some():
    assert {"rsnet.socket.sendmmsg", "rsnet.socket.recvmmsg", "rsnet.Datagram"} <= set(CALLABLE)
    assert {"rsnet.socket.gro", "rsnet.socket.metadata"} <= set(OWN)


@pytest.mark.parametrize("name", OWN)
def test_documented(name):
    first, *_ = OWN[name].__doc__.splitlines()
    assert first.endswith(".")


# Modules of other tests derive from the standard class, of which patch() tells.
@pytest.mark.filterwarnings("ignore:these modules imported names:RuntimeWarning")
@pytest.mark.parametrize("name", CALLABLE)
def test_examples(name, capsys):
    """Every callable has one that runs, in an empty namespace, and prints what it says."""
    test = doctest.DocTestParser().get_doctest(OWN[name].__doc__, {}, name, None, None)
    assert test.examples
    results = doctest.DocTestRunner().run(test)
    assert results.failed == 0, capsys.readouterr().out
    assert results.attempted == len(test.examples)


@pytest.mark.parametrize("name", [name for name in CALLABLE if not inspect.isclass(OWN[name])])
def test_signatures(name):
    """Every parameter is described."""
    thing = OWN[name]
    for parameter in inspect.signature(thing).parameters:
        assert parameter == "self" or re.search(rf"\b{parameter}\b", thing.__doc__), parameter


@pytest.mark.parametrize("cls", [rsnet.Datagram, rsnet.QueuedError], ids=lambda cls: cls.__name__)
def test_fields(cls):
    """Every field is described, at the class or at itself."""
    for name, field in vars(cls).items():
        if name[0] != "_":
            assert field.__doc__ or re.search(rf"\b{name}\b", cls.__doc__), name


PAGES = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("page", "examples"), [("batches.md", 50), ("measure.md", 20)])
def test_pages(page, examples, capsys):
    """What they show is what comes out."""
    text = (PAGES / page).read_text()
    # Without the fences: the end of one would be taken for output.
    session = "\n".join(re.findall(r"```pycon\n(.*?)```", text, re.DOTALL))
    test = doctest.DocTestParser().get_doctest(session, {}, page, page, 0)
    assert len(test.examples) > examples
    flags = doctest.IGNORE_EXCEPTION_DETAIL
    results = doctest.DocTestRunner(optionflags=flags).run(test)
    assert results.failed == 0, capsys.readouterr().out
