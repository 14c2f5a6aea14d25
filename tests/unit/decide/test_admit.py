"""Who may use what, and which Secrets a ManagedSecret may aim at."""

from collections.abc import Mapping

import pytest

from builders import order
from keyturn.decide.admit import TYPES, Limits, admits, check_admission, check_target, selects
from keyturn.model.errors import ProviderNotAllowed, Rejected
from keyturn.model.ids import SecretRef
from keyturn.model.order import Admission, FileConfig, ProviderOrder, Selector

LIMITS = Limits("keyturn-system", frozenset({"example.com/token", "helm.sh/release.v1"}))


def test_a_target_is_a_secret_of_the_same_namespace() -> None:
    assert check_target("shop", order(target="db"), LIMITS) == SecretRef("shop", "db")


@pytest.mark.parametrize("kind", [*sorted(TYPES), "example.com/token"])
def test_types_on_the_list_and_of_the_flag_are_allowed(kind: str) -> None:
    check_target("shop", order(type=kind), LIMITS)


@pytest.mark.parametrize(
    "kind",
    [
        "kubernetes.io/service-account-token",
        "bootstrap.kubernetes.io/token",
        "helm.sh/release.v1",
        "example.com/other",
        "opaque",
        "",
    ],
)
def test_other_types_are_rejected_and_some_even_with_the_flag(kind: str) -> None:
    with pytest.raises(Rejected, match=r"spec\.target\.template\.type"):
        check_target("shop", order(type=kind), LIMITS)


@pytest.mark.parametrize(
    ("namespace", "name", "refused"),
    [
        pytest.param("keyturn-system", "db", True, id="the operator's namespace"),
        pytest.param("shop", "keyturn-fingerprint-key", True, id="the operator's names"),
        pytest.param("shop", "keyturn-", True, id="the prefix alone"),
        pytest.param("shop", "keyturn", False, id="the word alone"),
        pytest.param("keyturn-system-2", "db", False, id="a neighbour of the operator's namespace"),
    ],
)
def test_what_is_the_operators_own_is_no_target(*, namespace: str, name: str, refused: bool) -> None:
    if refused:
        with pytest.raises(Rejected):
            check_target(namespace, order(target=name), LIMITS)
    else:
        check_target(namespace, order(target=name), LIMITS)


SHOP = {"team": "shop", "env": "prod"}


@pytest.mark.parametrize(
    ("selector", "labels", "holds"),
    [
        pytest.param(Selector(), {}, True, id="an empty selector selects all"),
        pytest.param(Selector({"team": "shop"}), SHOP, True, id="label"),
        pytest.param(Selector({"team": "shop"}), {"team": "ship"}, False, id="label of another value"),
        pytest.param(Selector({"team": "shop", "env": "dev"}), SHOP, False, id="all labels must hold"),
        pytest.param(Selector(expressions=(("env", "In", ("dev", "prod")),)), SHOP, True, id="In"),
        pytest.param(Selector(expressions=(("env", "In", ("dev",)),)), SHOP, False, id="not In"),
        pytest.param(Selector(expressions=(("tier", "In", ("dev",)),)), SHOP, False, id="In without the label"),
        pytest.param(Selector(expressions=(("env", "NotIn", ("dev",)),)), SHOP, True, id="NotIn"),
        pytest.param(Selector(expressions=(("env", "NotIn", ("prod",)),)), SHOP, False, id="not NotIn"),
        pytest.param(Selector(expressions=(("tier", "NotIn", ("prod",)),)), SHOP, True, id="NotIn without the label"),
        pytest.param(Selector(expressions=(("env", "Exists", ()),)), SHOP, True, id="Exists"),
        pytest.param(Selector(expressions=(("tier", "Exists", ()),)), SHOP, False, id="not Exists"),
        pytest.param(Selector(expressions=(("tier", "DoesNotExist", ()),)), SHOP, True, id="DoesNotExist"),
        pytest.param(Selector(expressions=(("env", "DoesNotExist", ()),)), SHOP, False, id="not DoesNotExist"),
        pytest.param(Selector({"team": "shop"}, (("env", "NotIn", ("prod",)),)), SHOP, False, id="labels and expressions"),
        pytest.param(Selector(expressions=(("env", "Gt", ("1",)),)), SHOP, False, id="what is no operator opens no door"),
    ],
)
def test_selectors_mean_what_they_mean_in_kubernetes(*, selector: Selector, labels: Mapping[str, str], holds: bool) -> None:
    assert selects(selector, labels) is holds
    assert admits(Admission(selector=selector), "shop", labels) is holds


@pytest.mark.parametrize(
    ("items", "admitted"),
    [
        pytest.param((), True, id="no condition admits all"),
        pytest.param((Admission(frozenset({"shop"})),), True, id="by name"),
        pytest.param((Admission(frozenset({"ship"})),), False, id="another name"),
        pytest.param((Admission(regexes=("^sh.p$",)),), True, id="by regex"),
        pytest.param((Admission(regexes=("^x", "ho")),), True, id="any regex, anywhere, as in ESO"),
        pytest.param((Admission(regexes=("^ho",)),), False, id="no regex"),
        pytest.param((Admission(selector=Selector({"team": "shop"})),), True, id="by labels"),
        pytest.param((Admission(frozenset({"x"})), Admission(regexes=("shop",))), True, id="any item"),
        pytest.param((Admission(),), False, id="an item that says nothing admits nobody"),
    ],
)
def test_conditions_admit_namespaces_by_any_of_their_ways(*, items: tuple[Admission, ...], admitted: bool) -> None:
    provider = ProviderOrder(FileConfig("x"), admissions=items)
    if admitted:
        check_admission(provider, "ClusterSecretProvider/files", "shop", SHOP)
    else:
        with pytest.raises(ProviderNotAllowed, match="ClusterSecretProvider/files does not admit namespace shop"):
            check_admission(provider, "ClusterSecretProvider/files", "shop", SHOP)


@pytest.mark.parametrize(
    "selector",
    [
        Selector(),
        Selector(expressions=(("restricted", "DoesNotExist", ()),)),
        Selector(expressions=(("tier", "NotIn", ("secret",)),)),
    ],
    ids=["all", "DoesNotExist", "NotIn"],
)
def test_no_selector_admits_a_namespace_whose_labels_are_not_known_yet(selector: Selector) -> None:
    with pytest.raises(ProviderNotAllowed):
        check_admission(ProviderOrder(FileConfig("x"), admissions=(Admission(selector=selector),)), "p", "shop", None)


def test_a_name_admits_a_namespace_whose_labels_are_not_known_yet() -> None:
    check_admission(ProviderOrder(FileConfig("x"), admissions=(Admission(frozenset({"shop"})),)), "p", "shop", None)
