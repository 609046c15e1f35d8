// Verify a webhook: exit 0 when it is genuine, otherwise 1 with the reason.
//
//     WEBHOOK_SECRET=whsec_… WEBHOOK_ID=… WEBHOOK_TIMESTAMP=… WEBHOOK_SIGNATURE=… java Verify.java body.json

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.SignatureException;
import java.time.Instant;
import java.util.Base64;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Verify {
    // begin: verify
    /**
     * Throws SignatureException unless the webhook is genuine and less than five minutes off.
     *
     * @param id, seconds, signatures the headers webhook-id, webhook-timestamp and webhook-signature, or null
     * @param body the raw one
     */
    static void verify(String secret, String id, String seconds, String signatures, byte[] body, Instant now)
            throws GeneralSecurityException {
        if (id == null || seconds == null || signatures == null) {
            throw new SignatureException("a webhook header is missing");
        }
        if (!seconds.matches("[0-9]{1,12}")) {
            throw new SignatureException("the timestamp is no number");
        }
        if (Math.abs(now.getEpochSecond() - Long.parseLong(seconds)) > 300) {
            throw new SignatureException("the timestamp is more than five minutes off");
        }
        byte[] key = Base64.getDecoder().decode(secret == null ? "" : secret.replaceFirst("^whsec_", ""));
        if (key.length < 24) { // anybody could sign with an empty key
            throw new SignatureException("the secret is missing or incomplete");
        }
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        mac.update((id + "." + seconds + ".").getBytes(UTF_8));
        byte[] expected = ("v1," + Base64.getEncoder().encodeToString(mac.doFinal(body))).getBytes(UTF_8);
        for (String signature : signatures.split(" ")) {
            if (MessageDigest.isEqual(expected, signature.getBytes(UTF_8))) {
                return;
            }
        }
        throw new SignatureException("no signature matches");
    }
    // end: verify

    public static void main(String[] args) throws Exception {
        String now = System.getenv("WEBHOOK_NOW");
        try {
            verify(
                    System.getenv("WEBHOOK_SECRET"),
                    System.getenv("WEBHOOK_ID"),
                    System.getenv("WEBHOOK_TIMESTAMP"),
                    System.getenv("WEBHOOK_SIGNATURE"),
                    Files.readAllBytes(Path.of(args[0])),
                    now == null ? Instant.now() : Instant.ofEpochSecond(Long.parseLong(now)));
        } catch (GeneralSecurityException | IllegalArgumentException err) {
            System.err.println("refused: " + err.getMessage());
            System.exit(1);
        }
    }
}
