"""Which rows of a pool in parts are the surest of their group, found digit by digit without sorting them.

A row's key is how unsure it is, then its position: all keys differ, and the smallest of a group are its surest rows,
the first of equals first, as `rank_in_class` has it. To find the last one that a quota takes, its digits are found one
after the other: of the rows that share the digits found so far, each part counts how many have which next digit, the
counts add up, and say in which digit the quota ends. That is exact, and takes (groups, 256) numbers, whatever the pool.
"""

from __future__ import annotations

import dataclasses

import numpy as np

BASE = 256
SCORE_DIGITS = 4


@dataclasses.dataclass
class Cut:
    """How far the key of each group's last row is known.

    Attributes:
        quota: (G,) int64 rows to take.
        remaining: (G,) int64 of these among the rows that share the digits known.
        high: (G,) int64 how unsure, as far as its digits are known.
        low: (G,) int64 position, likewise.
        known: number of digits known.
        digits: number of all.
    """

    quota: np.ndarray
    remaining: np.ndarray
    high: np.ndarray
    low: np.ndarray
    known: int
    digits: int

    @classmethod
    def of(cls, quota: np.ndarray, rows: int) -> Cut:
        """Returns the cut of which nothing is known, of a pool of so many rows."""
        quota = np.asarray(quota, np.int64)
        nothing = np.zeros(len(quota), np.int64)
        return cls(quota, quota, nothing, nothing, 0, SCORE_DIGITS + -(-max(1, rows - 1).bit_length() // 8))

    @property
    def found(self) -> bool:
        """Whether all digits are known."""
        return self.known == self.digits

    def counts(self, group: np.ndarray, sure: np.ndarray, row: np.ndarray) -> np.ndarray:
        """(G, 256) int64: of some rows that share the digits known with their group's last, how many have which next.

        Args:
            group: (N,) group of each.
            sure: (N,) float32, larger for the surer.
            row: (N,) positions in the pool.
        """
        high, low = unsureness(sure), row.astype(np.int64)
        if self.known < SCORE_DIGITS:
            shift = 8 * (SCORE_DIGITS - self.known)
            share = high >> shift == self.high[group] >> shift
            digit = high >> shift - 8 & BASE - 1
        else:
            shift = 8 * (self.digits - self.known)
            share = (high == self.high[group]) & (low >> shift == self.low[group] >> shift)
            digit = low >> shift - 8 & BASE - 1
        places = (group.astype(np.int64) * BASE + digit)[share]
        return np.bincount(places, minlength=len(self.quota) * BASE).reshape(-1, BASE)

    def narrowed(self, counts: np.ndarray) -> Cut:
        """Returns the cut with one more digit, from the counts of all rows; with all where no rows are left to part."""
        upto = np.cumsum(counts, axis=1)
        # A quota beyond the rows there are ends in the last digit, so that every row is taken.
        digit = np.minimum((upto < self.remaining[:, None]).sum(axis=1), BASE - 1)
        here = np.take_along_axis(counts, digit[:, None], 1)[:, 0]
        remaining = self.remaining - (np.take_along_axis(upto, digit[:, None], 1)[:, 0] - here)
        high, low, known = self.high, self.low, self.known + 1
        if self.known < SCORE_DIGITS:
            high = high | digit << 8 * (SCORE_DIGITS - known)
        else:
            low = low | digit << 8 * (self.digits - known)
        if (remaining >= here).all():  # each group takes all rows that share its digits: the greatest key is a last one
            high = high | (1 << 8 * max(0, SCORE_DIGITS - known)) - 1
            low = low | (1 << 8 * (self.digits - max(known, SCORE_DIGITS))) - 1
            known = self.digits
        return Cut(self.quota, remaining, high, low, known, self.digits)

    def taken(self, group: np.ndarray, sure: np.ndarray, row: np.ndarray) -> np.ndarray:
        """(N,) bool: whether rows come no later than their group's last; see `counts` for the arguments."""
        high, last = unsureness(sure), self.high[group]
        upto = (high < last) | ((high == last) & (row <= self.low[group]))
        return upto & (self.quota[group] > 0)


def unsureness(sure: np.ndarray) -> np.ndarray:
    """(N,) int64 below 2^32 that fall where float32 rise, by their bits; zeros of either sign are equal."""
    bits = (sure.astype(np.float32) + np.float32(0.0)).view(np.uint32)
    rising = np.where(bits >> 31 == 1, ~bits, bits | np.uint32(0x80000000))
    return (~rising).astype(np.int64)
