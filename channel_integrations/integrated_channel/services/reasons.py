# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Why a webhook is not owed, in the words that rows and notes keep.

Whoever decides by a reason goes by these names. What is said in one place alone stands there.
"""

NO_CONSENT = "no data-sharing consent"
NOT_SPONSORED = "the customer does not sponsor this course run"
NO_SIGN_ON_RECORD = "the learner has no sign-on record"
#: with the keys
LACKS_IDS = "the sign-on record lacks %s"
NO_PSEUDONYM_KEY = "the customer's pseudonym key cannot be decrypted"
NO_SUCH_EVENTS = "the endpoint takes no such events"
PASSED_BEFORE_LINK = "passed before the learner was linked"
PASSED_BEFORE_SEND_FROM = "passed before the endpoint's send_from"
ENROLLED_BEFORE_LINK = "enrolled before the learner was linked"
ENROLLED_BEFORE_SEND_FROM = "enrolled before the endpoint's send_from"
#: of a new pass, where each of the customer's endpoints is so
ENDPOINT_OFF = "endpoint switched off by its operator"
#: of revisions
NO_REVISIONS = "the endpoint takes no revisions"
NUMBER_STANDS = "the number that was sent stands"
#: of what a retirement has scrubbed
LEARNER_RETIRED = "learner retired"
