"""Sessions of the page, CSRF tokens, and counts of failed logins: all in memory, all bounded.

A session is 256 random bits in a cookie. The table holds only digests, so a leaked table opens no session. A restart
ends all sessions, and the page then asks for a new one.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable

LIFETIME_S = 7 * 86_400.0
"""After its last request a session is kept for so long."""
MAX_SESSIONS = 1000
MAX_ATTEMPTS, ATTEMPTS_S = 5, 60.0
"""So many failed logins in so many seconds are taken from one address."""
MAX_ADDRESSES = 1024


class Sessions:
    """The table of sessions. If it is full, a new session replaces the least recently used one."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._secret = now, secrets.token_bytes(32)
        self._until_s: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until_s)

    def open(self) -> str:
        """Begin a session and return the value of its cookie."""
        session = secrets.token_urlsafe(32)
        self._until_s[_digest(session)] = self._now() + LIFETIME_S
        while len(self._until_s) > MAX_SESSIONS:
            self._until_s.popitem(last=False)
        return session

    def is_open(self, session: str) -> bool:
        """Whether this session is open; the call renews it."""
        digest = _digest(session)
        if self._until_s.get(digest, -math.inf) <= self._now():
            self._until_s.pop(digest, None)
            return False
        self._until_s[digest] = self._now() + LIFETIME_S
        self._until_s.move_to_end(digest)
        return True

    def token(self, session: str) -> str:
        """Return the CSRF token that this session's requests carry beside the cookie; pages of other origins cannot
        know it.
        """
        return hmac.digest(self._secret, session.encode("utf-8", "replace"), "sha256").hex()

    def is_token(self, session: str, token: str) -> bool:
        return is_same(self.token(session), token)


class Attempts:
    """Recent failed logins, by address. If the table is full, the address with the oldest failure is dropped."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failed_s: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Return the seconds until this address may try again, or 0 for now."""
        failed_s = self._failed_s.get(address)
        if failed_s is None or len(failed_s) < MAX_ATTEMPTS:
            return 0.0
        return max(0.0, failed_s[0] + ATTEMPTS_S - self._now())

    def fail(self, address: str) -> None:
        """Record a failed login."""
        self._failed_s.setdefault(address, deque(maxlen=MAX_ATTEMPTS)).append(self._now())
        self._failed_s.move_to_end(address)
        while len(self._failed_s) > MAX_ADDRESSES:
            self._failed_s.popitem(last=False)


def is_same(secret: str, given: str) -> bool:
    """Compare two secrets in constant time, whatever their lengths."""
    return hmac.compare_digest(_digest(secret), _digest(given))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
