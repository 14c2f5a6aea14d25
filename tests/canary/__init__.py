"""The leak canary: secret values that can be recognised, and a look at everything that must not hold them.

`canary("db-password")` gives a value; what the test did with it, logs, output, errors, files, processes, metrics and
objects of the API are looked through when it ends. Values that are written out begin with `kt-canary-` and are found too.
"""

from canary.birds import Canary, issue

__all__ = ["Canary", "issue"]
