# SPDX-License-Identifier: BSD-3-Clause
"""What the study's load counts, against a server that answers by path: test_load.py STUDY_LOAD"""

import json
import socketserver
import subprocess
import sys
import threading
import unittest

ANSWERS = {
    "/kept": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "/created": b"HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    "/until-the-end": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "/busy": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    "/half": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok",
    "/garbled": b"Hello\r\n\r\n",
    "/silent": b"",
}


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline():
            path = line.split()[1].decode()
            while self.rfile.readline().strip():
                pass
            if path == "/never":
                self.rfile.read()
            self.wfile.write(ANSWERS.get(path, b""))
            if path not in ("/kept", "/chunked", "/busy"):
                return


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request, client_address):
        """The load hangs up when it ends."""


class Load(unittest.TestCase):
    def setUp(self):
        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()

    def load(self, path, *options):
        port = self.server.server_address[1]
        done = subprocess.run(
            [PROGRAM, f"--connect=127.0.0.1:{port}", "--users=4", "--hold=0.5", *options,
             "GET", path], check=True, stdout=subprocess.PIPE, timeout=60)  # fmt: skip
        return json.loads(done.stdout)

    def test_times_are_those_of_what_begins_after_the_ramp(self):
        report = self.load("/kept", "--ramp=0.5", "--hold=0")
        self.assertGreater(report["successes"], 0)
        self.assertIsNone(report["ms"]["p50"])

    def test_answers_are_counted_however_they_end(self):
        for path in ("/kept", "/created", "/until-the-end", "/chunked"):
            report = self.load(path)
            self.assertGreater(report["successes"], 0, path)
            self.assertEqual(report["lost"], {}, path)
            self.assertEqual(report["successes"], sum(report["seconds"]), path)
            self.assertEqual(sum(report["statuses"].values()), report["successes"], path)

    def test_another_status_is_no_success_and_no_loss(self):
        report = self.load("/busy")
        self.assertEqual(report["successes"], 0)
        self.assertEqual(list(report["statuses"]), ["503"])
        self.assertEqual(report["lost"], {})
        self.assertIsNone(report["ms"]["p99"])

    def test_what_has_no_complete_answer_is_lost_and_named(self):
        for path, names in {"/half": {"closed", "reset"}, "/silent": {"closed", "reset"},
                            "/garbled": {"garbled"}}.items():  # fmt: skip
            report = self.load(path)
            self.assertEqual(report["successes"], 0, path)
            self.assertTrue(report["lost"] and set(report["lost"]) <= names, (path, report))

    def test_what_waits_at_the_end_is_open(self):
        report = self.load("/never")
        self.assertEqual((report["open"], report["lost"]), (4, {}))

    def test_drained_requests_are_answered(self):
        self.assertEqual(self.load("/kept", "--drain=30")["open"], 0)

    def test_a_server_that_is_not_there_refuses(self):
        self.server.server_close()
        self.server.shutdown()
        self.assertIn("refused", self.load("/kept")["lost"])

    def test_pace_bounds_what_a_user_asks_for(self):
        report = self.load("/kept", "--pace=10")
        self.assertEqual(report["successes"], 4)

    def test_bad_words_are_refused(self):
        for words in (["--users=-1"], ["--hold=x"], ["--connect=nowhere"], ["--connect=a:80"], []):
            done = subprocess.run([PROGRAM, *words, "GET", "/"], capture_output=True, timeout=60)
            self.assertEqual(done.returncode, 2, words)
            self.assertTrue(done.stderr, words)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop()
    unittest.main()
