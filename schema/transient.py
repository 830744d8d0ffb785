"""Errors that pass: what a network file system or a database connection says when it is away for a moment."""

from __future__ import annotations

import errno

import psycopg

# A missing or forbidden file stays so; these are a mount or a network that comes back.
PASSING_ERRNO = frozenset({
    errno.EAGAIN, errno.EBUSY, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.EINTR, errno.EIO, errno.ENETDOWN, errno.ENETRESET, errno.ENETUNREACH, errno.ENOTCONN,
    errno.EPIPE, errno.EREMOTEIO, errno.ESTALE, errno.ETIMEDOUT,
})  # fmt: skip


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed when it is tried again.

    Readers wrap an OSError in an error for the user, so causes count as well.

    Parameters
    ----------
    error : BaseException
        Its chain of ``__cause__`` is followed.
    """
    cause: BaseException | None = error
    while cause is not None:
        # Lost connections, deadlocks, servers that shut down: all that psycopg calls operational.
        if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError | ConnectionError | TimeoutError):
            return True
        if isinstance(cause, OSError) and cause.errno in PASSING_ERRNO:
            return True
        cause = cause.__cause__
    return False
