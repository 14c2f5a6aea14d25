"""The part of a kubelet: an operator that ended is started again, but not without having said why it ended."""

from collections.abc import Callable
from typing import TypeVar

from cluster.audit import requests
from cluster.process import Operator
from cluster.shop import Shop, encoded
from cluster.waiting import eventually
from controlplane.plane import ControlPlane

T = TypeVar("T")


class Kubelet:
    """Looks after one operator. ``ends`` holds what it said last, each time that it ended by itself."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.ends: list[str] = []

    def tend(self) -> None:
        if (code := self.operator.returncode) is None:
            return
        last = self.operator.log(5).splitlines()[-1]
        assert code > 0, f"it ended with {code}:\n{self.operator.log(20)}"
        assert last.startswith("keyturn: "), f"it ended without saying why:\n{self.operator.log(20)}"
        assert not last.endswith("RuntimeError"), f"it ended for a defect of its own:\n{self.operator.log(20)}"
        self.ends.append(last)
        self.operator.start(wait=False)

    def until(self, condition: Callable[[], T], deadline_s: float = 60, what: Callable[[], object] | str = "") -> T:
        """Waits for a condition, looking after the operator meanwhile."""

        def tended() -> T:
            self.tend()
            return condition()

        return eventually(tended, deadline_s, what or (lambda: f"ends: {self.ends}\n{self.operator.story()}"))

    def tell(self, fault: str) -> None:
        print(f"{fault}: {'it ended and was started again: ' + '; '.join(self.ends) if self.ends else 'it went on'}")


def works(shop: Shop, kubelet: Kubelet, name: str = "after") -> None:
    """Old objects are refreshed and repaired, new ones are synced."""
    shop.source(password=(value := shop.value()))
    shop.order(name, refreshInterval="1s")
    kubelet.until(lambda: shop.data("app") == {"password": value} == shop.data(name))
    shop.edit("app", data=encoded(password="edited"))
    kubelet.until(lambda: shop.data("app") == {"password": value})
    kubelet.operator.wait_until_ready()


def refused(plane: ControlPlane, since: int, code: int, poke: Shop | None = None) -> bool:
    """Whether the API server has refused a request so since the mark; ``poke`` has one made."""
    if poke is not None:
        poke.request_sync("app")
    return any(r.code == code for r in requests(plane, since=since))
