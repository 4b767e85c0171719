package agent

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// checkCapabilities gives an error unless the process may do what an agent
// does to the network: it would else run, and never hold a VIP.
func checkCapabilities() error {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fmt.Errorf("read the process's capabilities: %w", err)
	}
	lacking, err := lackingCapabilities(string(text))
	if err != nil {
		return err
	}
	if len(lacking) > 0 {
		return fmt.Errorf("an agent needs %s, for its addresses and adverts; run it as root, or from its systemd unit", strings.Join(lacking, " and "))
	}
	return nil
}

// lackingCapabilities names those that an agent needs and that a process with
// the status text of proc(5) does not have in effect.
func lackingCapabilities(text string) ([]string, error) {
	for line := range strings.Lines(text) {
		var effective uint64
		if _, err := fmt.Sscanf(line, "CapEff: %x", &effective); err != nil {
			continue
		}
		var lacking []string
		for _, c := range []struct {
			bit  int
			name string
		}{
			{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"},
			{unix.CAP_NET_RAW, "CAP_NET_RAW"},
		} {
			if effective&(1<<c.bit) == 0 {
				lacking = append(lacking, c.name)
			}
		}
		return lacking, nil
	}
	return nil, errors.New("read the process's capabilities: no line CapEff in /proc/self/status")
}
