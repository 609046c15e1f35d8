// Verify a webhook with a public key: exit 0 when it is genuine, otherwise 1 with the reason.
//
//     WEBHOOK_PUBLIC_KEY=whpk_… WEBHOOK_ID=… WEBHOOK_TIMESTAMP=… WEBHOOK_SIGNATURE=… java VerifyV1a.java body.json

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.SignatureException;
import java.security.spec.X509EncodedKeySpec;
import java.time.Instant;
import java.util.Base64;
import java.util.HexFormat;

public class VerifyV1a {
    // begin: verify
    /**
     * Throws SignatureException unless the webhook is genuine and less than five minutes off.
     *
     * @param id, seconds, signatures the headers webhook-id, webhook-timestamp and webhook-signature, or null
     * @param body the raw one
     */
    static void verify(String publicKey, String id, String seconds, String signatures, byte[] body, Instant now)
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
        byte[] raw = Base64.getDecoder().decode(publicKey == null ? "" : publicKey.replaceFirst("^whpk_", ""));
        // what X.509 writes before the 32 bytes of an ed25519 key
        String spki = "302a300506032b6570032100" + HexFormat.of().formatHex(raw);
        PublicKey key = KeyFactory.getInstance("Ed25519")
                .generatePublic(new X509EncodedKeySpec(HexFormat.of().parseHex(spki)));
        for (String each : signatures.split(" ")) {
            if (each.startsWith("v1a,")) {
                Signature signature = Signature.getInstance("Ed25519");
                signature.initVerify(key);
                signature.update((id + "." + seconds + ".").getBytes(UTF_8));
                signature.update(body);
                try {
                    if (signature.verify(Base64.getDecoder().decode(each.substring(4)))) {
                        return;
                    }
                } catch (SignatureException | IllegalArgumentException malformed) {
                    // the next one may match
                }
            }
        }
        throw new SignatureException("no signature matches");
    }
    // end: verify

    public static void main(String[] args) throws Exception {
        String now = System.getenv("WEBHOOK_NOW");
        try {
            verify(
                    System.getenv("WEBHOOK_PUBLIC_KEY"),
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
