"""A TCP client: connect, send, receive, close.

python examples/tcp_client.py HOST PORT
"""

import sys

import rsnet as socket

host, port = sys.argv[1], int(sys.argv[2])
message = b"hello over TCP\n"

client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
client.connect((host, port))
client.sendall(message)
response = client.recv(1024)
client.close()

print(f"{host}:{port} answered {response!r}")
