"""How the rest of the world reads our statuses (kstatus), and the promises of ours that go further.

`compute` is what kubectl, Flux and Argo CD's kin conclude; `problems` holds for one object, `changes` for two versions of it.
"""

from kstatus.promises import changes, problems
from kstatus.rules import Verdict, compute

__all__ = ["Verdict", "changes", "compute", "problems"]
