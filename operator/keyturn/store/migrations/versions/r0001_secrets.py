"""Secrets with their versions, encryption keys, and the replicas that use them."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0001"
down_revision: Final = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True).with_variant(sa.String(), "sqlite")
_JSON = sa.JSON().with_variant(sa.String(), "sqlite")


def upgrade() -> None:
    """Makes the tables."""
    _make_secrets()
    _make_versions()
    _make_keys()


def _make_secrets() -> None:
    op.create_table(
        "application_secrets",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("secret_type", sa.String(), nullable=False),
        sa.Column("current_version", sa.Integer(), nullable=False),
        sa.Column("last_version", sa.Integer(), nullable=False),
        sa.Column("tags", _JSON, nullable=False),
        sa.Column("expires_at", _TIME),
        sa.Column("deleted_at", _TIME),
        sa.Column("purged_at", _TIME),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("change_seq", sa.BigInteger(), nullable=False),
        sa.Column("row_mac", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_application_secrets"),
        sa.UniqueConstraint("store", "name", name="uq_application_secrets_store_name"),
        sa.UniqueConstraint("change_seq", name="uq_application_secrets_change_seq"),
    )


def _make_versions() -> None:
    op.create_table(
        "application_secret_versions",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("secret_id", _ROW_ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("put_token", sa.String(), nullable=False),
        sa.Column("put_mac", sa.LargeBinary(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("change_seq", sa.BigInteger(), nullable=False),
        sa.Column("row_mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_application_secret_versions"),
        sa.ForeignKeyConstraint(
            ["secret_id"], ["application_secrets.id"], name="fk_application_secret_versions_secret_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("secret_id", "version", name="uq_application_secret_versions_secret_id_version"),
        sa.UniqueConstraint("secret_id", "put_token", name="uq_application_secret_versions_secret_id_put_token"),
    )


def _make_keys() -> None:
    op.create_table(
        "encryption_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("iterations", sa.Integer(), nullable=False),
        sa.Column("kdf", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("check_token", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint_key", sa.LargeBinary()),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_encryption_keys"),
    )
    active = sa.text("state = 'active'")
    op.create_index("ux_encryption_keys_active", "encryption_keys", ["state"], unique=True, sqlite_where=active, postgresql_where=active)
    op.create_table(
        "replicas",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("key_ids", _JSON, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_replicas"),
    )


def downgrade() -> None:
    """Takes them away, with all that is in them."""
    for table in ("replicas", "encryption_keys", "application_secret_versions", "application_secrets"):
        op.drop_table(table)
