package drain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"holdfast/internal/file"
	"holdfast/internal/status"
)

const (
	// maxFile is the largest file of drains that is read, in bytes.
	maxFile = 1 << 20
	// comeback is how long a service with a cookie is told to be in drain when it is put back,
	// before it is up: by then every HAProxy has asked, and has checked its health.
	comeback = 3 * time.Second
	// writePatience is how long who changes the drains waits for the disk.
	writePatience = 2 * time.Second
)

// The answers to HAProxy's agent-check (configuration manual, "agent-check").
const (
	answerReady = "up ready"
	// answerDrain leaves a server what runs and what a cookie leads to, and goes on checking its health.
	answerDrain = "drain"
	// answerMaint leaves a server what runs only. Neither is its health checked, so that HAProxy
	// takes it for well when that ends, until the first check.
	answerMaint = "maint"
)

// state is what of this controller is taken out. It is kept in a file, and ends by
// the wall clock.
type state struct {
	path       string
	controller string
	now        func() time.Time
	store      func(path string, data []byte) error

	mu      sync.Mutex // guards following
	entries []status.Drained
	// intended are those that are still being looked into: others are told of
	// them, so that two controllers do not both drain what only one of them may.
	intended []status.Drained
	// damaged says why the file says nothing; nil when it does.
	damaged error
	// unkept says why the file does not have the entries; nil when it has, or is
	// being written.
	unkept error
	// version counts the changes of the entries, and writing is closed when the file
	// has the newest, or cannot have it; nil: nothing is being written.
	version int
	writing chan struct{}
	// ended has when a service was put back, "" the whole controller.
	ended map[string]time.Time
	// stepped says that the VIPs were offered to others, since it is drained.
	stepped bool
}

// kept is the form of the file.
type kept struct {
	Schema     int              `json:"schema"` // always 1
	Controller string           `json:"controller"`
	Drains     []status.Drained `json:"drains"`
}

func newState(path, controller string) *state {
	return &state{
		path: path, controller: controller, now: time.Now, ended: map[string]time.Time{},
		store: func(path string, data []byte) error { return file.Write(path, data, 0o640) },
	}
}

// load reads the file. One that cannot be understood is remembered as such: then
// nothing is known, and HAProxys are told nothing.
func (d *state) load() error {
	entries, err := d.read()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries, d.damaged = entries, err
	d.stepped = d.whole()
	return err
}

func (d *state) read() ([]status.Drained, error) {
	f, err := os.Open(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what is drained: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read what is drained: %w", err)
	}
	entries, err := parse(data, d.controller)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", d.path, err)
	}
	return entries, nil
}

// parse reads the file's data strictly: what is not as it was written says nothing.
func parse(data []byte, controller string) ([]status.Drained, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("it has more than %d bytes", maxFile)
	}
	var k kept
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&k); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("it goes on after its end")
	}
	switch {
	case k.Schema != 1:
		return nil, fmt.Errorf("its schema is %d, and this holdfast reads schema 1", k.Schema)
	case k.Controller != controller:
		return nil, fmt.Errorf("it is of controller %q, not of %q", k.Controller, controller)
	}
	for i, e := range k.Drains {
		switch {
		case e.Since.IsZero():
			return nil, fmt.Errorf("entry %d has no beginning", i+1)
		case !e.Until.IsZero() && e.Until.Before(e.Since):
			return nil, fmt.Errorf("entry %d ends before it begins", i+1)
		case find(k.Drains[:i], e.Service) >= 0:
			return nil, fmt.Errorf("entry %d is there twice", i+1)
		}
	}
	return k.Drains, nil
}

// find gives the index of the entry of exactly service, "" for the whole controller; -1 for none.
func find(entries []status.Drained, service string) int {
	return slices.IndexFunc(entries, func(e status.Drained) bool { return e.Service == service })
}

// covers reports whether entries take service out: by itself, or with the whole controller.
func covers(entries []status.Drained, service string) bool {
	return status.DrainedWhole(entries) || find(entries, service) >= 0
}

// errBeingWritten says that the disk has not taken the file yet.
var errBeingWritten = fmt.Errorf("the disk has taken more than %v to write it, and is not done", writePatience)

// keep has the entries written to the file, and gives why that cannot be. A disk
// that stands still holds up neither the drains nor who asks for them for longer
// than writePatience: what is not written is in force all the same.
func (d *state) keep() error {
	d.mu.Lock()
	d.version++
	if d.writing == nil {
		d.writing = make(chan struct{})
		go d.write()
	}
	done := d.writing
	d.mu.Unlock()
	patience := time.NewTimer(writePatience)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
		return errBeingWritten
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unkept
}

// write writes the entries until the file has the newest. No lock is held
// meanwhile: what HAProxys are told does not wait for a disk.
func (d *state) write() {
	for {
		d.mu.Lock()
		version := d.version
		data, err := json.MarshalIndent(kept{1, d.controller, slices.Concat([]status.Drained{}, d.entries)}, "", "  ")
		path := d.path
		d.mu.Unlock()
		if err == nil {
			err = d.store(path, append(data, '\n'))
		}
		d.mu.Lock()
		if d.version == version {
			d.unkept = err
			close(d.writing)
			d.writing = nil
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
	}
}

// keepLater writes what could not be written before, and gives why it still cannot.
func (d *state) keepLater() error {
	d.mu.Lock()
	unkept, writing := d.unkept, d.writing != nil
	d.mu.Unlock()
	switch {
	case writing:
		return errBeingWritten
	case unkept != nil:
		return d.keep()
	}
	return nil
}

// lose has the entries written again, as their file was removed.
func (d *state) lose() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.entries) > 0 {
		d.unkept = fs.ErrNotExist
	}
}

// list gives what is drained, and what is about to be.
func (d *state) list() []status.Drained {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.Clone(d.entries)
	for _, e := range d.intended {
		if find(all, e.Service) < 0 {
			all = append(all, e)
		}
	}
	return all
}

// inForce gives what is drained, without what is about to be.
func (d *state) inForce() []status.Drained {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]status.Drained{}, d.entries...)
}

// intend notes entries that are still to be looked into; none takes that back.
func (d *state) intend(entries []status.Drained) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.intended = entries
}

// put brings entries into force in the place of those of the same services.
func (d *state) put(entries []status.Drained) {
	d.replace(entries)
	_ = d.keep() // keepLater tells
}

func (d *state) replace(entries []status.Drained) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range entries {
		if i := find(d.entries, e.Service); i >= 0 {
			d.entries[i] = e
		} else {
			d.entries = append(d.entries, e)
		}
		delete(d.ended, e.Service)
	}
	d.intended, d.damaged = nil, nil
}

// end takes the entries for which over holds out of force, and gives them.
func (d *state) end(over func(status.Drained) bool) []status.Drained {
	gone, changed := d.remove(over)
	if changed {
		_ = d.keep() // keepLater tells
	}
	return gone
}

func (d *state) remove(over func(status.Drained) bool) (gone []status.Drained, changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.entries {
		if over(e) {
			gone = append(gone, e)
			d.ended[e.Service] = d.now()
		}
	}
	damaged := d.damaged != nil
	if len(gone) == 0 && !damaged {
		return nil, false
	}
	d.entries = slices.DeleteFunc(d.entries, over)
	d.stepped = d.stepped && d.whole()
	d.damaged = nil
	return gone, true
}

// expire ends what has had its time. A file that is damaged stays as it is.
func (d *state) expire() []status.Drained {
	d.mu.Lock()
	now := d.now()
	over := func(e status.Drained) bool { return !e.Until.IsZero() && !now.Before(e.Until) }
	due := slices.ContainsFunc(d.entries, over)
	d.mu.Unlock()
	if !due {
		return nil
	}
	return d.end(over)
}

// whole reports whether the whole controller is drained. The caller has mu.
func (d *state) whole() bool { return status.DrainedWhole(d.entries) }

// isWhole is whole for those who do not have mu.
func (d *state) isWhole() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.whole()
}

// unknown gives why it is not known what is drained; nil when it is.
func (d *state) unknown() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.damaged
}

// step notes that the VIPs were offered to others, unless it is not drained any more.
func (d *state) step() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stepped = d.whole()
}

// last reports whether this controller is to be the last to take a VIP.
func (d *state) last() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stepped
}

// answer is what HAProxys are told of service. To one with a cookie HAProxy
// sends the clients that have it even in drain, so it is taken out altogether;
// and put back by way of drain, in which its health is checked. "" for nothing:
// then HAProxys leave it as it is.
func (d *state) answer(service string, cookie bool) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.damaged != nil:
		return ""
	case covers(d.entries, service) && cookie:
		return answerMaint
	case covers(d.entries, service):
		return answerDrain
	case cookie && d.now().Sub(later(d.ended[""], d.ended[service])) < comeback:
		return answerDrain
	}
	return answerReady
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
