"""Passwords of researchers: which ones are accepted, and how they are kept.

ASVS 5.0, 6.2: at least 15 characters (6.2.1) and no rule on what they are made of (6.2.5); long ones, blanks and any
letters allowed and taken exactly as typed (6.2.8, 6.2.9); none that is common (6.2.4) or made of the account's own
words (6.2.11). At 15 characters lists of common passwords hold little but repetitions and runs, so we refuse those by
rule. They are not looked up among breached ones (6.2.12): the server asks nothing of third parties.
"""

from __future__ import annotations

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from core.errors import StudyError

LEAST, MOST = 15, 256
LEAST_DIFFERENT = 6
RUNS = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "1q2w3e4r5t6y7u8i9o0p",
)
COMMON = (
    "password", "passwort", "passphrase", "iloveyou", "letmein", "welcome", "willkommen", "administrator", "admin",
    "qwerty", "qwertz", "correct horse battery staple", "correcthorsebatterystaple", "trustno1", "changeme",
    "monkey", "dragon", "sunshine", "princess",
    "football", "baseball", "superman", "starwars", "percepsilon", "researcher", "secret", "hallo", "hello", "test",
)  # fmt: skip


def accept(password: str, email: str) -> str:
    """Returns the argon2id hash of a password that may be used for the account of ``email``, with salt and costs in it.

    Raises:
        StudyError: too short, too long, or easily guessed.
    """
    if not LEAST <= len(password) <= MOST:
        raise StudyError(f"password: expected {LEAST} to {MOST} characters, got {len(password)}; several words do well")
    if reason := _weakness(password.casefold(), email):
        raise StudyError(f"password: expected one that is hard to guess, got {reason}; several unusual words do well")
    return _hasher().hash(password)


def _weakness(password: str, email: str) -> str | None:
    if len(set(password)) < LEAST_DIFFERENT:
        return f"one of fewer than {LEAST_DIFFERENT} different characters"
    if any(password == password[:size] * (len(password) // size) for size in _divisors(len(password))):
        return "a repetition"
    words = sorted((*COMMON, *RUNS, *_parts(email)), key=len, reverse=True)
    rest = password
    for word in words:
        rest = rest.replace(word, "")
    return "common words or your address with little else" if len(rest) < LEAST // 2 else None


def _divisors(number: int) -> list[int]:
    return [size for size in range(1, number // 2 + 1) if number % size == 0]


def _parts(email: str) -> list[str]:
    words = email.casefold().replace("@", ".").replace("-", ".").split(".")
    return [email.casefold(), email.casefold().partition("@")[0], *(word for word in words if len(word) > 3)]


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1)  # argon2id; RFC 9106 section 4


@cache
def _nobody() -> str:
    return _hasher().hash("the password of no account")


def verify(stored: str | None, password: str) -> bool:
    """Returns whether ``password`` is the stored one; without a stored one it takes as long and is not."""
    try:
        _hasher().verify(stored or _nobody(), password[: MOST + 1])
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None
