package spec_test

import (
	"strings"
	"testing"

	"holdfast/internal/spec"
)

func TestParseList(t *testing.T) {
	all, err := spec.ParseList([]byte("# who\r\n192.0.2.1\r\n  10.0.0.0/8 # all\r\n\r\n2001:db8::/32\n::ffff:192.0.2.2"))
	if err != nil || len(all) != 4 || all[0].String() != "192.0.2.1/32" || all[3].String() != "192.0.2.2/32" {
		t.Errorf("%v, %v", all, err)
	}
	for text, want := range map[string]string{
		"\ufeff10.0.0.1\n":                       "line 1: ",
		"10.0.0.1/8":                             "write 10.0.0.0/8, or 10.0.0.1",
		"fe80::1%eth0":                           "neither",
		"10.0.0.1 10.0.0.2":                      "neither",
		strings.Repeat("10.0.0.1\n", 9) + "\x00": "line 10",
	} {
		if all, err := spec.ParseList([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %s", text, all, err, want)
		}
	}
}
