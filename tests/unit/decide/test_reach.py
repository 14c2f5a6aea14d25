"""What env prefixes and file paths may reach."""

import pytest

from keyturn.decide.reach import Place, Reach, check_file_path, check_prefix, is_closed
from keyturn.model.errors import Rejected


@pytest.mark.parametrize("prefix", ["KEYTURN_SECRET_", "KEYTURN_SECRET_SHOP_", "KEYTURN_SECRET_shop-1."])
def test_the_prefix_of_secrets_is_allowed(prefix: str):
    check_prefix(prefix)


@pytest.mark.parametrize("prefix", ["SHOP_", "SHOP_DB_"])
def test_a_prefix_from_the_flag_is_allowed_and_what_is_longer(prefix: str):
    check_prefix(prefix, ("SHOP_",))


@pytest.mark.parametrize(
    "prefix",
    ["", "K", "KEYTURN", "KEYTURN_", "KEYTURN_SECRET", "keyturn_secret_", "SECRET", "SECRETS_", "SHOP_", "PATH", " KEYTURN_SECRET_"],
)
def test_any_other_prefix_is_rejected_with_field_and_remedy(prefix: str):
    with pytest.raises(Rejected, match=r"^spec\.provider\.env\.prefix: .*start it with KEYTURN_SECRET_$"):
        check_prefix(prefix)


@pytest.mark.parametrize(
    "own",
    [
        "KEYTURN_", "KEYTURN_DB_", "K", "SECRET", "SECRET_", "SECRETS_ENV", "SECRET_KEY", "DATABASE_", "DATA", "AUDIT_", "AWS_", "AWS_S",
        "AZURE_", "GOOGLE_", "GCP_", "VAULT_", "V", "BAO_", "KUBERNETES_", "KUBECONFIG", "PYTHON", "PYTHONPATH", "PATH", "PA", "HOME",
        "LD_", "LD_PRELOAD", "PGPASS", "HTTPS_", "https_", "SSL_CERT",
    ],
)  # fmt: skip
def test_no_flag_opens_the_operators_own_settings(own: str):
    with pytest.raises(Rejected, match="own settings"):
        check_prefix(own, (own,))


def test_an_empty_flag_opens_nothing():
    with pytest.raises(Rejected, match="must not be empty"):
        check_prefix("", ("",))
    with pytest.raises(Rejected):
        check_prefix("HOME", ("",))


@pytest.mark.parametrize("prefix", ["KEYTURN_SECRET_=", "KEYTURN_SECRET_\0", "KEYTURN_SECRET_\n"])
def test_a_prefix_that_no_variable_can_have_is_rejected(prefix: str):
    with pytest.raises(Rejected, match="no variable can start with"):
        check_prefix(prefix)


@pytest.mark.parametrize("name", ["PATHOLOGY_", "HOMEPAGE_", "USERS_"])
def test_a_name_of_the_operator_closes_no_longer_prefix(name: str):
    check_prefix(name, (name,))


ROOTS = Reach(file_roots=("/srv/secrets", "/srv/secrets/inner", "/mnt/more/"), closed_folders=("/srv/secrets/db",))


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("shop", Place("/srv/secrets", ("shop",))),
        ("shop/db", Place("/srv/secrets", ("shop", "db"))),
        ("./shop//db/", Place("/srv/secrets", ("shop", "db"))),
        ("..shop/a..b", Place("/srv/secrets", ("..shop", "a..b"))),
        ("/srv/secrets/shop", Place("/srv/secrets", ("shop",))),
        ("/srv/secrets/inner/x", Place("/srv/secrets/inner", ("x",))),
        ("/mnt/more/x", Place("/mnt/more/", ("x",))),
        ("/mnt/more", Place("/mnt/more/", ())),
    ],
)
def test_a_path_beneath_a_root_finds_its_place(path: str, place: Place):
    assert check_file_path(path, ROOTS) == place


@pytest.mark.parametrize("path", ["", "..", "../x", "shop/../..", "/srv/secrets/../../etc", "shop/..", "a\0b", "a\nb"])
def test_a_path_that_is_not_plain_is_rejected(path: str):
    with pytest.raises(Rejected, match=r"^spec\.provider\.file\.path: .*no plain path.*beneath /srv/secrets"):
        check_file_path(path, ROOTS)


@pytest.mark.parametrize("path", ["/", "/etc", "/srv", "/srv/secrets2/x", "/srv/secret", "/etc/passwd", "/proc/self/environ"])
def test_a_path_outside_all_roots_is_rejected(path: str):
    with pytest.raises(Rejected, match=r"^spec\.provider\.file\.path: .*is not beneath"):
        check_file_path(path, ROOTS)


@pytest.mark.parametrize("path", ["db", "db/x", "."])
def test_a_folder_of_the_operator_is_rejected_and_so_is_one_that_holds_it(path: str):
    with pytest.raises(Rejected, match=r"^spec\.provider\.file\.path: .*folders of the system or of the operator"):
        check_file_path(path, ROOTS)


@pytest.mark.parametrize(
    "path",
    ["/", "/proc", "/proc/self", "/sys", "/dev/shm", "/var", "/var/run", "/var/run/secrets/kubernetes.io/serviceaccount", "/run/secrets",
     "/run", "/var/lib", "/var/lib/keyturn/keyturn.db", "/etc", "/etc/kubernetes"],
)  # fmt: skip
def test_no_root_opens_system_token_or_database_folders(path: str):
    with pytest.raises(Rejected, match="folders of the system"):
        check_file_path(path, Reach(file_roots=("/",)))


def test_a_neighbour_of_a_closed_folder_is_open():
    assert not is_closed("/var/lib/keyturn-sources", Reach())
    assert not is_closed("/srv/secrets/db2", ROOTS)
    assert check_file_path("/opt/x", Reach(file_roots=("/",))) == Place("/", ("opt", "x"))


def test_without_roots_nothing_is_reached():
    for path in ("shop", "/shop"):
        with pytest.raises(Rejected):
            check_file_path(path, Reach(file_roots=()))
