"""The far end of the demo: TCP echo and UDP echo on free ports of 127.0.0.1.

    python examples/far_end.py

The first line on stdout is the two ports, TCP first. It echoes until its stdin is closed, so that
it never outlives the program that started it. It uses the standard library alone.
"""

import os
import selectors
import socket
import sys
from contextlib import suppress

HOST = "127.0.0.1"


class FarEnd:
    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.running = True
        self.listener = socket.create_server((HOST, 0), backlog=128)
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind((HOST, 0))
        for ours in (self.listener, self.datagrams):
            ours.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
        self.selector.register(self.datagrams, selectors.EVENT_READ, self.echo_datagram)
        self.selector.register(sys.stdin, selectors.EVENT_READ, self.stop_at_end_of_input)

    def run(self) -> None:
        print(self.listener.getsockname()[1], self.datagrams.getsockname()[1], flush=True)
        while self.running:
            for key, _ in self.selector.select():
                key.data(key.fileobj)

    def accept(self, listener: socket.socket) -> None:
        # The client may be gone again by the time it is accepted.
        with suppress(BlockingIOError, ConnectionError):
            connection, _ = listener.accept()
            # A client that never reads what it is sent must not stop the others for ever.
            connection.settimeout(1.0)
            self.selector.register(connection, selectors.EVENT_READ, self.echo_stream)

    def echo_stream(self, connection: socket.socket) -> None:
        data = b""
        with suppress(ConnectionError, TimeoutError):
            data = connection.recv(65536)
            connection.sendall(data)
        if not data:
            self.selector.unregister(connection)
            connection.close()

    def echo_datagram(self, datagrams: socket.socket) -> None:
        # What does not fit into the send buffer is dropped, as datagrams are.
        with suppress(BlockingIOError, ConnectionError):
            datagrams.sendto(*datagrams.recvfrom(65536))

    def stop_at_end_of_input(self, stdin: object) -> None:
        self.running = bool(os.read(sys.stdin.fileno(), 4096))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        FarEnd().run()
