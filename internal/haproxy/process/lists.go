package process

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"holdfast/internal/haproxy"
)

// listBatch is how many entries of a list a command has: its line is bounded by a buffer.
const listBatch = 50

// SetList has HAProxy use all, and nothing else, as the list that it has read from file:
// from one moment to the next. While none runs it is for the next one, which reads the file.
func (m *Manager) SetList(ctx context.Context, file string, all []netip.Prefix) error {
	if m.current() == nil {
		return nil
	}
	name := haproxy.CLIWord(file)
	reply, err := m.Runtime(ctx, "prepare acl "+name)
	if err != nil {
		return fmt.Errorf("change the list %s: %w", file, err)
	}
	_, version, ok := strings.Cut(strings.TrimSpace(reply), "New version created: ")
	if !ok || version == "" || strings.Trim(version, "0123456789") != "" {
		return fmt.Errorf("change the list %s: HAProxy says %q", file, strings.TrimSpace(reply))
	}
	for part := range slices.Chunk(all, listBatch) {
		commands := make([]string, len(part))
		for i, p := range part {
			commands[i] = "add acl @" + version + " " + name + " " + p.String()
		}
		if _, err := m.Runtime(ctx, strings.Join(commands, ";")); err != nil {
			return fmt.Errorf("change the list %s: %w", file, err)
		}
	}
	if _, err := m.Runtime(ctx, "commit acl @"+version+" "+name); err != nil {
		return fmt.Errorf("change the list %s: %w", file, err)
	}
	return nil
}
