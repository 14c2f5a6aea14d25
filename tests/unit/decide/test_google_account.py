"""What of an external account's configuration is done, what never, and where a tenant's token may come from."""

import json
from typing import Any

import pytest

from keyturn.decide.google_account import LONGEST, asked_for, external_account, members, subject_in
from keyturn.model.errors import AuthFailed
from keyturn.model.google import ExternalAccount, FromAws, FromFile, FromUrl
from keyturn.model.sensitive import Sensitive
from manifests.bases import GOOGLE_POOL

JWT = "urn:ietf:params:oauth:token-type:jwt"
SAML = "urn:ietf:params:oauth:token-type:saml2"
AWS = "urn:ietf:params:aws:token-type:aws4_request"
URL = "https://tokens.test/oidc?audience=google"
ACT_AS = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{}:generateAccessToken"
ORDERS = "orders@shop.iam.gserviceaccount.com"
FLEET = "identitynamespace:shop.svc.id.goog:https://gkehub.googleapis.com/projects/1/locations/global/memberships/prod"
TOKEN = b"eyJh.eyJp.c2ln"

Json = dict[str, Any]


def told(source: object = None, **more: Any) -> Json:
    made = {"type": "external_account", "audience": GOOGLE_POOL, "subject_token_type": JWT, "credential_source": source or {"url": URL}}
    return {name: word for name, word in (made | more).items() if word is not ...}


def as_json(member: str = "value", **more: Any) -> Json:
    return {"url": URL, "format": {"type": "json", "subject_token_field_name": member}} | more


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (told(), ExternalAccount(GOOGLE_POOL, JWT, FromUrl(URL))),
        (told(audience=FLEET, token_url="https://sts.googleapis.com/v1/token"), ExternalAccount(FLEET, JWT, FromUrl(URL))),
        (told(as_json(headers={"Metadata": "True"})), ExternalAccount(GOOGLE_POOL, JWT, FromUrl(URL, (("Metadata", "True"),), "value"))),
        (told({"file": "/var/run/t", "format": {"type": "text"}}), ExternalAccount(GOOGLE_POOL, JWT, FromFile("/var/run/t"))),
        (
            told({"environment_id": "aws1", "url": "http://m/"}, subject_token_type=AWS),
            ExternalAccount(GOOGLE_POOL, AWS, FromAws((("environment_id", "aws1"), ("url", "http://m/")))),
        ),
        (
            told(service_account_impersonation_url=ACT_AS.format(ORDERS), service_account_impersonation={"token_lifetime_seconds": 600}),
            ExternalAccount(GOOGLE_POOL, JWT, FromUrl(URL), ORDERS, 600),
        ),
        # What Google's tools write beside, and what nobody needs.
        (
            told(token_info_url="https://sts.googleapis.com/v1/introspect", quota_project_id="x"),
            ExternalAccount(GOOGLE_POOL, JWT, FromUrl(URL)),
        ),
    ],
)
def test_a_configuration_as_googles_tools_write_it_is_understood(given: Json, found: ExternalAccount) -> None:
    assert external_account(given, "it") == found


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "no configuration of an external account"),
        (told(type="service_account"), "no configuration of an external account"),
        (told(type=["external_account"]), "no configuration of an external account"),
        (told(universe_domain="evil.test"), "universe_domain is not Google's"),
        (told(token_url="https://sts.googleapis.com.evil.test/v1/token"), "token_url is not https://sts.googleapis.com/v1/token"),
        (told(token_url="https://sts.evil.test/v1/token"), "token_url is not"),
        (told(token_url="http://sts.googleapis.com/v1/token"), "token_url is not"),
        (told(token_url=None), "token_url is not"),
        (told(audience=...), "audience is not the full name"),
        (told(audience="https://kubernetes.default.svc"), "audience is not the full name"),
        (told(audience="//iam.googleapis.com/locations/global/workforcePools/p/providers/q"), "audience is not the full name"),
        (told(audience=[GOOGLE_POOL]), "audience is not the full name"),
        (told(subject_token_type=...), "subject_token_type is none of"),
        (told(subject_token_type={"kt": "canary"}), "subject_token_type is none of"),
        (told(subject_token_type=AWS), "subject_token_type does not go with"),
        (told({"environment_id": "aws1"}), "subject_token_type does not go with"),
        (told(client_id="x", client_secret="kt-canary"), "client_id is for people's log-ins"),
        (told(workforce_pool_user_project="1"), "workforce_pool_user_project is for people's log-ins"),
        (told(["kt-canary"]), "credential_source names no url"),
        (told({"kt": "canary"}), "credential_source names no url"),
        (told({"url": "kt-canary\nx"}), "credential_source names no url"),
        (told({"url": ["kt-canary"]}), "credential_source names no url"),
        (told({"file": "/a", "url": URL}), "credential_source names no url"),
        (told({"environment_id": "aws2", "url": URL}), "credential_source names no url"),
        (told({"executable": {"command": "kt-canary"}}), "credential_source.executable is never used"),
        (told({"certificate": {}, "url": URL}), "credential_source.certificate is never used"),
        (told({"url": URL, "headers": ["kt-canary"]}), "credential_source.headers are no names and texts"),
        (told({"url": URL, "headers": {"a b": "kt-canary"}}), "credential_source.headers are no names and texts"),
        (told({"url": URL, "headers": {"a": "kt-canary\r\nHost: x"}}), "credential_source.headers are no names and texts"),
        (told({"url": URL, "headers": {"a": 1}}), "credential_source.headers are no names and texts"),
        (told({"url": URL, "headers": {"HOST": "evil.test"}}), "such as Host"),
        (told({"url": URL, "headers": {"Transfer-Encoding": "chunked"}}), "such as Host"),
        (told({"url": URL, "format": "json"}), "credential_source.format is neither"),
        (told({"url": URL, "format": {"type": "xml"}}), "credential_source.format is neither"),
        (told({"url": URL, "format": {"type": "json"}}), "credential_source.format is neither"),
        (told(as_json("")), "credential_source.format is neither"),
        *(
            (told(service_account_impersonation_url=url), "service_account_impersonation_url is not")
            for url in (
                ACT_AS.format("a@b/../../x"),
                ACT_AS.format("-"),
                ACT_AS.format("someone@evil.test"),
                ACT_AS.format(ORDERS).replace("googleapis.com", "evil.test"),
                ACT_AS.format(ORDERS).replace("https", "http"),
                ACT_AS.format(ORDERS).replace("AccessToken", "IdToken"),
                f"{ACT_AS.format(ORDERS)}?x",
                7,
                "",
            )
        ),
        *(
            (told(service_account_impersonation=more), "token_lifetime_seconds is no number from 600 to 43200")
            for more in ("kt", {"token_lifetime_seconds": "900"}, {"token_lifetime_seconds": 43_201}, {"token_lifetime_seconds": 599})
        ),
    ],
)
def test_a_configuration_that_would_lead_elsewhere_is_refused_without_a_word_of_it(given: Json, says: str) -> None:
    with pytest.raises(AuthFailed) as raised:
        external_account(given, "ConfigMap/shop/c")
    assert str(raised.value).startswith("ConfigMap/shop/c")
    assert says in str(raised.value)
    assert not any(word in str(raised.value) for word in ("kt-canary", "evil"))


@pytest.mark.parametrize("text", ["", "[]", "kt-canary", "[" * 60_000, '"x"', "null"])
def test_what_is_no_object_in_json_has_no_members(text: str) -> None:
    assert members(Sensitive.of(text), "it") == {}
    assert members(Sensitive(b"\xff\xfe{"), "it") == {}


def test_what_is_longer_than_any_key_is_not_read_at_all() -> None:
    text = '{"type": "kt-canary"}'
    assert members(Sensitive.of(text.ljust(LONGEST)), "it") == {"type": "kt-canary"}
    with pytest.raises(AuthFailed, match=r"^it has more than 64 KiB") as raised:
        members(Sensitive.of(text.ljust(LONGEST + 1)), "it")
    assert "kt-canary" not in str(raised.value)


def test_a_tenants_token_comes_from_the_one_address_that_its_provider_object_names() -> None:
    assert asked_for(external_account(told(), "it"), URL, "it") == FromUrl(URL)


@pytest.mark.parametrize(
    ("source", "endpoint", "says"),
    [
        (FromUrl(URL), "", "externalTokenEndpoint names it too; set that"),
        (FromUrl(URL), f"{URL}x", "is not what externalTokenEndpoint says"),
        (FromUrl(URL), URL.replace("https", "HTTPS"), "is not what externalTokenEndpoint says"),
        (FromFile("/etc/passwd"), URL, "credential_source.file would read what is the operator's"),
        (FromAws(()), URL, "credential_source.environment_id would read what is the operator's"),
    ],
)
def test_a_tenants_token_comes_from_nowhere_else(source: FromUrl | FromFile | FromAws, endpoint: str, says: str) -> None:
    with pytest.raises(AuthFailed, match=says):
        asked_for(ExternalAccount(GOOGLE_POOL, JWT, source), endpoint, "it")


@pytest.mark.parametrize(
    ("body", "member", "kind", "found"),
    [
        (TOKEN + b"\n", "", JWT, TOKEN),
        (json.dumps({"value": TOKEN.decode()}).encode(), "value", JWT, TOKEN),
        (b"A" * 64 + b"==", "", SAML, b"A" * 64 + b"=="),
        (b"kt-canary", "", JWT, None),
        (b"", "", JWT, None),
        (TOKEN, "value", JWT, None),
        (TOKEN, "", SAML, None),
        (b'{"value": 7}', "value", JWT, None),
        (b'{"value": "\\ud800.aa.aa"}', "value", JWT, None),
        (b'["value"]', "value", JWT, None),
        (b"a b.cc.dd", "", JWT, None),
        (TOKEN + b"\nSet: x", "", JWT, None),
    ],
)
def test_only_what_has_the_shape_of_a_token_is_sent_on(body: bytes, member: str, kind: str, found: bytes | None) -> None:
    told = subject_in(body, member, kind)
    assert (told.reveal() if told else None) == found


def test_no_word_of_a_header_is_in_the_text_of_a_source() -> None:
    assert "kt-canary" not in repr(FromUrl(URL, (("Authorization", "kt-canary-word"),)))
