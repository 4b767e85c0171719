package tell

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"holdfast/internal/file"
	"holdfast/internal/notify"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

const (
	// waiting is how many messages may wait.
	waiting = 32
	// Pauses before a message that was not taken is sent again, and for how long it is.
	firstPause, lastPause = time.Second, 5 * time.Minute
	patience              = time.Hour
	// How long those that are told may take.
	webhookTime, commandTime = 10 * time.Second, 30 * time.Second
	// failing is the key of the finding.
	failing = "notify-fails"
)

// Mails sends messages one after the other.
type mails struct {
	opt   Options
	done  func(context.Context, notify.Message)
	queue chan queued
	// post and run tell a webhook and a command.
	post func(ctx context.Context, url string, m notify.Message, body []byte) error
	exec func(ctx context.Context, command []string, m notify.Message, body []byte) error
}

// A queued message waits since some time.
type queued struct {
	notify.Message
	since time.Time
}

func newMails(opt Options, done func(context.Context, notify.Message)) *mails {
	return &mails{opt: opt, done: done, queue: make(chan queued, waiting), post: post, exec: execute}
}

// room gives how many messages can be added.
func (b *mails) room() int { return cap(b.queue) - len(b.queue) }

// add has m sent; there has to be room, and one alone adds.
func (b *mails) add(m notify.Message) { b.queue <- queued{m, time.Now()} }

func (b *mails) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-b.queue:
			if b.send(ctx, m) {
				b.done(ctx, m.Message)
			}
		}
	}
}

// send has everybody told who is to be, trying again whom it cannot tell. It reports whether
// there is nothing more to do.
func (b *mails) send(ctx context.Context, q queued) bool {
	m := q.Message
	body, err := json.Marshal(m)
	if err != nil {
		b.opt.Log.Error("an incident cannot be told", "incident", m.Incident.ID, "error", err)
		return true
	}
	var webhook, command bool // who has it
	pause := firstPause
	for tries := 1; ; tries++ {
		s := b.opt.Spec() // as it is by now
		if s == nil || !s.Notify.Any() {
			return true
		}
		err := errors.Join(b.webhook(ctx, s.Notify, &webhook, m, body), b.command(ctx, s.Notify, &command, m, body))
		if err == nil {
			b.opt.SetFinding(failing, nil)
			b.opt.Log.Info("an incident was told", "incident", m.Incident.ID, "state", string(m.State), "tries", tries)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		said := strings.ReplaceAll(err.Error(), "\n", "; ")
		b.opt.SetFinding(failing, &status.Finding{
			Severity: status.Warning, Code: status.CodeNotifyFails, Subject: "controller " + b.opt.Controller,
			Text:   fmt.Sprintf("an incident could not be told, %s so far: %s", times(tries), said),
			Remedy: "see that what notify: of the spec names works; a message is sent again for an hour",
		})
		if time.Since(q.since) > patience {
			b.opt.Log.Error("an incident is not told: it was not taken for an hour", "incident", m.Incident.ID, "text", m.Incident.Text, "error", said)
			return true
		}
		b.opt.Log.Warn("an incident was not taken; it is sent again", "incident", m.Incident.ID, "in", pause.String(), "error", said)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func (b *mails) webhook(ctx context.Context, n spec.Notify, has *bool, m notify.Message, body []byte) error {
	if *has {
		return nil
	}
	target := n.Webhook
	if n.WebhookFile != "" {
		data, err := readFile(n.WebhookFile)
		if err != nil {
			return fmt.Errorf("read webhook_file: %w", err)
		}
		first, _, _ := strings.Cut(string(data), "\n")
		if target = strings.TrimSpace(first); target == "" {
			return fmt.Errorf("webhook_file %s has no URL in its first line", n.WebhookFile)
		}
	}
	if target == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, webhookTime)
	defer cancel()
	err := b.post(ctx, target, m, body)
	*has = err == nil
	return err
}

func (b *mails) command(ctx context.Context, n spec.Notify, has *bool, m notify.Message, body []byte) error {
	if *has || len(n.Command) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	err := b.exec(ctx, n.Command, m, body)
	*has = err == nil
	return err
}

// post posts body to target. Its errors do not have the URL, which may be a secret.
func post(ctx context.Context, target string, m notify.Message, body []byte) error {
	at, err := url.Parse(target)
	if err != nil || at.Host == "" {
		return errors.New("the webhook is not a URL")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return errors.New("the webhook is not a URL")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "holdfast")
	req.Header.Set("Holdfast-Incident", m.Incident.ID)
	client := http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("webhook at %s: %w", at.Host, withoutURL(err))
	}
	defer resp.Body.Close()                                       //nolint:errcheck // it was only read
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) //nolint:errcheck // its status says it
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("webhook at %s: answered %d %s", at.Host, resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return nil
}

// withoutURL gives why no answer came, where that is of the network or of TLS. What else
// net/http says may repeat the URL, an answer that leads elsewhere, or a proxy's password.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	_, network := errors.AsType[net.Error](err)
	if _, tls := errors.AsType[*tls.CertificateVerificationError](err); network || tls || errors.Is(err, io.EOF) {
		return err
	}
	return errors.New("it was not reached, or what answered is no web server; is a proxy of the agent's environment wrong?")
}

// execute runs command with body on its stdin. What it writes goes nowhere: only how it
// ends counts.
func execute(ctx context.Context, command []string, m notify.Message, body []byte) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin = bytes.NewReader(body)
	cmd.Env = append(os.Environ(), "HOLDFAST_INCIDENT="+m.Incident.ID, "HOLDFAST_STATE="+string(m.State))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // its children, too
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("it took longer than %v", commandTime)
		}
		return fmt.Errorf("command %s: %w", command[0], err)
	}
	return nil
}

// readFile reads a small file; nil for none.
func readFile(path string) ([]byte, error) {
	data, _, err := file.Read(path, 1<<20)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, file.ErrNotRegular):
		return nil, fmt.Errorf("%s is no file", path)
	}
	return data, err
}
