"""An AWS provider put together, without I/O: which way it logs in, and by which dialer each of its servers is asked."""

import random
import time
from collections.abc import Callable
from typing import assert_never

from keyturn.decide.address import AddressRules
from keyturn.model.aws import AwsConfig, KeysLogin, OwnLogin, TenantLogin
from keyturn.model.errors import Rejected
from keyturn.ports import References, TenantTokens
from keyturn.providers.aws import AwsProvider
from keyturn.providers.aws_channel import Channel
from keyturn.providers.aws_login import Entrance, Keys, Own, Role, Tenant
from keyturn.providers.aws_session import Session
from keyturn.providers.aws_writer import AwsWriter
from keyturn.providers.dial import Dialer
from keyturn.providers.room import Room


def opened(
    config: AwsConfig,
    rules: AddressRules | None,
    references: References,
    tokens: TenantTokens | None,
    room: Room,
    namespace: str,
    *,
    may_write: bool,
    clock: Callable[[], float] = time.monotonic,
    chance: Callable[[], float] = random.random,
) -> AwsProvider:
    """``rules`` are for a tenant's provider, whose endpoint is dialed by them. Raises `Rejected`.

    What is under the cloud's own name is not of a tenant's choice: it may be at a private address, or behind the proxy. The region in
    that name is, so that it is looked up among what tenants chose.
    """
    regions = Dialer(None, namespace, is_named=rules is not None)
    sts = Channel("sts", config.region, "", regions, namespace)
    entrance = _entrance(config, references, tokens, namespace, sts)
    provider = AwsWriter if may_write else AwsProvider
    dialer = Dialer(rules, namespace) if config.endpoint and rules is not None else regions
    channel = Channel("secretsmanager", config.region, config.endpoint, dialer, namespace)
    session = Session(channel, entrance, clock=clock, chance=chance)
    # An admin's provider stands for itself.
    return provider(config, session, room, namespace or str(entrance), clock=clock)


def _entrance(config: AwsConfig, references: References, tokens: TenantTokens | None, namespace: str, sts: Channel) -> Entrance:
    base: Entrance
    match config.login:
        case KeysLogin():
            base = Keys(config.login, references)
        case OwnLogin():
            base = Own(config.region)
        case TenantLogin():
            if tokens is None:
                raise Rejected(
                    "spec.provider.awsSecretsManager.auth.serviceAccountRef: its token is made by an operator in its cluster; use secretRef"
                )
            return Tenant(config.login.who, config.role, tokens, sts)
        case other:
            assert_never(other)
    return Role(base, config.role, namespace, sts) if config.role else base
