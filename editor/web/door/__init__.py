"""What stands in front of the page: the guard, its routes, the files it serves itself, and who is asking."""
