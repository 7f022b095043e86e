"""A package, not just a folder: the server under attack ends with its last test."""
