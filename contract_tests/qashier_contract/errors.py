"""Why nothing could be tested. One family; its head is what a caller catches.

CheckError
├─ LiveKeyRefused
├─ TargetUnreachable
├─ KeyRefused
└─ NotTheApi
"""

from __future__ import annotations


class CheckError(Exception):
    """Nothing could be tested: wrong usage, a target that does not answer, a key that it does not take."""


class LiveKeyRefused(CheckError):
    """A live key was given without saying so."""


class TargetUnreachable(CheckError):
    """The target does not answer."""


class KeyRefused(CheckError):
    """The target takes the key neither by Basic nor as a bearer token."""


class NotTheApi(CheckError):
    """Something answers, but not Checkout Sessions: a redirect, a firewall, another service, or a limit on requests."""
