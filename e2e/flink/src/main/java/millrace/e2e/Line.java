package millrace.e2e;

import java.nio.charset.StandardCharsets;
import java.util.Base64;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.connector.kinesis.source.serialization.KinesisDeserializationSchema;
import org.apache.flink.kinesis.shaded.software.amazon.awssdk.services.kinesis.model.Record;
import org.apache.flink.util.Collector;

/**
 * Makes a line of a record: "record", the shard, the sequence number, and in base64 the key and the
 * data, with tabs between.
 */
final class Line {
  private Line() {}

  static String of(String shard, String sequence, String key, byte[] data) {
    Base64.Encoder base64 = Base64.getEncoder();
    return String.join(
        "\t",
        "record",
        shard,
        sequence,
        base64.encodeToString(key.getBytes(StandardCharsets.UTF_8)),
        base64.encodeToString(data));
  }

  /** As the newer source asks for it. */
  static final class OfSource implements KinesisDeserializationSchema<String> {
    @Override
    public void deserialize(Record record, String stream, String shard, Collector<String> out) {
      out.collect(
          of(shard, record.sequenceNumber(), record.partitionKey(), record.data().asByteArray()));
    }

    @Override
    public TypeInformation<String> getProducedType() {
      return Types.STRING;
    }
  }

  /** As FlinkKinesisConsumer asks for it. */
  static final class OfConsumer
      implements org.apache.flink.streaming.connectors.kinesis.serialization
              .KinesisDeserializationSchema<
          String> {
    @Override
    public String deserialize(
        byte[] data, String key, String sequence, long arrival, String stream, String shard) {
      return of(shard, sequence, key, data);
    }

    @Override
    public TypeInformation<String> getProducedType() {
      return Types.STRING;
    }
  }
}
