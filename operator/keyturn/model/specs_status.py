"""What the operator writes about an object. Nobody parses these models: they are here for the schema."""

from typing import Annotated, Literal

from pydantic import Field

from keyturn.model.specs_base import Spec
from keyturn.model.status import LISTED

Time = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
Name = Annotated[str, Field(max_length=317)]
Token = Annotated[str, Field(max_length=1024)]
Generation = Annotated[int, Field(json_schema_extra={"format": "int64"})]
Count = Annotated[int, Field(ge=0, json_schema_extra={"format": "int32"})]


class ConditionStatus(Spec):
    """One thing that is said about the object."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """What is said: Ready, the summary; Reconciling and Stalled, which are absent when all is well; Suspended and others."""

    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""

    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why, in one word for machines."""

    message: Annotated[str, Field(max_length=32_768)]
    """Why, in a sentence for people. It never holds a secret value."""

    last_transition_time: Time
    """When status last changed."""

    observed_generation: Generation | None = None
    """Generation of the object that this is about."""


class ObjectStatus(Spec):
    """What every object of ours says about itself."""

    observed_generation: Generation | None = None
    """Generation of the spec that was last looked at; -1 until the operator has seen the object."""

    conditions: list[ConditionStatus] | None = Field(
        default=None, max_length=32, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    )
    """What is said about the object. Ready is the summary."""


class TargetStatus(Spec):
    """The Secret that was written last."""

    name: Name
    """Name of the Secret."""

    uid: Name
    """Its uid, by which a successor of the same name is told from it."""

    keys: list[Name] | None = Field(default=None, max_length=LISTED)
    """Keys that were written, the first hundred of them."""

    key_count: Count | None = None
    """How many keys were written."""

    labels: list[Name] | None = Field(default=None, max_length=LISTED)
    """Keys of the labels that were written."""

    annotations: list[Name] | None = Field(default=None, max_length=LISTED)
    """Keys of the annotations that were written."""


class SourceStatus(Spec):
    """A value at a provider that the Secret was made from."""

    provider: Name
    """Kind and name of the provider object."""

    key: Annotated[str, Field(max_length=2048)]
    """Name of the secret at the provider."""

    version: Name | None = None
    """Version that was fetched when the data last changed, as the provider names it; left out where it names none."""


class Binding(Spec):
    """The Secret as servicebinding.io wants it named."""

    name: Name
    """Name of the Secret."""


class ManagedSecretStatus(ObjectStatus):
    """What the operator last did for this ManagedSecret."""

    revision: Name | None = None
    """Opaque name of the data that were written: equal revisions mean equal data. It is keyed, so guesses cannot be tested."""

    last_change_time: Time | None = None
    """When the data of the Secret last changed."""

    next_rotation_time: Time | None = None
    """When the value will next be rotated at the provider. Not in this version."""

    target: TargetStatus | None = None
    """The Secret that was written last."""

    sources: list[SourceStatus] | None = Field(default=None, max_length=LISTED)
    """Where its values came from, the first hundred of them."""

    source_count: Count | None = None
    """How many sources there were."""

    last_handled_reconcile_at: Token | None = None
    """The value of the annotation keyturn.dev/reconcile-requested-at that was last answered."""

    last_handled_rotate_at: Token | None = None
    """The value of the annotation keyturn.dev/rotate-requested-at that was last answered. Not in this version."""

    binding: Binding | None = None
    """The Secret, for servicebinding.io."""


class ProviderStatus(ObjectStatus):
    """What the operator last learnt about this provider."""

    provider: Name | None = None
    """Which provider it is: the member of spec.provider, such as awsSecretsManager."""

    last_check_time: Time | None = None
    """When the log-in was last tried; the sign of life, at most once in five minutes."""

    capabilities: list[Name] | None = Field(default=None, max_length=32)
    """What the provider allows us to do, such as GET, LIST or PUT."""
