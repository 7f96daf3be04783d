"""An SQS that keeps no more of its promises than SQS does: messages come late, twice and in any order."""

import datetime
import hashlib
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aws_in_memory.wire import Clock, Rejected

TARGET = "AmazonSQS"
LARGEST = 262_144
NOT_ALLOWED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass
class Message:
    """A message on a queue."""

    message_id: str
    body: str
    attributes: dict[str, Any]
    visible_from: datetime.datetime
    receipt: str = ""  # the newest; older ones are stale
    received: int = 0


@dataclass
class Queue:
    """A queue, its dead letter queue and after how many receives a message goes there."""

    visibility: datetime.timedelta = datetime.timedelta(minutes=2)
    dead_letters: "Queue | None" = None
    most_receives: int = 5
    messages: list[Message] = field(default_factory=list)
    deleted: list[Message] = field(default_factory=list)


class Sqs:
    """The service.

    Attributes
    ----------
    choose:
        Puts the messages in sight in the order in which they are received.
    """

    def __init__(self, clock: Clock, queues: dict[str, Queue]) -> None:
        self._clock = clock
        self.queues = queues
        self.choose: Callable[[list[Message]], list[Message]] = list
        self._ids = itertools.count(1)

    # --- what a test does ---

    def deliver_again(self, queue: Queue, message: Message) -> None:
        """At least once: a message that is out of sight, or even deleted, is delivered again."""
        message.visible_from = self._clock()
        if message in queue.deleted:
            queue.deleted.remove(message)
            queue.messages.append(message)

    # --- operations ---

    def SendMessage(self, request: dict[str, Any]) -> dict[str, Any]:
        body, attributes = request["MessageBody"], request.get("MessageAttributes", {})
        size = len(body.encode())
        for name, attribute in attributes.items():
            text = attribute["StringValue"]
            if not text or NOT_ALLOWED.search(text):
                raise Rejected("InvalidParameterValue", f"The value of message attribute {name} is invalid")
            size += sum(len(part.encode()) for part in (name, attribute["DataType"], text))
        if not body:
            raise Rejected("MissingParameter", "The request must contain the parameter MessageBody.")
        if NOT_ALLOWED.search(body):
            raise Rejected("InvalidMessageContents", "Invalid characters were found in the message body.")
        if size > LARGEST:
            raise Rejected("InvalidParameterValue", f"Message must be shorter than {LARGEST} bytes.")
        sent = Message(f"message-{next(self._ids)}", body, attributes, self._clock())
        self._queue(request).messages.append(sent)
        return {"MessageId": sent.message_id, "MD5OfMessageBody": _md5(body)}

    def ReceiveMessage(self, request: dict[str, Any]) -> dict[str, Any]:
        at_most = request.get("MaxNumberOfMessages", 1)
        if not 1 <= at_most <= 10:
            raise Rejected("InvalidParameterValue", "Value for parameter MaxNumberOfMessages is invalid.")
        queue, now = self._queue(request), self._clock()
        received = []
        for message in self.choose([each for each in queue.messages if each.visible_from <= now]):
            if len(received) == at_most:
                break
            if queue.dead_letters is not None and message.received >= queue.most_receives:
                queue.messages.remove(message)
                queue.dead_letters.messages.append(message)
                continue
            message.received += 1
            message.visible_from = now + queue.visibility
            message.receipt = f"receipt-{next(self._ids)}-of-{message.message_id}"
            received.append(message)
        found = [
            {
                "MessageId": message.message_id,
                "ReceiptHandle": message.receipt,
                "MD5OfBody": _md5(message.body),
                "Body": message.body,
            }
            for message in received
        ]
        if not found:
            self._clock.advance(seconds=request.get("WaitTimeSeconds", 0))
        return {"Messages": found} if found else {}

    def DeleteMessage(self, request: dict[str, Any]) -> dict[str, Any]:
        queue, message = self._of_receipt(request)
        if message:  # with a stale receipt SQS says yes, and does nothing
            queue.messages.remove(message)
            queue.deleted.append(message)
        return {}

    def ChangeMessageVisibility(self, request: dict[str, Any]) -> dict[str, Any]:
        __, message = self._of_receipt(request)
        now = self._clock()
        if message is None or message.visible_from <= now:
            raise Rejected("MessageNotInflight", "The message referred to isn't in flight.")
        message.visible_from = now + datetime.timedelta(seconds=request["VisibilityTimeout"])
        return {}

    # --- parts ---

    def _queue(self, request: dict[str, Any]) -> Queue:
        name = request["QueueUrl"].rpartition("/")[2]
        if name not in self.queues:
            raise Rejected("QueueDoesNotExist", "The specified queue does not exist.")
        return self.queues[name]

    def _of_receipt(self, request: dict[str, Any]) -> tuple[Queue, Message | None]:
        queue, receipt = self._queue(request), request["ReceiptHandle"]
        if "-of-message-" not in receipt:
            raise Rejected("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
        return queue, next((each for each in queue.messages if each.receipt == receipt), None)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
