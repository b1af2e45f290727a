"""Runs client programs with the standard library and with rsnet, and compares them."""
