"""Where master keys come into the process: read once, out of the environment at once, and never in a memory dump."""

import ctypes
import logging
import os
import resource
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from keyturn.model.keys import SECRET_KEY, SECRET_KEY_PREVIOUS, SECRET_KEYS_FILE, KeysRefused, MasterKeys

LARGEST_FILE = 64 * 1024
_PR_SET_DUMPABLE = 4

log = logging.getLogger("keyturn.keys")


def are_given(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process was given master keys, or the beginnings of them."""
    return any(environment.get(name, "").strip() for name in (SECRET_KEY, SECRET_KEY_PREVIOUS, SECRET_KEYS_FILE))


def take_master_keys(environment: MutableMapping[str, str] = os.environ) -> MasterKeys:
    """The keys that this process was given. They are no longer in the environment after it, so that there is no second time.

    Whoever may look into this process could read them before: it is shut first. Raises `KeysRefused`.
    """
    shut()
    taken = {name: environment.pop(name, "") for name in (SECRET_KEY, SECRET_KEY_PREVIOUS)}
    path = environment.get(SECRET_KEYS_FILE, "").strip()
    return MasterKeys.of(taken, _text(Path(path)) if path else None)


def shut() -> None:
    """From now on the process leaves no core, and no other process of its user reads its memory or its first environment."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        log.warning("the kernel leaves this process open to others of its user: %s", os.strerror(ctypes.get_errno()))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise KeysRefused(f"the file of {SECRET_KEYS_FILE}, {path}, cannot be read: {os.strerror(error.errno or 0)}") from None
    if len(text) > LARGEST_FILE:
        raise KeysRefused(f"the file of {SECRET_KEYS_FILE}, {path}, has more than {LARGEST_FILE} bytes; is it the right one?")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise KeysRefused(f"the file of {SECRET_KEYS_FILE}, {path}, is no UTF-8 text; write lines of the form 'id: key'") from None
