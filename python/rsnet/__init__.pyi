# The names are the standard module's, and so are their types: what takes a `socket.socket` takes an
# rsnet one.
from socket import *
from socket import SocketType as SocketType
