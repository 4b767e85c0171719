// Package openstack prepares real OpenStack services for a lab, in the place
// of its stand-ins: Keystone and Glance as Debian packages them, one instance on
// each host of the spec, with one MariaDB on a Unix socket that stands for a
// database cluster, which is not what the lab tests.
//
// Everything it writes is below one folder, and everything that it starts is a
// child of the process that called it. It installs nothing, and touches no
// service of the machine.
package openstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast/internal/spec"
)

// Password is that of the user admin, of the project admin. The lab's network
// ends at the lab.
const Password = "holdfast-lab"

// systemPath has the programs of the packages, and none of another Python.
const systemPath = "/usr/sbin:/usr/bin:/sbin:/bin"

// databaseWait is how long the database may take to open its socket.
const databaseWait = time.Minute

// program is what a service cannot run without, and the package that has it.
type program struct{ path, debian string }

// programs gives what the services called names need.
func programs(names []string) []program {
	all := []program{
		{"/usr/bin/keystone-manage", "keystone"},
		{"/usr/bin/uwsgi_python3", "uwsgi-plugin-python3"},
		{"/usr/sbin/mariadbd", "mariadb-server-core"},
		{"/usr/bin/mariadb", "mariadb-client-core"},
		{"/usr/lib/python3/dist-packages/pymysql/__init__.py", "python3-pymysql"},
	}
	if slices.Contains(names, "glance") {
		all = append(all, program{"/usr/bin/glance-wsgi-api", "glance-api"})
	}
	return all
}

// Names gives the services that there are.
func Names() []string { return []string{"keystone", "glance"} }

// Check says why a lab of s cannot run the services called names for real.
func Check(names []string, s *spec.Spec) error {
	for _, name := range names {
		if !slices.Contains(Names(), name) {
			return fmt.Errorf("--openstack: there is no real %q here; there are %s", name, strings.Join(Names(), ", "))
		}
		if !slices.ContainsFunc(s.Services, func(svc spec.Service) bool { return svc.Name == name }) {
			return fmt.Errorf("--openstack: the spec has no service %q", name)
		}
	}
	if !slices.Contains(names, "keystone") {
		return errors.New("--openstack: the others need a real keystone")
	}
	return nil
}

// CheckPackages names what has to be installed for the services in names.
func CheckPackages(names []string) error {
	var missing []string
	for _, p := range programs(names) {
		if _, err := os.Stat(p.path); err != nil {
			missing = append(missing, p.debian)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("--openstack needs packages that are not installed: apt-get install --no-install-recommends %s", strings.Join(missing, " "))
	}
	return nil
}

// Options is what a Cloud is made from.
type Options struct {
	Dir      string // for everything; made if it is not there
	Spec     *spec.Spec
	Services []string // as Check accepts them
	Progress func(string)
}

// A Cloud is real services that are ready to be started. A nil one has none.
type Cloud struct {
	opt      Options
	database *exec.Cmd
}

// Prepare makes configuration, database, schemas, the user admin, and a catalog
// in which every service of the spec has one public endpoint that names its
// first host: the state that an operator wants to leave.
func Prepare(ctx context.Context, opt Options) (*Cloud, error) {
	if err := Check(opt.Services, opt.Spec); err != nil {
		return nil, err
	}
	c := &Cloud{opt: opt}
	err := c.writeFiles()
	if err == nil {
		err = c.startDatabase(ctx)
	}
	if err == nil {
		opt.Progress("database started")
		err = c.fillDatabase(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	opt.Progress(strings.Join(opt.Services, " and ") + ": schema and catalog ready")
	return c, nil
}

// Close ends the database. Whoever started the services ends those.
func (c *Cloud) Close() error {
	if c == nil || c.database == nil || c.database.Process == nil {
		return nil
	}
	if err := c.database.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end the database: %w", err)
	}
	if err := c.database.Wait(); err != nil {
		if _, killed := errors.AsType[*exec.ExitError](err); !killed {
			return fmt.Errorf("end the database: %w", err)
		}
	}
	return nil
}

func (c *Cloud) path(elem ...string) string {
	return filepath.Join(append([]string{c.opt.Dir}, elem...)...)
}

// CloudsFile is a clouds.yaml with two clouds: "lab" asks the Keystone of its
// first host, "vip" the one behind the VIP.
func (c *Cloud) CloudsFile() string { return c.path("clouds.yaml") }

// Env gives the variables by which the openstack client, and holdfast, find
// this cloud.
func (c *Cloud) Env() []string {
	if c == nil {
		return nil
	}
	return []string{"OS_CLIENT_CONFIG_FILE=" + c.CloudsFile(), "OS_CLOUD=lab"}
}

// Command gives the command that runs service on host, and its environment; ok
// is false when it is none of c's. While there is a file at failFile, the
// service says at /healthcheck that it is not well.
//
// It is one process: what a fault does to that, it does to the service.
func (c *Cloud) Command(service spec.Service, host spec.Host, failFile string) (args, env []string, ok bool, err error) {
	if c == nil || !slices.Contains(c.opt.Services, service.Name) {
		return nil, nil, false, nil
	}
	if err := c.writeHost(service, host, failFile); err != nil {
		return nil, nil, true, err
	}
	args = []string{
		"/usr/bin/uwsgi_python3",
		"--http-socket", service.At(host).String(),
		"--need-app", "--enable-threads", "--threads", "4", "--buffer-size", "65535", "--listen", "100", "--die-on-term",
		// Without this a Python client may use a connection again that uwsgi has closed.
		"--add-header", "Connection: close",
	}
	env = systemEnv()
	dir := c.hostDir(service, host)
	switch service.Name {
	case "keystone":
		args = append(args, "--wsgi-file", "/usr/bin/keystone-wsgi-public", "--post-buffering", "8192",
			"--pyargv", "--config-file "+filepath.Join(dir, "keystone.conf"))
	case "glance":
		args = append(args, "--wsgi-file", "/usr/bin/glance-wsgi-api", "--socket-timeout", "30")
		env = append(env, "OS_GLANCE_CONFIG_DIR="+dir)
	}
	return args, env, true, nil
}

func systemEnv() []string {
	return []string{"PATH=" + systemPath, "LC_ALL=C.UTF-8", "HOME=/nonexistent", "PYTHONDONTWRITEBYTECODE=1"}
}

// run runs a program of the packages to its end, its output in a log.
func (c *Cloud) run(ctx context.Context, stdin string, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdin = systemEnv(), c.opt.Dir, strings.NewReader(stdin)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	log := c.path("log", filepath.Base(args[0])+".log")
	if err := appendFile(log, out); err != nil {
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %w; the end of %s:\n%s", strings.Join(args[:min(2, len(args))], " "), err, log, lastLines(string(out)))
	}
	return nil
}

func appendFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("write a log: %w", err)
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return "    " + strings.Join(lines[max(0, len(lines)-10):], "\n    ")
}

// startDatabase makes a new database and waits until it answers.
func (c *Cloud) startDatabase(ctx context.Context) error {
	err := c.run(ctx, "", "/usr/bin/mariadb-install-db", "--no-defaults", "--user=root", "--datadir="+c.path("db"),
		"--auth-root-authentication-method=normal", "--skip-test-db")
	if err != nil {
		return err
	}
	log, err := os.OpenFile(c.path("log", "mariadb.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start the database: %w", err)
	}
	// No context: it is stopped in an order of its own.
	c.database = exec.Command("/usr/sbin/mariadbd", "--defaults-file="+c.path("my.cnf")) //nolint:noctx // see above
	c.database.Env, c.database.Dir = systemEnv(), c.opt.Dir
	c.database.Stdout, c.database.Stderr = log, log
	c.database.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := errors.Join(c.database.Start(), log.Close()); err != nil {
		return fmt.Errorf("start the database: %w", err)
	}
	return c.awaitDatabase(ctx)
}

func (c *Cloud) awaitDatabase(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, databaseWait)
	defer cancel()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "unix", c.socket())
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			log, readErr := os.ReadFile(c.path("log", "mariadb.log"))
			return errors.Join(fmt.Errorf("the database does not answer: %w; the end of its log:\n%s", err, lastLines(string(log))), readErr)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c *Cloud) socket() string { return c.path("db.sock") }

// sql runs statements in a database.
func (c *Cloud) sql(ctx context.Context, database, statements string) error {
	return c.run(ctx, statements, "/usr/bin/mariadb", "--no-defaults", "--batch", "-S", c.socket(), "-u", "root", database)
}

// fillDatabase makes the schemas, the user admin and the catalog.
func (c *Cloud) fillDatabase(ctx context.Context) error {
	if err := c.sql(ctx, "mysql", "create database keystone; create database glance;"); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.fillKeystone(ctx) })
	if slices.Contains(c.opt.Services, "glance") {
		group.Go(func() error {
			return c.run(ctx, "", "/usr/bin/glance-manage", "--config-file", c.path("manage", "glance-api.conf"), "db_sync")
		})
	}
	return group.Wait()
}

func (c *Cloud) fillKeystone(ctx context.Context) error {
	manage := []string{"/usr/bin/keystone-manage", "--config-file", c.path("manage", "keystone.conf")}
	for _, args := range [][]string{
		{"db_sync"},
		{"bootstrap", "--bootstrap-password", Password, "--bootstrap-region-id", c.opt.Spec.Region},
	} {
		if err := c.run(ctx, "", append(manage, args...)...); err != nil {
			return err
		}
	}
	return c.sql(ctx, "keystone", catalogSQL(c.opt.Spec))
}
