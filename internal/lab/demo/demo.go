// Package demo shows what holdfast is for, from end to end and by itself: the
// endpoint list of the proposal that it was made for goes through
// "holdfast import" into a lab, clients load all its services through the one
// address, and one thing after the other is broken. For each it prints what
// the clients saw beside what was promised.
//
// It is a measurement on whatever machine runs it, not a benchmark of others.
package demo

import (
	"bytes"
	"context"
	_ "embed" // for the endpoint list
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/lab"
	"holdfast/internal/lab/load"
	"holdfast/internal/spec"
)

//go:embed endpoint-list.txt
var endpointList string

const (
	rate    = 200 // requests a second, over all services
	clients = 12  // addresses that they come from
	// service is the one of which hosts are broken.
	service = "nova"
	// requestTimeout is how long a client waits, from when the request was due.
	requestTimeout = 10 * time.Second
	// pause is how long all must be well before something is broken.
	pause = 1500 * time.Millisecond
	// busy is how late the load generator may get to run before a promise that
	// was not kept may be this machine's doing; then it is tried once more, so
	// often in all.
	busy     = 20 * time.Millisecond
	attempts = 3
	// patience is how long a busy machine is waited for before each fault.
	patience = 10 * time.Second
)

// importFlags complete what the list cannot tell.
func importFlags() []string {
	return []string{
		"--vip", "10.64.20.10/24", "--interface", "eno1", "--hostname", "openstack.eqiad1.wikimediacloud.org",
		"--controller", "cloudcontrol1003=10.64.20.13",
		"--controller", "cloudcontrol1004=10.64.20.14",
		"--controller", "cloudcontrol1005=10.64.20.15",
		"--host", "designate:cloudservices1003=10.64.20.23",
		"--host", "designate:cloudservices1004=10.64.20.24",
		"--host", "proxy:proxy-eqiad1=10.64.20.33",
		"--host", "proxy:proxy-eqiad2=10.64.20.34",
	}
}

// Options is what a demo needs.
type Options struct {
	Binary string    // that is shown; this process's own when empty
	Out    io.Writer // the story and its table
	Err    io.Writer
}

// ErrBroken says that something was not as promised; what, has been printed.
var ErrBroken = errors.New("not all was as promised")

// A demo is one run.
type demo struct {
	opt     Options
	dir     string // temporary
	lab     *lab.Lab
	spec    *spec.Spec
	records *load.Records
	node    string // that the last fault was done to
}

// Run runs the demo and ends the lab, also when ctx ends it before its time.
func Run(ctx context.Context, opt Options) (err error) {
	if opt.Binary == "" {
		if opt.Binary, err = os.Executable(); err != nil {
			return fmt.Errorf("find the own binary: %w", err)
		}
	}
	d := &demo{opt: opt, records: &load.Records{}}
	if d.dir, err = os.MkdirTemp("", "holdfast-demo-"); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	file, err := d.importList(ctx)
	if err != nil {
		return err
	}
	if err := d.up(ctx, file); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.lab.Close()) }()
	if err := d.greet(ctx); err != nil {
		return err
	}
	err = d.breakThings(ctx)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

// say prints a line of the story; that it cannot is found at the table's end.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.opt.Out, format+"\n", args...) //nolint:errcheck // see above
}

// interval is where the imported spec takes the VRRP interval of the promise.
var interval = regexp.MustCompile(`vrrp: *\{router_id: ([0-9]+)\}`)

// importList makes a spec from the list and gives its path.
func (d *demo) importList(ctx context.Context) (string, error) {
	list := filepath.Join(d.dir, "endpoint-list.txt")
	if err := os.WriteFile(list, []byte(endpointList), 0o644); err != nil {
		return "", fmt.Errorf("write the list: %w", err)
	}
	d.say("The endpoints of the proposal, each service at one host:\n\n%s", narrow(endpointList))
	d.say("$ holdfast import endpoint-list.txt %s > holdfast.yaml", folded(importFlags()))
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, d.opt.Binary, append([]string{"import", list}, importFlags()...)...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("holdfast import: %w\n%s", err, said.String())
	}
	d.say("%s", strings.TrimSpace(said.String()))
	data := interval.ReplaceAll(out.Bytes(), []byte("vrrp: {router_id: $1, interval: 20ms}"))
	file := filepath.Join(d.dir, "holdfast.yaml")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return "", fmt.Errorf("write the spec: %w", err)
	}
	return file, nil
}

// narrow gives the rows of a table as openstack prints it, without its frame, its head and
// the types, so that they fit a terminal of 80 columns.
func narrow(table string) string {
	var b strings.Builder
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 3 && !strings.Contains(line, "Service Name") {
			fmt.Fprintf(&b, "%-9s %s\n", strings.TrimSpace(cells[1]), strings.TrimSpace(cells[3]))
		}
	}
	return b.String()
}

// folded breaks a long list of flags over lines, a flag with its value each.
func folded(flags []string) string {
	var b strings.Builder
	for i := 0; i+1 < len(flags); i += 2 {
		fmt.Fprintf(&b, "\\\n    %s %s ", flags[i], flags[i+1])
	}
	return strings.TrimSpace(b.String())
}

func (d *demo) up(ctx context.Context, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the spec: %w", err)
	}
	parsed, findings := spec.Parse(file, data)
	if parsed == nil {
		return fmt.Errorf("the imported spec is bad: %v", findings)
	}
	d.spec = parsed
	d.say("\n$ holdfast lab up -f holdfast.yaml")
	begin := time.Now()
	d.lab, err = lab.Up(ctx, lab.UpOptions{
		Name: "demo-" + strconv.Itoa(os.Getpid()), File: file, Data: data, Binary: d.opt.Binary, Timeout: time.Minute,
		Progress: func(text string) { d.say("%5.1f s  %s", time.Since(begin).Seconds(), text) },
	})
	return err
}

// greet asks each service once, as a client who knows only the VIP's name.
func (d *demo) greet(ctx context.Context) error {
	d.say("\nA client asks each service by the one name:\n")
	records, err := d.once(ctx)
	if err != nil {
		return err
	}
	for _, t := range load.TargetsOf(d.spec) {
		r, ok := find(records, t.Name)
		if !ok || r.Failure != "" {
			return fmt.Errorf("%s did not answer: %s", t.URL, r.Error)
		}
		d.say("  %s\n      %d from %s", t.URL, r.Status, r.Host)
	}
	return nil
}

// once loads each target once and gives the records.
func (d *demo) once(ctx context.Context) ([]load.Record, error) {
	got := &load.Records{}
	n := len(load.TargetsOf(d.spec))
	if err := d.load(got, "--rate", strconv.Itoa(10*n), "--duration", "100ms").Do(ctx, d.lab.Dir); err != nil {
		return nil, fmt.Errorf("ask the services: %w", err)
	}
	return got.All(), nil
}

// load is the load generator in the client's node, its records kept by out.
func (d *demo) load(out io.Writer, args ...string) lab.Command {
	all := []string{"holdfast", "lab", "load", "--records", "--timeout", requestTimeout.String(), "--clients", strconv.Itoa(clients)}
	return lab.Command{Node: "client", Args: append(all, args...), Stdout: out, Stderr: d.opt.Err}
}

func find(records []load.Record, target string) (load.Record, bool) {
	for _, r := range records {
		if r.Target == target {
			return r, true
		}
	}
	return load.Record{Error: "no request was sent"}, false
}
