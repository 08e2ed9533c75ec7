"""The documented rate limit: 10 requests a second for every POST endpoint."""

import time
from collections import deque
from threading import Lock


class RateLimit:
    """Counts the requests of the last second; a refused one does not count. Safe from any thread."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self._lock = Lock()

    def wait_s(self, per_s: int) -> float:
        """Count a request and return 0; or return the seconds until `per_s` a second allow the next one."""
        with self._lock:
            now = time.monotonic()
            while self._times and now - self._times[0] >= 1:
                self._times.popleft()
            if len(self._times) < per_s:
                self._times.append(now)
                return 0.0
            return 1 - (now - self._times[-per_s])
