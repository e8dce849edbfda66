package millrace.e2e;

import java.nio.charset.StandardCharsets;
import java.util.Base64;
import software.amazon.kinesis.exceptions.InvalidStateException;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.retrieval.KinesisClientRecord;

/**
 * Prints what happens to one shard, in lines of fields with tabs between them; data is in base64:
 *
 * <pre>
 * begin  SHARD POSITION
 * record SHARD SEQUENCE KEY DATA
 * end    SHARD
 * lost   SHARD
 * </pre>
 *
 * A line is printed before its record is checkpointed, so that none goes unseen.
 */
final class Printer implements ShardRecordProcessor {
  private String shard;

  @Override
  public void initialize(InitializationInput input) {
    shard = input.shardId();
    print("begin", shard, input.extendedSequenceNumber().sequenceNumber());
  }

  @Override
  public void processRecords(ProcessRecordsInput input) {
    for (KinesisClientRecord record : input.records()) {
      byte[] data = new byte[record.data().remaining()];
      record.data().get(data);
      print(
          "record",
          shard,
          record.sequenceNumber(),
          text(record.partitionKey()),
          Base64.getEncoder().encodeToString(data));
    }
    if (!input.records().isEmpty()) {
      checkpoint(input.checkpointer());
    }
  }

  @Override
  public void shardEnded(ShardEndedInput input) {
    print("end", shard);
    checkpoint(input.checkpointer());
  }

  @Override
  public void leaseLost(LeaseLostInput input) {
    print("lost", shard);
  }

  @Override
  public void shutdownRequested(ShutdownRequestedInput input) {
    checkpoint(input.checkpointer());
  }

  private static void checkpoint(RecordProcessorCheckpointer checkpointer) {
    try {
      checkpointer.checkpoint();
    } catch (ShutdownException e) {
      // Another worker has the shard, and goes on from the checkpoint before.
    } catch (InvalidStateException e) {
      throw new IllegalStateException(e);
    }
  }

  /** A key as it may stand between tabs. */
  private static String text(String key) {
    return Base64.getEncoder().encodeToString(key.getBytes(StandardCharsets.UTF_8));
  }

  private static synchronized void print(String... fields) {
    System.out.println(String.join("\t", fields));
    System.out.flush();
  }
}
