"""The audit trail of an operator in its database, as somebody with its variables asks for it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from cluster.waiting import eventually
from controlplane.installation import ROOT

Row = dict[str, Any]


class Trail:
    """By the command, which any auditor has; ``settings`` name the database, and the master key."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self.settings = settings

    def call(self, *arguments: str) -> str:
        """What `keyturn audit` says."""
        done = subprocess.run(
            [sys.executable, "-m", "keyturn", "audit", *arguments],
            env={name: value for name, value in os.environ.items() if not name.startswith("KEYTURN_")}
            | {name: self.settings[name] for name in ("DATABASE_URL", "SECRET_KEY")}
            | {"PYTHONPATH": str(ROOT / "operator")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def lines(self, *asked: str) -> list[str]:
        """As people read them."""
        return self.call("query", *asked).splitlines()

    def rows(self, *asked: str) -> list[Row]:
        """As they stand in the chain, whole."""
        return [json.loads(line) for line in self.call("query", "--json", "--limit", "10000", *asked).splitlines()]

    def wait(self, *asked: str, action: str, **wanted: str) -> Row:
        """The newest row with this action and these columns."""

        def found() -> Row | None:
            rows = [row for row in self.rows(*asked, "--action", action) if wanted.items() <= row.items()]
            return rows[-1] if rows else None

        return eventually(found, what=lambda: f"{action} {wanted}:\n{self.call('query', *asked)}") or {}
