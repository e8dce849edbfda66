package millrace.e2e;

import java.io.FileInputStream;
import java.net.URI;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.List;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.SdkSystemSetting;
import software.amazon.awssdk.core.retry.RetryMode;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;

/**
 * Runs all checks in four ways: over plain HTTP/2 and over TLS, in CBOR, which is the client's
 * default, and in JSON.
 *
 * <p>Arguments: the endpoint http://…, the endpoint https://…, the file of its certificate.
 *
 * <p>Every client is the asynchronous one on Netty with its defaults, which are HTTP/2 by prior
 * knowledge whether with TLS or without; a certificate to trust and no retries are all that is set.
 */
public final class Main {
  private Main() {}

  public static void main(String[] args) throws Exception {
    endWithInput();
    TrustManager[] trust = trustIn(args[2]);
    for (String endpoint : List.of(args[0], args[1])) {
      for (boolean cbor : List.of(true, false)) {
        run(endpoint, cbor, trust);
      }
    }
    System.exit(0); // Netty's threads would go on for a while
  }

  /** Ends the program when whoever started it is gone. */
  private static void endWithInput() {
    Thread watch =
        new Thread(
            () -> {
              try {
                while (System.in.read() >= 0) {}
              } catch (java.io.IOException e) {
                // As good as an end.
              }
              Runtime.getRuntime().halt(1);
            });
    watch.setDaemon(true);
    watch.start();
  }

  private static void run(String endpoint, boolean cbor, TrustManager[] trust) {
    String way = URI.create(endpoint).getScheme() + "-" + (cbor ? "cbor" : "json");
    System.setProperty(
        SdkSystemSetting.CBOR_ENABLED.property(), String.valueOf(cbor)); // read by each new client
    Report report = new Report(way, cbor);
    NettyNioAsyncHttpClient.Builder http =
        NettyNioAsyncHttpClient.builder()
            .readTimeout(Duration.ofSeconds(30))
            .connectionTimeout(Duration.ofSeconds(20));
    if (endpoint.startsWith("https:")) {
      http.tlsTrustManagersProvider(() -> trust);
    }
    try (KinesisAsyncClient client =
        KinesisAsyncClient.builder()
            .endpointOverride(URI.create(endpoint))
            .region(Region.US_EAST_1)
            .credentialsProvider(
                StaticCredentialsProvider.create(AwsBasicCredentials.create("AKIATEST", "secret")))
            .httpClientBuilder(http)
            .overrideConfiguration(
                o ->
                    o.retryStrategy(RetryMode.STANDARD)
                        .retryStrategy(b -> b.maxAttempts(1))
                        .addExecutionInterceptor(report)
                        .apiCallTimeout(Duration.ofMinutes(2)))
            .build()) {
      new Checks(client, way, report).run();
    }
    report.end();
  }

  private static TrustManager[] trustIn(String certificate) throws Exception {
    KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null, null);
    try (FileInputStream file = new FileInputStream(certificate)) {
      store.setCertificateEntry(
          "millrace", CertificateFactory.getInstance("X.509").generateCertificate(file));
    }
    TrustManagerFactory factory =
        TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    factory.init(store);
    return factory.getTrustManagers();
  }
}
