package announcer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/bgp"
	"holdfast/internal/bgp/speaker"
	"holdfast/internal/file"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// unreadFinding says which passwords could not be read; nil for none.
func unreadFinding(unread error) *status.Finding {
	if unread == nil {
		return nil
	}
	return &status.Finding{
		Severity: status.Warning, Code: status.CodeBGPSessionDown, Subject: "bgp",
		Text:   "what is known from before is in force: " + strings.ReplaceAll(unread.Error(), "\n", "; "),
		Remedy: "mend the file, and holdfast reload", Brief: "a BGP password cannot be read",
	}
}

// speakerOptions gives who speaks with whom, by s. A password that cannot be read any more,
// unread, keeps neither an agent from starting nor a spec from coming into force: its peer has
// the one of before or, where an agent has just started, is left out.
func (a *Announcer) speakerOptions(s *spec.Spec) (o speaker.Options, unread, err error) {
	a.mu.Lock()
	was, before := a.spec, a.next.Peers
	a.mu.Unlock()
	b := s.BGP
	o = speaker.Options{
		ASN: b.ASN, RouterID: b.RouterIDs[a.opt.Controller], BFD: b.BFD, GracefulRestart: b.GracefulRestart, HoldTime: b.HoldTime, Listen: b.Listen,
		Log: a.opt.Log.With("component", "bgp"),
	}
	for _, p := range b.Peers {
		if !p.Of(a.opt.Controller) {
			continue
		}
		one := speaker.Peer{BGPPeer: p}
		one.Controllers = nil // so that a change of another's is none here
		if p.PasswordFile != "" {
			if one.Password, err = readPassword(p.PasswordFile); err != nil {
				err = fmt.Errorf("the password of the BGP peer %s: %w", p.Address, err)
				if !hadPeer(was, p) {
					return o, nil, err
				}
				unread = errors.Join(unread, err)
				i := slices.IndexFunc(before, func(x speaker.Peer) bool { return x.Address == p.Address && x.PasswordFile == p.PasswordFile })
				if i < 0 {
					continue
				}
				one.Password = before[i].Password
			}
		}
		o.Peers = append(o.Peers, one)
	}
	return o, unread, nil
}

// hadPeer reports whether was, the spec in force, has p with that file; nil: nobody knows, as the
// agent has just started.
func hadPeer(was *spec.Spec, p spec.BGPPeer) bool {
	return was == nil || was.BGP != nil && slices.ContainsFunc(was.BGP.Peers, func(x spec.BGPPeer) bool {
		return x.Address == p.Address && x.PasswordFile == p.PasswordFile
	})
}

// readPassword reads the one line of a file that only its owner may read.
func readPassword(path string) (string, error) {
	data, info, err := file.Read(path, maxPassword+1)
	switch {
	case errors.Is(err, file.ErrNotRegular):
		return "", fmt.Errorf("%s is no file", path)
	case err != nil:
		return "", fmt.Errorf("read it: %w", err)
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s can be read by others: chmod 600 %s", path, path)
	}
	password := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if password == "" || len(password) > maxPassword || strings.ContainsAny(password, "\n\x00") {
		return "", fmt.Errorf("%s has not one line of 1 to %d characters", path, maxPassword)
	}
	return password, nil
}

// speak has routers know routes, by a speaker that is as it should be. While it is not known
// whether this controller is well, routers go on with what the agent before this one told.
func (a *Announcer) speak(ctx context.Context, routes []bgp.Route, resuming bool) {
	if a.speaker != nil && (!a.wanted || !a.with.Like(a.next)) {
		a.logged(a.speaker.Stop(context.WithoutCancel(ctx), a.wanted), "end the sessions of BGP")
		a.speaker, a.had = nil, a.wanted
	}
	if !a.wanted || resuming && a.speaker == nil {
		return
	}
	if a.speaker == nil {
		if a.failed != "" && time.Since(a.tried) < lookInterval {
			return
		}
		a.tried = time.Now()
		opt := a.next
		opt.Restarting = a.had
		started, err := speaker.Start(ctx, opt, routes)
		if err != nil {
			if err.Error() != a.failed {
				a.failed = err.Error()
				a.opt.Log.Error("nothing is announced by BGP", "error", err)
			}
			return
		}
		a.speaker, a.with, a.spoke, a.failed, a.had = started, a.next, time.Now(), "", false
		a.sessions = nil // they were those of the one before
		return
	}
	a.logged(a.speaker.Announce(routes), "announce by BGP")
}

// look finds out how the sessions fare, and tells what has become of them.
func (a *Announcer) look(ctx context.Context) {
	var is []speaker.Session
	if a.speaker != nil {
		var err error
		if is, err = a.speaker.Sessions(ctx); err != nil {
			a.logged(err, "look at the sessions of BGP")
			return
		}
	}
	a.reportMute()
	was := a.sessions
	a.sessions = is
	for _, s := range is {
		before := speaker.Session{}
		if i := slices.IndexFunc(was, func(w speaker.Session) bool { return w.Peer == s.Peer }); i >= 0 {
			before = was[i]
		}
		a.tellSession(s, before)
	}
	for _, w := range was {
		if !slices.ContainsFunc(is, func(s speaker.Session) bool { return s.Peer == w.Peer }) {
			a.opt.Report(status.CodeBGPSessionDown, keyOf(w), nil)
		}
	}
}

// reportMute tells whether BGP cannot be spoken at all.
func (a *Announcer) reportMute() {
	var f *status.Finding
	if a.wanted && a.speaker == nil && a.failed != "" {
		f = &status.Finding{
			Severity: status.Warning, Code: status.CodeBGPSessionDown, Subject: "bgp",
			Text: "nothing is announced by BGP from here: " + a.failed, Remedy: "see whether another daemon has the port: ss -Hlntup 'sport = 179'",
			Brief: "BGP not spoken by " + a.opt.Controller,
		}
	}
	a.opt.Report(status.CodeBGPSessionDown, "bgp", f)
}

func keyOf(s speaker.Session) string { return "bgp " + s.Peer.String() }

// patience is how long a session may take to come up before that is a finding.
const patience = 10 * time.Second

func (a *Announcer) tellSession(s, before speaker.Session) {
	name := s.Peer.String()
	if s.Established != before.Established {
		kind, word := status.EventBGPSessionUp, "is up"
		if !s.Established {
			kind, word = status.EventBGPSessionLost, "is down"
		}
		a.opt.Event(status.Event{Kind: kind, Subject: "bgp " + name, Text: "the BGP session with " + name + " " + word, Cause: s.Reason})
	}
	var f *status.Finding
	switch {
	case !s.Established && time.Since(a.spoke) > patience:
		f = &status.Finding{
			Severity: status.Warning, Code: status.CodeBGPSessionDown, Subject: "bgp " + name,
			Text:   "the BGP session with router " + name + " is down (" + s.State + ")" + because(s.Reason) + ": it sends nothing here",
			Remedy: "see whether the router is reached, and has this controller as a peer with the same numbers and password",
			Brief:  "BGP session with " + name + " down",
		}
	case s.Established && s.BFD && !s.BFDUp && !s.Since.IsZero() && time.Since(s.Since) > patience:
		f = &status.Finding{
			Severity: status.Warning, Code: status.CodeBGPSessionDown, Subject: "bgp " + name,
			Text:   "the BGP session with router " + name + " is up, and BFD with it is not: a lost controller is noticed by the hold time only",
			Remedy: "have the router run BFD with this controller, and let UDP port 3784 pass",
			Brief:  "BFD with " + name + " down",
		}
	}
	a.opt.Report(status.CodeBGPSessionDown, keyOf(s), f)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ", " + reason
}

// Sessions tells of the sessions with routers for the Snapshot.
func (a *Announcer) Sessions() []status.BGPSession {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []status.BGPSession
	for _, s := range a.sessions {
		one := status.BGPSession{Peer: s.Peer.String(), State: s.State, Established: s.Established, Since: s.Since, Routes: s.Told, Reason: s.Reason}
		if i := slices.IndexFunc(a.with.Peers, func(p speaker.Peer) bool { return p.Address == s.Peer }); i >= 0 {
			one.ASN = a.with.Peers[i].ASN
		}
		if s.BFD {
			one.BFD = "down"
			if s.BFDUp {
				one.BFD = "up"
			}
		}
		all = append(all, one)
	}
	return all
}
