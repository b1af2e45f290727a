"""rsnet.patch() where threads, forks, warnings and other libraries meet it.

Each program runs in a Python of its own, where nobody has imported a name of socket's and every
warning is an error.
"""

import pytest


@pytest.fixture
def prints(run_python):
    """`prints(source, expected)`: what the program prints, and that it warns of nothing."""

    def check(source, expected):
        assert run_python(source).split() == expected.split()

    return check


def test_contexts_that_overlap_last_until_the_last_one_ends(prints):
    source = """
        import rsnet, socket, threading

        inside, leave = threading.Event(), threading.Event()

        def other():
            with rsnet.patched():
                inside.set()
                leave.wait()
                print(socket.socket is rsnet.socket)

        thread = threading.Thread(target=other)
        with rsnet.patched():
            thread.start()
            inside.wait()
        print(socket.socket is rsnet.socket)
        leave.set()
        thread.join()
        print(socket.socket is rsnet.socket)
    """
    prints(source, "True True False")


def test_one_context_object_may_be_entered_twice(prints):
    source = """
        import rsnet, socket
        context = rsnet.patched()
        with context:
            with context:
                pass
            print(socket.socket is rsnet.socket)
        print(socket.socket is rsnet.socket)
    """
    prints(source, "True False")


def test_a_patch_within_a_context_outlasts_it_and_unpatch_ends_both(prints):
    source = """
        import rsnet, socket
        with rsnet.patched():
            rsnet.patch()
        print(socket.socket is rsnet.socket)
        with rsnet.patched():
            rsnet.unpatch()
            print(socket.socket is rsnet.socket)
        print(socket.socket is rsnet.socket)
    """
    prints(source, "True False False")


@pytest.mark.parametrize("entry", ["rsnet.patch()", "rsnet.patched().__enter__()"])
def test_where_the_warning_is_an_error_nothing_is_patched(prints, entry):
    source = f"""
        from socket import getaddrinfo as kept
        import rsnet, socket
        before = dict(vars(socket))
        try:
            {entry}
        except RuntimeWarning as warning:
            print("__main__" in str(warning))
        print(all(getattr(socket, name) is value for name, value in before.items()))
        del kept
        with rsnet.patched():
            print(socket.socket is rsnet.socket)
        print(socket.socket is rsnet.socket)
    """
    prints(source, "True True True False")


def test_the_modules_of_the_standard_library_keep_nothing(prints):
    # Whatever of them a program has imported, patch() has nothing to warn of.
    source = """
        import asyncio, concurrent.futures, ftplib, http.client, http.server, imaplib
        import logging.handlers
        import multiprocessing.connection, multiprocessing.managers, multiprocessing.reduction
        import poplib, selectors, smtplib, socketserver, ssl, subprocess, urllib.request
        import xmlrpc.client, xmlrpc.server
        import rsnet, socket
        rsnet.patch()
        print(socket.socket is rsnet.socket)
    """
    prints(source, "True")


def test_classes_derived_before_are_told_of_and_those_of_tls_are_not(prints):
    source = """
        import rsnet, socket, ssl, sys, types, warnings

        def module(name, cls):
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].kept = cls

        module("proxies", type("Proxied", (socket.socket,), {"__module__": "proxies"}))
        module("securely", type("Secured", (ssl.SSLSocket,), {"__module__": "securely"}))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rsnet.patch()
        (warning,) = caught
        print("proxies" in str(warning.message), "securely" in str(warning.message))
    """
    prints(source, "True False")


def test_objects_among_the_modules_that_are_none(prints):
    source = """
        import rsnet, socket, sys

        class Hostile:
            @property
            def __dict__(self):
                raise LookupError
            def __getattr__(self, name):
                raise LookupError
            def __eq__(self, other):
                raise LookupError
            __hash__ = object.__hash__

        sys.modules["hostile"] = Hostile()
        sys.modules["nothing"] = None
        sys.modules["of_hostile"] = type("Module", (), {"value": Hostile()})
        rsnet.patch()
        print(socket.socket is rsnet.socket)
    """
    prints(source, "True")


def test_a_class_that_leads_through_a_proxy_is_left_in_place(prints):
    # A program that sets this must not reach its peers directly because something was patched.
    source = """
        import socket, socks, rsnet, warnings
        socket.socket = socks.socksocket
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rsnet.patch()
            rsnet.patch()
        (warning,) = caught
        print("socket.socket" in str(warning.message))
        print(socket.socket is socks.socksocket, socket.getaddrinfo is rsnet.getaddrinfo)
        rsnet.unpatch()
        print(socket.socket is socks.socksocket, socket.getaddrinfo is rsnet.getaddrinfo)
    """
    prints(source, "True True True True False")


@pytest.mark.parametrize("how", ["", ", autospec=True", ", side_effect=OSError"])
def test_a_mock_set_before_is_left_in_place(prints, how):
    source = f"""
        import rsnet, socket, warnings
        from unittest import mock
        standard = socket.getaddrinfo
        warnings.simplefilter("ignore", RuntimeWarning)
        with mock.patch("socket.getaddrinfo"{how}) as fake:
            rsnet.patch()
            print(socket.getaddrinfo is fake, socket.socket is rsnet.socket)
        rsnet.patch()
        print(socket.getaddrinfo is rsnet.getaddrinfo)
        rsnet.unpatch()
        print(socket.getaddrinfo is standard)
    """
    prints(source, "True True True True")


def test_after_a_reload_patch_patches_again(prints):
    source = """
        import importlib, rsnet, socket, ssl
        rsnet.patch()
        importlib.reload(socket)
        # In a list: a name of this module would be warned of.
        reloaded = [socket.socket]
        print(reloaded[0] is rsnet.socket)
        rsnet.patch()
        with socket.socket() as sock:
            print(type(sock) is rsnet.socket, isinstance(sock, ssl.SSLSocket.__base__))
        rsnet.unpatch()
        print(socket.socket is reloaded[0])
    """
    prints(source, "False True True True")


def test_import_rsnet_as_socket_beside_the_patch(prints):
    source = """
        import rsnet as ours
        before = dict(vars(ours))
        import socket
        with ours.patched():
            print(all(vars(ours)[name] is value for name, value in before.items()))
            near, far = ours.socketpair()
            with near, far:
                print(type(near) is ours.socket)
            with ours.create_server(("127.0.0.1", 0)) as server:
                with socket.create_connection(server.getsockname()) as client:
                    print(type(client) is ours.socket)
    """
    prints(source, "True True True")


def test_the_default_timeout_is_one_for_both(prints):
    source = """
        import rsnet, socket
        rsnet.patch()
        socket.setdefaulttimeout(3)
        with socket.socket() as sock:
            print(sock.gettimeout(), rsnet.getdefaulttimeout())
        rsnet.unpatch()
        with socket.socket() as sock:
            print(sock.gettimeout())
    """
    prints(source, "3.0 3.0 3.0")


def test_sockets_made_before_and_after_go_on(prints):
    source = """
        import rsnet, socket
        near, far = socket.socketpair()
        with rsnet.patched():
            listener = socket.create_server(("127.0.0.1", 0))
            near.sendall(b"standard")
            with far.makefile("rb") as file:
                print(file.read(8).decode(), isinstance(near, socket.socket))
        with socket.create_connection(listener.getsockname()) as client:
            accepted, _ = listener.accept()
            print(type(client) is rsnet.socket, type(accepted) is rsnet.socket)
            for sock in (accepted, listener, near, far):
                sock.close()
    """
    prints(source, "standard True False True")


def test_both_classes_go_to_other_processes(prints):
    source = """
        import pickle, rsnet, socket
        standard = socket.socketpair()
        rsnet.patch()
        from multiprocessing import reduction, resource_sharer
        ours = socket.socketpair()
        for near, far in (standard, ours):
            with near, far, pickle.loads(reduction.ForkingPickler.dumps(far)) as arrived:
                near.sendall(b"data")
                print(arrived.recv(9).decode())
        rsnet.unpatch()
        near, far = socket.socketpair()
        with near, far, pickle.loads(reduction.ForkingPickler.dumps(far)) as arrived:
            print(type(arrived) is type(far))
        resource_sharer.stop(timeout=20)
    """
    prints(source, "data data True")


def test_a_child_of_a_fork_is_patched_and_can_unpatch(prints):
    source = """
        import os, rsnet, socket
        with rsnet.patched():
            if (child := os.fork()) == 0:
                patched = socket.socket is rsnet.socket
                rsnet.unpatch()
                os._exit(10 * patched + (socket.socket is rsnet.socket))
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    prints(source, "10")


def test_a_fork_waits_for_a_thread_that_is_patching(prints):
    # A thread stands in the middle of patch(), in the hook of its warning, which lets it go on only
    # when the fork has begun. The child must find the whole patch, and a lock that opens.
    source = """
        import os, rsnet, socket, sys, threading, types, warnings

        warnings.simplefilter("always")
        sys.modules["keeper"] = types.ModuleType("keeper")
        sys.modules["keeper"].kept = socket.socket
        amid, forking = threading.Event(), threading.Event()

        def hook(*arguments, **more):
            amid.set()
            forking.wait()

        warnings.showwarning = hook
        # Hooks run the youngest first: this one before rsnet waits for the lock.
        os.register_at_fork(before=forking.set)
        thread = threading.Thread(target=rsnet.patch)
        thread.start()
        amid.wait()
        warnings.simplefilter("ignore")
        if (child := os.fork()) == 0:
            patched = socket.socket is rsnet.socket
            rsnet.unpatch()
            os._exit(10 * patched + (socket.socket is rsnet.socket))
        thread.join()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    prints(source, "10")


def test_threads_that_race_leave_the_module_as_it_was(prints):
    source = """
        import rsnet, socket, sys, threading
        sys.setswitchinterval(1e-6)
        before = dict(vars(socket))
        start = threading.Barrier(8)
        lost = []

        def turn():
            start.wait()
            for _ in range(500):
                with rsnet.patched():
                    if socket.socket is not rsnet.socket:
                        lost.append(1)

        threads = [threading.Thread(target=turn) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(len(lost), all(getattr(socket, name) is value for name, value in before.items()))
    """
    prints(source, "0 True")
