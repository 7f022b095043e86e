"""A package, not just a folder: the browser, whose event loop refuses every other, ends with its last test."""
