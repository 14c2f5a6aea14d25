"""What waits in one lane of the queue: namespaces take turns, and within each the providers that its objects draw on."""

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field

from keyturn.decide.share import may_draw, may_take
from keyturn.model.ids import ObjectRef

Draws = tuple[ObjectRef, ...]
"""The provider objects that somebody draws on."""


@dataclass(slots=True)
class Shares:
    """How many are at work for each namespace, at each provider, and for each of one at the other.

    ``hands`` is how many can be; None is no limit.
    """

    hands: int | None = None
    at_work: int = 0
    _held: dict[Hashable, int] = field(default_factory=dict)

    def take(self, namespace: str, draws: Draws) -> None:
        """One more is at work."""
        self.at_work += 1
        held = self._held
        held[namespace] = held.get(namespace, 0) + 1
        for provider in draws:
            held[provider] = held.get(provider, 0) + 1
            held[namespace, provider] = held.get((namespace, provider), 0) + 1

    def give_back(self, namespace: str, draws: Draws) -> None:
        """One that was at work is done."""
        self.at_work -= 1
        self._less(namespace)
        for provider in draws:
            self._less(provider)
            self._less((namespace, provider))

    def is_open(self, namespace: str) -> bool:
        """Says that one more of this namespace may begin, whatever it draws on."""
        return self.hands is None or may_take(self._held.get(namespace, 0), self.hands - self.at_work)

    def is_open_at(self, namespace: str, draws: Draws) -> bool:
        """Says that one more of this namespace may begin at these providers."""
        if self.hands is None:
            return True
        held, free = self._held, self.hands - self.at_work
        return all(may_draw(held.get(each, 0), held.get((namespace, each), 0), free) for each in draws)

    def _less(self, who: Hashable) -> None:
        left = self._held[who] - 1
        if left:
            self._held[who] = left
        else:
            del self._held[who]


class Fair:
    """References by namespace and by what they draw on, handed out round robin to whom the shares are open."""

    def __init__(self) -> None:
        self._namespaces: OrderedDict[str, OrderedDict[Draws, deque[ObjectRef]]] = OrderedDict()

    def push(self, ref: ObjectRef, draws: Draws) -> None:
        """Puts a reference behind all others of its like."""
        groups = self._namespaces.get(ref.namespace)
        if groups is None:
            groups = self._namespaces[ref.namespace] = OrderedDict()
        waiting = groups.get(draws)
        if waiting is None:
            waiting = groups[draws] = deque()
        waiting.append(ref)

    def pop(self, shares: Shares) -> tuple[ObjectRef, Draws] | None:
        """The next that may begin; None where there is none."""
        for namespace, groups in self._namespaces.items():
            if shares.is_open(namespace):
                for draws in groups:
                    if shares.is_open_at(namespace, draws):
                        return self._taken(namespace, draws), draws
        return None

    def _taken(self, namespace: str, draws: Draws) -> ObjectRef:
        groups = self._namespaces[namespace]
        waiting = groups[draws]
        ref = waiting.popleft()
        if waiting:
            groups.move_to_end(draws)
        else:
            del groups[draws]
        if groups:
            self._namespaces.move_to_end(namespace)
        else:
            del self._namespaces[namespace]
        return ref

    def __bool__(self) -> bool:
        return bool(self._namespaces)
