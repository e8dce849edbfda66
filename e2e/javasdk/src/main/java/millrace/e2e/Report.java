package millrace.e2e;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;

/**
 * Prints what the checks find, as lines of four fields with tabs between them: the way, "check" or
 * "operation", its state, its name; a fifth field tells why. It listens to the client, so that it
 * knows what each operation was sent as and whether the server knows it.
 */
final class Report implements ExecutionInterceptor {
  private static final String CBOR = "application/x-amz-cbor-1.1";
  private static final String JSON = "application/x-amz-json-1.1";

  private final String way;
  private final boolean cbor;
  private final Set<String> served = new ConcurrentSkipListSet<>();
  private final Set<String> refused = new ConcurrentSkipListSet<>();
  private final Set<String> wrong = new ConcurrentSkipListSet<>();

  Report(String way, boolean cbor) {
    this.way = way;
    this.cbor = cbor;
  }

  /** A step that may throw anything. */
  interface Step {
    void run() throws Exception;
  }

  /**
   * Runs a step; one whose operation the server refuses as a whole is told apart from one that
   * fails.
   */
  void check(String name, Step step) {
    try {
      step.run();
      line("check", "ok", name, "");
    } catch (Throwable t) {
      Throwable cause = causeOf(t);
      if (unknown(cause)) {
        line("check", "refused", name, cause.getMessage());
        return;
      }
      StringWriter trace = new StringWriter();
      cause.printStackTrace(new PrintWriter(trace));
      line("check", "failed", name, trace.toString());
    }
  }

  /** Tells of the operations, at the end. */
  void end() {
    served.forEach(o -> line("operation", "served", o, ""));
    refused.forEach(o -> line("operation", "refused", o, ""));
    wrong.forEach(w -> line("check", "failed", "content types", w));
    line("end", "ok", "", "");
  }

  @Override
  public void beforeTransmission(
      Context.BeforeTransmission context, ExecutionAttributes attributes) {
    // SubscribeToShard is the one operation that the client always sends, and has answered, in
    // JSON.
    String operation = operationOf(context.request());
    String want = cbor && !operation.equals("SubscribeToShard") ? CBOR : JSON;
    String sent = context.httpRequest().firstMatchingHeader("Content-Type").orElse("nothing");
    if (!sent.equals(want)) {
      wrong.add(operation + " was sent as " + sent);
    }
  }

  @Override
  public void afterTransmission(Context.AfterTransmission context, ExecutionAttributes attributes) {
    String operation = operationOf(context.request());
    String want = cbor && !operation.equals("SubscribeToShard") ? CBOR : JSON;
    if (operation.equals("SubscribeToShard") && context.httpResponse().isSuccessful()) {
      want = "application/vnd.amazon.eventstream";
    }
    String got = context.httpResponse().firstMatchingHeader("Content-Type").orElse("nothing");
    if (!got.equals(want)) {
      wrong.add(operation + " was answered as " + got);
    }
  }

  @Override
  public void afterExecution(Context.AfterExecution context, ExecutionAttributes attributes) {
    served.add(operationOf(context.request()));
  }

  @Override
  public void onExecutionFailure(Context.FailedExecution context, ExecutionAttributes attributes) {
    Throwable cause = causeOf(context.exception());
    if (unknown(cause)) {
      refused.add(operationOf(context.request()));
    } else if (cause instanceof AwsServiceException) {
      served.add(operationOf(context.request())); // an error of the operation's own is an answer
    }
  }

  static Throwable causeOf(Throwable t) {
    while (t instanceof java.util.concurrent.CompletionException && t.getCause() != null) {
      t = t.getCause();
    }
    return t;
  }

  private static boolean unknown(Throwable t) {
    return t instanceof AwsServiceException e
        && e.awsErrorDetails() != null
        && "UnknownOperationException".equals(e.awsErrorDetails().errorCode());
  }

  private static String operationOf(Object request) {
    return request.getClass().getSimpleName().replaceFirst("Request$", "");
  }

  private void line(String kind, String state, String name, String why) {
    String text = why == null ? "" : why.replace("\t", "  ").replace("\n", "\\n");
    System.out.println(String.join("\t", way, kind, state, name, text));
    System.out.flush();
  }
}
