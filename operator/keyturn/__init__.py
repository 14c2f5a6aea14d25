"""Keyturn brings secrets from where they are kept into Kubernetes Secrets and into Python programs.

Importing this package loads neither an SDK nor a framework; each part is imported when it is first used.
"""

__version__ = "0.1.0"
