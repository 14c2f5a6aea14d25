"""How much of what was read is held in memory, over all providers; what was asked for least lately has to go first."""

from collections import OrderedDict
from typing import Final

from keyturn.model.ids import ObjectRef
from keyturn.model.material import SourceRef

CACHE_BYTES: Final = 64 << 20

Place = tuple[ObjectRef, SourceRef]


class Space:
    """``left`` bytes, and which values have the others."""

    def __init__(self, left: int = CACHE_BYTES) -> None:
        self._left = left
        self._sizes: OrderedDict[Place, int] = OrderedDict()

    def take(self, place: Place, size: int) -> list[Place]:
        """Room for one value; the places of those that have to go for it, which may be itself."""
        self._sizes[place] = size
        self._left -= size
        gone = []
        while self._left < 0 and self._sizes:
            other, freed = self._sizes.popitem(last=False)
            self._left += freed
            gone.append(other)
        return gone

    def give_back(self, place: Place) -> None:
        """What was held there, if anything, is not any more."""
        self._left += self._sizes.pop(place, 0)

    def touch(self, place: Place) -> None:
        """It was asked for just now."""
        if place in self._sizes:
            self._sizes.move_to_end(place)
