package process

import (
	"bytes"
	"context"

	"holdfast/internal/haproxy"
)

// Plan tells what Apply would do with cfg at this moment, to the HAProxy that
// runs, and touches nothing. Without one that can be asked the Change says why
// it takes a reload; where it has cfg already the Change is empty.
func (m *Manager) Plan(ctx context.Context, cfg *haproxy.Config) haproxy.Change {
	from := m.config()
	if from == nil {
		return haproxy.Change{Reload: haproxy.Unknown}
	}
	if m.halfChanged() {
		return haproxy.Change{Reload: "an earlier change was left half done"}
	}
	if bytes.Equal(from.Bytes(), cfg.Bytes()) {
		return haproxy.Change{}
	}
	w, err := m.worker(ctx)
	if err != nil {
		return haproxy.Change{Reload: err.Error()}
	}
	return haproxy.PlanChange(from, cfg, w)
}
