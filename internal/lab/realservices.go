package lab

import (
	"context"

	"holdfast/internal/lab/openstack"
)

// Some services of a lab may be real ones: package openstack prepares them, and
// says for each host which command runs in the place of the stand-in. What a
// fault does to a stand-in's process it does to that of the real one; told to
// fail, it fails its health check only.

// prepareOpenStack makes the real services ready to be started, if there are any.
func (s *server) prepareOpenStack(ctx context.Context, tell func(progress)) error {
	if len(s.setup.OpenStack) == 0 {
		return nil
	}
	var err error
	s.real, err = openstack.Prepare(ctx, openstack.Options{
		Dir: s.dir.path("openstack"), Spec: s.plan.spec, Services: s.setup.OpenStack,
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
