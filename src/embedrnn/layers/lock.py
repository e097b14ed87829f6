"""A lock for each layer, which no fork leaves locked."""

import os
from _thread import RLock, get_ident  # threading takes half a millisecond more
from weakref import WeakValueDictionary

# Longer a fork does not wait for a lock: its holder may be waiting for another one that the fork
# has taken.
_PATIENCE = 1.0  # seconds


class Lock:
    """A lock that a thread may take again, as a signal handler does that interrupts its holder."""

    def __init__(self) -> None:
        self.free()
        _locks[id(self)] = self

    def free(self) -> None:
        """Forget whoever holds the lock."""
        self._lock = RLock()

    def acquire(self, timeout: float = -1) -> bool:
        """Take the lock; False if it was not to be had in so many seconds."""
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def __reduce__(self) -> tuple[type["Lock"], tuple[()]]:
        """Make another one of a copy or a pickle, which nobody holds."""
        return Lock, ()


_locks: WeakValueDictionary[int, Lock] = WeakValueDictionary()

# The locks that each forking thread holds meanwhile, so that no row is half scaled in its child.
_held: dict[int, list[Lock]] = {}


def _before_fork() -> None:
    found = [reference() for reference in _locks.valuerefs()]
    _held[get_ident()] = [lock for lock in found if lock and lock.acquire(timeout=_PATIENCE)]


def _after_fork_in_parent() -> None:
    for lock in _held.pop(get_ident(), []):
        lock.release()


def _after_fork_in_child() -> None:
    held = _held.get(get_ident(), [])
    _held.clear()
    for lock in held:
        lock.release()
    for lock in set(_locks.values()) - set(held):  # whose holders are not here
        lock.free()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
