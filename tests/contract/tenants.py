"""A tenant's database, what its Secrets say of it, and its provider as the registry opens it."""

import secrets
from collections.abc import AsyncIterator, Callable, Collection

import pytest

from keyturn.decide.address import AddressRules
from keyturn.decide.reach import Reach
from keyturn.model.database import DatabaseConfig, OtherDatabase
from keyturn.model.errors import ProviderError
from keyturn.model.ids import Carrier, KeyRef, Kind, ObjectRef
from keyturn.model.keys import MasterKeys
from keyturn.model.material import SourceRef, Value
from keyturn.model.order import ProviderOrder
from keyturn.model.sensitive import Sensitive
from keyturn.providers.registry import Surroundings, build
from keyturn.store.databases import SqlDatabases
from keyturn.store.engine import open_database
from keyturn.store.schema import migrate
from postgres import Database

URL = KeyRef(Carrier.SECRET, "shop", "database", "url")
KEY = KeyRef(Carrier.SECRET, "shop", "database", "key")
OTHER = DatabaseConfig(OtherDatabase(URL, KEY))
ONE, DB = Sensitive.of("kt-canary-one"), SourceRef("db")
LOOPBACK = AddressRules(allowed=("127.0.0.0/8",), allow_plain_http=True)


class Kept:
    """What Secrets hold."""

    def __init__(self, url: str, key: str) -> None:
        self.texts = {URL: url, KEY: key}

    async def read(self, ref: KeyRef) -> Sensitive:
        return Sensitive.of(self.texts[ref])

    def follow(self, who: ObjectRef, refs: Collection[KeyRef]) -> None:
        """Nothing changes by itself."""


@pytest.fixture
async def migrated(database: Database) -> Database:
    """A database with our tables."""
    owner = open_database(Sensitive.of(database.owner_url))
    await migrate(owner, grant_to=database.user)
    await owner.close()
    return database


@pytest.fixture
def kept(migrated: Database) -> Kept:
    return Kept(migrated.user_url, secrets.token_urlsafe(48))


@pytest.fixture
async def opening(kept: Kept) -> AsyncIterator[Callable[..., object]]:
    """Opens the tenant's provider as the registry does; closed in the end."""
    made = []

    def make(rules: AddressRules = LOOPBACK) -> object:
        around = Surroundings(Reach(), rules, kept, databases=SqlDatabases())
        made.append(build(ProviderOrder(OTHER), kind=Kind.SECRET_PROVIDER, around=around, namespace="shop"))
        return made[-1]

    yield make
    for provider in made:
        await provider.close()


async def fill(kept: Kept) -> None:
    """Puts a value, as somebody who has the URL and the key."""
    databases = SqlDatabases.of(Sensitive.of(kept.texts[URL]), MasterKeys.of({"SECRET_KEY": kept.texts[KEY]}))
    await (await databases.own()).put("db", ONE, token=secrets.token_hex(20))
    await databases.close()


async def answer(provider) -> Value | ProviderError:
    return (await provider.get_many([DB]))[DB]


async def is_read(provider) -> bool:
    found = await answer(provider)
    assert isinstance(found, Value), found
    return found.data == ONE
