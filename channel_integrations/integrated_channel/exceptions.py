# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Every error this package raises.

::

    ChannelWebhookError
    ├── MalformedEvent                 an event without the facts a webhook needs; nothing to retry
    ├── WebhookNotOwed                 a condition for sending is no longer met; the row is cancelled with the reason
    ├── NoWebhookConfigured            no endpoint serves the learner's region
    ├── WebhookNotWritable             it is owed, but what it is to say is not known so far; the row is held
    │   └── IdsMissing                 the learner lacks an id that the endpoint knows learners by
    ├── TaskFailed                     what ended a task, told without its words: Celery logs whatever a task raises
    ├── SecretUnreadable               a secret of an endpoint is missing, or was encrypted with a key that is gone
    ├── LearningTimeUnavailable        no learning time to be had; the webhook goes out without it
    │   ├── SnowflakeNotConfigured     settings or package; stays so until somebody acts
    │   ├── SnowflakeUnreachable       transient: login, network, timeout
    │   │   └── SnowflakeLeftAlone     it has failed so often that it is not asked for a while
    │   ├── SnowflakeQueryFailed       the statement was refused: table, column, right
    │   └── InvalidLearningTime        an answer that is no number of seconds
    └── DeliveryFailed                 an attempt without an HTTP answer
        ├── AddressRefused             the endpoint's name leads to an address that must not be dialled
        ├── DeadlineExceeded           the attempt took longer than the endpoint is given
        ├── SignInFailed               no access token was to be had to sign in with
        └── ConnectionFailed           name lookup, connect, TLS or the connection broke

Decisions look at the class, never at the text.
"""


class ChannelWebhookError(Exception):
    """The root of this package's errors."""


class MalformedEvent(ChannelWebhookError):
    """An event lacks a fact that a webhook needs."""


class WebhookNotOwed(ChannelWebhookError):
    """A condition for sending this webhook is not (or no longer) met; the text is the reason kept on the row."""


class NoWebhookConfigured(ChannelWebhookError):
    """No endpoint of the customer serves the learner's region."""


class WebhookNotWritable(ChannelWebhookError):
    """A webhook is owed, but what it is to say is not known so far; the text is the reason kept on the row."""


class IdsMissing(WebhookNotWritable):
    """The learner lacks an id that the endpoint knows learners by; what becomes of that is the endpoint's choice."""


class SecretUnreadable(ChannelWebhookError):
    """A secret of an endpoint is missing or cannot be decrypted with the site's keys; the text says what to do."""


class TaskFailed(ChannelWebhookError):
    """A task ended by an error; the text names its classes and its way, none of its words, which may quote a row."""


class LearningTimeUnavailable(ChannelWebhookError):
    """The learning time could not be looked up. Never cached; the webhook goes out without the number."""

    #: short code kept on the row and in the logs
    code = "error"


class SnowflakeNotConfigured(LearningTimeUnavailable):
    """The settings or the installed connector do not allow a lookup."""

    code = "not_configured"


class SnowflakeUnreachable(LearningTimeUnavailable):
    """Login, network or timeout."""

    code = "unreachable"


class SnowflakeLeftAlone(SnowflakeUnreachable):
    """Nobody asked: the last lookups have failed, and the next try is due in a while."""

    code = "left_alone"


class SnowflakeQueryFailed(LearningTimeUnavailable):
    """Snowflake refused the statement."""

    code = "query_failed"


class InvalidLearningTime(LearningTimeUnavailable):
    """The sum is negative, absurdly large or not a number."""

    code = "invalid_value"


class DeliveryFailed(ChannelWebhookError):
    """An attempt got no HTTP answer."""

    #: short code kept on the attempt
    code = "failed"
    #: whether the request may have reached the endpoint all the same
    may_have_arrived = False


class AddressRefused(DeliveryFailed):
    """The endpoint's URL or the address behind it must not be dialled."""

    code = "address_refused"


class DeadlineExceeded(DeliveryFailed):
    """The attempt's time is used up."""

    code = "timeout"


class SignInFailed(DeliveryFailed):
    """The token server gave no access token; the text says why, in words of ours alone."""

    code = "sign_in"


class ConnectionFailed(DeliveryFailed):
    """Name lookup, connect or TLS failed, or the connection broke."""

    code = "connection"
