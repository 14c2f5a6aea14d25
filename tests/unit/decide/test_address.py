"""Which addresses a tenant's server may have."""

import pytest

from keyturn.decide.address import AddressRules, check_scheme, may_dial, parse_allowed
from keyturn.model.errors import Rejected

DEFAULT = AddressRules()
PUBLIC = AddressRules(allowed=("public",))
PRIVATE = AddressRules(allowed=("private",))
NOTHING = AddressRules(allowed=())

PUBLIC_ADDRESSES = [
    "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0",
    "9.255.255.255", "11.0.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "198.17.255.255", "198.20.0.0",
    "223.255.255.255", "168.63.129.15", "2606:4700::1111", "2a00::1", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8",
]  # fmt: skip
PRIVATE_ADDRESSES = [
    "10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255", "100.64.0.0", "100.127.255.255",
    "100.100.100.199", "100.100.100.201", "fc00::1", "fd00:ec3::254", "fdff:ffff::1", "::ffff:10.1.2.3",
]  # fmt: skip
REFUSED_ADDRESSES = [
    # this host
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.0.0.53", "127.255.255.255", "::", "::1",
    # link-local, and the metadata services of clouds
    "169.254.0.1", "169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.169.253", "fe80::1", "febf::1", "fe80::a9fe:a9fe",
    "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd00:ec2::253", "fd20:ce::254",
    "fd00:c1::a9fe:a9fe", "fd00:42::42",
    # nobody's
    "192.0.0.1", "192.0.0.9", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "198.19.255.255", "192.88.99.1",
    "100::1", "2001:db8::1", "3fff::1", "5f00::1", "fec0::1",
    # everybody's, and reserved
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "ff02::1", "ff0e::1",
    # the same in another dress
    "::ffff:127.0.0.1", "::ffff:7f00:1", "0:0:0:0:0:ffff:7f00:0001", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::127.0.0.1",
    "::169.254.169.254", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "64:ff9b::100.100.100.200", "2002:6464:64c8::",
    # of one link only
    "fe80::1%eth0", "fd00::1%eth0", "2606:4700::1111%eth0", "::1%lo", "::ffff:8.8.8.8%eth0",
]  # fmt: skip
NO_ADDRESSES = [
    "", " ", "localhost", "vault.example.com", "127.1", "127.0.1", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "010.0.0.1",
    "8.8.8.8.", "8.8.8.8 ", " 8.8.8.8", "8.8.8.8\0", "8.8.8.8\n", "8.8.8.8/32", "8.8.8.8:443", "[2606:4700::1111]", "256.1.1.1", "1.2.3",
    "１２７.0.0.1", "8。8。8。8", "::ffff:127.1", "2606:4700::1111::",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_a_public_address_is_reached_by_its_word_alone(address: str):
    assert may_dial(address, DEFAULT)
    assert may_dial(address, PUBLIC)
    assert not may_dial(address, PRIVATE)
    assert not may_dial(address, NOTHING)


@pytest.mark.parametrize("address", PRIVATE_ADDRESSES)
def test_a_private_address_is_reached_by_its_word_alone(address: str):
    assert may_dial(address, DEFAULT)
    assert may_dial(address, PRIVATE)
    assert not may_dial(address, PUBLIC)
    assert not may_dial(address, NOTHING)


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_no_word_opens_what_the_operator_alone_may_reach(address: str):
    assert not may_dial(address, DEFAULT)


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_what_is_no_plain_address_is_refused_even_where_all_are_open(address: str):
    assert not may_dial(address, DEFAULT)
    assert not may_dial(address, AddressRules(allowed=("public", "private", "0.0.0.0/0", "::/0")))


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_a_network_opens_all_that_it_covers(address: str):
    assert may_dial(address, AddressRules(allowed=("0.0.0.0/0", "::/0")))


@pytest.mark.parametrize(
    ("address", "network", "is_open"),
    [
        ("127.0.0.1", "127.0.0.0/8", True),
        ("127.0.0.2", "127.0.0.1/32", False),
        ("::1", "127.0.0.0/8", False),
        ("::1", "::1/128", True),
        ("::ffff:127.0.0.1", "127.0.0.0/8", True),
        ("::ffff:127.0.0.1", "::ffff:0:0/96", True),
        ("::ffff:169.254.169.254", "127.0.0.0/8", False),
        ("127.0.0.1", "::/0", False),
        ("10.1.2.3", "10.1.0.0/16", True),
        ("10.2.2.3", "10.1.0.0/16", False),
        ("100.100.100.200", "100.64.0.0/10", True),
        ("fe80::1%eth0", "fe80::/10", True),
        # an address that a translator turns into another: its own network has to be open as well
        ("64:ff9b::127.0.0.1", "127.0.0.0/8", False),
        ("64:ff9b::127.0.0.1", "64:ff9b::/96", True),
    ],
)
def test_a_network_opens_nothing_else(address: str, network: str, is_open: bool):  # noqa: FBT001  # a column of the table
    assert may_dial(address, AddressRules(allowed=(network,))) is is_open


@pytest.mark.parametrize("address", ["10.96.0.1", "::ffff:10.96.0.1", "203.0.114.7", "64:ff9b::203.0.114.7", "fd12::1", "fd12:0:0::1"])
def test_what_is_our_own_is_refused_unless_a_network_covers_it(address: str):
    own = frozenset({"10.96.0.1", "203.0.114.7", "fd12:0::1", "fe80::1%eth0"})
    assert may_dial(address, DEFAULT)
    assert not may_dial(address, AddressRules(own=own))
    assert may_dial(address, AddressRules(allowed=("0.0.0.0/0", "::/0"), own=own))


def test_a_neighbour_of_our_own_is_open():
    assert may_dial("10.96.0.2", AddressRules(own=frozenset({"10.96.0.1"})))


@pytest.mark.parametrize(
    "server",
    [
        "https://vault", "https://vault.shop.svc:8200", "https://vault.example.com/", "https://vault.example.com/behind/a%20path",
        "HTTPS://Vault.Example.com", "https://10.0.0.1:8200", "https://[fd00::1]:8200", "https://[::ffff:10.0.0.1]", "https://a_b.c.",
        "https://vault:1", "https://vault:65535",
    ],
)  # fmt: skip
def test_a_plain_address_with_tls_passes(server: str):
    check_scheme("spec.x", server, DEFAULT)


@pytest.mark.parametrize(
    "server",
    [
        "", "https://", "https:///path", "vault.example.com", "//vault", "ftp://vault", "file:///etc/passwd", "unix:///run/x",
        "https:/vault", "https://kt-canary-user@vault", "https://kt-canary-user:kt-canary-word@vault", "https://vault@", "https://vault?x=kt-canary-word",
        "https://vault#x", "https://vault/x?y", "https://vault/x#y", "https://vault\\@other", "https://vault /", "https://vault/\n",
        "https://vault\n", "https://va\tult", " https://vault", "https://vault:", "https://vault:0", "https://vault:65536", "https://vault:x",
        "https://vault:8200:1", "https://[fd00::1", "https://[fe80::1%25eth0]", "https://fd00::1", "https://vault,other", "https://vault%2eorg",
        "https://bücher.example", "https://１２７.0.0.1", "https://vault:８２", "httpſ://vault", "https://vault/\0",
    ],
)  # fmt: skip
def test_what_is_no_plain_address_is_rejected_and_not_quoted(server: str):
    with pytest.raises(Rejected, match=r"^spec\.x: .*write https://HOST or https://HOST:PORT") as refusal:
        check_scheme("spec.x", server, AddressRules(allow_plain_http=True))
    assert "kt-canary" not in str(refusal.value)


def test_http_is_rejected_by_its_field_and_names_the_flag():
    with pytest.raises(Rejected, match=r"^spec\.x: http .*use https, or .*--allow-plain-http$"):
        check_scheme("spec.x", "http://vault:8200", DEFAULT)
    check_scheme("spec.x", "http://vault:8200", AddressRules(allow_plain_http=True))
    check_scheme("spec.x", "https://vault:8200", AddressRules(allow_plain_http=True))


def test_words_and_networks_are_taken_in_their_plain_form():
    assert parse_allowed([]) == ()
    assert parse_allowed(["public", "private"]) == ("public", "private")
    assert parse_allowed(["10.0.0.0/8", "127.0.0.1", "FD00::/8", "::1"]) == ("10.0.0.0/8", "127.0.0.1/32", "fd00::/8", "::1/128")


@pytest.mark.parametrize(
    "word", ["", "Public", "all", "loopback", "10.0.0.0/33", "10.0.0/8", "vault.example.com", "10.0.0.1-10.0.0.9", "/8"]
)
def test_any_other_word_is_refused_and_named(word: str):
    with pytest.raises(ValueError, match=r"is neither public, nor private, nor a network such as 10\.0\.0\.0/8") as refusal:
        parse_allowed(["public", word])
    assert repr(word) in str(refusal.value)


@pytest.mark.parametrize(("word", "meant"), [("10.0.0.1/8", "10.0.0.0/8"), ("fd00::1/8", "fd00::/8"), ("::1/0", "::/0")])
def test_an_address_within_a_network_is_refused_and_the_network_offered(word: str, meant: str):
    with pytest.raises(ValueError, match=f"write {meant} for all of it"):
        parse_allowed([word])
