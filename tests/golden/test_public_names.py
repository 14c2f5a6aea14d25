"""The names that others may rely on: every `__all__`, and what `import keyturn` offers. A new one is a promise."""

import importlib
import pkgutil
import types
from collections.abc import Iterator

import keyturn
from golden.golden import assert_golden


def test_public_names_are_as_they_were() -> None:
    names = (module.name for module in pkgutil.walk_packages(keyturn.__path__, "keyturn.") if module.name != "keyturn.__main__")
    modules = [keyturn, *(importlib.import_module(name) for name in names)]
    assert_golden("public-names.txt", "".join(line for module in modules for line in offered(module)))


def offered(module: types.ModuleType) -> Iterator[str]:
    listed = getattr(module, "__all__", ["__version__"] if module is keyturn else ())
    assert all(hasattr(module, name) for name in listed)
    yield from (f"{module.__name__}.{name}\n" for name in sorted(listed))
