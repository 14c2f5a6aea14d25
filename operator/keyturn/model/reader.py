"""Who reads through a ClusterSecretProvider whose log-in depends on that: its order leaves some names open, until a reader is known."""

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Final, TypeVar

from keyturn.model.aws import AssumedRole
from keyturn.model.errors import Unavailable
from keyturn.model.ids import READER, KeyRef
from keyturn.model.tenant import ServiceAccount

CLUSTER: Final = "kube-system"
"""The namespace whose uid stands for the cluster."""

_Noun = TypeVar("_Noun")


@dataclass(frozen=True, slots=True)
class Reader:
    """A ManagedSecret's namespace, in the cluster of this uid; '' where that is not known."""

    namespace: str
    cluster: str = ""

    @property
    def external_id(self) -> str:
        """By which AWS tells for whom the operator assumes a role of its own. Raises `Unavailable`."""
        if not self.cluster:
            raise Unavailable(f"the external id of the role needs the uid of the namespace {CLUSTER}, which the operator does not see")
        return f"keyturn/{self.cluster}/{self.namespace}"


def is_readers(noun: object) -> bool:
    """Whether it is of the namespace that reads, whichever that is."""
    return isinstance(noun, KeyRef | ServiceAccount) and noun.namespace == READER


def depends_on_reader(noun: object) -> bool:
    """Whether something in it is left open until a reader is known."""
    if isinstance(noun, AssumedRole):
        return noun.external_id == READER
    if isinstance(noun, KeyRef | ServiceAccount):
        return is_readers(noun)
    return is_dataclass(noun) and any(depends_on_reader(getattr(noun, each.name)) for each in fields(noun))


def as_read_by(noun: _Noun, reader: Reader) -> _Noun:
    """The same with nothing left open. Raises `Unavailable`."""
    if not depends_on_reader(noun):
        return noun
    known: dict[str, object]
    if isinstance(noun, AssumedRole):
        known = {"external_id": reader.external_id}
    elif isinstance(noun, KeyRef | ServiceAccount):
        known = {"namespace": reader.namespace}
    else:
        whole: Any = noun
        known = {each.name: as_read_by(getattr(noun, each.name), reader) for each in fields(whole)}
    made: _Noun = replace(noun, **known)  # type: ignore[type-var]  # what depends on a reader is a dataclass
    return made
