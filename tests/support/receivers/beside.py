"""What clickhouse.py and kafka.py share: a server that others have written runs beside a test, in a
directory of its own, and ends with it; a control port tells what it has taken.

The control port is as receiver.py's: one line of JSON on standard output says where it is.

    GET /taken?of=NAME[&doubles]
        the records of a table or topic as lines of NDJSON, in their order; status 500 and the reason
        when something about them is wrong, as it is when one is there twice without `doubles`
"""

import http.server
import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.parse


class Beside:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="ringtail-receiver-")
        self.child = None
        signal.signal(signal.SIGTERM, lambda *args: self.end())

    def end(self):
        if self.child:
            # It has nothing to bring in safety.
            self.child.kill()
            self.child.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
        os._exit(0)

    def start(self, *argv, **how):
        """The server: ends when we end, whatever ends us."""
        argv = ("setpriv", "--pdeathsig", "KILL", *argv)
        self.child = subprocess.Popen(argv, cwd=self.dir, stdin=subprocess.DEVNULL, **how)
        return self.child

    def serve(self, port, taken):
        """Says that the server is there, at `port`; taken(name, doubles) gives its records as objects."""

        class Control(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
                try:
                    records = taken(query["of"][0], "doubles" in query)
                    status, body = 200, "".join(json.dumps(record) + "\n" for record in records)
                except (ValueError, KeyError, OSError) as error:
                    status, body = 500, repr(error)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

        control = http.server.HTTPServer(("127.0.0.1", 0), Control)
        print(json.dumps({"port": port, "control_port": control.server_address[1]}), flush=True)
        control.serve_forever()
