"""Which values a pass has to read: all that a survey, where that is cheaper, cannot say to be as they were.

Gives no value and wakes nobody. It never concludes from a survey that something is gone or has changed: that is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keyturn.decide.refresh import Mode, Surveys, cheapest, is_surveyable
from keyturn.flow.audit import audited
from keyturn.flow.passes import listing, tell_survey
from keyturn.flow.shelf import Held, Shelf
from keyturn.model.errors import AuditUnavailable, ProviderError, Unread
from keyturn.model.material import Cap, SourceRef, Survey
from keyturn.ports import AuditLog, Clock, Surveyor


@dataclass(frozen=True, slots=True)
class Changes:
    """Looks for changes. ``full_read_s``: after so long a value is read whatever surveys say."""

    audit: AuditLog
    clock: Clock
    full_read_s: float

    async def unvouched(self, shelf: Shelf, due: Sequence[SourceRef], intervals: frozenset[float]) -> Sequence[SourceRef]:
        """What of ``due``, wanted in these intervals, has to be read; the rest is known to be as it is held. Raises `Unread`."""
        provider = shelf.provider
        if Cap.SURVEY not in provider.caps or not isinstance(provider, Surveyor):
            return due
        # As of before the question: what the answer tells is no older.
        now, surveys = self.clock.now().timestamp(), shelf.surveys.get(intervals, Surveys())
        held = {ref: shelf.held[ref] for ref in due if ref in shelf.held}
        known = {ref: each for ref, each in held.items() if is_surveyable(each.fingerprint, each.read_at, now, self.full_read_s)}
        if cheapest(len(known), surveys, now) is Mode.READ:
            return due
        try:
            survey = await self._survey(shelf, provider, known)
        except ProviderError:
            # Not swallowed: all is read instead, and whoever wants it meets what is wrong there.
            shelf.surveys[intervals] = surveys.fail(now)
            return due
        shelf.surveys[intervals] = surveys.succeed(survey.size, survey.calls)
        told = survey.fingerprints
        # Not where another read it meanwhile: what is held then is not what was asked about.
        vouched = {ref for ref, each in known.items() if told.get(ref) == each.fingerprint and shelf.held.get(ref) is each}
        for ref in vouched:
            shelf.held[ref].at = now
        if vouched:
            shelf.last_good = self.clock.now()
        return [ref for ref in due if ref not in vouched]

    async def _survey(self, shelf: Shelf, provider: Surveyor, known: Mapping[SourceRef, Held]) -> Survey:
        refs = tuple(known)
        try:
            async with audited(self.audit, listing(shelf.object, refs)) as result:
                survey = await provider.survey(refs)
                unchanged = sum(survey.fingerprints.get(ref) == each.fingerprint for ref, each in known.items())
                tell_survey(result, refs, survey, unchanged)
                return survey
        except AuditUnavailable as refusal:
            raise Unread(str(refusal)) from refusal
