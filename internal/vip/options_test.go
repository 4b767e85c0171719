package vip

import (
	"strings"
	"testing"
	"time"
)

func TestNewSaysAllThatIsWrong(t *testing.T) {
	tests := []struct {
		name    string
		options Options
		want    []string // one line each
	}{
		{"nothing", Options{Name: "api"}, []string{"no address", `interface ""`}},
		{
			"addresses",
			Options{Interface: "eth0", Addresses: prefixes("10.0.0.1/24", "10.0.0.1/32", "::ffff:10.0.0.2/120", "ff02::1/64")},
			[]string{"10.0.0.1 is there twice", "::ffff:10.0.0.2/120 cannot", "ff02::1/64 cannot"},
		},
		{"interface", Options{Interface: "averylongname.100", Addresses: prefixes("10.0.0.1/24")}, []string{"1 to 15 characters"}},
		{"path", Options{Interface: "../eth0", Addresses: prefixes("10.0.0.1/24")}, []string{"../eth0"}},
		{"device", Options{Interface: "eth0", Device: "ipvlan", Addresses: prefixes("10.0.0.1/24")}, []string{"ipvlan"}},
		{"router id", Options{Interface: "eth0", Device: Macvlan, RouterID: 256, Addresses: prefixes("10.0.0.1/24")}, []string{"256"}},
		{"lease", Options{Interface: "eth0", Lease: 1500 * time.Millisecond, Addresses: prefixes("10.0.0.1/24")}, []string{"1.5s"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.options)
			if err == nil {
				t.Fatal("no error")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Fatalf("%d errors, want %d: %v", len(lines), len(tt.want), err)
			}
			for i, want := range tt.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("error %q does not say %q", lines[i], want)
				}
			}
		})
	}
}

func TestNewTakesWhatIsRight(t *testing.T) {
	a, err := New(Options{Interface: "eth0", Addresses: prefixes("10.0.0.1/24", "fd00::1/64")})
	if err != nil {
		t.Fatal(err)
	}
	if a.seconds != 2 || len(a.devices) != 1 {
		t.Errorf("lease %d s on %d devices, want 2 s on one", a.seconds, len(a.devices))
	}
}
