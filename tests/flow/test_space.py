"""How much is held in memory: what was asked for least lately goes first."""

from keyturn.flow.space import Space
from keyturn.model.ids import Kind, ObjectRef
from keyturn.model.material import SourceRef

SHARED = ObjectRef(Kind.CLUSTER_SECRET_PROVIDER, "", "vault")
SHOP = ObjectRef(Kind.CLUSTER_SECRET_PROVIDER, "shop", "vault")
A, B, C = (SHARED, SourceRef("a")), (SHARED, SourceRef("b")), (SHARED, SourceRef("c"))


def test_what_fits_is_held() -> None:
    space = Space(10)
    assert [space.take(A, 5), space.take(B, 5)] == [[], []]


def test_what_was_asked_for_least_lately_makes_room() -> None:
    space = Space(10)
    space.take(A, 5)
    space.take(B, 5)
    space.touch(A)
    assert space.take(C, 5) == [B]
    assert space.take(B, 10) == [A, C]


def test_what_is_larger_than_all_the_space_is_not_held_itself() -> None:
    space = Space(10)
    space.take(A, 5)
    assert space.take(B, 11) == [A, B]
    assert space.take(C, 10) == []


def test_what_is_given_back_is_there_for_others_and_only_once() -> None:
    space = Space(10)
    space.take(A, 10)
    space.give_back(A)
    space.give_back(A)
    space.touch(A)
    assert space.take(B, 10) == []
    assert space.take(C, 1) == [B]


def test_a_key_has_a_place_for_each_who_reads_it() -> None:
    space = Space(10)
    mine = (SHOP, SourceRef("a"))
    space.take(A, 5)
    space.take(mine, 5)
    space.give_back(A)
    assert space.take(B, 5) == []
    assert space.take(C, 5) == [mine]
