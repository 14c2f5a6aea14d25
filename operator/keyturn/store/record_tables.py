"""Tables of what leads and of what happened beside the audit trail, as they are at the newest schema."""

from sqlalchemy import BigInteger, Column, Index, String, Table

from keyturn.store.tables import ROW_ID, Json, Moment, metadata

fence = Table(
    "fence",
    metadata,
    Column("name", String, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("holder", String, nullable=False),
    Column("since", Moment, nullable=False),
    Column("settled_to", BigInteger, nullable=False),  # of the audit trail: no intent of the office up to this row is open
)
"""Who may act, one row for each office. ``epoch`` grows with each new term, and what an older one is about to do is refused."""

rotations = Table(
    "secret_rotation_log",
    metadata,
    Column("id", ROW_ID, primary_key=True),
    Column("attempt", String, nullable=False),
    Column("at", Moment, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("schedule", String, nullable=False),
    Column("provider", String, nullable=False),
    Column("key", String, nullable=False),
    Column("phase", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("details", Json, nullable=False),
    Index("ix_secret_rotation_log_attempt", "attempt"),
    Index("ix_secret_rotation_log_provider_key", "provider", "key"),
)
"""One row for each phase that an attempt to rotate a credential reached. It is only added to."""

policies = Table(
    "secret_policies",
    metadata,
    Column("name", String, primary_key=True),
    Column("uid", String, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("spec", Json, nullable=False),
    Column("seen_at", Moment, nullable=False),
)
"""SecretPolicies as the operator last saw them, so that programs outside the cluster enforce the same."""
