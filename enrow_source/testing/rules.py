"""How the simulated account treats what is submitted to it: one field for each choice that the documentation leaves."""

import time
from collections import deque
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal

from .bodies import Variants, refuse_unknown
from .responses import Response, WaitForm


@dataclass(frozen=True)
class AccountRules:
    """The rules for `POST /phone/bulk` and for the batches that it accepts.

    credits_per_phone: held for each search, kept for each phone found: 40, or 50 on older plans.
    max_searches: of one batch: 3,000, or 5,000 on older pages.
    found_share: share of the searches, from 0 to 1, that find a phone.
    completes_after_s: seconds until a batch finishes, asked for or not; None leaves it to
    `fetches_to_complete`. The documented `estimated_duration` is in minutes and not guaranteed.
    expires_after_s: seconds after its end for which a batch can be read; None forever. The status-codes page
    documents that ids expire; the period is on no page.
    phones_allowed: False answers 401 'This account is not allowed to use the phone search feature'.
    posts_per_s: POSTs that are answered within a second, 10 as documented; None does not limit them.
    wait_form: how the 429 of that limit gives the wait.
    out_of_credits: the response when the balance does not cover all searches: 402, or 422 on older pages.
    sdk_names_allowed: `first_name` and `last_name`, or `fullname`, as vendor SDKs send them, count as a name.
    ongoing_status: of the responses in progress; older pages say 202.
    custom_while_ongoing: `general.custom` is there before the batch ends; the documented example has none.
    echo_settings: the finished batch has the submitted `settings` beside `general`; no page shows it.
    variants: how finished batches depart from the plain form.
    """

    credits_per_phone: int = 40
    max_searches: int = 3_000
    found_share: float = 0.6
    completes_after_s: float | None = None
    expires_after_s: float | None = None
    phones_allowed: bool = True
    posts_per_s: int | None = None
    wait_form: WaitForm = "header"
    out_of_credits: Response = field(default_factory=Response.out_of_credits)
    sdk_names_allowed: bool = False
    ongoing_status: Literal[200, 202] = 200
    custom_while_ongoing: bool = False
    echo_settings: bool = False
    variants: Variants = field(default_factory=Variants)

    def __post_init__(self) -> None:
        """Refuse rules under which no batch could be accepted or answered."""
        if not 0 <= self.found_share <= 1:
            raise ValueError(f"found_share must be from 0 to 1, not {self.found_share}")
        if self.max_searches < 1 or self.credits_per_phone < 0:
            raise ValueError("max_searches must be at least 1, credits_per_phone at least 0")
        if self.posts_per_s is not None and self.posts_per_s < 1:
            raise ValueError("posts_per_s must be at least 1; None does not limit them")
        refuse_unknown(self.variants)


class RateLimit:
    """Counts the POSTs of the last second; a refused one does not count. Safe from any thread."""

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
