"""SIGTERM and Ctrl-C: the run ends with what it has."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event


@contextmanager
def stopped_by_signals() -> Iterator[Event]:
    """Turn SIGTERM, which Airflow and Kubernetes send, and Ctrl-C into an event that ends the run with what it has.

    A second Ctrl-C ends the process at once. Python's own handler would raise at any place, also where a library
    cannot be left half-way.
    """
    stop = Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals are the main thread's
        return

    is_interrupted = False

    def set_stop(number: int, _: object) -> None:
        nonlocal is_interrupted
        if number == signal.SIGINT and stop.is_set():
            is_interrupted = True
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as of a command in the background
            signal.signal(number, set_stop)
    try:
        yield stop
    except Exception:  # DuckDB, and dlt around it, make errors of their own of Ctrl-C; any other is raised again
        if is_interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
