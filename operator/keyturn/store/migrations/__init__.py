"""The steps from each schema to the next, and back, for SQLite and PostgreSQL alike; run by `keyturn.store.schema`.

A step that was released is never changed: another one follows it.
"""
