"""A UDP client: send one datagram, receive one, close.

python examples/udp_client.py HOST PORT
"""

import sys

import rsnet as socket

host, port = sys.argv[1], int(sys.argv[2])
message = b"hello over UDP\n"

client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.sendto(message, (host, port))
response, address = client.recvfrom(1024)
client.close()

print(f"{address[0]}:{address[1]} answered {response!r}")
