"""The part of a kubelet: an operator that ended is started again, but not without having said why it ended."""

from collections.abc import Callable
from typing import TypeVar

from cluster.process import Operator
from cluster.waiting import eventually

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
