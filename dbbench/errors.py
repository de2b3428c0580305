"""The one exception that users see as a single line."""


class UserError(Exception):
    """Bad input: the message names what is wrong and what would be right.

    The command line prints it as one line and exits with status 2.
    """
