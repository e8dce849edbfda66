"""boto3 against the built binary: what a user's scripts do, and what they are told when they err."""

import datetime
import io
import json
import os
import pathlib
import tempfile
import unittest
import uuid

from botocore.exceptions import ClientError, EventStreamError

from node import Node, NodeTest

ROLE = "arn:aws:iam::000000000000:role/collector"


class Code:
    """Asserts that a call is refused with an error code."""

    def __init__(self, test, code):
        self.test, self.code = test, code

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        self.test.assertIsInstance(error, ClientError)
        self.test.assertEqual(error.response["Error"]["Code"], self.code)
        return True


class Kinesis(NodeTest):
    def setUp(self):
        self.kinesis = self.node.client("kinesis")
        self.name = "s-" + uuid.uuid4().hex
        self.kinesis.create_stream(StreamName=self.name, ShardCount=2)
        self.kinesis.get_waiter("stream_exists").wait(StreamName=self.name)

    def test_records_come_back_in_order(self):
        put = [self.kinesis.put_record(StreamName=self.name, PartitionKey="one", Data=f"n{i}".encode()) for i in range(5)]
        self.assertEqual(len({p["ShardId"] for p in put}), 1)
        numbers = [int(p["SequenceNumber"]) for p in put]
        self.assertEqual(numbers, sorted(set(numbers)))
        iterator = self.kinesis.get_shard_iterator(
            StreamName=self.name, ShardId=put[0]["ShardId"], ShardIteratorType="AFTER_SEQUENCE_NUMBER",
            StartingSequenceNumber=put[1]["SequenceNumber"])["ShardIterator"]
        records = self.kinesis.get_records(ShardIterator=iterator)["Records"]
        self.assertEqual([r["Data"] for r in records], [b"n2", b"n3", b"n4"])
        self.assertEqual([r["SequenceNumber"] for r in records], [p["SequenceNumber"] for p in put[2:]])

    def test_put_records_spreads_over_shards(self):
        answer = self.kinesis.put_records(StreamName=self.name, Records=[
            {"PartitionKey": f"k{i}", "Data": os.urandom(200)} for i in range(100)])
        self.assertEqual(answer["FailedRecordCount"], 0)
        self.assertEqual({r["ShardId"] for r in answer["Records"]}, {"shardId-000000000000", "shardId-000000000001"})

    def test_consumers_are_registered_and_subscribe(self):
        arn = self.kinesis.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]["StreamARN"]
        made = self.kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="dashboard", Tags={"team": "web"})["Consumer"]
        consumer = made["ConsumerARN"]
        self.assertTrue(consumer.startswith(arn + "/consumer/dashboard:"))
        described = self.kinesis.describe_stream_consumer(ConsumerARN=consumer)["ConsumerDescription"]
        self.assertEqual((described["ConsumerStatus"], described["StreamARN"]), ("ACTIVE", arn))
        self.assertEqual(described["ConsumerCreationTimestamp"], made["ConsumerCreationTimestamp"])
        self.kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="audit")
        pages = self.kinesis.get_paginator("list_stream_consumers").paginate(StreamARN=arn, PaginationConfig={"PageSize": 1})
        self.assertEqual([[c["ConsumerName"] for c in p["Consumers"]] for p in pages], [["audit"], ["dashboard"]])
        self.assertEqual(self.kinesis.list_tags_for_resource(ResourceARN=consumer)["Tags"], [{"Key": "team", "Value": "web"}])

        def subscribe(**position):
            return self.kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId="shardId-000000000000", StartingPosition=position)["EventStream"]

        def put(data):
            self.kinesis.put_record(StreamName=self.name, PartitionKey="k", ExplicitHashKey="0", Data=data)

        put(b"before")
        events = subscribe(Type="TRIM_HORIZON")
        rest = iter(events)
        first = next(rest)["SubscribeToShardEvent"]
        self.assertEqual([r["Data"] for r in first["Records"]], [b"before"])
        self.assertEqual(first["MillisBehindLatest"], 0)
        put(b"after")
        second = next(rest)["SubscribeToShardEvent"]
        self.assertEqual([(r["Data"], r["PartitionKey"]) for r in second["Records"]], [(b"after", "k")])
        idle = next(rest)["SubscribeToShardEvent"]
        self.assertEqual(idle["Records"], [])
        events.close()
        again = subscribe(Type="AT_SEQUENCE_NUMBER", SequenceNumber=first["ContinuationSequenceNumber"])
        self.assertEqual(next(iter(again))["SubscribeToShardEvent"]["Records"][0]["Data"], b"after")
        with Code(self, "ResourceInUseException"):
            subscribe(Type="LATEST")
        again.close()
        with Code(self, "ResourceInUseException"):
            self.kinesis.delete_stream(StreamName=self.name)
        self.kinesis.deregister_stream_consumer(StreamARN=arn, ConsumerName="audit")
        with Code(self, "ResourceNotFoundException"):
            self.kinesis.describe_stream_consumer(StreamARN=arn, ConsumerName="audit")
        self.kinesis.delete_stream(StreamName=self.name, EnforceConsumerDeletion=True)

    def test_reshards_are_followed_by_child_shards(self):
        self.kinesis.put_record(StreamName=self.name, PartitionKey="k", ExplicitHashKey="0", Data=b"parent")
        self.kinesis.split_shard(StreamName=self.name, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**126))
        self.kinesis.get_waiter("stream_exists").wait(StreamName=self.name)
        self.kinesis.put_record(StreamName=self.name, PartitionKey="k", ExplicitHashKey="0", Data=b"child")
        self.kinesis.merge_shards(StreamName=self.name, ShardToMerge="shardId-000000000003", AdjacentShardToMerge="shardId-000000000001")
        scaled = self.kinesis.update_shard_count(StreamName=self.name, TargetShardCount=4, ScalingType="UNIFORM_SCALING")
        self.assertEqual((scaled["CurrentShardCount"], scaled["TargetShardCount"]), (2, 4))
        summary = self.kinesis.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]
        self.assertEqual(summary["OpenShardCount"], 4)
        data, shard = [], "shardId-000000000000"
        while shard:
            iterator = self.kinesis.get_shard_iterator(StreamName=self.name, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
            answer = self.kinesis.get_records(ShardIterator=iterator)
            data += [r["Data"] for r in answer["Records"]]
            children = answer.get("ChildShards", [])
            self.assertEqual("NextShardIterator" in answer, not children)
            shard = next((c["ShardId"] for c in children if c["HashKeyRange"]["StartingHashKey"] == "0"), None)
        self.assertEqual(data, [b"parent", b"child"])
        with Code(self, "ResourceNotFoundException"):
            self.kinesis.split_shard(StreamName=self.name, ShardToSplit="shardId-000000000099", NewStartingHashKey="5")
        with Code(self, "InvalidArgumentException"):
            self.kinesis.split_shard(StreamName=self.name, ShardToSplit="shardId-000000000000", NewStartingHashKey="5")

    def test_explicit_hash_key_decides(self):
        for shard, key in (("shardId-000000000000", "0"), ("shardId-000000000001", str(2**128 - 1))):
            put = self.kinesis.put_record(StreamName=self.name, PartitionKey="k", ExplicitHashKey=key, Data=b"x")
            self.assertEqual(put["ShardId"], shard)

    def test_tags_and_lists(self):
        self.kinesis.add_tags_to_stream(StreamName=self.name, Tags={"cost-centre": "web"})
        self.assertEqual(self.kinesis.list_tags_for_stream(StreamName=self.name)["Tags"], [{"Key": "cost-centre", "Value": "web"}])
        pages = self.kinesis.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 1})
        self.assertIn(self.name, [n for page in pages for n in page["StreamNames"]])
        summary = self.kinesis.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]
        self.assertEqual((summary["StreamStatus"], summary["OpenShardCount"], summary["RetentionPeriodHours"]), ("ACTIVE", 2, 24))

    def test_mistakes(self):
        with Code(self, "ResourceNotFoundException"):
            self.kinesis.put_record(StreamName="nobody", PartitionKey="k", Data=b"x")
        with Code(self, "ResourceInUseException"):
            self.kinesis.create_stream(StreamName=self.name, ShardCount=1)
        with self.assertRaises(ClientError):
            self.kinesis.get_records(ShardIterator="A" * 200)
        with Code(self, "ValidationException"):
            self.kinesis.put_records(StreamName=self.name, Records=[{"PartitionKey": "k", "Data": b"x"}] * 501)

    def test_delete(self):
        self.kinesis.delete_stream(StreamName=self.name)
        self.kinesis.get_waiter("stream_not_exists").wait(StreamName=self.name, WaiterConfig={"Delay": 1})


class KinesisSettings(NodeTest):
    """What of a stream can be changed, and what stands beside it."""

    def setUp(self):
        self.kinesis = self.node.client("kinesis")
        self.name = "s-" + uuid.uuid4().hex
        self.kinesis.create_stream(StreamName=self.name, StreamModeDetails={"StreamMode": "PROVISIONED"}, ShardCount=1,
                                   Tags={"stage": "test"}, MaxRecordSizeInKiB=1024)
        self.kinesis.get_waiter("stream_exists").wait(StreamName=self.name)
        self.arn = self.summary()["StreamARN"]

    def summary(self):
        return self.kinesis.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]

    def records(self):
        iterator = self.kinesis.get_shard_iterator(StreamName=self.name, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON")
        return self.kinesis.get_records(ShardIterator=iterator["ShardIterator"], StreamARN=self.arn)["Records"]

    def test_mode_and_retention(self):
        for mode in "ON_DEMAND", "PROVISIONED":
            self.kinesis.update_stream_mode(StreamARN=self.arn, StreamModeDetails={"StreamMode": mode})
            self.assertEqual(self.summary()["StreamModeDetails"], {"StreamMode": mode})
        self.kinesis.increase_stream_retention_period(StreamName=self.name, RetentionPeriodHours=8760)
        self.kinesis.decrease_stream_retention_period(StreamARN=self.arn, RetentionPeriodHours=25)
        self.assertEqual(self.summary()["RetentionPeriodHours"], 25)
        with Code(self, "InvalidArgumentException"):
            self.kinesis.increase_stream_retention_period(StreamName=self.name, RetentionPeriodHours=24)
        with Code(self, "ValidationException"):
            self.kinesis.update_stream_warm_throughput(StreamName=self.name, WarmThroughputMiBps=1)

    def test_records_of_ten_mebibytes(self):
        with Code(self, "ValidationException"):
            self.kinesis.put_record(StreamName=self.name, PartitionKey="k", Data=bytes(1024 * 1024 + 1))
        self.kinesis.update_max_record_size(StreamARN=self.arn, MaxRecordSizeInKiB=10240)
        data = os.urandom(10 * 1024 * 1024)
        self.kinesis.put_record(StreamName=self.name, PartitionKey="k", Data=data)
        self.assertEqual(self.records()[0]["Data"], data)
        # One byte more: boto3 does not look at the length itself, the service does.
        with self.assertRaisesRegex(ClientError, r"at 'data' failed to satisfy constraint: Member must have length less than or equal to 10485760"):
            self.kinesis.put_record(StreamName=self.name, PartitionKey="k", Data=data + b"x")

    def test_encryption(self):
        self.assertNotIn("EncryptionType", self.kinesis.put_record(StreamName=self.name, PartitionKey="k", Data=b"plain"))
        self.kinesis.start_stream_encryption(StreamName=self.name, EncryptionType="KMS", KeyId="alias/aws/kinesis")
        summary = self.summary()
        self.assertEqual((summary["EncryptionType"], summary["KeyId"]), ("KMS", "alias/aws/kinesis"))
        put = self.kinesis.put_records(StreamName=self.name, Records=[{"PartitionKey": "k", "Data": b"sealed"}])
        self.assertEqual(put["EncryptionType"], "KMS")
        self.kinesis.stop_stream_encryption(StreamARN=self.arn, EncryptionType="KMS", KeyId="alias/aws/kinesis")
        summary = self.summary()
        self.assertEqual((summary["EncryptionType"], summary.get("KeyId")), ("NONE", None))
        self.assertEqual([(r["Data"], r.get("EncryptionType")) for r in self.records()], [(b"plain", None), (b"sealed", "KMS")])

    def test_monitoring(self):
        on = self.kinesis.enable_enhanced_monitoring(StreamName=self.name, ShardLevelMetrics=["ALL"])
        self.assertEqual((on["CurrentShardLevelMetrics"], len(on["DesiredShardLevelMetrics"])), ([], 7))
        off = self.kinesis.disable_enhanced_monitoring(StreamName=self.name, ShardLevelMetrics=["ALL"])
        self.assertEqual((len(off["CurrentShardLevelMetrics"]), off["DesiredShardLevelMetrics"]), (7, []))
        self.assertEqual(self.summary()["EnhancedMonitoring"], [{"ShardLevelMetrics": []}])

    def test_tags_by_both_interfaces(self):
        consumer = self.kinesis.register_stream_consumer(StreamARN=self.arn, ConsumerName="reader", Tags={"of": "consumer"})["Consumer"]
        self.kinesis.tag_resource(ResourceARN=self.arn, Tags={"a": "1", "b": ""})
        self.kinesis.untag_resource(ResourceARN=self.arn, TagKeys=["a"])
        self.kinesis.remove_tags_from_stream(StreamName=self.name, TagKeys=["never there"])
        tags = [{"Key": "b", "Value": ""}, {"Key": "stage", "Value": "test"}]
        self.assertEqual(self.kinesis.list_tags_for_resource(ResourceARN=self.arn)["Tags"], tags)
        page = self.kinesis.list_tags_for_stream(StreamName=self.name, Limit=1)
        self.assertEqual((page["Tags"], page["HasMoreTags"]), (tags[:1], True))
        self.assertEqual(self.kinesis.list_tags_for_resource(ResourceARN=consumer["ConsumerARN"])["Tags"], [{"Key": "of", "Value": "consumer"}])

    def test_policies(self):
        policy = json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": "111111111111"}, "Action": "kinesis:GetRecords", "Resource": self.arn}]})
        self.assertEqual(self.kinesis.get_resource_policy(ResourceARN=self.arn)["Policy"], "{}")
        self.kinesis.put_resource_policy(ResourceARN=self.arn, Policy=policy)
        self.assertEqual(self.kinesis.get_resource_policy(ResourceARN=self.arn)["Policy"], policy)
        self.kinesis.delete_resource_policy(ResourceARN=self.arn)
        with Code(self, "ResourceNotFoundException"):
            self.kinesis.delete_resource_policy(ResourceARN=self.arn)

    def test_account(self):
        limits = self.kinesis.describe_limits()
        self.assertEqual((limits["ShardLimit"], limits["OnDemandStreamCountLimit"]), (500, 50))
        self.assertGreaterEqual(limits["OpenShardCount"], 1)
        off = {"Status": "DISABLED"}
        self.assertEqual(self.kinesis.update_account_settings(MinimumThroughputBillingCommitment=off)["MinimumThroughputBillingCommitment"], off)
        self.assertEqual(self.kinesis.describe_account_settings()["MinimumThroughputBillingCommitment"], off)

    def test_pages(self):
        self.kinesis.update_shard_count(StreamName=self.name, TargetShardCount=2, ScalingType="UNIFORM_SCALING")
        described = self.kinesis.get_paginator("describe_stream").paginate(StreamName=self.name, PaginationConfig={"PageSize": 1})
        shards = [s["ShardId"] for page in described for s in page["StreamDescription"]["Shards"]]
        self.assertEqual(shards, [f"shardId-{i:012}" for i in range(3)])
        page, listed = self.kinesis.list_shards(StreamARN=self.arn, MaxResults=2), []
        while True:
            listed += [s["ShardId"] for s in page["Shards"]]
            if "NextToken" not in page:
                break
            page = self.kinesis.list_shards(NextToken=page["NextToken"], MaxResults=2)
        self.assertEqual(listed, shards)
        # boto3's own paginator sends the name again beside the token, which the service does not take.
        with self.assertRaisesRegex(ClientError, "NextToken and StreamName cannot be provided together"):
            list(self.kinesis.get_paginator("list_shards").paginate(StreamName=self.name, PaginationConfig={"PageSize": 1}))
        for name in "b", "a", "c":
            self.kinesis.register_stream_consumer(StreamARN=self.arn, ConsumerName=name)
        pages = self.kinesis.get_paginator("list_stream_consumers").paginate(StreamARN=self.arn, PaginationConfig={"PageSize": 2})
        self.assertEqual([c["ConsumerName"] for page in pages for c in page["Consumers"]], ["a", "b", "c"])

    def test_timestamps(self):
        put = self.kinesis.put_record(StreamName=self.name, PartitionKey="k", Data=b"0")
        while len({r["ApproximateArrivalTimestamp"] for r in self.records()}) < 2:  # two records of different milliseconds
            self.kinesis.put_record(StreamName=self.name, PartitionKey="k", Data=b"more")
        records = self.records()
        last = records[-1]["ApproximateArrivalTimestamp"]

        def since(moment):
            iterator = self.kinesis.get_shard_iterator(StreamName=self.name, ShardId=put["ShardId"], ShardIteratorType="AT_TIMESTAMP", Timestamp=moment)
            return self.kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"]

        want = [r["SequenceNumber"] for r in records if r["ApproximateArrivalTimestamp"] >= last]
        self.assertLess(len(want), len(records))
        self.assertEqual([r["SequenceNumber"] for r in since(last)], want)  # boto3 sends the fraction of the second
        self.assertEqual(len(since(last.replace(microsecond=0) - datetime.timedelta(days=1))), len(records))
        with self.assertRaisesRegex(ClientError, "cannot be greater than the currentTimestampInMillis"):
            since(datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1))

    def test_delete_takes_consumers_only_when_told(self):
        self.kinesis.register_stream_consumer(StreamARN=self.arn, ConsumerName="reader")
        with Code(self, "ResourceInUseException"):
            self.kinesis.delete_stream(StreamARN=self.arn)
        self.kinesis.delete_stream(StreamARN=self.arn, EnforceConsumerDeletion=True)
        self.kinesis.get_waiter("stream_not_exists").wait(StreamName=self.name, WaiterConfig={"Delay": 1})

    def test_texts_of_mistakes(self):
        for call, text in (
            (lambda: self.kinesis.describe_stream(StreamName="nobody"), "Stream nobody under account 000000000000 not found."),
            (lambda: self.kinesis.describe_stream(), "Value null at 'streamName' failed to satisfy constraint: Member must not be null"),
            (lambda: self.kinesis.list_shards(), "Either NextToken or StreamName should be provided."),
            (lambda: self.kinesis.get_shard_iterator(StreamName=self.name, ShardId="shardId-000000000007", ShardIteratorType="LATEST"),
             f"Shard shardId-000000000007 in stream {self.name} under account 000000000000 does not exist"),
            (lambda: self.kinesis.put_record(StreamName=self.name, PartitionKey="k" * 257, Data=b""),
             "1 validation error detected: Value '" + "k" * 257 + "' at 'partitionKey' failed to satisfy constraint: Member must have length less than or equal to 256"),
            (lambda: self.kinesis.get_records(ShardIterator="x"), "Invalid ShardIterator."),
        ):
            with self.subTest(text), self.assertRaises(ClientError) as refused:
                call()
            self.assertIn(text, refused.exception.response["Error"]["Message"])
            self.assertEqual(refused.exception.response["ResponseMetadata"]["HTTPStatusCode"], 400)
            self.assertTrue(refused.exception.response["ResponseMetadata"]["RequestId"])


class KinesisConsumers(NodeTest):
    """Subscriptions, which boto3 reads over HTTP/1.1."""

    def setUp(self):
        self.kinesis = self.node.client("kinesis")
        self.name = "s-" + uuid.uuid4().hex
        self.kinesis.create_stream(StreamName=self.name, ShardCount=1)
        self.kinesis.get_waiter("stream_exists").wait(StreamName=self.name)
        self.arn = self.kinesis.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]["StreamARN"]

    def consumer(self, name):
        registered = self.kinesis.register_stream_consumer(StreamARN=self.arn, ConsumerName=name)["Consumer"]
        self.assertEqual(registered["ConsumerStatus"], "CREATING")
        described = self.kinesis.describe_stream_consumer(ConsumerARN=registered["ConsumerARN"])["ConsumerDescription"]
        self.assertEqual((described["ConsumerStatus"], described["StreamARN"]), ("ACTIVE", self.arn))
        return registered["ConsumerARN"]

    def subscribe(self, consumer, shard=0, **position):
        position.setdefault("Type", "TRIM_HORIZON")
        answer = self.kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId=f"shardId-{shard:012}", StartingPosition=position)
        stream = answer["EventStream"]
        self.addCleanup(stream.close)
        return (event["SubscribeToShardEvent"] for event in stream)

    def test_records_are_pushed_through_a_split(self):
        put = [self.kinesis.put_record(StreamName=self.name, PartitionKey="k", Data=b"%d" % i) for i in range(3)]
        live = self.subscribe(self.consumer("live"), Type="AFTER_SEQUENCE_NUMBER", SequenceNumber=put[0]["SequenceNumber"])
        got, place = [], None
        while len(got) < 2:
            event = next(live)
            got += [r["Data"] for r in event["Records"]]
            place = event["ContinuationSequenceNumber"]
        self.kinesis.put_record(StreamName=self.name, PartitionKey="k", Data=b"new")
        event = next(e for e in live if e["Records"])  # an idle shard says so every few seconds
        self.assertEqual(got + [r["Data"] for r in event["Records"]], [b"1", b"2", b"new"])
        self.assertEqual(event["MillisBehindLatest"], 0)
        resumed = next(self.subscribe(self.consumer("resumed"), Type="AT_SEQUENCE_NUMBER", SequenceNumber=place))
        self.assertEqual([r["Data"] for r in resumed["Records"]], [b"new"])

        self.kinesis.split_shard(StreamName=self.name, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127))
        rest = list(live)  # to its end
        self.assertEqual([c["ShardId"] for c in rest[-1]["ChildShards"]], ["shardId-000000000001", "shardId-000000000002"])
        self.assertEqual([r for e in rest for r in e["Records"]], [])
        self.kinesis.get_waiter("stream_exists").wait(StreamName=self.name)
        self.kinesis.put_record(StreamName=self.name, PartitionKey="k", ExplicitHashKey="0", Data=b"child")
        child = next(self.subscribe(self.consumer("child"), shard=1))
        self.assertEqual([r["Data"] for r in child["Records"]], [b"child"])

    def test_mistakes(self):
        consumer = self.consumer("reader")
        events = self.subscribe(consumer, Type="LATEST")
        with Code(self, "ResourceInUseException"):
            self.subscribe(consumer, Type="LATEST")
        with Code(self, "ResourceNotFoundException"):
            self.subscribe(self.arn + "/consumer/stranger:1")
        with Code(self, "ResourceNotFoundException"):
            self.subscribe(consumer, shard=7)
        with Code(self, "ResourceInUseException"):
            self.kinesis.register_stream_consumer(StreamARN=self.arn, ConsumerName="reader")
        self.kinesis.deregister_stream_consumer(StreamARN=self.arn, ConsumerName="reader")
        with self.assertRaisesRegex(EventStreamError, "ResourceNotFoundException"):  # in the stream, which had begun
            list(events)
        with Code(self, "ResourceNotFoundException"):
            self.kinesis.deregister_stream_consumer(ConsumerARN=consumer)


class Firehose(NodeTest):
    def setUp(self):
        self.firehose, self.s3 = self.node.client("firehose"), self.node.client("s3")
        self.name = "d-" + uuid.uuid4().hex
        self.s3.create_bucket(Bucket=self.name)
        self.destination = {
            "RoleARN": ROLE, "BucketARN": "arn:aws:s3:::" + self.name, "Prefix": "in/!{timestamp:yyyy/MM}/",
            "ErrorOutputPrefix": "failed/!{firehose:error-output-type}/",
            "BufferingHints": {"IntervalInSeconds": 0, "SizeInMBs": 1}, "CompressionFormat": "GZIP"}

    def create(self, **more):
        self.firehose.create_delivery_stream(
            DeliveryStreamName=self.name, ExtendedS3DestinationConfiguration=self.destination, **more)

    def test_direct_put(self):
        self.create(Tags=[{"Key": "cost-centre", "Value": "push"}])
        for i in range(3):
            answer = self.firehose.put_record_batch(DeliveryStreamName=self.name, Records=[
                {"Data": f"{i}.{j}\n".encode()} for j in range(4)])
            self.assertEqual(answer["FailedPutCount"], 0)
        self.firehose.put_record(DeliveryStreamName=self.name, Record={"Data": "letzte Zeile: größer\n".encode()})
        self.node.settled()
        want = "".join(f"{i}.{j}\n" for i in range(3) for j in range(4)) + "letzte Zeile: größer\n"
        self.assertEqual(self.node.content(self.s3, self.name).decode(), want)
        keys = [o["Key"] for o in self.s3.list_objects_v2(Bucket=self.name)["Contents"]]
        for key in keys:
            self.assertRegex(key, r"^in/\d{4}/\d\d/" + self.name + r"-1-\d{4}(-\d\d){5}-[0-9a-f-]{36}\.gz$")
        tags = self.firehose.list_tags_for_delivery_stream(DeliveryStreamName=self.name)["Tags"]
        self.assertEqual(tags, [{"Key": "cost-centre", "Value": "push"}])

    def test_stream_as_source(self):
        kinesis = self.node.client("kinesis")
        kinesis.create_stream(StreamName=self.name, ShardCount=1)
        arn = kinesis.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]["StreamARN"]
        self.create(DeliveryStreamType="KinesisStreamAsSource",
                    KinesisStreamSourceConfiguration={"KinesisStreamARN": arn, "RoleARN": ROLE})
        for i in range(10):
            kinesis.put_record(StreamName=self.name, PartitionKey=str(i), Data=f"{i}\n".encode())
        self.node.settled()
        self.assertEqual(self.node.content(self.s3, self.name), b"".join(b"%d\n" % i for i in range(10)))
        described = self.firehose.describe_delivery_stream(DeliveryStreamName=self.name)["DeliveryStreamDescription"]
        self.assertEqual(described["Source"]["KinesisStreamSourceDescription"]["KinesisStreamARN"], arn)
        with Code(self, "InvalidArgumentException"):
            self.firehose.put_record(DeliveryStreamName=self.name, Record={"Data": b"x"})

    def test_what_is_not_built_is_refused_by_name(self):
        self.destination["DynamicPartitioningConfiguration"] = {"Enabled": True}
        with self.assertRaisesRegex(ClientError, "(?i)dynamic ?partitioning"):
            self.create()
        self.assertNotIn(self.name, self.firehose.list_delivery_streams()["DeliveryStreamNames"])

    def test_all_twelve_operations(self):
        key = "arn:aws:kms:us-east-1:000000000000:key/12345678-1234-1234-1234-123456789012"
        self.destination["S3BackupConfiguration"] = {"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::kept", "CompressionFormat": "GZIP"}
        self.destination["DataFormatConversionConfiguration"] = {
            "Enabled": False, "SchemaConfiguration": {"RoleARN": ROLE, "DatabaseName": "weblogs", "TableName": "events"},
            "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {"Compression": "GZIP", "BlockSizeBytes": 64 << 20}}}}
        self.create(DeliveryStreamEncryptionConfigurationInput={"KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": key})
        self.assertTrue(self.firehose.put_record(DeliveryStreamName=self.name, Record={"Data": b"sealed\n"})["Encrypted"])
        described = self.firehose.describe_delivery_stream(DeliveryStreamName=self.name)["DeliveryStreamDescription"]
        self.assertEqual(described["DeliveryStreamEncryptionConfiguration"], {"KeyARN": key, "KeyType": "CUSTOMER_MANAGED_CMK", "Status": "ENABLED"})
        whole = described["Destinations"][0]["ExtendedS3DestinationDescription"]
        self.assertEqual(whole["S3BackupDescription"]["CompressionFormat"], "GZIP")
        self.assertEqual(whole["DataFormatConversionConfiguration"], self.destination["DataFormatConversionConfiguration"])
        self.firehose.stop_delivery_stream_encryption(DeliveryStreamName=self.name)
        answer = self.firehose.put_record_batch(DeliveryStreamName=self.name, Records=[{"Data": b"open\n"}])
        self.assertEqual((answer["Encrypted"], answer["FailedPutCount"]), (False, 0))
        self.firehose.start_delivery_stream_encryption(DeliveryStreamName=self.name)
        self.firehose.tag_delivery_stream(DeliveryStreamName=self.name, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b"}])
        self.firehose.untag_delivery_stream(DeliveryStreamName=self.name, TagKeys=["b"])
        tags = self.firehose.list_tags_for_delivery_stream(DeliveryStreamName=self.name)
        self.assertEqual((tags["Tags"], tags["HasMoreTags"]), ([{"Key": "a", "Value": "1"}], False))
        self.node.settled()  # what was put before the update is delivered as it was then
        update = {"DeliveryStreamName": self.name, "CurrentDeliveryStreamVersionId": "1", "DestinationId": "destinationId-000000000001"}
        self.firehose.update_destination(**update, ExtendedS3DestinationUpdate={"FileExtension": ".txt", "CompressionFormat": "UNCOMPRESSED"})
        with Code(self, "ConcurrentModificationException"):
            self.firehose.update_destination(**update, ExtendedS3DestinationUpdate={})
        self.firehose.put_record(DeliveryStreamName=self.name, Record={"Data": b"later\n"})
        self.node.settled()
        self.assertEqual(self.node.content(self.s3, self.name).decode(), "sealed\nopen\nlater\n")
        keys = [o["Key"] for o in self.s3.list_objects_v2(Bucket=self.name)["Contents"]]
        self.assertTrue(any(k.endswith(".gz") for k in keys) and any(k.endswith(".txt") for k in keys), keys)
        listed = self.firehose.list_delivery_streams(DeliveryStreamType="DirectPut", ExclusiveStartDeliveryStreamName=self.name[:-1], Limit=1)
        self.assertEqual(listed["DeliveryStreamNames"], [self.name])
        self.firehose.delete_delivery_stream(DeliveryStreamName=self.name, AllowForceDelete=True)
        with Code(self, "ResourceNotFoundException"):
            self.firehose.describe_delivery_stream(DeliveryStreamName=self.name)

    def test_mistakes(self):
        with Code(self, "ResourceNotFoundException"):
            self.firehose.put_record(DeliveryStreamName="nobody", Record={"Data": b"x"})
        with Code(self, "ValidationException"):
            self.create(DeliveryStreamEncryptionConfigurationInput={"KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": "key"})
        with Code(self, "InvalidArgumentException"):
            self.create(DeliveryStreamEncryptionConfigurationInput={"KeyType": "CUSTOMER_MANAGED_CMK"})
        self.create()
        with Code(self, "ResourceInUseException"):
            self.create()
        self.firehose.delete_delivery_stream(DeliveryStreamName=self.name)


class S3(NodeTest):
    def setUp(self):
        self.s3 = self.node.client("s3")
        self.bucket = "b-" + uuid.uuid4().hex
        self.s3.create_bucket(Bucket=self.bucket)

    def put(self, key, body, **more):
        return self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, **more)

    def test_put_get_head_delete(self):
        self.put("a b/ü+%.txt", "grüße".encode(), ContentType="text/plain", Metadata={"from": "here"})
        got = self.s3.get_object(Bucket=self.bucket, Key="a b/ü+%.txt")
        self.assertEqual((got["Body"].read().decode(), got["ContentType"], got["Metadata"]), ("grüße", "text/plain", {"from": "here"}))
        plain = self.node.data / "s3" / self.bucket
        self.assertEqual([p.read_bytes().decode() for p in plain.rglob("*") if p.is_file()], ["grüße"])
        self.s3.delete_object(Bucket=self.bucket, Key="a b/ü+%.txt")
        with Code(self, "404"):
            self.s3.head_object(Bucket=self.bucket, Key="a b/ü+%.txt")
        with Code(self, "NoSuchKey"):
            self.s3.get_object(Bucket=self.bucket, Key="a b/ü+%.txt")

    def test_transfer_in_parts(self):
        text = os.urandom(1 << 20) * 20  # boto3 sends it in parts of 8 MiB
        self.s3.upload_fileobj(io.BytesIO(text), self.bucket, "large")
        back = io.BytesIO()
        self.s3.download_fileobj(self.bucket, "large", back)
        self.assertEqual(back.getvalue(), text)
        self.assertRegex(self.s3.head_object(Bucket=self.bucket, Key="large")["ETag"], r'^"[0-9a-f]{32}-3"$')
        ranged = self.s3.get_object(Bucket=self.bucket, Key="large", Range="bytes=-10")
        self.assertEqual(ranged["Body"].read(), text[-10:])

    def test_listing(self):
        keys = ["a", "a/b", "a/c/d", "b", "ä"]
        for key in keys:
            self.put(key, b"")
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, PaginationConfig={"PageSize": 2})
        self.assertEqual([o["Key"] for p in pages for o in p["Contents"]], sorted(keys, key=lambda k: k.encode()))
        folded = self.s3.list_objects_v2(Bucket=self.bucket, Delimiter="/")
        self.assertEqual([p["Prefix"] for p in folded["CommonPrefixes"]], ["a/"])
        self.assertEqual([o["Key"] for o in folded["Contents"]], ["a", "b", "ä"])

    def test_conditions(self):
        self.put("once", b"1", IfNoneMatch="*")
        with Code(self, "PreconditionFailed"):
            self.put("once", b"2", IfNoneMatch="*")
        self.assertEqual(self.s3.get_object(Bucket=self.bucket, Key="once")["Body"].read(), b"1")

    def test_checksums_are_checked(self):
        self.put("sum", b"hello", ChecksumAlgorithm="SHA256")
        with self.assertRaises(ClientError):
            self.put("sum", b"hello", ChecksumSHA256="A" * 43 + "=")
        self.assertEqual(self.s3.get_object(Bucket=self.bucket, Key="sum", ChecksumMode="ENABLED")["Body"].read(), b"hello")

    def test_buckets(self):
        self.assertIn(self.bucket, [b["Name"] for b in self.s3.list_buckets()["Buckets"]])
        self.put("x", b"x")
        with Code(self, "BucketNotEmpty"):
            self.s3.delete_bucket(Bucket=self.bucket)
        self.s3.delete_objects(Bucket=self.bucket, Delete={"Objects": [{"Key": "x"}]})
        self.s3.delete_bucket(Bucket=self.bucket)
        with Code(self, "NoSuchBucket"):
            self.s3.list_objects_v2(Bucket=self.bucket)

    def test_presigned_url(self):
        import urllib.request
        self.put("shared", b"by link")
        url = self.s3.generate_presigned_url("get_object", Params={"Bucket": self.bucket, "Key": "shared"})
        with urllib.request.urlopen(url, timeout=10) as answer:
            self.assertEqual(answer.read(), b"by link")

    def test_presigned_in_both_versions(self):
        import urllib.request
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "credentials"
            file.write_text("[default]\naws_access_key_id = AKIDOURS\naws_secret_access_key = s3cr3t\n")
            file.chmod(0o600)
            node = Node("--credentials", str(file))
            self.addCleanup(node.stop)
        node.client("s3", "AKIDOURS", "s3cr3t").create_bucket(Bucket="signed")
        for version in "s3", "s3v4":
            s3 = node.client("s3", "AKIDOURS", "s3cr3t", signature_version=version)
            with self.subTest(version):
                params = {"Bucket": "signed", "Key": "a b/" + version, "ContentType": "text/csv", "Metadata": {"colour": "green"}}
                url = s3.generate_presigned_url("put_object", Params=params)
                self.assertIn("AWSAccessKeyId=" if version == "s3" else "X-Amz-Signature=", url)
                headers = {"Content-Type": "text/csv", "x-amz-meta-colour": "green"}
                request = urllib.request.Request(url, data=b"by link", method="PUT", headers=headers)
                urllib.request.urlopen(request, timeout=10).close()
                with self.assertRaises(urllib.error.HTTPError) as refused:
                    changed = urllib.request.Request(url, data=b"x", method="PUT", headers={**headers, "Content-Type": "text/html"})
                    urllib.request.urlopen(changed, timeout=10)
                self.assertEqual(refused.exception.code, 403)
                refused.exception.close()
                url = s3.generate_presigned_url("get_object", Params={"Bucket": "signed", "Key": "a b/" + version, "ResponseContentType": "text/plain"})
                with urllib.request.urlopen(url, timeout=10) as answer:
                    self.assertEqual((answer.read(), answer.headers["Content-Type"], answer.headers["x-amz-meta-colour"]), (b"by link", "text/plain", "green"))
                with self.assertRaises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(url.replace("signed/a", "signed/b"), timeout=10)
                self.assertEqual(refused.exception.code, 403)
                refused.exception.close()

    def test_deletion_with_a_condition(self):
        etag = self.put("k", b"1")["ETag"]
        self.put("k", b"2")
        with Code(self, "PreconditionFailed"):
            self.s3.delete_object(Bucket=self.bucket, Key="k", IfMatch=etag)
        many = self.s3.delete_objects(Bucket=self.bucket, Delete={"Objects": [{"Key": "k", "ETag": etag}, {"Key": "none"}]})
        self.assertEqual(([e["Code"] for e in many["Errors"]], [d["Key"] for d in many["Deleted"]]), (["PreconditionFailed"], ["none"]))
        self.s3.delete_object(Bucket=self.bucket, Key="k", IfMatch=self.s3.head_object(Bucket=self.bucket, Key="k")["ETag"])


JSON_TEMPLATE = """#set ( $enter = "
")
#set($json = "$input.json('$')$enter")
{
"Data": "$util.base64Encode("$json")",
"PartitionKey": "$input.params('X-Amzn-Trace-Id')",
"StreamName": "$input.params('stream-name')"
}
"""


class APIGateway(NodeTest):
    def make(self, uri="arn:aws:apigateway:us-east-1:kinesis:action/PutRecord"):
        """POST /v1/{stream-name} with the reference's JSON template, deployed to the stage test."""
        gateway = self.node.client("apigateway")
        api = gateway.create_rest_api(name="collector-" + uuid.uuid4().hex)
        at = dict(restApiId=api["id"])
        v1 = gateway.create_resource(**at, parentId=api["rootResourceId"], pathPart="v1")["id"]
        stream = gateway.create_resource(**at, parentId=v1, pathPart="{stream-name}")["id"]
        method = dict(**at, resourceId=stream, httpMethod="POST")
        gateway.put_method(**method, authorizationType="NONE", requestParameters={"method.request.path.stream-name": True})
        gateway.put_method_response(**method, statusCode="200")
        gateway.put_method_response(**method, statusCode="400")
        gateway.put_integration(**method, type="AWS", integrationHttpMethod="POST", uri=uri, credentials=ROLE,
                                passthroughBehavior="NEVER", requestTemplates={"application/json": JSON_TEMPLATE})
        gateway.put_integration_response(**method, statusCode="200")
        gateway.put_integration_response(**method, statusCode="400", selectionPattern="4\\d{2}",
                                         responseTemplates={"application/json": "{\"error\":\"$input.path('$.__type')\"}"})
        gateway.create_deployment(**at, stageName="test")
        return gateway, api["id"], stream

    def test_api_made_by_script(self):
        kinesis = self.node.client("kinesis")
        kinesis.create_stream(StreamName="made-by-script", ShardCount=1)
        gateway, api, stream = self.make()
        status, answer = self.node.post(f"/{api}/test/v1/made-by-script", '{"a": 1}', "application/json; charset=utf-8")
        self.assertEqual(status, 200, answer)
        self.assertEqual(json.loads(answer)["ShardId"], "shardId-000000000000")
        iterator = kinesis.get_shard_iterator(StreamName="made-by-script", ShardId="shardId-000000000000",
                                              ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        records = kinesis.get_records(ShardIterator=iterator)["Records"]
        self.assertEqual([r["Data"] for r in records], [b'{"a":1}\n'])
        self.assertRegex(records[0]["PartitionKey"], "^Root=1-")

        self.assertEqual(self.node.post(f"/{api}/test/v1/nobody", "{}", "application/json"),
                         (400, '{"error":"ResourceNotFoundException"}'))
        self.assertEqual(self.node.post(f"/{api}/test/v1/made-by-script", "a,b", "text/csv")[0], 415)
        self.assertEqual(self.node.post(f"/{api}/test/other", "{}", "application/json")[0], 403)
        self.assertEqual([s["stageName"] for s in gateway.get_stages(restApiId=api)["item"]], ["test"])

    def test_a_change_needs_a_deployment(self):
        self.node.client("kinesis").create_stream(StreamName="changing", ShardCount=1)
        gateway, api, stream = self.make()
        path = f"/{api}/test/v1/changing"
        self.assertEqual(self.node.post(path, "{}", "application/json")[0], 200)
        gateway.delete_method(restApiId=api, resourceId=stream, httpMethod="POST")
        self.assertEqual(self.node.post(path, "{}", "application/json")[0], 200)
        gateway.put_method(restApiId=api, resourceId=stream, httpMethod="PUT", authorizationType="NONE")
        gateway.put_method_response(restApiId=api, resourceId=stream, httpMethod="PUT", statusCode="200")
        gateway.put_integration(restApiId=api, resourceId=stream, httpMethod="PUT", type="MOCK",
                                requestTemplates={"application/json": '{"statusCode": 200}'})
        gateway.put_integration_response(restApiId=api, resourceId=stream, httpMethod="PUT", statusCode="200")
        gateway.create_deployment(restApiId=api, stageName="test")
        self.assertEqual(self.node.post(path, "{}", "application/json")[0], 403)
        gateway.delete_stage(restApiId=api, stageName="test")
        gateway.delete_rest_api(restApiId=api)
        with Code(self, "NotFoundException"):
            gateway.get_rest_api(restApiId=api)

    def test_models_validators_and_gateway_responses(self):
        gateway, api, stream = self.make()
        at = dict(restApiId=api)
        gateway.create_model(**at, name="Order", contentType="application/json",
                             schema='{"type":"object","required":["id"],"properties":{"id":{"type":"integer"}}}')
        self.assertIn("$inputRoot", gateway.get_model_template(**at, modelName="Order")["value"])
        validator = gateway.create_request_validator(**at, name="body", validateRequestBody=True)["id"]
        method = dict(**at, resourceId=stream, httpMethod="POST")
        gateway.update_method(**method, patchOperations=[
            {"op": "replace", "path": "/requestValidatorId", "value": validator},
            {"op": "add", "path": "/requestModels/application~1json", "value": "Order"}])
        gateway.put_gateway_response(**at, responseType="BAD_REQUEST_BODY", statusCode="422",
                                     responseParameters={"gatewayresponse.header.X-Why": "'body'"},
                                     responseTemplates={"application/json": '{"why":$context.error.messageString}'})
        self.assertEqual(gateway.get_gateway_response(**at, responseType="BAD_REQUEST_BODY")["statusCode"], "422")
        gateway.create_deployment(**at, stageName="test")
        self.assertEqual(self.node.post(f"/{api}/test/v1/any", '{"id":"x"}', "application/json"), (422, '{"why":"Invalid request body"}'))
        tested = gateway.test_invoke_method(**method, pathWithQueryString="/v1/any", body='{"id":"x"}')
        self.assertEqual(tested["status"], 422)
        self.assertIn("Execution log for request", tested["log"])
        gateway.delete_gateway_response(**at, responseType="BAD_REQUEST_BODY")
        self.assertTrue(gateway.get_gateway_response(**at, responseType="BAD_REQUEST_BODY")["defaultResponse"])

    def test_keys_and_plans(self):
        self.node.client("kinesis").create_stream(StreamName="keyed", ShardCount=1)
        gateway, api, stream = self.make()
        gateway.update_method(restApiId=api, resourceId=stream, httpMethod="POST",
                              patchOperations=[{"op": "replace", "path": "/apiKeyRequired", "value": "true"}])
        gateway.create_deployment(restApiId=api, stageName="test")
        key = gateway.create_api_key(name="k-" + uuid.uuid4().hex, enabled=True)
        plan = gateway.create_usage_plan(name="p-" + uuid.uuid4().hex, apiStages=[{"apiId": api, "stage": "test"}],
                                         quota={"limit": 2, "period": "DAY"})
        gateway.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
        path = f"/{api}/test/v1/keyed"
        self.assertEqual(self.node.post(path, "{}", "application/json")[0], 403)
        for want in (200, 200, 429):
            self.assertEqual(self.node.post(path, "{}", "application/json", {"x-api-key": key["value"]})[0], want)
        with Code(self, "BadRequestException"):
            gateway.delete_usage_plan(usagePlanId=plan["id"])
        gateway.delete_stage(restApiId=api, stageName="test")
        self.assertEqual(gateway.get_usage_plan(usagePlanId=plan["id"]).get("apiStages", []), [])
        gateway.delete_usage_plan(usagePlanId=plan["id"])

    def test_answers_that_stream(self):
        """A backend's first line reaches the caller before its second one is there."""
        import http.server
        import threading
        import urllib.request
        go_on = threading.Event()

        class Backend(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                self.wfile.write(b"data: 1\n")
                self.wfile.flush()
                go_on.wait(20)
                self.wfile.write(b"data: 2\n")

            def log_message(self, *_):
                pass

        backend = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        self.addCleanup(backend.server_close)
        self.addCleanup(backend.shutdown)
        self.addCleanup(go_on.set)
        gateway = self.node.client("apigateway")
        api = gateway.create_rest_api(name="streams")
        method = dict(restApiId=api["id"], resourceId=api["rootResourceId"], httpMethod="GET")
        gateway.put_method(**method, authorizationType="NONE")
        put = gateway.put_integration(**method, type="HTTP_PROXY", integrationHttpMethod="GET", responseTransferMode="STREAM",
                                      timeoutInMillis=900000, uri=f"http://127.0.0.1:{backend.server_port}/")
        self.assertEqual((put["responseTransferMode"], put["timeoutInMillis"]), ("STREAM", 900000))
        gateway.create_deployment(restApiId=api["id"], stageName="test")
        with urllib.request.urlopen(f"{self.node.ingest}/{api['id']}/test/", timeout=20) as answer:
            self.assertEqual(answer.readline(), b"data: 1\n")
            go_on.set()
            self.assertEqual(answer.read(), b"data: 2\n")
        with Code(self, "BadRequestException"):
            gateway.update_integration(**method, patchOperations=[{"op": "replace", "path": "/responseTransferMode", "value": "BUFFERED"}])
        shown = gateway.update_integration(**method, patchOperations=[
            {"op": "replace", "path": "/responseTransferMode", "value": "BUFFERED"},
            {"op": "replace", "path": "/timeoutInMillis", "value": "5000"}])
        self.assertEqual(shown["responseTransferMode"], "BUFFERED")

    def test_integration_that_is_not_built_is_refused(self):
        with Code(self, "BadRequestException"):
            self.make(uri="arn:aws:apigateway:us-east-1:sqs:path/000000000000/queue")


class Example(NodeTest):
    """The built-in example: what a newcomer's two curl lines do."""

    def test_both_content_types_land_in_the_bucket(self):
        s3 = self.node.client("s3")
        self.assertEqual(self.node.post("/prod/v1/class-stream", '{"hello": "wörld"}', "application/json")[0], 200)
        self.assertEqual(self.node.post("/prod/v1/class-stream", "name=Ada&city=New+York", "application/x-www-form-urlencoded")[0], 200)
        ledger = self.node.settled()
        lines = sorted(self.node.content(s3, "class-events").decode().splitlines())
        self.assertEqual(lines, ['{"hello":"wörld"}', '{"name" : "Ada","city" : "New York"}'])
        self.assertEqual([d["delivered"] for d in ledger["deliveryStreams"]], [2])


class Credentials(unittest.TestCase):
    def test_only_the_right_key_may_call(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "credentials"
            file.write_text("[default]\naws_access_key_id = AKIDOURS\naws_secret_access_key = s3cr3t/+x\n")
            file.chmod(0o600)
            node = Node("--credentials", str(file))
            self.addCleanup(node.stop)
        for service, call in (("kinesis", "list_streams"), ("firehose", "list_delivery_streams"),
                              ("s3", "list_buckets"), ("apigateway", "get_rest_apis")):
            with self.subTest(service):
                getattr(node.client(service, "AKIDOURS", "s3cr3t/+x"), call)()
                for key, secret in (("AKIDOURS", "guess"), ("AKIDOTHER", "s3cr3t/+x")):
                    with self.assertRaises(ClientError):
                        getattr(node.client(service, key, secret), call)()


if __name__ == "__main__":
    unittest.main()
