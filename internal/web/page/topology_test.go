package page

import (
	"strings"
	"testing"
	"time"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
)

// Of several certificates the page tells the end of the one that ends first.
func TestCertificateThatEndsFirst(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	ends := func(days int) status.Certificate {
		return status.Certificate{NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(0, 0, days)}
	}
	first := ends(90)
	c := cloud.Cloud{Time: now, Controllers: []cloud.Controller{{Name: "ctl1", Snapshot: &status.Snapshot{
		VIPs: []status.VIP{{Name: "api", Certificate: &first, MoreCertificates: []status.Certificate{ends(200), ends(-1)}}},
	}}}}
	if n := certificateOf(c, cloud.VIP{Name: "api", Holder: "ctl1"}); n == nil || n.Tone != toneBad || !strings.Contains(n.Text, "ended") {
		t.Errorf("told %+v", n)
	}
}
