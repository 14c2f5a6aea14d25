"""By what an API server says no, as far as it matters for the remedy."""

from enum import Enum


class Denial(Enum):
    """By what the API server forbids something."""

    RIGHT = "no role grants it"
    NAMESPACE = "deploy/tenant-identity does not list the namespace"
    AUDIENCE = "deploy/tenant-identity does not list the audience"
    OTHER = "another rule"
