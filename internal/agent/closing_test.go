package agent

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/status"
)

// closes reports whether HAProxy closes the connection with its answer.
func closes(url string) (bool, error) {
	client := http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	r, err := client.Get(url)
	if err != nil {
		return false, err
	}
	return r.Close, r.Body.Close()
}

// An agent that was away for longer than its handover lasted finds HAProxy closing
// every connection to a VIP that is here again. Nothing is under way, so none is to be
// closed, also where HAProxy could not be told so at once.
func TestClosingListIsReconciled(t *testing.T) {
	h := newHost(t)
	h.keystone()
	first := h.start()
	first.awaitActive()
	first.awaitKeystone(status.Degraded)
	if err := first.end(); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(h.run, haproxy.ClosingList)
	if err := os.WriteFile(list, []byte("192.0.2.10\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(list+".new", "not empty"), 0o700); err != nil { // where each new list begins
		t.Fatal(err)
	}
	next := h.start()
	next.awaitActive()
	h.await("HAProxy closes", func() bool { yes, err := closes("http://192.0.2.10:5000/v3"); return err == nil && yes })
	h.await("the agent says what is in its way", func() bool {
		return strings.Contains(h.logs.String(), "HAProxy was not told whose clients are to come anew")
	})
	if err := os.RemoveAll(list + ".new"); err != nil {
		t.Fatal(err)
	}
	h.await("HAProxy closes no more", func() bool { yes, err := closes("http://192.0.2.10:5000/v3"); return err == nil && !yes })
	if text, err := os.ReadFile(list); err != nil || len(text) > 0 {
		t.Errorf("the list is %q, %v", text, err)
	}
}
