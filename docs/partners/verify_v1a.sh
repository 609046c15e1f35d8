#!/usr/bin/env bash
# Verify a webhook with a public key: exit 0 when it is genuine, otherwise 1 with the reason.
#
#     WEBHOOK_PUBLIC_KEY=whpk_… WEBHOOK_ID=… WEBHOOK_TIMESTAMP=… WEBHOOK_SIGNATURE=… bash verify_v1a.sh body.json

# begin: verify
set -euo pipefail

# verify PUBLIC_KEY ID TIMESTAMP SIGNATURES FILE [NOW]: exit unless the file holds the raw body of a genuine webhook
verify() {
  local signature signatures
  [[ $2 && $4 ]] || refuse "a webhook header is missing"
  [[ $3 =~ ^[0-9]{1,12}$ ]] || refuse "the timestamp is missing or no number"
  local off=$((${6:-$(date +%s)} - 10#$3))
  ((${off#-} <= 300)) || refuse "the timestamp is more than five minutes off"
  files=$(mktemp -d)
  trap 'rm -r "$files"' EXIT
  # what X.509 writes before the 32 bytes of an ed25519 key
  printf '\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00' >"$files/key"
  base64 -d <<<"${1#whpk_}" >>"$files/key" 2>/dev/null || refuse "the public key is not base64"
  { printf '%s.%s.' "$2" "$3"; cat -- "$5"; } >"$files/signed"
  read -ra signatures <<<"$4"
  for signature in "${signatures[@]}"; do
    [[ $signature == v1a,* ]] || continue
    base64 -d <<<"${signature#v1a,}" >"$files/signature" 2>/dev/null || continue
    if openssl pkeyutl -verify -pubin -keyform DER -inkey "$files/key" \
      -rawin -in "$files/signed" -sigfile "$files/signature" &>/dev/null; then return; fi
  done
  refuse "no signature matches"
}

refuse() {
  echo "refused: $1" >&2
  exit 1
}
# end: verify

verify "${WEBHOOK_PUBLIC_KEY:-}" "${WEBHOOK_ID:-}" "${WEBHOOK_TIMESTAMP:-}" "${WEBHOOK_SIGNATURE:-}" "$1" "${WEBHOOK_NOW:-}"
