"""The one error of this package."""


class ControlPlaneError(Exception):
    """What stands in the way and what to do about it, in words that a person can act on."""
