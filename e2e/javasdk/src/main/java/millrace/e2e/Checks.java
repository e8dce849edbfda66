package millrace.e2e;

import static software.amazon.awssdk.services.kinesis.model.ShardIteratorType.AFTER_SEQUENCE_NUMBER;
import static software.amazon.awssdk.services.kinesis.model.ShardIteratorType.AT_SEQUENCE_NUMBER;
import static software.amazon.awssdk.services.kinesis.model.ShardIteratorType.AT_TIMESTAMP;
import static software.amazon.awssdk.services.kinesis.model.ShardIteratorType.LATEST;
import static software.amazon.awssdk.services.kinesis.model.ShardIteratorType.TRIM_HORIZON;

import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.retries.api.BackoffStrategy;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.model.ConsumerStatus;
import software.amazon.awssdk.services.kinesis.model.EncryptionType;
import software.amazon.awssdk.services.kinesis.model.GetRecordsResponse;
import software.amazon.awssdk.services.kinesis.model.GetShardIteratorRequest;
import software.amazon.awssdk.services.kinesis.model.InvalidArgumentException;
import software.amazon.awssdk.services.kinesis.model.KinesisException;
import software.amazon.awssdk.services.kinesis.model.MetricsName;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;
import software.amazon.awssdk.services.kinesis.model.PutRecordsResponse;
import software.amazon.awssdk.services.kinesis.model.Record;
import software.amazon.awssdk.services.kinesis.model.ResourceInUseException;
import software.amazon.awssdk.services.kinesis.model.ResourceNotFoundException;
import software.amazon.awssdk.services.kinesis.model.ScalingType;
import software.amazon.awssdk.services.kinesis.model.Shard;
import software.amazon.awssdk.services.kinesis.model.ShardFilterType;
import software.amazon.awssdk.services.kinesis.model.StreamDescription;
import software.amazon.awssdk.services.kinesis.model.StreamDescriptionSummary;
import software.amazon.awssdk.services.kinesis.model.StreamMode;
import software.amazon.awssdk.services.kinesis.model.StreamStatus;
import software.amazon.awssdk.services.kinesis.model.Tag;
import software.amazon.awssdk.services.kinesis.model.ValidationException;
import software.amazon.awssdk.services.kinesis.waiters.KinesisAsyncWaiter;

/**
 * What every way of talking to the server must do: each operation of the service at least once, on
 * one stream.
 */
final class Checks {
  private static final BigInteger HASH_KEYS = BigInteger.TWO.pow(128);
  private static final String LAST_HASH_KEY = HASH_KEYS.subtract(BigInteger.ONE).toString();

  /** What a step may take on a slow machine; a time in the wrong unit is further away. */
  private static final Duration NEAR = Duration.ofMinutes(1);

  private final KinesisAsyncClient client;
  private final KinesisAsyncWaiter waiter;
  private final Report report;
  private final String name;
  private final Random random = new Random(20131202);
  private String arn;

  Checks(KinesisAsyncClient client, String way, Report report) {
    this.client = client;
    this.report = report;
    this.name = "java-" + way;
    this.waiter =
        KinesisAsyncWaiter.builder()
            .client(client)
            .overrideConfiguration(
                o ->
                    o.backoffStrategyV2(
                            BackoffStrategy.fixedDelayWithoutJitter(Duration.ofMillis(50)))
                        .maxAttempts(600)
                        .waitTimeout(Duration.ofSeconds(30)))
            .build();
  }

  void run() {
    report.check("create and describe", this::createAndDescribe);
    report.check("a round trip byte for byte", this::roundTrip);
    report.check("iterators of all types", this::iterators);
    report.check("tags", this::tags);
    report.check("retention", this::retention);
    report.check("errors are of their classes", this::errors);
    report.check("consumers", this::consumers);
    report.check(
        "subscribe to a shard until it ends", () -> new Subscriptions(client, arn, this).run());
    report.check("split, merge and scale", this::reshard);
    report.check("list shards", this::listShards);
    report.check("encryption", this::encryption);
    report.check("monitoring", this::monitoring);
    report.check("policy", this::policy);
    report.check("largest record", this::maxRecordSize);
    report.check("stream mode", this::streamMode);
    report.check("warm throughput", this::warmThroughput);
    report.check("account settings", this::accountSettings);
    report.check("update account settings", this::updateAccountSettings);
    report.check("delete", this::delete);
  }

  private void createAndDescribe() {
    Instant before = Instant.now();
    client.createStream(r -> r.streamName(name).shardCount(2)).join();
    active();
    StreamDescriptionSummary summary = summary();
    arn = summary.streamARN();
    equal("arn:aws:kinesis:us-east-1:000000000000:stream/" + name, arn);
    equal(name, summary.streamName());
    equal(StreamStatus.ACTIVE, summary.streamStatus());
    equal(StreamMode.PROVISIONED, summary.streamModeDetails().streamMode());
    equal(2, summary.openShardCount());
    equal(24, summary.retentionPeriodHours());
    equal(EncryptionType.NONE, summary.encryptionType());
    equal(0, summary.consumerCount());
    near(before, summary.streamCreationTimestamp());

    StreamDescription description =
        client.describeStream(r -> r.streamARN(arn)).join().streamDescription();
    equal(summary.streamCreationTimestamp(), description.streamCreationTimestamp());
    equal(false, description.hasMoreShards());
    equal(2, description.shards().size());
    equal("0", description.shards().get(0).hashKeyRange().startingHashKey());
    equal(LAST_HASH_KEY, description.shards().get(1).hashKeyRange().endingHashKey());
    equal(null, description.shards().get(0).sequenceNumberRange().endingSequenceNumber());

    List<String> names = new ArrayList<>();
    client.listStreamsPaginator(r -> r.limit(1)).streamNames().subscribe(names::add).join();
    that(names.contains(name), "listed are " + names);
    var limits = client.describeLimits().join();
    that(limits.shardLimit() > 0 && limits.openShardCount() >= 2, limits);
  }

  private void roundTrip() {
    Instant before = Instant.now();
    List<PutRecordsRequestEntry> entries = new ArrayList<>();
    for (int i = 0; i < 400; i++) {
      int index = i;
      entries.add(
          PutRecordsRequestEntry.builder()
              .data(SdkBytes.fromByteArray(bytes(index == 7 ? 1 << 20 : index)))
              .partitionKey(index % 4 == 1 ? "Ключ-鍵-🔑-" + index : "key-" + index)
              .explicitHashKey(index % 5 == 0 ? "0" : index % 5 == 1 ? LAST_HASH_KEY : null)
              .build());
    }
    PutRecordsResponse put = client.putRecords(r -> r.streamName(name).records(entries)).join();
    equal(0, put.failedRecordCount());
    equal(null, put.encryptionTypeAsString());
    equal(entries.size(), put.records().size());

    Map<String, List<Record>> read = new HashMap<>();
    for (Shard shard : openShards()) {
      read.put(shard.shardId(), readAll(shard.shardId(), r -> r.shardIteratorType(TRIM_HORIZON)));
    }
    Map<String, Integer> taken = new HashMap<>();
    for (int i = 0; i < entries.size(); i++) {
      PutRecordsRequestEntry entry = entries.get(i);
      String shard = put.records().get(i).shardId();
      equal(null, put.records().get(i).errorCode());
      if (i % 5 < 2) {
        equal(i % 5 == 0 ? "shardId-000000000000" : "shardId-000000000001", shard);
      }
      Record record =
          read.get(shard)
              .get(taken.merge(shard, 1, Integer::sum) - 1); // in the order of the request
      equal(put.records().get(i).sequenceNumber(), record.sequenceNumber());
      equal(entry.partitionKey(), record.partitionKey());
      that(
          Arrays.equals(entry.data().asByteArray(), record.data().asByteArray()),
          "the bytes of record " + i + " differ");
      near(before, record.approximateArrivalTimestamp());
      equal(null, record.encryptionTypeAsString());
    }
    taken.forEach((shard, count) -> equal(count, read.get(shard).size()));
  }

  private void iterators() throws Exception {
    String shard = "shardId-000000000000";
    List<String> sequences = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      String last = i == 0 ? null : sequences.get(i - 1);
      String data = "ordered " + i;
      var put =
          client
              .putRecord(
                  r ->
                      r.streamARN(arn)
                          .partitionKey("k")
                          .explicitHashKey("1")
                          .sequenceNumberForOrdering(last)
                          .data(SdkBytes.fromUtf8String(data)))
              .join();
      equal(shard, put.shardId());
      sequences.add(put.sequenceNumber());
      Thread.sleep(3); // so that the records' times differ, for AT_TIMESTAMP below
    }
    List<Record> from =
        readAll(
            shard,
            r -> r.shardIteratorType(AT_SEQUENCE_NUMBER).startingSequenceNumber(sequences.get(0)));
    equal(sequences, from.stream().map(Record::sequenceNumber).toList());
    List<Record> after =
        readAll(
            shard,
            r ->
                r.shardIteratorType(AFTER_SEQUENCE_NUMBER)
                    .startingSequenceNumber(sequences.get(0)));
    equal(sequences.subList(1, 3), after.stream().map(Record::sequenceNumber).toList());
    Instant at = from.get(1).approximateArrivalTimestamp();
    that(
        at.isAfter(from.get(0).approximateArrivalTimestamp()),
        "records 3 ms apart have the same time");
    List<Record> since = readAll(shard, r -> r.shardIteratorType(AT_TIMESTAMP).timestamp(at));
    equal(sequences.subList(1, 3), since.stream().map(Record::sequenceNumber).toList());
    equal(at, since.get(0).approximateArrivalTimestamp());

    String latest = iterator(shard, r -> r.shardIteratorType(LATEST));
    client
        .putRecord(
            r ->
                r.streamName(name)
                    .partitionKey("k")
                    .explicitHashKey("1")
                    .data(SdkBytes.fromUtf8String("new")))
        .join();
    GetRecordsResponse page = client.getRecords(r -> r.shardIterator(latest).streamARN(arn)).join();
    equal(List.of("new"), page.records().stream().map(r -> r.data().asUtf8String()).toList());
    equal(0L, page.millisBehindLatest());
    that(!page.hasChildShards(), "an open shard has children");
  }

  private void tags() {
    client.addTagsToStream(r -> r.streamName(name).tags(Map.of("a", "1", "Größe", "2 µ"))).join();
    client.tagResource(r -> r.resourceARN(arn).tags(Map.of("c", "3"))).join();
    Map<String, String> want = Map.of("a", "1", "Größe", "2 µ", "c", "3");
    equal(want, tagsOf(client.listTagsForStream(r -> r.streamName(name)).join().tags()));
    equal(want, tagsOf(client.listTagsForResource(r -> r.resourceARN(arn)).join().tags()));
    var first = client.listTagsForStream(r -> r.streamName(name).limit(1)).join();
    that(first.hasMoreTags() && first.tags().size() == 1, first);
    client.removeTagsFromStream(r -> r.streamName(name).tagKeys("a")).join();
    client.untagResource(r -> r.resourceARN(arn).tagKeys("c", "none")).join();
    equal(
        Map.of("Größe", "2 µ"),
        tagsOf(client.listTagsForStream(r -> r.streamName(name)).join().tags()));
  }

  private static Map<String, String> tagsOf(List<Tag> tags) {
    return tags.stream().collect(Collectors.toMap(Tag::key, Tag::value));
  }

  private void retention() {
    client.increaseStreamRetentionPeriod(r -> r.streamName(name).retentionPeriodHours(48)).join();
    active();
    equal(48, summary().retentionPeriodHours());
    client.decreaseStreamRetentionPeriod(r -> r.streamName(name).retentionPeriodHours(24)).join();
    active();
    equal(24, summary().retentionPeriodHours());
  }

  private void errors() {
    KinesisException e =
        thrown(
            ResourceNotFoundException.class,
            () ->
                client.putRecord(
                    r ->
                        r.streamName("none").partitionKey("k").data(SdkBytes.fromUtf8String("x"))));
    equal("Stream none under account 000000000000 not found.", e.awsErrorDetails().errorMessage());
    equal("ResourceNotFoundException", e.awsErrorDetails().errorCode());
    equal(400, e.statusCode());
    that(
        e.requestId() != null && e.requestId().length() == 36,
        "the request's id is " + e.requestId());
    that(e.extendedRequestId() != null, "there is no extended id");
    thrown(
        ResourceInUseException.class,
        () -> client.createStream(r -> r.streamName(name).shardCount(1)));
    thrown(
        InvalidArgumentException.class, () -> client.getRecords(r -> r.shardIterator("bm9uZQ==")));
    thrown(
        InvalidArgumentException.class,
        () ->
            client.putRecord(
                r ->
                    r.streamName(name)
                        .partitionKey("k")
                        .explicitHashKey(HASH_KEYS.toString())
                        .data(SdkBytes.fromUtf8String("x"))));
    thrown(
        ValidationException.class,
        () ->
            client.getRecords(
                r ->
                    r.shardIterator(iterator("0", i -> i.shardIteratorType(LATEST))).limit(10001)));
    e =
        thrown(
            ValidationException.class,
            () -> client.listStreams(r -> r.exclusiveStartStreamName("no such name!")));
    that(
        e.awsErrorDetails()
            .errorMessage()
            .startsWith("1 validation error detected: Value 'no such name!' at "),
        e.awsErrorDetails().errorMessage());
  }

  private void consumers() throws Exception {
    Instant before = Instant.now();
    var made =
        client.registerStreamConsumer(r -> r.streamARN(arn).consumerName("one")).join().consumer();
    equal("one", made.consumerName());
    near(before, made.consumerCreationTimestamp());
    that(made.consumerARN().startsWith(arn + "/consumer/one:"), made.consumerARN());
    consumerActive(made.consumerARN());
    var described =
        client
            .describeStreamConsumer(r -> r.streamARN(arn).consumerName("one"))
            .join()
            .consumerDescription();
    equal(made.consumerARN(), described.consumerARN());
    equal(arn, described.streamARN());
    equal(made.consumerCreationTimestamp(), described.consumerCreationTimestamp());
    List<String> listed = new ArrayList<>();
    client
        .listStreamConsumersPaginator(r -> r.streamARN(arn))
        .subscribe(page -> page.consumers().forEach(c -> listed.add(c.consumerARN())))
        .join();
    equal(List.of(made.consumerARN()), listed);
    thrown(
        ResourceInUseException.class,
        () -> client.registerStreamConsumer(r -> r.streamARN(arn).consumerName("one")));
    client.deregisterStreamConsumer(r -> r.consumerARN(made.consumerARN())).join();
    for (Instant end = Instant.now().plusSeconds(30); ; Thread.sleep(50)) {
      if (client.listStreamConsumers(r -> r.streamARN(arn)).join().consumers().isEmpty()) {
        break;
      }
      that(Instant.now().isBefore(end), "the consumer stays");
    }
    thrown(
        ResourceNotFoundException.class,
        () -> client.describeStreamConsumer(r -> r.consumerARN(made.consumerARN())));
  }

  /** Waits for a consumer that can subscribe. */
  void consumerActive(String consumer) throws InterruptedException {
    for (Instant end = Instant.now().plusSeconds(30); ; Thread.sleep(50)) {
      var c =
          client.describeStreamConsumer(r -> r.consumerARN(consumer)).join().consumerDescription();
      if (c.consumerStatus() == ConsumerStatus.ACTIVE) {
        return;
      }
      that(Instant.now().isBefore(end), c);
    }
  }

  private void reshard() {
    Shard parent = openShards().get(0);
    BigInteger start = new BigInteger(parent.hashKeyRange().startingHashKey());
    BigInteger end = new BigInteger(parent.hashKeyRange().endingHashKey());
    String middle = start.add(end).shiftRight(1).toString();
    client
        .splitShard(
            r -> r.streamName(name).shardToSplit(parent.shardId()).newStartingHashKey(middle))
        .join();
    active();
    List<Shard> children =
        openShards().stream().filter(s -> parent.shardId().equals(s.parentShardId())).toList();
    equal(2, children.size());
    equal(middle, children.get(1).hashKeyRange().startingHashKey());

    GetRecordsResponse last = null;
    for (String next = iterator(parent.shardId(), r -> r.shardIteratorType(TRIM_HORIZON));
        next != null;
        next = last.nextShardIterator()) {
      String at = next;
      last = client.getRecords(r -> r.shardIterator(at)).join();
    }
    equal(
        children.stream().map(Shard::shardId).toList(),
        last.childShards().stream().map(c -> c.shardId()).toList());
    equal(List.of(parent.shardId()), last.childShards().get(0).parentShards());
    equal(middle, last.childShards().get(1).hashKeyRange().startingHashKey());

    client
        .mergeShards(
            r ->
                r.streamName(name)
                    .shardToMerge(children.get(0).shardId())
                    .adjacentShardToMerge(children.get(1).shardId()))
        .join();
    active();
    Shard merged =
        openShards().stream()
            .filter(s -> children.get(0).shardId().equals(s.parentShardId()))
            .findFirst()
            .orElseThrow();
    equal(children.get(1).shardId(), merged.adjacentParentShardId());
    equal(parent.hashKeyRange(), merged.hashKeyRange());

    int open = openShards().size();
    var scaled =
        client
            .updateShardCount(
                r ->
                    r.streamName(name)
                        .targetShardCount(open + 1)
                        .scalingType(ScalingType.UNIFORM_SCALING))
            .join();
    equal(open, scaled.currentShardCount());
    equal(open + 1, scaled.targetShardCount());
    active();
    equal(open + 1, summary().openShardCount());
  }

  private void listShards() {
    Set<String> all = new TreeSet<>();
    String token = null;
    do {
      String next = token;
      var page =
          client
              .listShards(
                  r -> (next == null ? r.streamName(name) : r.nextToken(next)).maxResults(2))
              .join();
      page.shards().forEach(s -> all.add(s.shardId()));
      token = page.nextToken();
    } while (token != null);
    equal(
        all.size(),
        client.describeStream(r -> r.streamName(name)).join().streamDescription().shards().size());
    Instant now = Instant.now();
    var open = openShards().stream().map(Shard::shardId).sorted().toList(); // as they are listed
    var at =
        client
            .listShards(
                r ->
                    r.streamName(name)
                        .shardFilter(f -> f.type(ShardFilterType.AT_TIMESTAMP).timestamp(now)))
            .join();
    equal(open, at.shards().stream().map(Shard::shardId).toList());
    var first =
        client
            .listShards(
                r -> r.streamName(name).shardFilter(f -> f.type(ShardFilterType.AT_TRIM_HORIZON)))
            .join();
    equal(
        List.of("shardId-000000000000", "shardId-000000000001"),
        first.shards().stream().map(Shard::shardId).toList());
    String from = open.get(0);
    var after =
        client
            .listShards(
                r ->
                    r.streamName(name)
                        .shardFilter(f -> f.type(ShardFilterType.AFTER_SHARD_ID).shardId(from)))
            .join();
    that(after.shards().stream().allMatch(s -> s.shardId().compareTo(from) > 0), after);
  }

  private void encryption() {
    client
        .startStreamEncryption(
            r -> r.streamName(name).encryptionType(EncryptionType.KMS).keyId("alias/aws/kinesis"))
        .join();
    active();
    equal(EncryptionType.KMS, summary().encryptionType());
    equal("alias/aws/kinesis", summary().keyId());
    var put =
        client
            .putRecord(
                r -> r.streamName(name).partitionKey("k").data(SdkBytes.fromUtf8String("secret")))
            .join();
    equal(EncryptionType.KMS, put.encryptionType());
    Record read =
        readAll(
                put.shardId(),
                r ->
                    r.shardIteratorType(AT_SEQUENCE_NUMBER)
                        .startingSequenceNumber(put.sequenceNumber()))
            .get(0);
    equal("secret", read.data().asUtf8String());
    equal(EncryptionType.KMS, read.encryptionType());
    client
        .stopStreamEncryption(
            r -> r.streamName(name).encryptionType(EncryptionType.KMS).keyId("alias/aws/kinesis"))
        .join();
    active();
    equal(EncryptionType.NONE, summary().encryptionType());
  }

  private void monitoring() {
    var on =
        client
            .enableEnhancedMonitoring(
                r -> r.streamName(name).shardLevelMetrics(MetricsName.INCOMING_BYTES))
            .join();
    equal(List.of(MetricsName.INCOMING_BYTES), on.desiredShardLevelMetrics());
    active();
    equal(
        List.of(MetricsName.INCOMING_BYTES),
        summary().enhancedMonitoring().get(0).shardLevelMetrics());
    var off =
        client
            .disableEnhancedMonitoring(r -> r.streamName(name).shardLevelMetrics(MetricsName.ALL))
            .join();
    equal(List.of(), off.desiredShardLevelMetrics());
    active();
  }

  private void policy() {
    String policy =
        """
        {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},
        "Action":["kinesis:GetRecords"],"Resource":"%s"}]}"""
            .formatted(arn);
    client.putResourcePolicy(r -> r.resourceARN(arn).policy(policy)).join();
    equal(policy, client.getResourcePolicy(r -> r.resourceARN(arn)).join().policy());
    client.deleteResourcePolicy(r -> r.resourceARN(arn)).join();
    equal("{}", client.getResourcePolicy(r -> r.resourceARN(arn)).join().policy());
  }

  private void maxRecordSize() {
    client.updateMaxRecordSize(r -> r.streamARN(arn).maxRecordSizeInKiB(2048)).join();
    active();
    equal(2048, summary().maxRecordSizeInKiB());
    byte[] large = bytes(2_000_000);
    var put =
        client
            .putRecord(r -> r.streamARN(arn).partitionKey("k").data(SdkBytes.fromByteArray(large)))
            .join();
    Record read =
        readAll(
                put.shardId(),
                r ->
                    r.shardIteratorType(AT_SEQUENCE_NUMBER)
                        .startingSequenceNumber(put.sequenceNumber()))
            .get(0);
    that(Arrays.equals(large, read.data().asByteArray()), "the large record's bytes differ");
  }

  private void streamMode() {
    client
        .updateStreamMode(
            r -> r.streamARN(arn).streamModeDetails(m -> m.streamMode(StreamMode.ON_DEMAND)))
        .join();
    active();
    equal(StreamMode.ON_DEMAND, summary().streamModeDetails().streamMode());
  }

  private void warmThroughput() {
    // An account without the commitment is refused, by an error that the client knows.
    thrown(
        KinesisException.class,
        () -> client.updateStreamWarmThroughput(r -> r.streamARN(arn).warmThroughputMiBps(10)));
  }

  private void accountSettings() {
    that(
        client.describeAccountSettings(r -> {}).join().minimumThroughputBillingCommitment() != null,
        "no commitment is described");
  }

  private void updateAccountSettings() {
    String status =
        client
            .describeAccountSettings(r -> {})
            .join()
            .minimumThroughputBillingCommitment()
            .statusAsString();
    try {
      var after =
          client
              .updateAccountSettings(
                  r -> r.minimumThroughputBillingCommitment(c -> c.status(status)))
              .join();
      equal(status, after.minimumThroughputBillingCommitment().statusAsString());
    } catch (java.util.concurrent.CompletionException e) {
      that(
          Report.causeOf(e) instanceof KinesisException,
          e); // that nothing would change may be refused
      if (((KinesisException) Report.causeOf(e))
          .awsErrorDetails()
          .errorCode()
          .equals("UnknownOperationException")) {
        throw e;
      }
    }
  }

  private void delete() {
    client.deleteStream(r -> r.streamName(name).enforceConsumerDeletion(true)).join();
    waiter.waitUntilStreamNotExists(r -> r.streamName(name)).join();
    thrown(ResourceNotFoundException.class, () -> client.describeStream(r -> r.streamName(name)));
  }

  // What the checks, and those of subscriptions, are made of.

  void active() {
    waiter.waitUntilStreamExists(r -> r.streamName(name)).join(); // it waits for ACTIVE
  }

  private StreamDescriptionSummary summary() {
    return client.describeStreamSummary(r -> r.streamName(name)).join().streamDescriptionSummary();
  }

  /** The open shards by their hash keys. */
  List<Shard> openShards() {
    return client
        .listShards(r -> r.streamName(name).shardFilter(f -> f.type(ShardFilterType.AT_LATEST)))
        .join()
        .shards()
        .stream()
        .sorted(Comparator.comparing(s -> new BigInteger(s.hashKeyRange().startingHashKey())))
        .toList();
  }

  private String iterator(String shard, Consumer<GetShardIteratorRequest.Builder> how) {
    return client
        .getShardIterator(r -> how.accept(r.streamName(name).shardId(shard)))
        .join()
        .shardIterator();
  }

  /** Reads a shard to its tip. */
  private List<Record> readAll(String shard, Consumer<GetShardIteratorRequest.Builder> how) {
    List<Record> records = new ArrayList<>();
    String next = iterator(shard, how);
    while (next != null) {
      String at = next;
      GetRecordsResponse page = client.getRecords(r -> r.shardIterator(at).limit(150)).join();
      records.addAll(page.records());
      next =
          page.records().isEmpty() && page.millisBehindLatest() == 0
              ? null
              : page.nextShardIterator();
    }
    return records;
  }

  byte[] bytes(int length) {
    byte[] b = new byte[length];
    random.nextBytes(b);
    return b;
  }

  /** A call that must fail with an exception of a class, which is given. */
  <T extends KinesisException> KinesisException thrown(
      Class<T> want, java.util.function.Supplier<CompletableFuture<?>> call) {
    try {
      call.get().join();
    } catch (RuntimeException e) {
      Throwable cause = Report.causeOf(e);
      if (!want.isInstance(cause)
          || cause instanceof KinesisException k
              && "UnknownOperationException".equals(k.awsErrorDetails().errorCode())) {
        throw e;
      }
      return (KinesisException) cause;
    }
    throw new AssertionError("no " + want.getSimpleName());
  }

  static void equal(Object want, Object got) {
    that(Objects.equals(want, got), "got " + got + "; want " + want);
  }

  static void that(boolean ok, Object otherwise) {
    if (!ok) {
      throw new AssertionError(String.valueOf(otherwise));
    }
  }

  static void near(Instant want, Instant got) {
    that(
        got != null && Duration.between(want, got).abs().compareTo(NEAR) < 0,
        "the time is " + got + "; it was about " + want);
  }

  static String text(Record r) {
    return new String(r.data().asByteArray(), StandardCharsets.UTF_8);
  }
}
