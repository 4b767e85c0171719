package labcmd

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/cli/tui"
	"holdfast/internal/lab"
	"holdfast/internal/lab/busy"
	"holdfast/internal/lab/demo"
	"holdfast/internal/lab/load"
	"holdfast/internal/lab/standin"
	"holdfast/internal/spec"
)

// The commands of this file are the lab's own parts: it runs them, people
// seldom do.

// initCommand is the process that a lab hangs on.
func (a commands) initCommand() *cobra.Command {
	var dir string
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "init", Hidden: true, Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := slog.New(slog.NewTextHandler(a.Stdio.Err, nil))
			return lab.Serve(cmd.Context(), lab.Dir(dir), wait, log)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the lab's directory")
	cmd.Flags().DurationVar(&wait, "timeout", time.Minute, "until every service must answer")
	return cmd
}

// nodeCommand is the first process of a node.
func (a commands) nodeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "node NAME SYSLOG", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error { return lab.RunNode(args[0], args[1]) },
	}
}

// standinCommand is one host of a service.
func (a commands) standinCommand() *cobra.Command {
	var service, host, workers string
	var opt standin.Options
	cmd := &cobra.Command{
		Use: "standin", Hidden: true, Args: app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if workers != "" {
				if opt.Start.Workers, opt.Start.Hold, err = busy.ParseWorkers(workers); err != nil {
					return app.Usagef("%w", err)
				}
			}
			s, err := a.findStandin(service, host, opt)
			if err != nil {
				return err
			}
			stop := onSignal(syscall.SIGWINCH, s.Finish) // as Apache's graceful stop
			defer stop()
			return s.Run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&service, "service", "", "name of the service in the spec")
	flags.StringVar(&host, "host", "", "name of the service's host")
	flags.StringVar(&opt.FailFile, "fail-file", "", "while this file exists, answer 503")
	flags.StringVar(&opt.Arrivals, "arrivals", "", "add to this file the key of each request that is not safe to repeat")
	flags.StringVar(&opt.Counts, "counts", "", "say in this file how many requests came")
	flags.StringVar(&opt.BehaviourFile, "behaviour", "", "while this file exists, behave as it says")
	flags.StringVar(&workers, "workers", "", "have so many workers, each request taking so long: 8x100ms")
	return cmd
}

// onSignal calls do at the first sig until it is stopped.
func onSignal(sig os.Signal, do func()) (stop func()) {
	came, ended := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(came, sig)
	go func() {
		select {
		case <-came:
			do()
		case <-ended:
		}
	}()
	return func() {
		signal.Stop(came)
		close(ended)
	}
}

func (a commands) findStandin(service, host string, opt standin.Options) (*standin.Server, error) {
	parsed, err := a.readSpecQuietly()
	if err != nil {
		return nil, err
	}
	for _, s := range parsed.Services {
		i := slices.IndexFunc(s.Hosts, func(h spec.Host) bool { return h.Name == host })
		if s.Name == service && i >= 0 {
			return standin.New(s, s.Hosts[i], opt), nil
		}
	}
	return nil, app.Usagef("%s has no service %q on host %q", a.File, service, host)
}

func (a commands) readSpecQuietly() (*spec.Spec, error) {
	data, err := os.ReadFile(a.File)
	if err != nil {
		return nil, app.Usagef("read the spec: %w", err)
	}
	parsed, findings := spec.Parse(a.File, data)
	if parsed == nil {
		return nil, app.Usagef("%s is not a good spec: %v", a.File, findings)
	}
	return parsed, nil
}

// loadCommand measures what a client sees. It runs in the client's node.
func (a commands) loadCommand() *cobra.Command {
	c := load.Config{}
	var urls, phases []string
	var clients int
	var connections string
	var records bool
	cmd := &cobra.Command{
		Use:    "load [-f FILE] [--url NAME=URL]...",
		Short:  "Send requests at a fixed rate and print what came of them",
		Hidden: true,
		Args:   app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.Connections = load.Connections(connections)
			for _, text := range phases {
				p, err := load.ParsePhase(text)
				if err != nil {
					return app.Usagef("--phase: %w", err)
				}
				c.Phases = append(c.Phases, p)
			}
			if err := a.loadTargets(&c, urls, clients); err != nil {
				return err
			}
			collect := &collector{}
			c.Record = collect.keep
			if records {
				c.Record = collect.print(json.NewEncoder(a.Stdio.Out))
			}
			begin := time.Now()
			if err := load.Run(cmd.Context(), c); err != nil {
				return app.Usagef("%w", err)
			}
			if records {
				return collect.err
			}
			end := begin.Add(c.Length())
			if now := time.Now(); now.Before(end) {
				end = now // it was stopped
			}
			return a.PrintJSON(load.Summarize(collect.records, begin, end))
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&urls, "url", nil, "NAME=URL to ask; default: every http service of the spec through the VIP's name")
	flags.Float64Var(&c.Rate, "rate", 200, "requests a second, in all")
	flags.DurationVar(&c.Duration, "duration", 10*time.Second, "for how long")
	flags.DurationVar(&c.Timeout, "timeout", 10*time.Second, "of one request")
	flags.StringVar(&connections, "connections", string(load.Mixed), "new, keep-alive or mixed")
	flags.StringSliceVar(&c.Methods, "method", []string{"GET"}, "methods, by turns")
	flags.Int64Var(&c.Body, "body", 0, "bytes in the body of a POST or PUT")
	flags.IntVar(&clients, "clients", 0, "come from so many addresses, by turns (adds them to this network namespace)")
	flags.Float64Var(&c.NewRate, "new-rate", 0, "requests a second beside these, each on a new connection")
	flags.StringArrayVar(&phases, "phase", nil, "`RATExDURATION`, one after the other, in the place of --rate and --duration: 216x8s")
	flags.IntVar(&c.Downloads.Count, "downloads", 0, "so many long transfers beside the requests")
	flags.DurationVar(&c.Downloads.Time, "download-time", 5*time.Second, "that each of them takes")
	flags.Int64Var(&c.Downloads.Bytes, "download-bytes", 1<<20, "of each of them")
	flags.DurationVar(&c.Downloads.Spread, "download-spread", 0, "over which they begin")
	flags.IntVar(&c.Uploads.Count, "uploads", 0, "so many long uploads beside the requests")
	flags.DurationVar(&c.Uploads.Time, "upload-time", 5*time.Second, "that each of them takes")
	flags.Int64Var(&c.Uploads.Bytes, "upload-bytes", 1<<20, "of each of them")
	flags.DurationVar(&c.Uploads.Spread, "upload-spread", 0, "over which they begin")
	flags.BoolVar(&records, "records", false, "print each request's record as a line of JSON instead")
	return cmd
}

func (a commands) loadTargets(c *load.Config, urls []string, clients int) error {
	for _, u := range urls {
		name, url, found := strings.Cut(u, "=")
		if !found {
			return app.Usagef("--url %q; write NAME=URL", u)
		}
		c.Targets = append(c.Targets, load.Target{Name: name, URL: url})
	}
	vip := netip.IPv4Unspecified()
	if len(urls) == 0 {
		parsed, err := a.readSpecQuietly()
		if err != nil {
			return err
		}
		c.Targets = load.TargetsOf(parsed)
		vip = parsed.VIPs[0].Addresses[0].Addr()
	}
	if clients == 0 {
		return nil
	}
	var err error
	c.Clients, err = lab.AddClients(clients, vip)
	return err
}

// demoCommand is what "make demo" runs.
func (a commands) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "demo",
		Short:  "Import the proposal's endpoints, break one thing after the other, and show what clients see",
		Hidden: true,
		Args:   app.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilHangup(cmd.Context())
			defer stop()
			return demo.Run(ctx, demo.Options{Out: &tui.FoldingWriter{Out: a.Stdio.Out}, Err: a.Stdio.Err})
		},
	}
}

// A collector keeps records, or prints them, as they come from many goroutines.
type collector struct {
	mu      sync.Mutex // guards following
	records []load.Record
	err     error
}

func (c *collector) keep(r load.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records = append(c.records, r)
}

func (c *collector) print(out *json.Encoder) func(load.Record) {
	return func(r load.Record) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if err := out.Encode(r); err != nil && c.err == nil {
			c.err = fmt.Errorf("write a record: %w", err)
		}
	}
}
