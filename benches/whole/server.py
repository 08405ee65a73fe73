"""A server on loopback that prints its port: `http`, `echo` (a byte back), `sink` (bytes to the end, then one back)."""

import http.server
import socket
import sys
import threading


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *_):
        pass


def echo(connection):
    with connection:
        while data := connection.recv(1):
            connection.sendall(data)


def sink(connection):
    room = bytearray(1 << 20)
    with connection:
        while connection.recv_into(room):
            pass
        connection.sendall(b".")


def main():
    if sys.argv[1] == "http":
        serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        serving.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print(serving.server_port, flush=True)
        serving.serve_forever()
    serve = {"echo": echo, "sink": sink}[sys.argv[1]]
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


main()
