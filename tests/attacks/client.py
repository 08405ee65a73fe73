"""Tries to come to a Unix socket in one way, when it is told to: `client.py WAY PATH`.

It says `ready`, reads a line, and tries; it ends with 0 if nothing failed. See `server.py`.
"""
import ctypes
import os
import socket
import struct
import sys
import threading

LIBC = ctypes.CDLL(None, use_errno=True)
STREAM, DATAGRAM, SEQPACKET = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET


def connect(path, kind=STREAM):
    made = socket.socket(socket.AF_UNIX, kind)
    made.settimeout(20)
    made.connect(path)
    return made


def call(name, *arguments):
    if getattr(LIBC, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def raw(path, length=110):
    """Connects to an address of so many bytes."""
    address = (struct.pack("=H", socket.AF_UNIX) + path)[:length]
    call("connect", socket.socket(socket.AF_UNIX).detach(), address, len(address))


def messages(path):
    """One message to a socket of one's own, and one to the path, in one call."""
    own = socket.socket(socket.AF_UNIX, DATAGRAM)
    own.bind("/tmp/own-datagram")
    keep, headers = [], b""
    for name in [b"/tmp/own-datagram", path.encode()]:
        address = ctypes.create_string_buffer(struct.pack("=H", socket.AF_UNIX) + name)
        data = ctypes.create_string_buffer(b"x", 1)
        part = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(data), 1), 16)
        keep += [address, data, part]
        headers += struct.pack("=QIxxxxQQQQixxxxIxxxx", ctypes.addressof(address), 2 + len(name), ctypes.addressof(part), 1, 0, 0, 0, 0)
    buffer = ctypes.create_string_buffer(headers, len(headers))
    sent = LIBC.sendmmsg(socket.socket(socket.AF_UNIX, DATAGRAM).detach(), buffer, 2, 0)
    print("sent", sent, "told", [struct.unpack_from("=I", buffer.raw, at)[0] for at in (56, 120)])
    own.recv(9)


def passed(path):
    """By a socket that another process has made."""
    one, other = socket.socketpair()
    made = socket.socket(socket.AF_UNIX, DATAGRAM)
    if os.fork() == 0:
        socket.send_fds(one, [b"x"], [made.detach()])
        os._exit(0)
    _, [number], _, _ = socket.recv_fds(other, 9, 1)
    socket.socket(fileno=number).sendto(b"x", path)


def forked(path):
    child = os.fork()
    if child == 0:
        try:
            connect(path)
            os._exit(0)
        except OSError:
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        raise OSError("the child failed")


def thread(path):
    failed = []

    def run():
        try:
            connect(path)
        except OSError as error:
            failed.append(error)
    one = threading.Thread(target=run)
    one.start()
    one.join()
    if failed:
        raise failed[0]


def spawned(path):
    code = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    if os.waitpid(os.posix_spawn(sys.executable, ["python3", "-c", code, path], os.environ), 0)[1]:
        raise OSError("the process failed")


def linked(path):
    os.symlink(path, "/tmp/link")
    connect("/tmp/link")


def linked_hard(path):
    os.link(path, path + "-more")
    try:
        connect(path + "-more")
    finally:
        os.remove(path + "-more")


def moved(path):
    os.rename(path, path + "-more")
    try:
        connect(path + "-more")
    finally:
        os.rename(path + "-more", path)


def opened(path, give):
    """By a name that a rule opens."""
    name = os.path.join(os.path.dirname(path), "open")
    give(path, name)
    try:
        connect(name)
    finally:
        os.rename(name, path)


def opened_above(path):
    """The same, by a directory that gets another name."""
    above = os.path.dirname(path)
    name = os.path.join(os.path.dirname(above), "opened")
    os.rename(above, name)
    try:
        connect(os.path.join(name, os.path.basename(path)))
    finally:
        os.rename(name, above)


def relative(path):
    os.chdir(os.path.dirname(path))
    connect(os.path.basename(path))


def at(path):
    directory = os.open(os.path.dirname(path), os.O_PATH)
    connect("/proc/self/fd/%d/%s" % (directory, os.path.basename(path)))


def within(path):
    os.mkdir("/tmp/d")
    os.symlink(os.path.dirname(path), "/tmp/d/l")
    os.chdir("/tmp/d/l")
    connect("./../%s/%s" % (os.path.basename(os.getcwd()), os.path.basename(path)))


def again(path):
    """Binds the path, gives it up, and comes back when somebody else has it."""
    own = socket.socket(socket.AF_UNIX)
    own.bind(path)
    own.listen()
    connect(path)
    own.close()
    os.remove(path)
    ready()
    connect(path)


def ready():
    print("ready", flush=True)
    sys.stdin.readline()


WAYS = {
    "stream": connect,
    "seqpacket": lambda path: connect(path, SEQPACKET),
    "datagram": lambda path: socket.socket(socket.AF_UNIX, DATAGRAM).sendto(b"x", path),
    "message": lambda path: socket.socket(socket.AF_UNIX, DATAGRAM).sendmsg([b"x"], [], 0, path),
    "messages": messages,
    "connected": lambda path: connect(path, DATAGRAM).send(b"x"),
    "flagged": lambda path: socket.socket(socket.AF_UNIX, DATAGRAM).sendmsg([b"x"], [], 0x40000, path),
    "hidden": lambda path: (LIBC.prctl(4, 0), connect(path)),
    "pair": lambda path: socket.socketpair(socket.AF_UNIX, DATAGRAM)[0].sendto(b"x", path),
    "passed": passed,
    "forked": forked,
    "thread": thread,
    "spawned": spawned,
    "linked": linked,
    "linked-hard": linked_hard,
    "moved": moved,
    "relative": relative,
    "within": within,
    "at": at,
    "again": again,
    "opened": lambda path: opened(path, os.rename),
    "opened-link": lambda path: opened(path, os.link),
    "opened-above": opened_above,
    "root": lambda path: connect("/proc/self/root" + path),
    "directory": lambda path: (os.chdir(os.path.dirname(path)), connect("/proc/self/cwd/" + os.path.basename(path))),
    "descriptor": lambda path: connect("/proc/self/fd/%d" % os.open(path, os.O_PATH)),
    "nul": lambda path: raw(path.encode() + b"\0" + b"x" * 110),
    "unterminated": lambda path: (os.chdir(os.path.dirname(path)), raw(os.path.basename(path).encode())),
    "short": lambda path: (os.chdir(os.path.dirname(path)), raw(os.path.basename(path).encode(), 2 + len(os.path.basename(path)))),
}

way, path = sys.argv[1:3]
if way != "again":
    ready()
WAYS[way](path)
