"""Notes of other trails under the same key: those of another operator stop nobody, and a trail in another's place is found all the same."""

from datetime import timedelta

import pytest

from keyturn.decide.checkpoint import checkpoint_of, signed_of
from keyturn.decide.note import split
from keyturn.model.note import NoteRefused
from keyturn.store.signing import check
from store.checkpointed import book, signer
from store.places import Place
from store.test_audit import AT, KEY, row, trail
from store.test_checkpoints import filled, unlocked


def of_another_trail(note: str) -> str:
    """As the operator of another class signs it: the Secret with the key is one for all of a namespace."""
    text = split(note)[0]
    return signer().sign(text.replace(checkpoint_of(text).origin, "keyturn.dev/audit/0123456789abcdef").replace("\n15\n", "\n90\n"))


async def test_a_note_of_another_trail_under_the_same_key_stops_nobody_and_does_not_stay(place: Place) -> None:
    made, signed = await filled(place)
    other, ours = of_another_trail(signed[-1].note), book(place, made, KEY)
    assert signed_of(other, lambda note: check(note, [signer().verifier])).checkpoint.head.seq == 90
    with pytest.raises(NoteRefused, match="it is of another trail, which the same key signs"):
        await ours.lost(other)
    assert not ours.is_newer(other, signed[0])
    assert ours.is_newer(signed[-1].note, signed[0])


async def test_a_trail_that_was_put_in_the_place_of_ours_is_found_by_the_note(place: Place) -> None:
    made, signed = await filled(place)
    await unlocked(place)
    await place.execute("DELETE FROM secret_access_log")
    anew, ours = trail(place), book(place, made, KEY)
    await anew.append([row(f"forged-{n}") for n in range(20)])
    assert await ours.lost(signed[-1].note) == [signed[-1]], "the table has our checkpoints, and not their rows"
    await place.execute("DELETE FROM audit_checkpoints")
    assert await ours.lost(signed[-1].note) == [signed[-1]]
    forger = book(place, anew, KEY, signer("somebody's"))
    assert await forger.write(AT + timedelta(hours=1)) is not None
    assert await ours.lost(signed[-1].note) == [signed[-1]]
