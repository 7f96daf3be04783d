"""Finding the process that made a call."""

import os
import socket
import subprocess
import sys

from chaos import victims


def test_the_holder_of_a_port_is_found_among_the_suspects():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.create_connection(server.getsockname()) as caller:
                port = caller.getsockname()[1]
                assert victims.holder(port, [other.pid, os.getpid()]) == os.getpid()
                assert victims.holder(port, [other.pid]) is None
            assert victims.holder(port, [other.pid, os.getpid()]) is None
        other.communicate(b"\n")
