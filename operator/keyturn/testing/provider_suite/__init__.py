"""The contract of ``ports.py`` as a suite: it proves a provider, whoever wrote it. docs/providers/contract.md shows how.

Write a `Bench`, which knows the other side, and hand it to a `ProviderSuite` (with pytest) or to `prove` (without).
"""

from keyturn.testing.provider_suite.bench import Bench, Need, Who
from keyturn.testing.provider_suite.case import BrokenPromise, Case, Skipped
from keyturn.testing.provider_suite.suite import CASES, ProviderSuite, prove

__all__ = ["CASES", "Bench", "BrokenPromise", "Case", "Need", "ProviderSuite", "Skipped", "Who", "prove"]
