"""Errors that a user can mend."""


class GalbaseError(Exception):
    """Something that the user can put right.

    The message says what is wrong, the value received, and what to do. The command line prints it without a
    traceback and exits with status 1.
    """


class UsageError(GalbaseError):
    """A command or function was called with arguments that make no sense; exit status 2."""
