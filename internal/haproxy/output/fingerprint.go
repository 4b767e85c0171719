package output

import (
	"errors"
	"strings"
)

// ParseFingerprint reads the fingerprint out of the reply to "show ssl cert
// FILE" (management guide 9.3): SHA-1 in upper case hex digits.
func ParseFingerprint(reply []byte) (string, error) {
	for line := range strings.Lines(string(reply)) {
		if value, ok := strings.CutPrefix(line, "SHA1 FingerPrint: "); ok {
			if value = strings.TrimSpace(value); value != "" {
				return value, nil
			}
		}
	}
	return "", errors.New(`the reply to "show ssl cert" has no fingerprint`)
}
