package web

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"strconv"
	"syscall"

	"holdfast/internal/cloud"
	"holdfast/internal/status"
)

// A Control asks the local agent over its control socket.
type Control struct {
	path   string
	client *http.Client
}

// NewControl makes a Control for the socket at path. It connects with each request.
func NewControl(path string) *Control {
	var d net.Dialer
	return &Control{path: path, client: &http.Client{Transport: &http.Transport{
		DisableKeepAlives:      true,
		ResponseHeaderTimeout:  controlTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", path)
		},
	}}}
}

// Snapshot gives the agent's Snapshot.
func (c *Control) Snapshot(ctx context.Context) (status.Snapshot, error) {
	var s status.Snapshot
	return s, c.quick(ctx, "/status", &s)
}

// Cloud gives the cloud as the agent finds it.
func (c *Control) Cloud(ctx context.Context) (cloud.Cloud, error) {
	var all cloud.Cloud
	return all, c.quick(ctx, "/cloud", &all)
}

// Events gives the newest n events of the agent's journal, oldest first.
func (c *Control) Events(ctx context.Context, n int) (Events, error) {
	var e Events
	return e, c.quick(ctx, "/events?n="+strconv.Itoa(n), &e)
}

// Journals gives the newest n events of each controller, as the agent finds them.
func (c *Control) Journals(ctx context.Context, n int) ([]Journal, error) {
	var all AllJournals
	err := c.quick(ctx, "/journals?n="+strconv.Itoa(n), &all)
	return all.Journals, err
}

// maxLocal is the largest answer that is read of the local agent, in bytes: it may have the
// journals of all controllers, each of which may tell as much as maxAnswer.
const maxLocal = 8 * maxAnswer

// quick asks for what a living agent answers within seconds.
func (c *Control) quick(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 2*lookTimeout)
	defer cancel()
	return c.Do(ctx, http.MethodGet, path, nil, into)
}

// Reload has the agent read its spec again. A refused file is a *ControlError
// with its findings.
func (c *Control) Reload(ctx context.Context) (ReloadResult, error) {
	var r ReloadResult
	return r, c.Do(ctx, http.MethodPost, "/reload", struct{}{}, &r)
}

// Do sends req as JSON, unless it is nil, and decodes the answer into resp.
// What the agent refuses is a *ControlError.
func (c *Control) Do(ctx context.Context, method, path string, req, resp any) error {
	answer, err := c.send(ctx, method, path, req)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxLocal+1))
	if err != nil {
		return c.inWords(err)
	}
	if len(body) > maxLocal {
		return fmt.Errorf("the agent at %s answered more than %d MiB", c.path, maxLocal>>20)
	}
	if answer.StatusCode != http.StatusOK {
		return refusal(answer.StatusCode, body)
	}
	if err := json.Unmarshal(body, resp); err != nil {
		return fmt.Errorf("what answers at %s is no holdfast agent: %w", c.path, jsonError(err))
	}
	return nil
}

func (c *Control) send(ctx context.Context, method, path string, req any) (*http.Response, error) {
	var body io.Reader
	if req != nil {
		data, err := json.Marshal(req)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, body)
	if err != nil {
		return nil, fmt.Errorf("ask the agent for %s: %w", path, err)
	}
	answer, err := c.client.Do(r)
	if err != nil {
		return nil, c.inWords(err)
	}
	return answer, nil
}

func refusal(code int, body []byte) error {
	e := &ControlError{Status: code}
	if json.Unmarshal(body, e) != nil || e.Message == "" {
		return fmt.Errorf("the agent answered %d %s", code, http.StatusText(code))
	}
	return e
}

// inWords says why the agent was not reached, and what to do.
func (c *Control) inWords(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return fmt.Errorf("the agent at %s takes the connection but does not answer; see journalctl -u holdfast", c.path)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no agent answers at %s; is it running? start it with systemctl start holdfast, or name its --run-dir", c.path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no agent answers at %s, where one has been; start it again with systemctl start holdfast", c.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the agent at %s answers to its owner only; run this as root", c.path)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("the agent at %s ended while it was asked", c.path)
	}
	return fmt.Errorf("ask the agent at %s: %w", c.path, err)
}

// Follow gives the newest n events and then each as it happens, until ctx ends,
// which is no error, or the agent does.
func (c *Control) Follow(ctx context.Context, n int) iter.Seq2[status.Event, error] {
	return func(yield func(status.Event, error) bool) {
		fail := func(err error) {
			if ctx.Err() == nil {
				yield(status.Event{}, err)
			}
		}
		answer, err := c.send(ctx, http.MethodGet, "/events?follow=1&n="+strconv.Itoa(n), nil)
		if err != nil {
			fail(err)
			return
		}
		defer answer.Body.Close() //nolint:errcheck // it was only read
		if answer.StatusCode != http.StatusOK {
			fail(fmt.Errorf("the agent answered %d %s", answer.StatusCode, http.StatusText(answer.StatusCode)))
			return
		}
		lines := bufio.NewScanner(answer.Body)
		lines.Buffer(nil, maxRequest)
		for lines.Scan() {
			var e status.Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				fail(fmt.Errorf("what answers at %s sends no events: %w", c.path, jsonError(err)))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		fail(c.inWords(cmp.Or(lines.Err(), io.EOF)))
	}
}
