package output_test

import (
	"fmt"

	"holdfast/internal/haproxy/output"
)

// What "haproxy -c" says, in values.
func ExampleParseMessages() {
	for _, m := range output.ParseMessages("[ALERT]    (14368) : config : parsing [haproxy.cfg:28] : 'hash-type' only supports 'map-based'.\n") {
		fmt.Println(m.Severity, m.File, m.Line, m.Text)
	}
	// Output:
	// ALERT haproxy.cfg 28 'hash-type' only supports 'map-based'.
}
