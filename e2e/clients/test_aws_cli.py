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

    def test_kinesis_streams_in_pages(self):
        for name in "page-b", "page-a", "page-c":
            self.aws("kinesis", "create-stream", "--stream-name", name, "--shard-count", "2")
        some = self.json("kinesis", "list-streams", "--exclusive-start-stream-name", "page-", "--limit", "2")  # one page, as it came
        self.assertEqual((some["StreamNames"], some["HasMoreStreams"]), (["page-a", "page-b"], True))
        every = self.json("kinesis", "list-streams", "--page-size", "1")["StreamNames"]
        self.assertEqual([n for n in every if n.startswith("page-")], ["page-a", "page-b", "page-c"])
        first = self.json("kinesis", "list-streams", "--page-size", "1", "--max-items", "1")
        rest = self.json("kinesis", "list-streams", "--starting-token", first["NextToken"])
        self.assertEqual((first["StreamNames"], rest["StreamNames"]), (every[:1], every[1:]))
        shards = self.json("kinesis", "describe-stream", "--stream-name", "page-a", "--page-size", "1")["StreamDescription"]["Shards"]
        self.assertEqual([s["ShardId"][-1] for s in shards], ["0", "1"])
        page = self.json("kinesis", "list-shards", "--stream-name", "page-a", "--max-results", "1")
        last = self.json("kinesis", "list-shards", "--next-token", page["NextToken"], "--no-paginate")
        self.assertEqual([s["ShardId"][-1] for s in page["Shards"] + last["Shards"]], ["0", "1"])
        self.assertNotIn("NextToken", last)
        limits = self.aws("kinesis", "describe-limits", "--query", "[ShardLimit,OnDemandStreamCountLimit]", "--output", "text")
        self.assertEqual(limits.split(), ["500", "50"])

    def test_kinesis_settings(self):
        self.aws("kinesis", "create-stream", "--stream-name", "set", "--shard-count", "1", "--tags", "stage=test,owner=web")
        summary = self.json("kinesis", "describe-stream-summary", "--stream-name", "set")["StreamDescriptionSummary"]
        arn = summary["StreamARN"]
        self.assertEqual(self.aws("kinesis", "increase-stream-retention-period", "--stream-name", "set", "--retention-period-hours", "48"), "")
        self.aws("kinesis", "update-max-record-size", "--stream-arn", arn, "--max-record-size-in-ki-b", "2048")
        self.aws("kinesis", "update-stream-mode", "--stream-arn", arn, "--stream-mode-details", "StreamMode=ON_DEMAND")
        self.aws("kinesis", "start-stream-encryption", "--stream-name", "set", "--encryption-type", "KMS", "--key-id", "alias/aws/kinesis")
        self.aws("kinesis", "enable-enhanced-monitoring", "--stream-name", "set", "--shard-level-metrics", "IncomingBytes")
        self.aws("kinesis", "tag-resource", "--resource-arn", arn, "--tags", "stage=prod")
        self.aws("kinesis", "register-stream-consumer", "--stream-arn", arn, "--consumer-name", "reader")
        summary = self.json("kinesis", "describe-stream-summary", "--stream-arn", arn)["StreamDescriptionSummary"]
        self.assertEqual({k: summary[k] for k in ("RetentionPeriodHours", "MaxRecordSizeInKiB", "StreamModeDetails", "EncryptionType", "KeyId",
                                                  "EnhancedMonitoring", "ConsumerCount", "StreamStatus")},
                         {"RetentionPeriodHours": 48, "MaxRecordSizeInKiB": 2048, "StreamModeDetails": {"StreamMode": "ON_DEMAND"},
                          "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis", "EnhancedMonitoring": [{"ShardLevelMetrics": ["IncomingBytes"]}],
                          "ConsumerCount": 1, "StreamStatus": "ACTIVE"})
        tags = self.json("kinesis", "list-tags-for-stream", "--stream-name", "set")
        self.assertEqual(tags["Tags"], [{"Key": "owner", "Value": "web"}, {"Key": "stage", "Value": "prod"}])
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "kinesis:*", "Resource": arn}]}
        (self.folder / "policy.json").write_text(json.dumps(policy))
        self.aws("kinesis", "put-resource-policy", "--resource-arn", arn, "--policy", f"file://{self.folder}/policy.json")
        self.assertEqual(json.loads(self.json("kinesis", "get-resource-policy", "--resource-arn", arn)["Policy"]), policy)
        refusal = self.aws("kinesis", "delete-stream", "--stream-name", "set", fails=True)
        self.assertIn("An error occurred (ResourceInUseException) when calling the DeleteStream operation: DeleteStream can't delete " + arn, refusal)
        self.aws("kinesis", "delete-stream", "--stream-name", "set", "--enforce-consumer-deletion")
        self.aws("kinesis", "wait", "stream-not-exists", "--stream-name", "set")

    def test_kinesis_bytes_and_times(self):
        self.aws("kinesis", "create-stream", "--stream-name", "bytes", "--shard-count", "1")
        data = bytes(range(256)) * 4
        (self.folder / "data").write_bytes(data)
        self.aws("kinesis", "put-record", "--stream-name", "bytes", "--partition-key", "k", "--data", f"fileb://{self.folder}/data")
        batch = [{"PartitionKey": "k", "Data": "eins"}, {"PartitionKey": "l", "Data": "zwei", "ExplicitHashKey": "0"}]
        put = self.json("kinesis", "put-records", "--stream-name", "bytes", "--records", json.dumps(batch))
        self.assertEqual((put["FailedRecordCount"], len(put["Records"])), (0, 2))
        number = put["Records"][0]["SequenceNumber"]

        def records(*start):
            iterator = self.aws("kinesis", "get-shard-iterator", "--stream-name", "bytes", "--shard-id", "shardId-000000000000",
                                "--query", "ShardIterator", "--shard-iterator-type", *start)  # in its quotes, as scripts have it
            return self.json("kinesis", "get-records", "--limit", "10", "--shard-iterator", iterator.strip())["Records"]

        self.assertEqual([base64.b64decode(r["Data"]) for r in records("AT_TIMESTAMP", "--timestamp", "2020-01-01T00:00:00Z")], [data, b"eins", b"zwei"])
        self.assertEqual([r["SequenceNumber"] for r in records("AT_SEQUENCE_NUMBER", "--starting-sequence-number", number)][:1], [number])
        for wrong, text in (
            (("get-records", "--shard-iterator", "nonsense"), "(InvalidArgumentException) when calling the GetRecords operation: Invalid ShardIterator."),
            (("split-shard", "--stream-name", "bytes", "--shard-to-split", "shardId-000000000000", "--new-starting-hash-key", "1"),
             "(InvalidArgumentException) when calling the SplitShard operation: NewStartingHashKey 1 used in SplitShard() on shard"),
            (("update-shard-count", "--stream-name", "bytes", "--scaling-type", "UNIFORM_SCALING", "--target-shard-count", "9"),
             "(LimitExceededException) when calling the UpdateShardCount operation (reached max retries: 0): UpdateShardCount cannot scale up over double"),
        ):
            with self.subTest(text):
                self.assertIn("An error occurred " + text, self.aws("kinesis", *wrong, fails=True))

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
        name = ("--delivery-stream-name", "cli-push")
        self.aws("firehose", "start-delivery-stream-encryption", *name)
        self.assertTrue(self.json("firehose", "put-record", *name, "--record", '{"Data": "four\\n"}')["Encrypted"])
        self.aws("firehose", "stop-delivery-stream-encryption", *name)
        self.aws("firehose", "tag-delivery-stream", *name, "--tags", "Key=a,Value=1", "Key=b,Value=2")
        self.aws("firehose", "untag-delivery-stream", *name, "--tag-keys", "b")
        self.assertEqual(self.json("firehose", "list-tags-for-delivery-stream", *name)["Tags"], [{"Key": "a", "Value": "1"}])
        self.aws("firehose", "update-destination", *name, "--current-delivery-stream-version-id", "1", "--destination-id", "destinationId-000000000001",
                 "--extended-s3-destination-update", json.dumps({"Prefix": "p/"}))
        described = self.json("firehose", "describe-delivery-stream", *name)["DeliveryStreamDescription"]
        self.assertEqual((described["VersionId"], described["DeliveryStreamEncryptionConfiguration"]["Status"]), ("2", "DISABLED"))
        self.assertIn("An error occurred (ConcurrentModificationException) when calling the UpdateDestination operation",
                      self.aws("firehose", "update-destination", *name, "--current-delivery-stream-version-id", "1",
                               "--destination-id", "destinationId-000000000001", "--extended-s3-destination-update", "{}", fails=True))
        self.aws("firehose", "delete-delivery-stream", *name, "--allow-force-delete")
        self.assertIn("ResourceNotFoundException", self.aws("firehose", "describe-delivery-stream", *name, fails=True))

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

    def test_s3_sync_deletes_and_large_files(self):
        source, back = self.folder / "source", self.folder / "back"
        (source / "deep").mkdir(parents=True)
        (source / "large").write_bytes(os.urandom(1 << 20) * 100)
        (source / "deep" / "gone").write_text("soon")
        (source / "deep" / "stays").write_text("here")
        self.aws("s3", "mb", "s3://cli-sync")
        self.aws("s3", "sync", "--quiet", str(source), "s3://cli-sync")
        head = self.json("s3api", "head-object", "--bucket", "cli-sync", "--key", "large")
        self.assertEqual((head["ContentLength"], head["ETag"][-4:-1]), (100 << 20, "-13"))
        self.aws("s3", "sync", "--quiet", "s3://cli-sync", str(back))
        self.assertEqual((back / "large").read_bytes(), (source / "large").read_bytes())
        (source / "deep" / "gone").unlink()
        self.aws("s3", "sync", "--quiet", "--delete", str(source), "s3://cli-sync")
        self.aws("s3", "sync", "--quiet", "--delete", "s3://cli-sync", str(back))
        self.assertEqual(sorted(str(p.relative_to(back)) for p in back.rglob("*") if p.is_file()), ["deep/stays", "large"])
        self.aws("s3", "cp", "--quiet", "s3://cli-sync/large", "s3://cli-sync/copy")  # in parts, by UploadPartCopy
        self.assertEqual(self.json("s3api", "head-object", "--bucket", "cli-sync", "--key", "copy")["ETag"], head["ETag"])
        parts = self.json("s3api", "get-object-attributes", "--bucket", "cli-sync", "--key", "large", "--object-attributes", "ObjectParts")["ObjectParts"]
        self.assertEqual((parts["TotalPartsCount"], sum(p["Size"] for p in parts["Parts"])), (13, 100 << 20))
        self.aws("s3api", "create-multipart-upload", "--bucket", "cli-sync", "--key", "cut off")
        self.aws("s3", "rb", "--force", "s3://cli-sync")

    def test_s3_settings_of_buckets(self):
        self.aws("s3", "mb", "s3://cli-settings")
        bucket = ("--bucket", "cli-settings")
        self.aws("s3api", "put-public-access-block", *bucket, "--public-access-block-configuration", "BlockPublicAcls=true,IgnorePublicAcls=true")
        block = self.json("s3api", "get-public-access-block", *bucket)["PublicAccessBlockConfiguration"]
        self.assertEqual((block["BlockPublicAcls"], block["BlockPublicPolicy"]), (True, False))
        self.aws("s3api", "put-bucket-versioning", *bucket, "--versioning-configuration", "Status=Suspended")
        self.assertEqual(self.json("s3api", "get-bucket-versioning", *bucket), {"Status": "Suspended"})
        self.assertIn("NotImplemented", self.aws("s3api", "put-bucket-versioning", *bucket, "--versioning-configuration", "Status=Enabled", fails=True))
        rule = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": True}]}
        self.aws("s3api", "put-bucket-encryption", *bucket, "--server-side-encryption-configuration", json.dumps(rule))
        self.assertEqual(self.json("s3api", "get-bucket-encryption", *bucket)["ServerSideEncryptionConfiguration"], rule)
        statement = {"Sid": "TLS", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::cli-settings", "arn:aws:s3:::cli-settings/*"],
                     "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.aws("s3api", "put-bucket-policy", *bucket, "--policy", policy)
        self.assertEqual(json.loads(self.json("s3api", "get-bucket-policy", *bucket)["Policy"])["Statement"], [statement])
        self.assertIn("AccessDenied", self.aws("s3api", "list-objects-v2", *bucket, fails=True))
        self.aws("s3api", "delete-bucket-policy", *bucket)
        self.aws("s3api", "list-objects-v2", *bucket)
        self.assertIn("NotImplemented", self.aws("s3api", "put-bucket-lifecycle-configuration", *bucket, "--lifecycle-configuration",
                                                 '{"Rules": [{"ID": "x", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}]}', fails=True))
        self.aws("s3", "rb", "s3://cli-settings")

    def test_api_gateway(self):
        apis = self.json("apigateway", "get-rest-apis")["items"]
        self.assertTrue(apis, "the built-in example has an API")
        stages = self.json("apigateway", "get-stages", "--rest-api-id", apis[0]["id"])["item"]
        self.assertEqual([s["stageName"] for s in stages], ["prod"])

    def test_api_gateway_export_and_import(self):
        api = self.json("apigateway", "get-rest-apis")["items"][0]["id"]
        files = {}
        for kind, accepts, first in (("oas30", "application/json", "{"), ("oas30", "application/yaml", "---"),
                                     ("swagger", "application/json", "{"), ("swagger", "application/yaml", "---")):
            file = self.folder / (kind + accepts.rsplit("/")[-1])
            answer = self.json("apigateway", "get-export", "--rest-api-id", api, "--stage-name", "prod", "--export-type", kind,
                               "--accepts", accepts, "--parameters", "extensions=apigateway", str(file))
            self.assertIn(kind + "_", answer["contentDisposition"])
            self.assertTrue(file.read_text().startswith(first), file.read_text()[:20])
            imported = self.json("apigateway", "import-rest-api", "--fail-on-warnings", "--body", "fileb://" + str(file),
                                 "--parameters", "endpointConfigurationTypes=REGIONAL,basepath=ignore")
            self.assertEqual(imported["endpointConfiguration"]["types"], ["REGIONAL"])
            paths = self.json("apigateway", "get-resources", "--rest-api-id", imported["id"], "--embed", "methods")["items"]
            files[file] = sorted(r["path"] for r in paths)
            self.json("apigateway", "put-rest-api", "--rest-api-id", imported["id"], "--mode", "overwrite", "--body", "fileb://" + str(file))
            self.aws("apigateway", "delete-rest-api", "--rest-api-id", imported["id"])
        self.assertEqual(len(set(map(tuple, files.values()))), 1, files)

    def test_api_gateway_domain_names(self):
        api = self.json("apigateway", "get-rest-apis")["items"][0]["id"]
        made = self.json("apigateway", "create-domain-name", "--domain-name", "cli.example.com", "--regional-certificate-arn",
                         "arn:aws:acm:us-east-1:000000000000:certificate/1", "--endpoint-configuration", "types=REGIONAL", "--tags", "a=1")
        self.assertEqual(made["domainNameStatus"], "AVAILABLE")
        self.json("apigateway", "create-base-path-mapping", "--domain-name", "cli.example.com", "--rest-api-id", api, "--stage", "prod")
        mapping = self.json("apigateway", "get-base-path-mapping", "--domain-name", "cli.example.com", "--base-path", "(none)")
        self.assertEqual(mapping, {"basePath": "(none)", "restApiId": api, "stage": "prod"})
        mapping = self.json("apigateway", "update-base-path-mapping", "--domain-name", "cli.example.com", "--base-path", "(none)",
                            "--patch-operations", "op=replace,path=/basePath,value=v1")
        self.assertEqual(mapping["basePath"], "v1")
        arn = "arn:aws:apigateway:us-east-1::/domainnames/cli.example.com"
        self.aws("apigateway", "tag-resource", "--resource-arn", arn, "--tags", "b=2")
        self.aws("apigateway", "untag-resource", "--resource-arn", arn, "--tag-keys", "a")
        self.assertEqual(self.json("apigateway", "get-tags", "--resource-arn", arn)["tags"], {"b": "2"})
        self.aws("apigateway", "delete-rest-api", "--rest-api-id", api, fails=True)
        self.aws("apigateway", "delete-base-path-mapping", "--domain-name", "cli.example.com", "--base-path", "v1")
        self.aws("apigateway", "delete-domain-name", "--domain-name", "cli.example.com")

    def test_api_gateway_canary(self):
        api = self.json("apigateway", "get-rest-apis")["items"][0]["id"]
        stage = ("--rest-api-id", api, "--stage-name", "prod")
        before = self.json("apigateway", "get-stage", *stage)["deploymentId"]
        made = self.json("apigateway", "create-deployment", *stage, "--canary-settings", "percentTraffic=100,stageVariableOverrides={k=v}")["id"]
        shown = self.json("apigateway", "get-stage", *stage)
        self.assertEqual((shown["deploymentId"], shown["canarySettings"]["deploymentId"], shown["canarySettings"]["percentTraffic"]),
                         (before, made, 100.0))
        self.assertEqual(self.node.post("/prod/v1/class-stream", "{}", "application/json")[0], 200)
        shown = self.json("apigateway", "update-stage", *stage, "--patch-operations",
                          "op=copy,from=/canarySettings/deploymentId,path=/deploymentId", "op=remove,path=/canarySettings")
        self.assertEqual(shown["deploymentId"], made)
        self.assertNotIn("canarySettings", shown)

    def test_api_gateway_logs(self):
        api = self.json("apigateway", "get-rest-apis")["items"][0]["id"]
        stage = ("--rest-api-id", api, "--stage-name", "prod")
        self.json("apigateway", "update-stage", *stage, "--patch-operations",
                  "op=replace,path=/accessLogSettings/destinationArn,value=arn:aws:logs:us-east-1:000000000000:log-group:cli",
                  "op=replace,path=/accessLogSettings/format,value=$context.requestId $context.status $context.resourcePath",
                  "op=replace,path=/*/*/logging/loglevel,value=INFO")
        self.assertEqual(self.node.post("/prod/v1/class-stream", "{}", "application/json")[0], 200)
        self.node.file("logs/cli.log", " 200 /v1/{stream-name}")
        self.node.file(f"logs/API-Gateway-Execution-Logs_{api}/prod.log", "Successfully completed execution")
        self.json("apigateway", "update-stage", *stage, "--patch-operations", "op=remove,path=/accessLogSettings",
                  "op=replace,path=/*/*/logging/loglevel,value=OFF")

    def test_api_gateway_refuses_by_name(self):
        for command in (("get-sdk-types",), ("get-vpc-links",), ("generate-client-certificate",)):
            self.assertIn("is not supported by this version of Millrace", self.aws("apigateway", *command, fails=True))

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
