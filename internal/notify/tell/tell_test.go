package tell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/incident"
	"holdfast/internal/notify"
	"holdfast/internal/peer"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/tick"
)

// A bench is three controllers whose agents ask each other without a network.
type bench struct {
	t       *testing.T
	spec    *spec.Spec
	journal []status.Event // of all, as ctl2 told them
	tellers map[string]*Teller
	end     map[string]func()

	mu       sync.Mutex // guards following
	told     []string   // by whom, what
	fails    int        // how many messages are not taken
	findings map[string]*status.Finding
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, tellers: map[string]*Teller{}, end: map[string]func(){}, findings: map[string]*status.Finding{}}
	b.spec = &spec.Spec{Cloud: "test", Notify: spec.Notify{Webhook: "https://hook.example.org/secret", After: 10 * time.Second}}
	for _, name := range []string{"ctl1", "ctl2", "ctl3"} {
		b.spec.Controllers = append(b.spec.Controllers, spec.Controller{Name: name})
	}
	return b
}

// start starts the agent of a controller, with what an earlier one left in dir.
func (b *bench) start(name, dir string) {
	ctx, end := context.WithCancel(b.t.Context())
	events := make(chan status.Event)
	t := New(Options{
		Controller: name, StateDir: dir, Log: slog.New(slog.DiscardHandler), Spec: func() *spec.Spec { return b.spec },
		Follow:   func() (<-chan status.Event, func()) { return events, func() {} },
		Journals: b.journals, Now: time.Now,
		Ask: func(ctx context.Context, controller, command string, req, resp any) error {
			return b.ask(ctx, name, controller, command, req, resp)
		},
		SetFinding: func(key string, f *status.Finding) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.findings[key] = f
		},
	})
	t.mails.post = func(_ context.Context, _ string, m notify.Message, _ []byte) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.fails > 0 {
			b.fails--
			return errors.New("answered 500")
		}
		b.told = append(b.told, fmt.Sprintf("%s: %s %s", name, m.Incident.ID, m.State))
		return nil
	}
	b.mu.Lock()
	b.tellers[name] = t
	b.mu.Unlock()
	ended := make(chan struct{})
	t.Load()
	go func() { t.Watch(ctx); close(ended) }()
	b.end[name] = func() {
		b.mu.Lock()
		delete(b.tellers, name)
		b.mu.Unlock()
		end()
		<-ended
	}
}

func (b *bench) journals(context.Context) (all []incident.Journal, silent []string) {
	for _, c := range b.spec.Controllers {
		b.mu.Lock()
		_, runs := b.tellers[c.Name]
		b.mu.Unlock()
		if !runs {
			silent = append(silent, c.Name)
		}
	}
	return []incident.Journal{{Controller: "ctl2", Events: b.journal}}, silent
}

func (b *bench) ask(ctx context.Context, from, controller, command string, req, resp any) error {
	b.mu.Lock()
	to := b.tellers[controller]
	b.mu.Unlock()
	if to == nil {
		return &peer.Error{Controller: controller, Err: errors.New("no route")}
	}
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	answer, err := to.Commands()[command](ctx, from, body)
	if err != nil {
		return err
	}
	body, err = json.Marshal(answer)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, resp)
}

// happens puts an event into ctl2's journal, and pokes those agents that run.
func (b *bench) happens(kind string) {
	b.journal = append(b.journal, status.Event{
		Time: time.Now(), Controller: "ctl2", Seq: uint64(len(b.journal) + 1), Kind: kind, Subject: "service nova on ctl3", Text: "nova " + kind,
	})
	for _, t := range b.tellers {
		tick.Wake(t.wake)
	}
}

// expect waits, and holds what was told by then to want.
func (b *bench) expect(wait time.Duration, want ...string) {
	b.t.Helper()
	time.Sleep(wait)
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.told, want) {
		b.t.Errorf("told %q, want %q", b.told, want)
	}
}

// TestThreeControllersTellOnce has the one that tells be lost, and come back.
func TestThreeControllersTellOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		dir := t.TempDir()
		b.start("ctl1", dir)
		b.start("ctl2", t.TempDir())
		b.start("ctl3", t.TempDir())
		b.happens(status.EventHostDown)
		b.expect(8 * time.Second)
		b.expect(12*time.Second, "ctl1: ctl2-1 open")
		b.end["ctl1"]()
		b.happens(status.EventHostUp)
		b.expect(2*time.Minute, "ctl1: ctl2-1 open", "ctl2: ctl2-1 over")
		b.start("ctl1", dir)
		b.expect(time.Minute, "ctl1: ctl2-1 open", "ctl2: ctl2-1 over")
		b.happens(status.EventHostDown)
		b.expect(time.Minute, "ctl1: ctl2-1 open", "ctl2: ctl2-1 over", "ctl1: ctl2-3 open")
		for _, end := range b.end {
			end()
		}
	})
}

// TestRestart has one that is alone know what it told before, although another agent speaks
// to it before it watches.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.spec.Controllers = b.spec.Controllers[:1]
		dir := t.TempDir()
		b.start("ctl1", dir)
		b.happens(status.EventHostDown)
		b.expect(time.Minute, "ctl1: ctl2-1 open")
		b.end["ctl1"]()
		b.start("ctl1", dir)
		b.tellers["ctl1"].learn([]notify.Mark{{ID: "ctl3-9", State: "over", At: time.Now()}})
		b.expect(time.Minute, "ctl1: ctl2-1 open")
		b.end["ctl1"]()
		b.start("ctl1", dir)
		b.mu.Lock()
		kept := b.tellers["ctl1"].newest()
		b.mu.Unlock()
		if len(kept) != 2 {
			t.Errorf("it keeps %+v", kept)
		}
		b.end["ctl1"]()
	})
}

// TestManyWait has more incidents than messages that may wait, while nobody takes any: each
// is told when that is over.
func TestManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.spec.Controllers = b.spec.Controllers[:1]
		b.fails = 10
		for i := range 2 * waiting { // a certificate each: nothing is near
			b.journal = append(b.journal, status.Event{
				Time: time.Now(), Controller: "ctl2", Seq: uint64(i + 1), Kind: "certificate-refused",
				Subject: fmt.Sprintf("vip v%d", i), Text: "refused",
			})
		}
		b.start("ctl1", t.TempDir())
		time.Sleep(50 * time.Minute)
		b.end["ctl1"]()
		if slices.Sort(b.told); len(slices.Compact(b.told)) != len(b.told) || len(b.told) != 2*waiting {
			t.Errorf("%d messages were taken of %d: %q", len(b.told), 2*waiting, b.told)
		}
	})
}

// TestOneOfThreeWaits for the others, which may be well and tell it.
func TestOneOfThreeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start("ctl1", t.TempDir())
		b.happens(status.EventHostDown)
		b.expect(time.Minute)
		b.expect(2*time.Minute, "ctl1: ctl2-1 open")
		b.end["ctl1"]()
	})
}

// TestNotTakenIsSentAgain until it is, and says so meanwhile.
func TestNotTakenIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.fails = 5
		b.spec.Controllers = b.spec.Controllers[:1]
		b.start("ctl1", t.TempDir())
		b.happens(status.EventHostDown)
		b.expect(20 * time.Second)
		b.mu.Lock()
		if f := b.findings["notify-fails"]; f == nil || strings.Contains(f.Text, "secret") || !strings.Contains(f.Text, "answered 500") {
			t.Errorf("the finding is %v", f)
		}
		b.mu.Unlock()
		b.expect(time.Minute, "ctl1: ctl2-1 open")
		if f := b.findings["notify-fails"]; f != nil {
			t.Errorf("it is told, and the finding is %v", f)
		}
		b.end["ctl1"]()
	})
}

// TestGivesUp after an hour, and tells the next one.
func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.fails = 1 << 20
		b.spec.Controllers = b.spec.Controllers[:1]
		b.start("ctl1", t.TempDir())
		b.happens(status.EventHostDown)
		time.Sleep(2 * time.Hour)
		b.mu.Lock()
		tries := 1<<20 - b.fails
		b.fails = 0
		b.mu.Unlock()
		if tries < 10 || tries > 40 {
			t.Errorf("it was sent %d times in an hour", tries)
		}
		b.happens(status.EventHostUp)
		b.expect(time.Minute, "ctl1: ctl2-1 over")
		b.end["ctl1"]()
	})
}

// TestNobodyIsTold where the spec names nobody.
func TestNobodyIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.spec.Notify = spec.Notify{}
		b.start("ctl1", t.TempDir())
		b.happens(status.EventHostDown)
		b.expect(time.Hour)
		b.end["ctl1"]()
	})
}

func message() notify.Message {
	return notify.NewMessage("test", "ctl1", incident.Incident{ID: "ctl2-1", State: incident.Open, Text: "nova is down"})
}

func TestPost(t *testing.T) {
	var got *http.Request
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/moved-secret":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "/broken-secret":
			w.WriteHeader(http.StatusBadGateway)
		case "/lost-secret":
			w.Header().Set("Location", "http://[secret/")
			w.WriteHeader(http.StatusFound)
		}
	}))
	defer server.Close()
	if err := post(t.Context(), server.URL+"/secret?token=x", message(), []byte(`{"schema":1}`)); err != nil {
		t.Fatal(err)
	}
	if got.Method != "POST" || got.Header.Get("Content-Type") != "application/json" || got.Header.Get("Holdfast-Incident") != "ctl2-1" || string(body) != `{"schema":1}` {
		t.Errorf("it got %s %v %q", got.Method, got.Header, body)
	}
	for path, want := range map[string]string{"/moved-secret": "answered 302 Found", "/lost-secret": "was not reached", "/broken-secret": "answered 502 Bad Gateway"} {
		err := post(t.Context(), server.URL+path, message(), nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q and no secret", path, err, want)
		}
	}
	server.Close()
	if err := post(t.Context(), server.URL+"/secret", message(), nil); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("with nobody there: %v", err)
	}
}

func TestExecute(t *testing.T) {
	file := filepath.Join(t.TempDir(), "got")
	script := `cat > "$1"; echo "$HOLDFAST_INCIDENT $HOLDFAST_STATE" >> "$1"`
	if err := execute(t.Context(), []string{"/bin/sh", "-c", script, "page", file}, message(), []byte("body\n")); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "body\nctl2-1 open\n" {
		t.Errorf("it got %q, %v", got, err)
	}
	if err := execute(t.Context(), []string{"/bin/sh", "-c", "exit 3"}, message(), nil); err == nil || err.Error() != "command /bin/sh: exit status 3" {
		t.Errorf("one that fails: %v", err)
	}
	// One that does not end is ended, with its children.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := execute(ctx, []string{"/bin/sh", "-c", "sleep 600 & wait"}, message(), nil); err == nil || !strings.Contains(err.Error(), "it took longer") {
		t.Errorf("one that does not end: %v", err)
	}
}

// TestWebhookFile reads the URL from the file, as it is by then.
func TestWebhookFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "webhook")
	var posted string
	m := newMails(Options{}, nil)
	m.post = func(_ context.Context, url string, _ notify.Message, _ []byte) error { posted = url; return nil }
	var has bool
	if err := m.webhook(t.Context(), spec.Notify{WebhookFile: file}, &has, message(), nil); err == nil || has {
		t.Errorf("without the file: %v, %v", err, has)
	}
	if err := os.WriteFile(file, []byte(" https://hook.example.org/secret \nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.webhook(t.Context(), spec.Notify{WebhookFile: file}, &has, message(), nil); err != nil || !has || posted != "https://hook.example.org/secret" {
		t.Errorf("posted to %q, %v, %v", posted, has, err)
	}
	if err := m.webhook(t.Context(), spec.Notify{WebhookFile: file + "-gone"}, &has, message(), nil); err != nil {
		t.Errorf("who has it needs no file: %v", err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	has = false
	if err := m.webhook(t.Context(), spec.Notify{WebhookFile: pipe}, &has, message(), nil); err == nil || !strings.Contains(err.Error(), "is no file") {
		t.Errorf("a pipe that nobody writes to: %v", err)
	}
}
