#!/usr/bin/env bash
# Verify a webhook: exit 0 when it is genuine, otherwise 1 with the reason.
#
#     WEBHOOK_SECRET=whsec_… WEBHOOK_ID=… WEBHOOK_TIMESTAMP=… WEBHOOK_SIGNATURE=… bash verify.sh body.json

# begin: verify
set -euo pipefail

# verify SECRET ID TIMESTAMP SIGNATURES FILE [NOW]: exit unless the file holds the raw body of a genuine webhook
verify() {
  local key expected signature signatures
  [[ $2 && $4 ]] || refuse "a webhook header is missing"
  [[ $3 =~ ^[0-9]{1,12}$ ]] || refuse "the timestamp is missing or no number"
  local off=$((${6:-$(date +%s)} - 10#$3))
  ((${off#-} <= 300)) || refuse "the timestamp is more than five minutes off"
  key=$(base64 -d <<<"${1#whsec_}" 2>/dev/null | od -An -v -tx1 | tr -d ' \n') || refuse "the secret is not base64"
  ((${#key} >= 48)) || refuse "the secret is missing or incomplete"
  expected=$({ printf '%s.%s.' "$2" "$3"; cat -- "$5"; } |
    openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64 -w 0)
  read -ra signatures <<<"$4"
  for signature in "${signatures[@]}"; do
    if [[ "v1,$expected" == "$signature" ]]; then return; fi
  done
  refuse "no signature matches"
}

refuse() {
  echo "refused: $1" >&2
  exit 1
}
# end: verify

verify "${WEBHOOK_SECRET:-}" "${WEBHOOK_ID:-}" "${WEBHOOK_TIMESTAMP:-}" "${WEBHOOK_SIGNATURE:-}" "$1" "${WEBHOOK_NOW:-}"
