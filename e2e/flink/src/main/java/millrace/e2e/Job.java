package millrace.e2e;

import java.io.IOException;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.kinesis.sink.KinesisStreamsSink;
import org.apache.flink.connector.kinesis.source.KinesisStreamsSource;
import org.apache.flink.connector.kinesis.source.config.KinesisStreamsSourceConfigConstants;
import org.apache.flink.connector.kinesis.source.config.KinesisStreamsSourceConfigConstants.InitialPosition;
import org.apache.flink.kinesis.shaded.org.apache.flink.connector.aws.config.AWSConfigConstants;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.LocalStreamEnvironment;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.SinkFunction;
import org.apache.flink.streaming.connectors.kinesis.FlinkKinesisConsumer;
import org.apache.flink.streaming.connectors.kinesis.config.ConsumerConfigConstants;

/**
 * A job of Flink's on a cluster inside this program. It ends, as a cluster that is lost, when its
 * standard input does; one that writes ends by itself when all is written.
 *
 * <p>Arguments: the endpoint, the stream's ARN, its name, and what to do:
 *
 * <ul>
 *   <li>source: the source by the connector's newer interface, which polls
 *   <li>polling: FlinkKinesisConsumer, which polls
 *   <li>fanout: FlinkKinesisConsumer, which subscribes
 *   <li>sink: write records through the sink, COUNT of them, a further argument
 * </ul>
 *
 * <p>A job that reads prints lines; see {@link Line}.
 */
public final class Job {
  private static final int PARALLELISM = 2;
  private static final long DISCOVERY_MILLIS = 1000;

  private Job() {}

  public static void main(String[] args) throws Exception {
    endWithInput();
    String endpoint = args[0];
    String arn = args[1];
    String name = args[2];
    LocalStreamEnvironment flink = StreamExecutionEnvironment.createLocalEnvironment(PARALLELISM);
    flink.enableCheckpointing(1000);
    switch (args[3]) {
      case "source" ->
          print(
              flink.fromSource(
                  source(endpoint, arn), WatermarkStrategy.noWatermarks(), "source", Types.STRING));
      case "polling" -> print(flink.addSource(consumer(client(endpoint), name)));
      case "fanout" -> print(flink.addSource(consumer(subscriber(endpoint), name)));
      case "sink" ->
          flink
              .fromSequence(0, Long.parseLong(args[4]) - 1)
              .map(i -> "written " + i)
              .sinkTo(sink(endpoint, arn));
      default -> throw new IllegalArgumentException(args[3]);
    }
    flink.execute();
    System.exit(0); // of the sink: threads of the clients would go on for a while
  }

  private static KinesisStreamsSource<String> source(String endpoint, String arn) {
    Configuration config = new Configuration();
    client(endpoint).forEach((k, v) -> config.setString((String) k, (String) v));
    config.set(
        KinesisStreamsSourceConfigConstants.STREAM_INITIAL_POSITION, InitialPosition.TRIM_HORIZON);
    config.set(
        KinesisStreamsSourceConfigConstants.SHARD_DISCOVERY_INTERVAL_MILLIS, DISCOVERY_MILLIS);
    return KinesisStreamsSource.<String>builder()
        .setStreamArn(arn)
        .setSourceConfig(config)
        .setDeserializationSchema(new Line.OfSource())
        .build();
  }

  private static FlinkKinesisConsumer<String> consumer(Properties config, String name) {
    config.setProperty(ConsumerConfigConstants.STREAM_INITIAL_POSITION, "TRIM_HORIZON");
    config.setProperty(
        ConsumerConfigConstants.SHARD_DISCOVERY_INTERVAL_MILLIS, String.valueOf(DISCOVERY_MILLIS));
    return new FlinkKinesisConsumer<>(name, new Line.OfConsumer(), config);
  }

  private static Properties subscriber(String endpoint) {
    Properties config = client(endpoint);
    config.setProperty(ConsumerConfigConstants.RECORD_PUBLISHER_TYPE, "EFO");
    config.setProperty(ConsumerConfigConstants.EFO_CONSUMER_NAME, "flink");
    return config;
  }

  private static KinesisStreamsSink<String> sink(String endpoint, String arn) {
    return KinesisStreamsSink.<String>builder()
        .setStreamArn(arn)
        .setKinesisClientProperties(client(endpoint))
        .setSerializationSchema(new SimpleStringSchema())
        .setPartitionKeyGenerator(text -> text)
        .build();
  }

  private static Properties client(String endpoint) {
    Properties config = new Properties();
    config.setProperty(AWSConfigConstants.AWS_ENDPOINT, endpoint);
    config.setProperty(AWSConfigConstants.AWS_REGION, "us-east-1");
    config.setProperty(AWSConfigConstants.AWS_CREDENTIALS_PROVIDER, "BASIC");
    config.setProperty(AWSConfigConstants.AWS_ACCESS_KEY_ID, "AKIATEST");
    config.setProperty(AWSConfigConstants.AWS_SECRET_ACCESS_KEY, "secret");
    return config;
  }

  private static void print(DataStream<String> lines) {
    lines.addSink(
        new SinkFunction<>() {
          @Override
          public void invoke(String line, Context context) {
            synchronized (System.out) { // all tasks are in this process
              System.out.println(line);
              System.out.flush();
            }
          }
        });
  }

  private static void endWithInput() {
    Thread watch =
        new Thread(
            () -> {
              try {
                while (System.in.read() >= 0) {}
              } catch (IOException e) {
                // As good as an end.
              }
              Runtime.getRuntime().halt(0);
            });
    watch.setDaemon(true);
    watch.start();
  }
}
