"""What Secrets hold that log-ins refer to."""

from collections.abc import Collection
from dataclasses import dataclass, field

from keyturn.model.errors import AuthFailed
from keyturn.model.ids import Carrier, KeyRef, ObjectRef
from keyturn.model.sensitive import Sensitive


@dataclass(kw_only=True)
class Kept:
    """The port `References`. ``reads`` are those that were asked for."""

    secrets: dict[KeyRef, Sensitive] = field(default_factory=dict)
    reads: list[KeyRef] = field(default_factory=list)

    async def read(self, ref: KeyRef) -> Sensitive:
        self.reads.append(ref)
        if ref not in self.secrets:
            raise AuthFailed(f"there is no {ref}")
        return self.secrets[ref]

    def follow(self, who: ObjectRef, refs: Collection[KeyRef]) -> None:
        """Tests change what they like."""

    def keep(self, name: str, text: str | bytes) -> KeyRef:
        """Puts a credential into a Secret."""
        ref = KeyRef(Carrier.SECRET, "shop", name, "value")
        self.secrets[ref] = Sensitive(text) if isinstance(text, bytes) else Sensitive.of(text)
        return ref
