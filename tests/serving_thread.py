"""A server in a thread of the test's own process."""

import contextlib
import threading


@contextlib.contextmanager
def running(server):
    """Answers until the block ends; gives the server."""
    # Short polls: shutdown waits for one.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
