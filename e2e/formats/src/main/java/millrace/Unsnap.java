package millrace;

import java.io.FileInputStream;
import org.xerial.snappy.SnappyInputStream;

/** Reads a stream of snappy-java from a file and writes what it holds: Unsnap FILE. */
public final class Unsnap {
  private Unsnap() {}

  public static void main(String[] args) throws Exception {
    try (SnappyInputStream in = new SnappyInputStream(new FileInputStream(args[0]))) {
      in.transferTo(System.out);
    }
    System.out.flush();
  }
}
