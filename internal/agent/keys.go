package agent

import (
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"holdfast/internal/auth"
	"holdfast/internal/auth/keyfile"
	"holdfast/internal/spec"
	"holdfast/internal/status"
	"holdfast/internal/vips"
	"holdfast/internal/web"
)

// A keyring has the keys of the controllers, as the file had them when the spec in
// force was brought into force. Its methods may be called by any goroutine.
type keyring struct {
	file  string // that was named; empty: none was
	voice *auth.Voice

	mu    sync.Mutex // guards following
	force keys
	next  keys // that were read for a spec that is to come into force
}

// keys are what was read for a spec.
type keys struct {
	spec *spec.Spec // nil: nothing was read yet
	file string     // empty: there is none
	keys *auth.Keys // nil: there are none, or bad says why they cannot be used
	bad  error
}

func newKeyring(file, controller string) *keyring {
	voice, err := auth.NewVoice(controller, rand.Reader)
	if err != nil {
		panic(err) // package rand never fails: it ends the program itself
	}
	return &keyring{file: file, voice: voice}
}

// read reads the file again, for s, and gives what brings its keys into force and says
// what is wrong with them. A file that is bad is an error where keys are in force, or
// where there was none: these stay. An agent that starts with a bad one goes on without,
// since the others are heard, if not believed, and a VIP that nobody takes is worse.
func (k *keyring) read(s *spec.Spec) (use func() *status.Finding, err error) {
	next := keys{spec: s, file: keyfile.Find(k.file, os.Getenv("CREDENTIALS_DIRECTORY"))}
	if next.file != "" {
		next.keys, next.bad = keyfile.Load(next.file)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if next.bad != nil && k.force.spec != nil && k.force.bad == nil {
		return nil, &keyError{next.file, next.bad}
	}
	if next.bad == nil && k.force.spec != nil && next.keys.Equal(k.force.keys) {
		next.keys = k.force.keys
	}
	k.next = next
	return func() *status.Finding {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.force = next
		return next.finding()
	}, nil
}

// A keyError says why the keys of a file do not come into force.
type keyError struct {
	file string
	err  error
}

func (e *keyError) Error() string { return e.err.Error() }

func (e *keyError) Unwrap() error { return e.err }

// Findings gives what is wrong with the file.
func (e *keyError) Findings() []status.Finding {
	return []status.Finding{{
		Severity: status.Error, Code: status.CodeKeyUnusable, Where: status.Position{File: e.file},
		Text: e.err.Error(), Remedy: "mend it and reload; the keys before it stay in force",
	}}
}

// rekey brings the keys of the file into force where the spec stays what it is, and says
// which they are now; "" where they stay, too.
func (a *Agent) rekey() (string, error) {
	useAnnounced, err := a.announcer.Make(a.currentSpec()) // the passwords of its peers
	if err != nil {
		return "", err
	}
	useAnnounced()
	before := a.keys.inForce().keys
	use, err := a.keys.read(a.currentSpec())
	if err != nil {
		return "", err
	}
	a.setFinding(status.CodeKeyUnusable, use())
	now := a.keys.inForce().keys
	if now == before {
		return "", nil
	}
	a.vips.Settle()
	return fmt.Sprintf("%v in force, was %v", now, before), nil
}

// finding says what is wrong; nil: nothing.
func (k keys) finding() *status.Finding {
	if k.bad == nil {
		return nil
	}
	return &status.Finding{
		Severity: status.Error, Code: status.CodeKeyUnusable, Subject: "key",
		Text:   fmt.Sprintf("the agent has no key, and signs nothing: %v", k.bad),
		Remedy: "mend the file, and holdfast reload",
	}
}

// of gives what is done by s, which is in force or about to come into force.
func (k *keyring) of(s *spec.Spec) auth.Policy {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s == nil {
		return auth.Policy{}
	}
	mode, _ := auth.ParseMode(string(s.Agent.Authentication)) // else the first of them
	if k.next.spec == s {
		return auth.Policy{Keys: k.next.keys, Mode: mode}
	}
	return auth.Policy{Keys: k.force.keys, Mode: mode}
}

// inForce gives the keys with the file that has them.
func (k *keyring) inForce() keys {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.force
}

// policy gives what is done with the keys now.
func (a *Agent) policy() auth.Policy {
	p := a.keys.of(a.currentSpec())
	p.Keys = a.keys.inForce().keys
	return p
}

// asker asks other agents for their pages.
func asker(a *Agent) *web.Asker { return &web.Asker{Voice: a.keys.voice, Policy: a.policy} }

// authentication tells of the keys for the Snapshot; nil where there are none.
func (a *Agent) authentication() *status.Authentication {
	p := a.policy()
	if p.Keys == nil {
		return nil
	}
	is := &status.Authentication{Mode: p.Mode.String(), Active: int(p.Keys.Active())}
	for _, id := range p.Keys.IDs() {
		is.Keys = append(is.Keys, int(id))
	}
	return is
}

// unprovenFor is how long a request that was refused is told of.
const unprovenFor = 10 * time.Minute

// findUnproven tells of what is believed without a proof although there is a key, and of
// requests that were refused.
func (a *Agent) findUnproven(s *spec.Spec) []status.Finding {
	if s == nil {
		return nil
	}
	var all []status.Finding
	if r := a.check.Refusals(); r.Count > 0 && time.Since(r.Last) < unprovenFor {
		all = append(all, status.Finding{
			Severity: status.Warning, Code: status.CodeRequestsUnproven, Subject: "controller " + r.From,
			Text:   fmt.Sprintf("requests in the name of %s are refused here: %s", r.From, r.Why),
			Remedy: "see on " + r.From + " whether its agent says that this one refuses it; if not, something else sends in its name: ss -tnp and tcpdump -ni any tcp port " + fmt.Sprint(s.Agent.CheckPort) + " there show what",
		})
	}
	if p := a.policy(); p.Keys != nil && !p.Demands() {
		all = append(all, notStrict(p.Mode, silentlyUnsigned(s, a.vips.All())))
	}
	return all
}

// notStrict says what is open in a mode, and what closes it.
func notStrict(mode auth.Mode, unsigned []string) status.Finding {
	next := "when every controller has the key: agent.authentication: permissive in the spec of all, and reload each"
	if mode == auth.Permissive {
		next = "every controller that is heard here signs: agent.authentication: strict in the spec of all, and reload each"
		if len(unsigned) > 0 {
			next = "have " + strings.Join(unsigned, " and ") + " sign first, with the same file of keys and agent.authentication: permissive; then strict"
		}
	}
	return status.Finding{
		Severity: status.Info, Code: status.CodeNotAuthenticated, Subject: "key",
		Text:   fmt.Sprintf("agent.authentication is %s: adverts and requests that are not signed are believed, as by a container or a stolen address", mode),
		Remedy: next,
	}
}

// silentlyUnsigned gives the controllers that are heard here, and do not sign.
func silentlyUnsigned(s *spec.Spec, parts []vips.VIP) []string {
	var all []string
	for _, c := range s.Controllers {
		for _, v := range parts {
			h, known := v.Loop.Hearing()[c.Address]
			if known && h.Hears(unsignedFor) && !h.Signs && (v.VRRP.Peers != spec.Multicast || !c.Address.Is6()) {
				all = append(all, c.Name)
				break
			}
		}
	}
	return all
}

// unsignedFor is how long what was heard of a controller says whether it signs.
const unsignedFor = 10 * time.Second
