"""What a provider answers to one question."""

from keyturn.model.errors import ProviderError
from keyturn.model.material import SourceRef, Value
from keyturn.ports import Provider


async def get(provider: Provider, key: str = "db", version: str = "") -> Value | ProviderError:
    """One reference's answer, also where the call as a whole was refused."""
    ref = SourceRef(key, version)
    try:
        return (await provider.get_many([ref]))[ref]
    except ProviderError as error:
        return error


async def read(provider: Provider, key: str = "db", version: str = "") -> bytes:
    """The value; fails where there is none."""
    return data_of(await get(provider, key, version))


def data_of(answer: Value | ProviderError) -> bytes:
    """What is in an answer; fails where it is an error."""
    assert isinstance(answer, Value), answer
    return answer.data.reveal()


def text_of(answer: Value | ProviderError) -> str:
    """The same as text."""
    return data_of(answer).decode()
