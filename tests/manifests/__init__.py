"""Manifests for tests: valid ones, refused ones each with an accepted twin, and those that only the operator refuses."""

from manifests import managed_secrets, providers
from manifests.bases import BASES, Json
from manifests.case import ABSENT, Case, put
from manifests.slips import ASK_NOTHING, SLIPS

CASES = (*managed_secrets.CASES, *providers.CASES)

__all__ = ["ABSENT", "ASK_NOTHING", "BASES", "CASES", "SLIPS", "Case", "Json", "put"]
