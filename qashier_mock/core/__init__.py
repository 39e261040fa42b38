"""The pure floor: the lifecycle, paging, idempotency, delivery and advice as plain functions and frozen values.

Nothing here reads a clock, draws a random number, opens a file or knows a framework; all of that is passed in.
"""
