package catalog

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// The file structs mirror services.yaml as it is written.
type (
	fileCatalog struct {
		Releases []string
		Services []fileService
	}
	fileService struct {
		Name          string
		Types         []string
		Aliases       []string
		Port          int
		Path          string
		Mode          string
		Affinity      string
		Check         fileCheck
		Before        []fileBefore
		Timeout       map[string]string
		KeepForwarded bool `yaml:"keep_forwarded"`
		Internal      bool
		SafePosts     []fileSafely `yaml:"safe_posts"`
	}
	fileCheck struct {
		Layer  int
		Method string
		Path   string
		Expect string
		Others []string
	}
	fileBefore struct {
		Release string
		Check   fileCheck
	}
	fileSafely struct {
		Path   string
		Reason string
	}
)

func parse(data []byte) (Catalog, error) {
	var f fileCatalog
	if err := yaml.Load(data, &f, yaml.WithKnownFields()); err != nil {
		return Catalog{}, err
	}
	c := Catalog{byName: make(map[string]int)}
	for _, text := range f.Releases {
		c.releases = append(c.releases, parseRelease(text))
	}
	for _, fs := range f.Services {
		s, err := c.service(fs)
		if err != nil {
			return Catalog{}, fmt.Errorf("service %q: %w", fs.Name, err)
		}
		if err := c.add(s); err != nil {
			return Catalog{}, err
		}
	}
	return c, nil
}

// parseRelease reads "zed" or "2023.1 antelope".
func parseRelease(text string) Release {
	number, name, numbered := strings.Cut(text, " ")
	if !numbered {
		return Release{Name: text}
	}
	return Release{Name: name, Number: number}
}

func (c *Catalog) add(s Service) error {
	for _, name := range append([]string{s.Name}, s.Aliases...) {
		if name != strings.ToLower(name) {
			return fmt.Errorf("name %q is not in lower case", name)
		}
		if _, taken := c.byName[name]; taken {
			return fmt.Errorf("two services are called %q", name)
		}
		c.byName[name] = len(c.services)
	}
	c.services = append(c.services, s)
	return nil
}

func (c *Catalog) service(f fileService) (Service, error) {
	s := Service{
		Name: f.Name, Aliases: f.Aliases, Types: f.Types, Port: f.Port, Path: f.Path,
		Mode: orElse(f.Mode, "http"), Affinity: orElse(f.Affinity, "source"),
		KeepForwarded: f.KeepForwarded, Internal: f.Internal,
	}
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	var err error
	s.Check, err = f.Check.check()
	note(err)
	for _, fb := range f.Before {
		b := Before{Release: fb.Release}
		if c.releaseIndex(b.Release) < 0 {
			note(fmt.Errorf("release %q is not in the list of releases", b.Release))
		}
		b.Check, err = fb.Check.check()
		note(err)
		s.Before = append(s.Before, b)
	}
	s.Timeout, err = timeouts(f.Timeout)
	note(err)
	for _, p := range f.SafePosts {
		s.SafePosts = append(s.SafePosts, Request{Method: "POST", Path: p.Path, Reason: p.Reason})
	}
	return s, errors.Join(errs...)
}

func (f fileCheck) check() (Check, error) {
	c := Check{Layer: f.Layer, Method: f.Method, Path: f.Path, Others: f.Others}
	if c.Layer == 0 {
		c.Layer = 7
	}
	if f.Expect == "" {
		return c, nil
	}
	var err error
	c.Expect, err = ParseCodes(f.Expect)
	return c, err
}

func timeouts(f map[string]string) (Timeout, error) {
	var t Timeout
	for key, text := range f {
		d, err := time.ParseDuration(text)
		if err != nil {
			return t, fmt.Errorf("timeout %s: %w", key, err)
		}
		switch key {
		case "client":
			t.Client = d
		case "server":
			t.Server = d
		case "connect":
			t.Connect = d
		case "tunnel":
			t.Tunnel = d
		case "check":
			t.Check = d
		case "queue":
			t.Queue = d
		default:
			return t, fmt.Errorf("unknown timeout %q", key)
		}
	}
	return t, nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
