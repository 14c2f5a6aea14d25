"""Sees what the product says inside of this process: every log record, and every error of ours.

Not by a handler, since the product may replace handlers; and not only of errors that are raised, since some are answers.
"""

import logging
from collections.abc import Iterator

from canary.sinks import Text, texts_of
from keyturn.model.errors import KeyturnError


class Witness:
    """Remembers until it is asked."""

    def __init__(self) -> None:
        self._records: list[logging.LogRecord] = []
        self._errors: dict[str, str] = {}  # by text; loops make the same one often

    def attend(self) -> None:
        """From now on, for the rest of the process."""
        make = logging.getLogRecordFactory()

        def noted(*arguments: object, **named: object) -> logging.LogRecord:
            record: logging.LogRecord = make(*arguments, **named)
            # The operator lets others say no more. (`logging.makeLogRecord` sets name and level only later: those are nobody's words.)
            if str(record.name).startswith("keyturn") or (record.levelno or 0) >= logging.WARNING:
                self._records.append(record)
            return record

        def noting(error: KeyturnError, *arguments: object) -> None:
            super(KeyturnError, error).__init__(*arguments)
            self._errors.setdefault(" ".join(map(str, arguments)), type(error).__name__)

        logging.setLogRecordFactory(noted)
        KeyturnError.__init__ = noting  # type: ignore[method-assign, assignment]  # its own is Exception's

    def forget(self) -> None:
        """Begins anew; from now on our loggers tell everything."""
        self._records.clear()
        self._errors.clear()
        logging.getLogger("keyturn").setLevel(logging.DEBUG)

    def texts(self) -> Iterator[Text]:
        """What was said since."""
        for record in self._records:
            yield from texts_of(record)
        yield from ((f"the text of {kind}", text) for text, kind in self._errors.items())
