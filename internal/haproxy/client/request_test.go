package client

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
)

func TestStaysOpen(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(net.Conn)
		want string
	}{
		{"speaks first", func(c net.Conn) { _, _ = io.WriteString(c, "hello") }, ""},
		{"waits", func(net.Conn) {}, ""},
		{"closes", func(c net.Conn) { _ = c.Close() }, "closed at once"},
	} {
		synctest.Test(t, func(t *testing.T) {
			here, there := net.Pipe()
			defer here.Close()
			defer there.Close()
			go c.do(there)
			if err := staysOpen(here); (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", c.name, err, c.want)
			}
		})
	}
}
