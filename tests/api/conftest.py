"""`same`: an operation done with the standard library and with rsnet, and the outcomes compared."""

import socket as standard
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import rsnet


class Same:
    """Runs an operation, a function of the module, with both modules."""

    def value(self, operation: Callable[[ModuleType], Any]) -> Any:
        """Both return the same; gives it."""
        expected, value = operation(standard), operation(rsnet)
        assert described(value) == described(expected)
        return value

    def error(
        self,
        operation: Callable[[ModuleType], Any],
        kind: type[BaseException] | tuple[type[BaseException], ...] = Exception,
    ) -> BaseException:
        """Both raise `kind`: the same class with the same arguments. Gives rsnet's exception."""
        expected, error = raised(operation, standard), raised(operation, rsnet)
        assert isinstance(expected, kind)
        assert described(error) == described(expected)
        return error


def raised(operation: Callable[[ModuleType], Any], module: ModuleType) -> BaseException:
    try:
        value = operation(module)
    except Exception as error:
        return error
    pytest.fail(f"{module.__name__} raised nothing and gave {value!r}")


def described(value: Any) -> Any:
    """A value with its types, for 2 == SOCK_DGRAM and True == 1."""
    if isinstance(value, BaseException):
        return type(value), described(value.args)
    if isinstance(value, tuple | list):
        return type(value), [described(item) for item in value]
    if isinstance(value, dict):
        return {key: described(item) for key, item in value.items()}
    return type(value), value


@pytest.fixture
def same() -> Same:
    return Same()
