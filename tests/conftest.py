"""What holds for every test: the effort, the watchers beside it, and where randomness starts from."""

import pytest
from hypothesis import HealthCheck, settings

from effort import LEVEL, SEED

pytest_plugins = ("complaints", "canary.plugin", "kstatus.plugin", "pending", "evidence", "bao", "postgres")

# No deadlines: the machine is shared. By its seed every run is the same until it is told otherwise, so that nothing is kept either.
settings.register_profile(
    "short",
    max_examples=100,
    derandomize=False,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("full", settings.get_profile("short"), max_examples=2000)
settings.load_profile(LEVEL)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(SEED)
