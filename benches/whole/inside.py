"""Work that times itself, outside of a sandbox and inside: prints milliseconds, or microseconds for `connect`."""

import http.client
import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time


def spawn(count):
    program = shutil.which("true")
    started = time.perf_counter()
    for _ in range(count):
        subprocess.run([program], check=True)
    return (time.perf_counter() - started) * 1e3


def files(count):
    os.makedirs("made", exist_ok=True)
    started = time.perf_counter()
    for number in range(count):
        with open(f"made/{number}", "w") as file:
            file.write("x")
    for number in range(count):
        os.stat(f"made/{number}")
    for number in range(count):
        with open(f"made/{number}") as file:
            file.read()
    for number in range(count):
        os.unlink(f"made/{number}")
    return (time.perf_counter() - started) * 1e3


def checkout(_):
    """There and back between two branches of the repository that this stands in."""
    started = time.perf_counter()
    for branch in ("one", "two"):
        subprocess.run(["git", "checkout", "-q", branch], check=True)
    return (time.perf_counter() - started) * 1e3


def send(size, port):
    chunk = bytes(1 << 20)
    with socket.create_connection(("localhost", port)) as connection:
        started = time.perf_counter()
        for _ in range(size >> 20):
            connection.sendall(chunk)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b"."
        return (time.perf_counter() - started) * 1e3


def connect(count, port):
    times = []
    for _ in range(count):
        started = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b".")
            connection.recv(1)
        times.append((time.perf_counter() - started) * 1e6)
    return statistics.median(times)


def requests(count, connections, port):
    def some():
        client = http.client.HTTPConnection("localhost", port)
        for _ in range(count // connections):
            client.request("GET", "/")
            assert client.getresponse().read() == b"ok\n"

    threads = [threading.Thread(target=some) for _ in range(connections)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - started) * 1e3


work = {"spawn": spawn, "files": files, "checkout": checkout, "send": send, "connect": connect, "requests": requests}
print(work[sys.argv[1]](*map(int, sys.argv[2:])))
