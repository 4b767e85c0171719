package history

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/traffic"
)

// keeper gives one whose clock is at now, and that is told of a request a second.
func keeper(t *testing.T, now *time.Time) *Keeper {
	t.Helper()
	k := New(Options{
		RunDir: t.TempDir(), StateDir: t.TempDir(), Log: slog.New(slog.DiscardHandler),
		Point: func(int64) []traffic.Rate {
			return []traffic.Rate{{Key: traffic.Key{Service: "nova"}, Requests: 10, Failed: 1}}
		},
	})
	k.now = func() time.Time { return *now }
	return k
}

func sum(all []uint64) (n uint64) {
	for _, one := range all {
		n += one
	}
	return n
}

func TestHistory(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	k := keeper(t, &now)
	for name, look := range map[string]func() (traffic.History, error){"hour": k.Hour, "day": k.Day, "month": k.Month} {
		if h, err := look(); err != nil || len(h.Services) > 0 {
			t.Errorf("%s of nothing: %+v, %v", name, h.Services, err)
		}
	}
	var going stretch
	for range 3 * 360 { // three hours
		k.keep(now.UnixNano()/int64(short), &going)
		now = now.Add(short)
	}
	for _, test := range []struct {
		name     string
		look     func() (traffic.History, error)
		step     time.Duration
		points   int
		requests uint64
		known    int
	}{
		{"hour", k.Hour, 10 * time.Second, 360, 3600, 360},
		{"day", k.Day, 5 * time.Minute, 288, 3 * 3600, 36},
		{"month", k.Month, time.Hour, 720, 3 * 3600, 3},
	} {
		h, err := test.look()
		if err != nil || len(h.Services) != 1 {
			t.Fatalf("%s: %+v, %v", test.name, h.Services, err)
		}
		known := 0
		for _, is := range h.Known {
			if is {
				known++
			}
		}
		s := h.Services[0]
		if h.Step != test.step || len(s.Requests) != test.points || sum(s.Requests) != test.requests || sum(s.Failed)*10 != test.requests || known != test.known {
			t.Errorf("%s: steps of %v, %d of them, %d known, %d requests, %d failed", test.name, h.Step, len(s.Requests), known, sum(s.Requests), sum(s.Failed))
		}
	}
	info, err := os.Stat(filepath.Join(k.opt.RunDir, shortFile))
	if err != nil || info.Size() != shorts*traffic.FrameSize {
		t.Errorf("the file of an hour has %d octets, %v", info.Size(), err)
	}
}

// What is torn is left out, and all else stays.
func TestHistoryThatIsTorn(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	k := keeper(t, &now)
	var going stretch
	for range 10 {
		k.keep(now.UnixNano()/int64(short), &going)
		now = now.Add(short)
	}
	path := filepath.Join(k.opt.RunDir, shortFile)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	last := (now.UnixNano()/int64(short) - 1) % shorts * traffic.FrameSize
	if _, err := file.WriteAt([]byte("torn"), last+8); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if h, err := k.Hour(); err != nil || sum(h.Services[0].Requests) != 90 {
		t.Errorf("%d requests are left, %v; want 90", sum(h.Services[0].Requests), err)
	}
	if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if h, err := k.Hour(); err != nil || len(h.Services) > 0 {
		t.Errorf("of another file %+v, %v", h.Services, err)
	}
}

// A disk that takes nothing costs the history only.
func TestHistoryWithoutADisk(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	k := keeper(t, &now)
	k.opt.RunDir = filepath.Join(k.opt.RunDir, "gone")
	k.keep(now.UnixNano()/int64(short), &stretch{})
	if h, err := k.Hour(); err != nil || len(h.Services) > 0 || k.said == "" {
		t.Errorf("%+v, %v, said %q", h.Services, err, k.said)
	}
}

// A stretch that was left out, as while the machine stood still, is missed and no other one
// counted twice; and a clock that is set back makes nothing known twice.
func TestHistoryWithGaps(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	k := keeper(t, &now)
	begin := now.UnixNano() / int64(short)
	var going stretch
	for i := range int64(60) {
		if i != 29 {
			k.keep(begin+i, &going)
		}
		if i == 45 { // and again the last three
			k.keep(begin+43, &going)
			k.keep(begin+44, &going)
			k.keep(begin+45, &going)
		}
	}
	now = now.Add(60 * short)
	day, err := k.Day()
	if err != nil || len(day.Services) != 1 {
		t.Fatal(day.Services, err)
	}
	if got := day.Services[0].Requests[len(day.Known)-2:]; got[0] != 290 || got[1] != 300 {
		t.Errorf("ten minutes have %v requests, want 290 and 300", got)
	}
	for i := range int64(30) { // an hour earlier
		k.keep(begin-360+i, &going)
	}
	if day, err = k.Day(); err != nil || sum(day.Services[0].Requests) != 890 {
		t.Errorf("%d requests, want 890 (%v)", sum(day.Services[0].Requests), err)
	}
}

// A disk that stands still keeps neither the hour, which is in memory, from being written and
// read, nor an end of Run.
func TestHistoryOfADiskThatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := New(Options{RunDir: t.TempDir(), StateDir: t.TempDir(), Log: slog.New(slog.DiscardHandler), Point: func(int64) []traffic.Rate {
			return []traffic.Rate{{Key: traffic.Key{Service: "nova"}, Requests: 10}}
		}})
		disk := make(chan struct{})
		write := k.writeLong
		k.writeLong = func(f traffic.Frame) error {
			<-disk
			return write(f)
		}
		k.readingMonth.Lock() // by one who waits for the disk
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			k.Run(ctx)
			close(ended)
		}()
		time.Sleep(time.Hour + 6*long)
		if h, err := k.Hour(); err != nil || len(h.Services) != 1 || sum(h.Services[0].Requests) < 3580 {
			t.Errorf("%d requests in the hour, %v", sum(h.Services[0].Requests), err)
		}
		cancel()
		<-ended
		close(disk)
	})
}
