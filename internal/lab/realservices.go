package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"holdfast/internal/lab/openstack"
	"holdfast/internal/spec"
)

// Some services of a lab may be real ones: package openstack prepares them, and
// says for each host which command runs in the place of the stand-in. What a
// fault does to a stand-in's process it does to that of the real one; told to
// fail, it fails its health check only.

func (d Dir) openStackFile() string { return d.path("openstack.names") }

// writeOpenStack tells the lab's server which services of s are real ones.
func (d Dir) writeOpenStack(names []string, s *spec.Spec) error {
	if len(names) == 0 {
		return nil
	}
	if err := openstack.Check(names, s); err != nil {
		return &OptionsError{err}
	}
	if err := openstack.CheckPackages(names); err != nil {
		return err
	}
	if err := os.WriteFile(d.openStackFile(), []byte(strings.Join(names, " ")), 0o644); err != nil {
		return fmt.Errorf("write which services are real: %w", err)
	}
	return nil
}

// prepareOpenStack makes the real services ready to be started, if there are any.
func (s *server) prepareOpenStack(ctx context.Context, tell func(progress)) error {
	data, err := os.ReadFile(s.dir.openStackFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read which services are real: %w", err)
	}
	s.real, err = openstack.Prepare(ctx, openstack.Options{
		Dir: s.dir.path("openstack"), Spec: s.plan.spec, Services: strings.Fields(string(data)),
		Progress: func(text string) { tell(progress{Text: text}) },
	})
	if err != nil {
		return err
	}
	for _, n := range s.nodes {
		n.real = s.real
	}
	return nil
}

// realService gives the command and environment of s in place of args and env,
// if s is a real one.
func (n *node) realService(s *standin, args, env []string) ([]string, []string, error) {
	realArgs, realEnv, ok, err := n.real.Command(s.at.service, s.at.host, s.failFile)
	s.real = ok
	if err != nil || !ok {
		return args, env, err
	}
	return realArgs, realEnv, nil
}
