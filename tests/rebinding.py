# SPDX-License-Identifier: AGPL-3.0-or-later
"""
A name server that changes its answer, and the sender that asks it: run in a network and mount namespace of its own.

Nothing leaves the machine: the public address is put on the namespace's loopback interface, and resolv.conf is replaced
in the namespace alone. Prints, as JSON, what became of each attempt and who was connected to.
"""

import json
import os
import socket
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading

PUBLIC, INSIDE, NAME_SERVER = "93.184.215.14", "127.0.0.1", "127.0.0.77"
HOST, PORT = "partner.example.com", 8443


class NameServer(socketserver.ThreadingUDPServer):
    """Answers each question for an IPv4 address with the next of its answers, the last one over and over."""

    def __init__(self) -> None:
        super().__init__((NAME_SERVER, 53), Question)
        self.answers: list[list[str]] = []
        self.asked = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Question(socketserver.BaseRequestHandler):
    """One datagram: RFC 1035, as much of it as a stub resolver needs."""

    def handle(self) -> None:
        data, reply_to = self.request
        question = data[12 : data.index(b"\0", 12) + 5]
        addresses = []
        if question[-4:-2] == b"\0\1":
            self.server.asked += 1
            answers = self.server.answers
            addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        counts = b"\0\1" + len(addresses).to_bytes(2, "big") + b"\0\0\0\0"
        records = b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(address) for address in addresses)
        reply_to.sendto(data[:2] + b"\x81\x80" + counts + question + records, self.client_address)


class Listener:
    """A TLS server on one address that counts who comes."""

    def __init__(self, address: str, context: ssl.SSLContext) -> None:
        self.connections = 0
        self.context = context
        self.listener = socket.create_server((address, PORT))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            raw, _ = self.listener.accept()
            self.connections += 1
            with raw, self.context.wrap_socket(raw, server_side=True) as connection:
                self._answer(connection)

    def _answer(self, connection: ssl.SSLSocket) -> None:
        request = b""
        while not request.endswith(b"{}"):  # the body; what is left unread would turn the close into a reset
            received = connection.recv(65536)
            if not received:  # Somebody who dials and hangs up.
                return
            request += received
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


def enter_namespace() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "add", f"{PUBLIC}/32", "dev", "lo"], check=True)
    with tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False) as file:
        file.write(f"nameserver {NAME_SERVER}\n")
    subprocess.run(["mount", "--bind", file.name, os.path.realpath("/etc/resolv.conf")], check=True)
    os.unlink(file.name)


def main() -> None:
    enter_namespace()
    import django

    django.setup()
    import trustme

    from channel_integrations.integrated_channel.exceptions import DeliveryFailed
    from channel_integrations.integrated_channel.http_client import post_json, try_connection

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    public, inside, name_server = Listener(PUBLIC, context), Listener(INSIDE, context), NameServer()

    def post(url: str, ca_bundle: str) -> str:
        return str(post_json(url, b"{}", {}, 10, ca_bundle).status)

    def dial(url: str, ca_bundle: str) -> str:
        try_connection(url, 10, ca_bundle)
        return "connected"

    def attempt(*answers: list[str], send=post) -> dict:
        name_server.answers, name_server.asked = list(answers), 0
        public.connections = inside.connections = 0
        try:
            outcome = send(f"https://{HOST}:{PORT}/", authority.cert_pem.bytes().decode())
        except DeliveryFailed as err:
            outcome = err.code
        return {
            "outcome": outcome,
            "asked": name_server.asked,
            "public": public.connections,
            "inside": inside.connections,
        }

    json.dump(
        {
            "public": attempt([PUBLIC]),
            "public, then inside": attempt([PUBLIC], [INSIDE]),
            "inside": attempt([INSIDE]),
            "both at once": attempt([PUBLIC, INSIDE]),
            "inside, then public": attempt([INSIDE], [PUBLIC]),
            "public, dialled alone": attempt([PUBLIC], [INSIDE], send=dial),
            "inside, dialled alone": attempt([INSIDE], [PUBLIC], send=dial),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
