package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/haproxy/runtime"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// newHashBench makes a bench whose hosts are controllers, with agents, and
// whose clients go to hosts by their tokens.
func newHashBench(t testing.TB) *bench {
	t.Helper()
	b := newBench(t)
	b.spec.Services[0].Affinity = spec.AffinityToken
	for i, name := range []string{"a", "b", "c", "d"} {
		b.spec.Controllers = append(b.spec.Controllers, spec.Controller{Name: name, Address: b.addr(11 + i)})
		newAgent(t, netip.AddrPortFrom(b.addr(11+i), uint16(b.spec.Agent.CheckPort)))
	}
	b.backends["d"] = newStandIn(t, "d", netip.AddrPortFrom(b.addr(14), uint16(b.port)))
	return b
}

// newAgent answers agent checks at an address: all hosts are ready.
func newAgent(t testing.TB, at netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(time.Second))
				r := bufio.NewReader(c)
				for {
					x, err := r.ReadByte()
					if err != nil {
						return
					}
					if x == '\n' || x == '\r' {
						fmt.Fprintln(c, "up ready")
						return
					}
				}
			}()
		}
	}()
}

func (b *bench) add(name string, n int) {
	b.spec.Services[0].Hosts = append(b.spec.Services[0].Hosts, spec.Host{Name: name, Address: b.addr(n)})
}

// change applies the spec, which must be done without a reload, and waits
// until the hosts that are up are those named.
func (b *bench) change(m *Manager, done, up string) Result {
	b.t.Helper()
	r, err := m.Apply(b.t.Context(), b.cfg())
	if err != nil || r.Action != Changed || r.Why != done {
		b.t.Fatalf("%v: %q, %v; want it changed: %q", r.Action, r.Why, err, done)
	}
	b.awaitUp(m, up)
	return r
}

// awaitUp waits until the hosts that are up in both backends are those named.
func (b *bench) awaitUp(m *Manager, names string) {
	b.t.Helper()
	eventually(b.t, names+" up", func() bool {
		reply, err := m.Runtime(b.t.Context(), "show stat")
		if err != nil {
			return false
		}
		rows, err := output.ParseStat([]byte(reply))
		if err != nil {
			return false
		}
		up := map[string]string{}
		for _, r := range rows {
			if r.Kind == output.KindServer && strings.HasPrefix(r.Status, "UP") && r.CheckStatus != "INI" && !strings.HasSuffix(r.Name, ":last") {
				up[r.Proxy] += r.Name
			}
		}
		return up["api"] == names && up["api:once"] == names
	})
}

// where tells which host each of some tokens leads to, in both backends.
func (b *bench) where() string {
	b.t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var hosts strings.Builder
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for i := range 60 {
			hosts.WriteString(b.host(client, method, fmt.Sprintf("token %d", i)))
		}
	}
	return hosts.String()
}

// host asks with a token, and gives the host that answered.
func (b *bench) host(client *http.Client, method, token string) string {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.url("/"), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", token)
	answer, err := client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	name, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		b.t.Fatalf("%s, %v", answer.Status, err)
	}
	return string(name)
}

// fresh gives a bench with the same hosts, whose HAProxy was started with the
// configuration as it is now.
func (b *bench) fresh(up string) *bench {
	b.t.Helper()
	other, s := *b, *b.spec
	dir := b.t.TempDir()
	other.net[2]++ // its VIP is on another network
	other.state, other.run = filepath.Join(dir, "state"), filepath.Join(dir, "run")
	for _, d := range []string{other.state, other.run} {
		if err := os.Mkdir(d, 0o700); err != nil {
			b.t.Fatal(err)
		}
	}
	s.VIPs = []spec.VIP{{Name: "api", Addresses: []netip.Prefix{netip.PrefixFrom(other.addr(1), 24)}, Hostname: "api.example.org"}}
	other.spec = &s
	b.t.Cleanup(other.killHAProxy)
	m, stop := other.manager(func(o *Options) { o.Log = nil })
	defer stop()
	other.apply(m, Started)
	other.awaitUp(m, up)
	return &other
}

// sameAsFresh fails when a token leads elsewhere than with a HAProxy that was
// started with the configuration as it is now.
func (b *bench) sameAsFresh(what, up string) {
	b.t.Helper()
	got, fresh := b.where(), b.fresh(up)
	want := fresh.where()
	fresh.killHAProxy()
	if got != want {
		b.t.Errorf("%s: tokens lead to other hosts than with a HAProxy just started\n%s\n%s", what, got, want)
	}
	for name := range strings.SplitSeq(up, "") {
		if !strings.Contains(got, name) {
			b.t.Errorf("%s: no token leads to %s", what, name)
		}
	}
}

// hashLoad has clients ask with all kinds of tokens, half of them on
// connections of their own, until the function it gives is called.
func (b *bench) hashLoad() (asked *atomic.Int64, stop func()) {
	asked = &atomic.Int64{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: i%2 == 0}}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				r, err := http.NewRequest([]string{"GET", "POST"}[rand.IntN(2)], b.url("/"), nil)
				if err != nil {
					b.t.Error(err)
					return
				}
				r.Header.Set("X-Auth-Token", fmt.Sprint(rand.Int()))
				answer, err := client.Do(r)
				if err != nil {
					b.t.Errorf("a request failed: %v", err)
					continue
				}
				body, err := io.ReadAll(answer.Body)
				answer.Body.Close()
				if err != nil || answer.StatusCode != http.StatusOK {
					b.t.Errorf("a request failed: %s, %v: %s", answer.Status, err, body)
				}
				asked.Add(1)
				time.Sleep(3 * time.Millisecond)
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	b.t.Cleanup(stop)
	return asked, stop
}

// Hosts come, go and get weights under load: no request fails, the worker
// stays, and tokens lead where they would after a start.
func TestChangesUnderLoad(t *testing.T) {
	b := newHashBench(t)
	m, stopManager := b.manager()
	b.apply(m, Started)
	b.awaitUp(m, "abc")
	worker := m.current().serving().PID
	asked, stop := b.hashLoad()

	b.add("d", 14)
	r := b.change(m, "added host d to api", "abcd")
	t.Logf("added in %v", r.Took)
	b.sameAsFresh("added", "abcd")

	hosts := b.spec.Services[0].Hosts
	hosts[0].Weight, hosts[3].Weight = 48, 4
	r = b.change(m, "gave host a weight 48 in api and gave host d weight 4 in api", "abcd")
	t.Logf("weights in %v", r.Took)
	b.sameAsFresh("weights", "abcd")

	slow := b.slowRequest("c")
	b.spec.Services[0].Hosts = append(hosts[:2:2], hosts[3])
	r = b.change(m, "removed host c from api", "abd")
	t.Logf("removed in %v", r.Took)
	b.sameAsFresh("removed", "abd")
	if err := <-slow; err != nil {
		t.Errorf("a request that the host had: %v", err)
	}
	procs, err := m.Processes(t.Context())
	if now := m.current().serving().PID; now != worker || m.State().Reloads != 0 || err != nil || len(procs.Old) != 0 {
		t.Errorf("worker %d, and %d before; %d reloads, old workers %v, %v", now, worker, m.State().Reloads, procs.Old, err)
	}

	newStandIn(t, "b", netip.AddrPortFrom(b.addr(32), uint16(b.port)))
	newAgent(t, netip.AddrPortFrom(b.addr(32), uint16(b.spec.Agent.CheckPort)))
	b.spec.Services[0].Hosts[1].Address, b.spec.Controllers[1].Address = b.addr(32), b.addr(32)
	b.apply(m, Reloaded)
	b.awaitUp(m, "abd")
	b.sameAsFresh("reloaded", "abd")

	b.spec.Services[0].Hosts[0].Weight = 8
	b.change(m, "gave host a weight 8 in api", "abd")
	stopManager()
	m, _ = b.manager()
	awaitState(t, m, status.HAProxyRunning)
	b.apply(m, Unchanged)
	b.spec.Services[0].Hosts[0].Weight = 0
	b.change(m, "gave host a weight 16 in api", "abd")
	b.sameAsFresh("adopted", "abd")
	stop()
	b.killHAProxy()
	eventually(t, "started again", func() bool { return m.State().Restarts == 1 && m.State().State == status.HAProxyRunning })
	b.awaitUp(m, "abd")
	b.sameAsFresh("started again", "abd")
	t.Logf("%d requests", asked.Load())
}

// slowRequest has a request under way at a host, and tells how it ends.
func (b *bench) slowRequest(host string) <-chan error {
	b.t.Helper()
	client := &http.Client{Timeout: patience}
	token := ""
	for i := 0; token == ""; i++ {
		if t := fmt.Sprintf("slow %d", i); b.host(client, http.MethodPost, t) == host {
			token = t
		}
	}
	done := make(chan error, 1)
	before := b.backends[host].seen.Load()
	go func() {
		r, err := http.NewRequest(http.MethodPost, b.url("/slow"), nil)
		if err != nil {
			done <- err
			return
		}
		r.Header.Set("X-Auth-Token", token)
		answer, err := client.Do(r)
		if err != nil {
			done <- err
			return
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err == nil && string(body) != host {
			err = fmt.Errorf("%s: %q", answer.Status, body)
		}
		done <- err
	}()
	eventually(b.t, "a request under way", func() bool { return b.backends[host].seen.Load() > before })
	return done
}

// A host that comes gets no request before its check finds it up.
func TestNewHostWaitsForItsCheck(t *testing.T) {
	b := newHashBench(t)
	b.backends["d"].health.Store(503)
	m, _ := b.manager()
	b.apply(m, Started)
	b.awaitUp(m, "abc")
	asked, stop := b.hashLoad()
	b.add("d", 14)
	b.change(m, "added host d to api", "abc")
	from := asked.Load()
	eventually(t, "d checked", func() bool { return b.states(m)["d"] == status.Down && asked.Load() > from+200 })
	if n := b.backends["d"].seen.Load(); n > 0 {
		t.Errorf("%d requests went to a host that is not up", n)
	}
	b.backends["d"].health.Store(200)
	b.awaitUp(m, "abcd")
	eventually(t, "d asked", func() bool { return b.backends["d"].seen.Load() > 0 })
	stop()
	b.backends["d"].health.Store(503)
	b.awaitUp(m, "abc")
}

// What a change that failed half way has left is undone by the reload.
func TestHalfAChange(t *testing.T) {
	b := newHashBench(t)
	m, _ := b.manager()
	b.apply(m, Started)
	b.awaitUp(m, "abc")
	s := &supervisor{Manager: m, ctx: t.Context()}
	was := b.cfg()
	b.add("d", 14)
	worker, err := s.worker(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	change := haproxy.PlanChange(was, b.cfg(), worker)
	change.Steps = append(change.Steps[:1:1], haproxy.Step{Command: "set server nothing/there weight 1"})
	err = s.carryOut(t.Context(), m.current(), change, b.cfg())
	if refused, ok := errors.AsType[*runtime.RefusedError](err); !ok || !strings.Contains(refused.Command, "nothing/there") {
		t.Fatalf("the change went through: %v", err)
	}
	if s.recall(m.current()) != nil {
		t.Error("another agent would take this for a known configuration")
	}
	if m.runsWith(was) || m.runsWith(b.cfg()) {
		t.Error("half a change passes for a whole one")
	}
	r, err := m.Apply(t.Context(), b.cfg())
	if err != nil || r.Action != Reloaded || r.Why != "an earlier change was left half done" {
		t.Fatalf("%v, %v", r, err)
	}
	b.awaitUp(m, "abcd")
	b.sameAsFresh("reloaded", "abcd")
	b.apply(m, Unchanged)
	b.spec.Services[0].Hosts[0].Weight = 5
	b.change(m, "gave host a weight 5 in api", "abcd")
}

func TestWhyItReloads(t *testing.T) {
	b := newHashBench(t)
	m, stop := b.manager()
	b.apply(m, Started)
	reloads := func(why string) {
		t.Helper()
		r, err := m.Apply(t.Context(), b.cfg())
		if err != nil || r.Action != Reloaded {
			t.Fatalf("%v, %v", r, err)
		}
		if d := cmp.Diff("HAProxy was reloaded: "+why, r.String()); d != "" {
			t.Error(d)
		}
	}
	b.spec.Services[0].Timeout.Server = time.Minute
	reloads("timeout server of backend api is new, timeout server of backend api:once is new and timeout server of backend api:even is new")
	hosts := b.spec.Services[0].Hosts
	b.spec.Services[0].Hosts = hosts[:2]
	r, err := m.Apply(t.Context(), b.cfg())
	if want := "HAProxy was changed without a reload: removed host c from api"; err != nil || r.String() != want {
		t.Errorf("%q, %v; want %q", r, err, want)
	}
	b.spec.Services[0].Hosts = hosts
	reloads("host c was removed from api since the last reload, and comes back")
	if _, err := m.Runtime(t.Context(), "set server api/a weight 7"); err != nil {
		t.Fatal(err)
	}
	b.spec.Services[0].Hosts[0].Weight = 8
	reloads("HAProxy's servers are not as they were configured: api/a has weight 7, and not 16")
	b.awaitUp(m, "abc")
	b.sameAsFresh("reloaded", "abc")
	stop()
	if err := os.Remove(filepath.Join(b.run, "haproxy.running")); err != nil {
		t.Fatal(err)
	}
	m, _ = b.manager()
	awaitState(t, m, status.HAProxyRunning)
	reloads("the configuration that it ran with is not known")
}

// An agent of an earlier release leaves no model of what HAProxy runs with, and another
// may leave one that is not its own. Then a change takes a reload, once, in which no
// request fails; what is the same is left alone, and is known from then on.
func TestAdoptsWithoutAModel(t *testing.T) {
	b := newHashBench(t)
	m, stop := b.manager()
	b.apply(m, Started)
	b.awaitUp(m, "abc")
	asked, stopLoad := b.hashLoad()
	pid, weight := m.State().PID, 16
	again := func(spoil func(file string) error) {
		t.Helper()
		stop()
		if err := spoil(m.modelFile()); err != nil {
			t.Fatal(err)
		}
		m, stop = b.manager()
		awaitState(t, m, status.HAProxyRunning)
	}
	changes := func() {
		t.Helper()
		weight++
		b.spec.Services[0].Hosts[0].Weight = weight
		b.change(m, fmt.Sprintf("gave host a weight %d in api", weight), "abc")
	}
	for name, spoil := range map[string]func(string) error{
		"none":      os.Remove,
		"no model":  func(file string) error { return os.WriteFile(file, []byte("haproxy\n"), 0o600) },
		"cut short": func(file string) error { return os.Truncate(file, 100) },
		"another's": func(file string) error {
			model, err := json.Marshal(b.edited("mode http", "mode tcp"))
			return errors.Join(err, os.WriteFile(file, model, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			again(spoil)
			weight++
			b.spec.Services[0].Hosts[0].Weight = weight
			if r, err := m.Apply(t.Context(), b.cfg()); err != nil || r.Action != Reloaded || r.Why != haproxy.Unknown {
				t.Errorf("%+v, %v", r, err)
			}
			b.awaitUp(m, "abc")
			changes()
			again(spoil)
			if r, err := m.Reload(t.Context()); err != nil || r.Action != Reloaded {
				t.Errorf("of what is known by its text: %+v, %v", r, err)
			}
			b.awaitUp(m, "abc")
			b.apply(m, Unchanged)
			changes()
			again(spoil)
			b.apply(m, Unchanged)
			again(func(string) error { return nil })
			changes()
		})
	}
	stopLoad()
	if now := m.State().PID; now != pid {
		t.Errorf("HAProxy is pid %d, and was %d", now, pid)
	}
	t.Logf("%d requests", asked.Load())
}

// A change beside a reload, each with its check by "haproxy -c", which is
// measured by itself, too.
func BenchmarkChange(b *testing.B) {
	bench := newHashBench(b)
	m, _ := bench.manager(func(o *Options) { o.Log = nil })
	bench.apply(m, Started)
	bench.awaitUp(m, "abc")
	n := 0
	apply := func(b *testing.B, want Action) {
		b.Helper()
		n++
		if r, err := m.Apply(b.Context(), bench.cfg()); err != nil || r.Action != want {
			b.Fatalf("%v, %v", r, err)
		}
	}
	b.Run("weight", func(b *testing.B) {
		for b.Loop() {
			bench.spec.Services[0].Hosts[0].Weight = 20 + n%200
			apply(b, Changed)
		}
	})
	b.Run("reload", func(b *testing.B) {
		for b.Loop() {
			bench.spec.Services[0].Timeout.Server = time.Duration(n+1) * time.Second
			apply(b, Reloaded)
		}
	})
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			if err := m.check(b.Context(), bench.cfg()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
