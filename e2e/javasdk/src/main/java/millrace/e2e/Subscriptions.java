package millrace.e2e;

import static millrace.e2e.Checks.equal;
import static millrace.e2e.Checks.that;

import java.math.BigInteger;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.reactivestreams.Subscriber;
import org.reactivestreams.Subscription;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.model.ResourceNotFoundException;
import software.amazon.awssdk.services.kinesis.model.Shard;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;
import software.amazon.awssdk.services.kinesis.model.StartingPosition;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardEvent;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardEventStream;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardResponseHandler;

/**
 * Enhanced fan-out: a consumer of a shard from its beginning, one of what comes, and one from a
 * moment, while records are put; then the shard is split, and all of them end with its children.
 */
final class Subscriptions {
  private static final int EACH = 50;

  private final KinesisAsyncClient client;
  private final String stream;
  private final Checks checks;

  Subscriptions(KinesisAsyncClient client, String stream, Checks checks) {
    this.client = client;
    this.stream = stream;
    this.checks = checks;
  }

  void run() throws Exception {
    List<Shard> open = checks.openShards();
    Shard shard = open.get(open.size() - 1);
    List<String> old = put(shard, "old");
    Thread.sleep(5);
    Instant between = Instant.now(); // the server is on the same machine
    Thread.sleep(5);
    List<String> later = put(shard, "later");

    Events all = subscribe("all", shard, p -> p.type(ShardIteratorType.TRIM_HORIZON));
    Events tip = subscribe("tip", shard, p -> p.type(ShardIteratorType.LATEST));
    Events moment =
        subscribe("moment", shard, p -> p.type(ShardIteratorType.AT_TIMESTAMP).timestamp(between));
    all.until(later.get(EACH - 1));
    moment.until(later.get(EACH - 1));
    tip.answered();
    List<String> fresh = put(shard, "fresh");
    for (Events e : List.of(all, tip, moment)) {
      e.until(fresh.get(EACH - 1));
    }

    BigInteger start = new BigInteger(shard.hashKeyRange().startingHashKey());
    BigInteger end = new BigInteger(shard.hashKeyRange().endingHashKey());
    client
        .splitShard(
            r ->
                r.streamARN(stream)
                    .shardToSplit(shard.shardId())
                    .newStartingHashKey(start.add(end).shiftRight(1).toString()))
        .join();
    checks.active();
    List<String> children =
        checks.openShards().stream()
            .filter(s -> shard.shardId().equals(s.parentShardId()))
            .map(Shard::shardId)
            .toList();
    for (Events e : List.of(all, tip, moment)) {
      e.done.get(30, TimeUnit.SECONDS); // the server ends what has come to its end
      equal(children, e.children);
      that(e.continuation == null, "the shard has ended, and goes on at " + e.continuation);
    }
    List<String> want = new ArrayList<>(later);
    want.addAll(fresh);
    equal(want, moment.records);
    equal(fresh, tip.records);
    want.addAll(0, old);
    equal(want, all.records.subList(all.records.size() - want.size(), all.records.size()));
    equal(List.of(), tip.records.stream().filter(r -> !fresh.contains(r)).toList());

    checks.thrown(
        ResourceNotFoundException.class,
        () ->
            client.subscribeToShard(
                r ->
                    r.consumerARN(all.consumer)
                        .shardId("shardId-000000000999")
                        .startingPosition(p -> p.type(ShardIteratorType.LATEST)),
                all.handler()));
    client.deregisterStreamConsumer(r -> r.consumerARN(all.consumer)).join();
  }

  private List<String> put(Shard shard, String what) {
    List<String> texts = new ArrayList<>();
    for (int i = 0; i < EACH; i++) {
      String text = what + " " + i;
      texts.add(text);
      client
          .putRecord(
              r ->
                  r.streamARN(stream)
                      .partitionKey("k")
                      .explicitHashKey(shard.hashKeyRange().startingHashKey())
                      .data(SdkBytes.fromUtf8String(text)))
          .join();
    }
    return texts;
  }

  private Events subscribe(String name, Shard shard, Consumer<StartingPosition.Builder> from)
      throws InterruptedException {
    Events events = new Events();
    events.consumer =
        client
            .registerStreamConsumer(r -> r.streamARN(stream).consumerName(name))
            .join()
            .consumer()
            .consumerARN();
    checks.consumerActive(events.consumer);
    events.done =
        client.subscribeToShard(
            r -> r.consumerARN(events.consumer).shardId(shard.shardId()).startingPosition(from),
            events.handler());
    return events;
  }

  /** What one subscription has brought. */
  private static final class Events implements Subscriber<SubscribeToShardEventStream> {
    final List<String> records = new ArrayList<>();
    final CompletableFuture<Void> response = new CompletableFuture<>();
    CompletableFuture<Void> done;
    String consumer;
    List<String> children = List.of();
    String continuation;
    private Subscription subscription;
    private Throwable failure;

    SubscribeToShardResponseHandler handler() {
      return SubscribeToShardResponseHandler.builder()
          .onResponse(r -> response.complete(null))
          .onError(this::onError)
          .subscriber(() -> this)
          .build();
    }

    /** Waits for the initial response: from then on a subscription to the latest misses nothing. */
    void answered() throws Exception {
      response.get(30, TimeUnit.SECONDS);
    }

    /** Waits for a record. */
    synchronized void until(String text) throws InterruptedException {
      for (Instant end = Instant.now().plusSeconds(30); !records.contains(text); wait(50)) {
        that(failure == null, failure);
        that(Instant.now().isBefore(end), "in vain for " + text + "; there are " + records.size());
      }
    }

    @Override
    public void onSubscribe(Subscription s) {
      subscription = s;
      s.request(1);
    }

    @Override
    public synchronized void onNext(SubscribeToShardEventStream event) {
      if (event instanceof SubscribeToShardEvent e) {
        e.records().forEach(r -> records.add(Checks.text(r)));
        children = e.childShards().stream().map(c -> c.shardId()).toList();
        continuation = e.continuationSequenceNumber();
        if (e.millisBehindLatest() == null) {
          failure = new AssertionError("an event without MillisBehindLatest");
        }
      } else {
        failure = new AssertionError("an event of another kind: " + event);
      }
      notifyAll();
      subscription.request(1);
    }

    @Override
    public synchronized void onError(Throwable t) {
      failure = t;
      notifyAll();
    }

    @Override
    public void onComplete() {}
  }
}
