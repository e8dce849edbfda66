package millrace.e2e;

import java.io.IOException;
import java.net.URI;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import software.amazon.awssdk.arns.Arn;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeDefinition;
import software.amazon.awssdk.services.dynamodb.model.BillingMode;
import software.amazon.awssdk.services.dynamodb.model.KeySchemaElement;
import software.amazon.awssdk.services.dynamodb.model.KeyType;
import software.amazon.awssdk.services.dynamodb.model.ProjectionType;
import software.amazon.awssdk.services.dynamodb.model.ScalarAttributeType;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.common.KinesisClientUtil;
import software.amazon.kinesis.common.StreamIdentifier;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.RetrievalSpecificConfig;
import software.amazon.kinesis.retrieval.fanout.FanOutConfig;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * A worker of the Kinesis Client Library that prints what it reads; see {@link Printer}. It ends,
 * giving its leases back, when its standard input does.
 *
 * <p>Arguments: the endpoint of Kinesis, that of DynamoDB, the stream's ARN, the application's
 * name, and "polling" or "fanout".
 *
 * <p>The clients are as the library makes them. What is set otherwise is set for haste, in leases,
 * shard discovery and polling: the defaults are for streams that live for years.
 */
public final class Reader {
  private static final InitialPositionInStreamExtended OLDEST =
      InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON);

  private Reader() {}

  public static void main(String[] args) throws Exception {
    URI kinesisEndpoint = URI.create(args[0]);
    URI dynamoEndpoint = URI.create(args[1]);
    Arn stream = Arn.fromString(args[2]);
    String application = args[3];
    boolean fanOut = args[4].equals("fanout");

    KinesisAsyncClient kinesis =
        KinesisClientUtil.createKinesisAsyncClient(
            KinesisAsyncClient.builder()
                .endpointOverride(kinesisEndpoint)
                .region(Region.US_EAST_1));
    DynamoDbAsyncClient dynamo =
        DynamoDbAsyncClient.builder()
            .endpointOverride(dynamoEndpoint)
            .region(Region.US_EAST_1)
            .build();
    createLeases(dynamo, application);
    // Never called: there is no metrics factory that would. It goes nowhere even so.
    CloudWatchAsyncClient cloudWatch =
        CloudWatchAsyncClient.builder()
            .endpointOverride(kinesisEndpoint)
            .region(Region.US_EAST_1)
            .build();

    ConfigsBuilder configs =
        new ConfigsBuilder(
            new SingleStreamTracker(StreamIdentifier.singleStreamInstance(stream), OLDEST),
            application,
            kinesis,
            dynamo,
            cloudWatch,
            "worker-" + UUID.randomUUID(),
            Printer::new);
    Scheduler scheduler =
        new Scheduler(
            configs.checkpointConfig(),
            configs
                .coordinatorConfig()
                .parentShardPollIntervalMillis(200)
                .schedulerInitializationBackoffTimeMillis(200)
                .shardConsumerDispatchPollIntervalMillis(100),
            configs
                .leaseManagementConfig()
                .failoverTimeMillis(3000)
                .leaseAssignmentIntervalMillis(500L)
                .shardSyncIntervalMillis(1000)
                .leasesRecoveryAuditorExecutionFrequencyMillis(2000),
            configs.lifecycleConfig(),
            configs.metricsConfig().metricsFactory(new NullMetricsFactory()),
            configs.processorConfig(),
            configs
                .retrievalConfig()
                .retrievalSpecificConfig(retrieval(fanOut, kinesis, stream, application)));
    Thread worker = new Thread(scheduler, "worker");
    worker.start();
    endOfInput().await();
    scheduler.startGracefulShutdown().get(40, TimeUnit.SECONDS);
    System.exit(0); // threads of the clients would go on for a while
  }

  /**
   * Makes the table of leases as the library does, but with its index from the beginning: the
   * library adds that later, and dynalite can't add an index to a table.
   */
  private static void createLeases(DynamoDbAsyncClient dynamo, String application) {
    KeySchemaElement.Builder hash = KeySchemaElement.builder().keyType(KeyType.HASH);
    KeySchemaElement.Builder range = KeySchemaElement.builder().keyType(KeyType.RANGE);
    AttributeDefinition.Builder text =
        AttributeDefinition.builder().attributeType(ScalarAttributeType.S);
    dynamo
        .createTable(
            table ->
                table
                    .tableName(application)
                    .billingMode(BillingMode.PAY_PER_REQUEST)
                    .attributeDefinitions(
                        text.attributeName("leaseKey").build(),
                        text.attributeName("leaseOwner").build())
                    .keySchema(hash.attributeName("leaseKey").build())
                    .globalSecondaryIndexes(
                        index ->
                            index
                                .indexName("LeaseOwnerToLeaseKeyIndex")
                                .keySchema(
                                    hash.attributeName("leaseOwner").build(),
                                    range.attributeName("leaseKey").build())
                                .projection(p -> p.projectionType(ProjectionType.KEYS_ONLY))))
        .join();
    dynamo.waiter().waitUntilTableExists(table -> table.tableName(application)).join();
  }

  private static RetrievalSpecificConfig retrieval(
      boolean fanOut, KinesisAsyncClient kinesis, Arn stream, String application) {
    if (fanOut) {
      String name = stream.resource().resource();
      return new FanOutConfig(kinesis).streamName(name).applicationName(application);
    }
    return new PollingConfig(kinesis).idleTimeBetweenReadsInMillis(200);
  }

  private static CountDownLatch endOfInput() {
    CountDownLatch end = new CountDownLatch(1);
    Thread watch =
        new Thread(
            () -> {
              try {
                while (System.in.read() >= 0) {}
              } catch (IOException e) {
                // As good as an end.
              }
              end.countDown();
            });
    watch.setDaemon(true);
    watch.start();
    return end;
  }
}
