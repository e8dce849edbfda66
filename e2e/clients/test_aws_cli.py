"""The aws command line against the built binary, as a user types it."""

import base64
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from node import Node, NodeTest

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "anything"}


def aws(node, *args, keys=KEYS, fails=False):
    """Runs the aws command with the endpoint in its environment; gives what it printed."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_ACCESS") and not k.startswith("AWS_SECRET")}
    env.update(keys, AWS_ENDPOINT_URL=node.aws)
    done = subprocess.run(["aws", *args], env=env, capture_output=True, text=True, timeout=120)
    if fails != (done.returncode != 0):
        raise AssertionError(f"aws {' '.join(args)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stderr if fails else done.stdout


class CommandLine(NodeTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def aws(self, *args, **more):
        return aws(self.node, *args, **more)

    def json(self, *args):
        return json.loads(self.aws(*args, "--output", "json"))

    def test_kinesis(self):
        self.aws("kinesis", "create-stream", "--stream-name", "cli", "--shard-count", "1")
        self.aws("kinesis", "wait", "stream-exists", "--stream-name", "cli")
        put = self.json("kinesis", "put-record", "--stream-name", "cli", "--partition-key", "k",
                        "--data", "grüße aus der Zeile")  # version 1 of the CLI sends text as it is
        self.assertEqual(put["ShardId"], "shardId-000000000000")
        iterator = self.json("kinesis", "get-shard-iterator", "--stream-name", "cli", "--shard-id", put["ShardId"],
                             "--shard-iterator-type", "TRIM_HORIZON")["ShardIterator"]
        records = self.json("kinesis", "get-records", "--shard-iterator", iterator)["Records"]
        self.assertEqual([base64.b64decode(r["Data"]).decode() for r in records], ["grüße aus der Zeile"])
        self.assertIn("cli", self.json("kinesis", "list-streams")["StreamNames"])
        self.assertIn("ResourceNotFoundException", self.aws("kinesis", "describe-stream", "--stream-name", "nobody", fails=True))
        self.aws("kinesis", "delete-stream", "--stream-name", "cli")

    def test_firehose(self):
        self.aws("s3", "mb", "s3://cli-push")
        destination = {"RoleARN": "arn:aws:iam::000000000000:role/r", "BucketARN": "arn:aws:s3:::cli-push",
                       "BufferingHints": {"IntervalInSeconds": 0, "SizeInMBs": 1}}
        self.aws("firehose", "create-delivery-stream", "--delivery-stream-name", "cli-push",
                 "--extended-s3-destination-configuration", json.dumps(destination))
        answer = self.json("firehose", "put-record", "--delivery-stream-name", "cli-push", "--record", '{"Data": "one line\\n"}')
        self.assertTrue(answer["RecordId"])
        batch = self.json("firehose", "put-record-batch", "--delivery-stream-name", "cli-push",
                          "--records", '[{"Data": "two\\n"}, {"Data": "three\\n"}]')
        self.assertEqual(batch["FailedPutCount"], 0)
        self.node.settled()
        self.aws("s3", "cp", "--recursive", "--quiet", "s3://cli-push", str(self.folder))
        text = "".join(p.read_text() for p in sorted(self.folder.rglob("*")) if p.is_file())
        self.assertEqual(text, "one line\ntwo\nthree\n")
        self.assertEqual(self.json("firehose", "list-delivery-streams")["DeliveryStreamNames"].count("cli-push"), 1)

    def test_s3(self):
        source = self.folder / "source"
        (source / "deep" / "er").mkdir(parents=True)
        files = {"a.txt": b"a", "deep/b c.txt": b"b" * 1000, "deep/er/\u00fc.bin": os.urandom(9 << 20)}
        for name, text in files.items():
            (source / name).write_bytes(text)
        self.aws("s3", "mb", "s3://cli-files")
        self.assertIn("cli-files", self.aws("s3", "ls"))
        self.aws("s3", "sync", "--quiet", str(source), "s3://cli-files/up")
        self.assertEqual(self.aws("s3", "sync", str(source), "s3://cli-files/up"), "", "a second sync has nothing to do")
        listed = self.aws("s3", "ls", "--recursive", "s3://cli-files")
        for name in files:
            self.assertIn("up/" + name, listed)
        self.assertIn("PRE deep/", self.aws("s3", "ls", "s3://cli-files/up/"))
        self.aws("s3", "sync", "--quiet", "s3://cli-files/up", str(self.folder / "back"))
        for name, text in files.items():
            self.assertEqual((self.folder / "back" / name).read_bytes(), text)
        self.aws("s3", "cp", "--quiet", "s3://cli-files/up/a.txt", "s3://cli-files/copy.txt")
        self.assertEqual(self.aws("s3", "cp", "s3://cli-files/copy.txt", "-"), "a")
        self.aws("s3", "mv", "--quiet", "s3://cli-files/copy.txt", "s3://cli-files/moved.txt")
        self.aws("s3", "rm", "--quiet", "s3://cli-files/moved.txt")
        self.assertNotIn("copy.txt", self.aws("s3", "ls", "--recursive", "s3://cli-files"))
        self.aws("s3", "rb", "--force", "s3://cli-files")
        self.assertNotIn("cli-files", self.aws("s3", "ls"))

    def test_api_gateway(self):
        apis = self.json("apigateway", "get-rest-apis")["items"]
        self.assertTrue(apis, "the built-in example has an API")
        stages = self.json("apigateway", "get-stages", "--rest-api-id", apis[0]["id"])["item"]
        self.assertEqual([s["stageName"] for s in stages], ["prod"])

    def test_without_credentials(self):
        self.assertIn("class-events", self.aws("s3", "ls", "--no-sign-request", keys={}))
        self.assertIn("class-stream", self.aws("kinesis", "list-streams", "--no-sign-request", keys={}))


class Credentials(unittest.TestCase):
    def test_they_are_needed_where_they_are_configured(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "credentials"
            file.write_text("[default]\naws_access_key_id = AKIDOURS\naws_secret_access_key = s3cr3t\n")
            file.chmod(0o600)
            node = Node("--credentials", str(file))
            self.addCleanup(node.stop)
        right = {"AWS_ACCESS_KEY_ID": "AKIDOURS", "AWS_SECRET_ACCESS_KEY": "s3cr3t"}
        self.assertIn("class-events", aws(node, "s3", "ls", keys=right))
        aws(node, "kinesis", "list-streams", keys=right)
        aws(node, "s3", "ls", fails=True)
        aws(node, "s3", "ls", "--no-sign-request", keys={}, fails=True)
        aws(node, "kinesis", "list-streams", "--no-sign-request", keys={}, fails=True)


if __name__ == "__main__":
    unittest.main()
