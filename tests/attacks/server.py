"""Serves Unix sockets of the host that come while a command runs, and tells whether somebody came to them.

    server.py SPEC... -- COMMAND...

A SPEC is HOW:KIND:PATH, where KIND is stream, datagram or seqpacket. HOW: `before`, bound before the command starts; `later`, when
the command has said `ready`; `over`, then too, beside the path, and moved over it. The command goes on when it reads a line. It
ends with 0 if somebody came to one of them, else with 1; where the command fails, with its code, if nobody came.
"""
import os
import socket
import subprocess
import sys

KINDS = {"stream": socket.SOCK_STREAM, "datagram": socket.SOCK_DGRAM, "seqpacket": socket.SOCK_SEQPACKET}


def serve(spec):
    how, kind, path = spec.split(":", 2)
    server = socket.socket(socket.AF_UNIX, KINDS[kind])
    directory, name = os.path.split(path)
    at = os.path.join(directory, "other") if how == "over" or len(path) > 100 else path
    if len(at) > 100:
        os.chdir(directory)
        at = os.path.basename(at)
    server.bind(at)
    if kind != "datagram":
        server.listen(16)
    if at not in (path, name):
        os.rename(at, path)
    server.setblocking(False)
    return server


def is_reached(server):
    try:
        if server.type == socket.SOCK_DGRAM:
            server.recv(99)
        else:
            server.accept()
        return True
    except BlockingIOError:
        return False


at = sys.argv.index("--")
specs, command = sys.argv[1:at], sys.argv[at + 1:]
servers = [serve(spec) for spec in specs if spec.startswith("before:")]
child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
first = child.stdout.readline()
servers += [serve(spec) for spec in specs if not spec.startswith("before:")]
rest, _ = child.communicate(b"go\n")
sys.stdout.write((b"" if first == b"ready\n" else first).decode() + rest.decode())
for spec in specs:
    path = spec.split(":", 2)[2]
    if os.path.exists(path):
        os.remove(path)
reached = any([is_reached(server) for server in servers])
sys.exit(0 if reached else child.returncode or 1)
