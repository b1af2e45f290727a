"""What a worker process of the scoreboard does, written against the plain `socket` API.

The same code runs with the standard library's `socket` and with rsnet in its place. Nothing here
imports rsnet, so that a process that measures the standard library has nothing of it loaded.
"""
