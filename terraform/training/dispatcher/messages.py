"""SQS: the queue of submitted runs, and the dead letter queue for what cannot be read."""

from dataclasses import dataclass
from typing import Any

from nerforge_contract.names import message_body

RECEIVE_AT_ONCE = 10  # SQS's own limit
LARGEST = 262_144  # bytes of a message with its attributes, as the stack leaves it at SQS's default


@dataclass(frozen=True)
class Message:
    """A received message: it stays with us until it is deleted or its visibility timeout ends."""

    body: str
    receipt: str


class Messages:
    """The queue and its dead letter queue.

    Parameters
    ----------
    sqs:
        A boto3 SQS client.
    queue_url, dead_letter_queue_url:
        Their URLs.
    """

    def __init__(self, sqs: Any, queue_url: str, dead_letter_queue_url: str) -> None:
        self._sqs = sqs
        self._queue_url = queue_url
        self._dead_letter_queue_url = dead_letter_queue_url

    def receive(self, at_most: int) -> list[Message]:
        """Up to ``at_most`` messages; waits a second for one, since without a wait SQS may overlook some."""
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=min(at_most, RECEIVE_AT_ONCE),
            WaitTimeSeconds=1,
        )
        return [Message(found["Body"], found["ReceiptHandle"]) for found in answer.get("Messages", ())]

    def delete(self, message: Message) -> None:
        """Take a message off the queue for good."""
        self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message.receipt)

    def give_back(self, message: Message) -> None:
        """Make a message visible again at once."""
        self._sqs.change_message_visibility(
            QueueUrl=self._queue_url, ReceiptHandle=message.receipt, VisibilityTimeout=0
        )

    def bury(self, message: Message, reason: str) -> None:
        """Send a copy to the dead letter queue, with the reason as its attribute if there is room for it."""
        attribute = {"DataType": "String", "StringValue": reason}
        size = sum(len(part.encode()) for part in ("reason", *attribute.values(), message.body))
        self._sqs.send_message(
            QueueUrl=self._dead_letter_queue_url,
            MessageBody=message.body,
            MessageAttributes={"reason": attribute} if size <= LARGEST else {},
        )

    def send(self, run_id: str) -> None:
        """Queue a run, once more."""
        self._sqs.send_message(QueueUrl=self._queue_url, MessageBody=message_body(run_id))
