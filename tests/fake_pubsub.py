"""Pub/Sub's two services as far as Beam's clients use them, on this machine alone."""

import collections
import concurrent.futures
import contextlib
import datetime as dt
import threading

import grpc
from google.protobuf import empty_pb2
from google.pubsub_v1 import types


class PubSub:
    """Topics that keep what is published, and one subscription a queue of messages.

    Attributes:
        published: Topic -> data of the messages, in order of arrival.
        acknowledged: How many messages were.
    """

    def __init__(self):
        self.published, self.acknowledged = collections.defaultdict(list), 0
        self._waiting = collections.deque()
        self._numbers, self._lock = 0, threading.Lock()
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers((
            _service("Publisher", Publish=(self._publish, types.PublishRequest)),
            _service("Subscriber", Pull=(self._pull, types.PullRequest),
                     Acknowledge=(self._acknowledge, types.AcknowledgeRequest)),
        ))  # fmt: skip
        self.host = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self):
        self._server.stop(None)

    def send(self, data, **attributes):
        """Puts a message where the subscription finds it."""
        with self._lock:
            self._numbers += 1
            number = str(self._numbers)
            message = types.PubsubMessage(data=data, attributes=attributes, message_id=number)
            self._waiting.append(types.ReceivedMessage(ack_id=number, message=message))

    def _publish(self, request, _):
        with self._lock:
            self.published[request.topic] += [message.data for message in request.messages]
        ids = [str(number) for number, _ in enumerate(request.messages)]
        return types.PublishResponse.serialize(types.PublishResponse(message_ids=ids))

    def _pull(self, request, _):
        with self._lock:
            taken = [self._waiting.popleft()
                     for _ in range(min(request.max_messages, len(self._waiting)))]  # fmt: skip
        # Beam's runner of one process holds its watermark at the clock: what had waited here
        # while the machine was busy would be late.
        for received in taken:
            received.message.publish_time = dt.datetime.now(dt.timezone.utc)
        return types.PullResponse.serialize(types.PullResponse(received_messages=taken))

    def _acknowledge(self, request, _):
        self.acknowledged += len(request.ack_ids)
        return empty_pb2.Empty().SerializeToString()


def _service(name, **methods):
    return grpc.method_handlers_generic_handler(f"google.pubsub.v1.{name}", {
        method: grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=kind.deserialize, response_serializer=bytes,
        )
        for method, (answer, kind) in methods.items()
    })  # fmt: skip


@contextlib.contextmanager
def pubsub(monkeypatch):
    """Serves until the block ends; Google's clients find it."""
    server = PubSub()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
    try:
        yield server
    finally:
        server.stop()
