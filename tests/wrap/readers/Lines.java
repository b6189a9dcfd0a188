import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Base64;

/** Reads lines with Java's BufferedReader; prints each in base64. */
class Lines {
  public static void main(String[] words) throws Exception {
    var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      if (!line.isBlank()) {
        byte[] bytes = line.getBytes(StandardCharsets.UTF_8);
        System.err.println(Base64.getEncoder().encodeToString(bytes));
      }
    }
  }
}
