"""A node as a process, for the tests of this folder: known by its command line, its output and its listeners."""

import gzip
import json
import os
import pathlib
import queue
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

import boto3
from botocore.config import Config

PATIENCE = 30  # seconds that a test waits for anything


class Node:
    """Runs `millrace up` on a folder of its own."""

    def __init__(self, *args, env=None):
        self.folder = tempfile.TemporaryDirectory(prefix="millrace-clients-")
        self.data = pathlib.Path(self.folder.name) / "data"
        command = [os.environ["MILLRACE"], "up", *args, "--data", str(self.data),
                   "--listen", "127.0.0.1:0", "--ingest", "127.0.0.1:0"]
        self.log = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, env=env)
        self.output, self.lines = [], queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self._wait_until_ready()

    def _read(self):
        for line in self.process.stdout:
            self.output.append(line)
            self.lines.put(line)
        self.lines.put(None)

    def _wait_until_ready(self):
        while True:
            line = self.lines.get(timeout=PATIENCE)
            if line is None:
                raise RuntimeError("the node ended before it was ready\n" + self.wrote())
            if line.startswith("AWS endpoint"):
                self.aws = line.split()[-1]
            elif line.startswith("ingest"):
                self.ingest = line.split()[-1]
            elif line.startswith("ready"):
                return

    def wrote(self):
        self.log.seek(0)
        return "".join(self.output) + self.log.read()

    def stop(self):
        """Stops it in the orderly way, which must succeed."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=PATIENCE)
        self.process.stdout.close()
        wrote = self.wrote()
        self.log.close()
        self.folder.cleanup()
        if code != 0:
            raise RuntimeError(f"the node ended with code {code}\n{wrote}")

    def client(self, service, key="AKIDEXAMPLE", secret="anything", **options):
        config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, **options)
        return boto3.client(service, endpoint_url=self.aws, region_name="us-east-1", config=config,
                            aws_access_key_id=key, aws_secret_access_key=secret)

    def post(self, path, body, content_type, headers=None):
        """Posts an event to the ingest listener; gives status and answer."""
        data = body if isinstance(body, bytes) else body.encode()
        request = urllib.request.Request(self.ingest + path, data=data, headers={"Content-Type": content_type, **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()

    def file(self, name, holds):
        """Waits until a file of the data folder holds a text."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            path = self.data / name
            if path.exists() and holds in path.read_text():
                return
            time.sleep(0.05)
        raise AssertionError(f"{name} does not hold {holds!r}; there are {[str(p.relative_to(self.data)) for p in (self.data / 'logs').rglob('*')]}")

    def ledger(self):
        with urllib.request.urlopen(self.aws + "/_millrace/ledger", timeout=PATIENCE) as answer:
            return json.load(answer)

    def settled(self):
        """Waits until all that was accepted is delivered; gives the ledger."""
        end = time.monotonic() + PATIENCE
        while True:
            ledger = self.ledger()
            if not ledger["addsUp"]:
                raise AssertionError(ledger)
            if not any(d["inFlight"] for d in ledger["deliveryStreams"]):
                return ledger
            if time.monotonic() > end:
                raise AssertionError(f"still in flight: {ledger}")
            time.sleep(0.1)

    def content(self, s3, bucket):
        """All objects of a bucket through the S3 API, keys sorted, decompressed."""
        text = b""
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for item in page.get("Contents", []):
                body = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
                text += gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        return text


class NodeTest(unittest.TestCase):
    """Tests that share a node with the built-in example."""

    args = ()

    @classmethod
    def setUpClass(cls):
        cls.node = Node(*cls.args)
        cls.addClassCleanup(cls.node.stop)
