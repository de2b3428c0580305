"""A method and an architecture from outside, laid out as dbbench is: what the documentation says is enough to add one."""
