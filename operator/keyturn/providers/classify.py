"""Turns whatever a provider's library raises into one of our errors, without a word of its prose.

A library's message can quote the request, a header or a value, so only the name of its class is
kept. Classes are told by module and name, so that no SDK has to be imported to know its errors.
"""

import copy

from keyturn.model.errors import ProviderError, Unavailable


def classify(error: Exception) -> ProviderError:
    """Names the failure as one of our errors: a new one, with no traceback, cause or context that could hold prose or values."""
    match error:
        case ProviderError():
            return copy.copy(error)
        case TimeoutError():
            return Unavailable("the provider gave no answer in time")
        case _:
            return Unavailable(f"the provider's call failed ({type(error).__name__})")
