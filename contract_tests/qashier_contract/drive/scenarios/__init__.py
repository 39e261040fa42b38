"""Directed scenarios: for every clause at least one that exercises it, boundaries included.

In as few requests as may be, and deterministic: the same requests in the same order, nonces aside. None of them judges.

The clock is frozen where it can be: then "now" is the same for target and checker, and every boundary is exact.
"""
