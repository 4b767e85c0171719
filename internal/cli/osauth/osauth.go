// Package osauth is how a command is told where OpenStack's Keystone is and who
// asks it: the flags that the openstack client has, too, beside its environment.
package osauth

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"holdfast/internal/cli/app"
	"holdfast/internal/keystone"
	"holdfast/internal/keystone/admin"
	"holdfast/internal/status"
)

// Flags say where Keystone is and who asks, beside the environment.
type Flags struct {
	Cloud           string // --os-cloud
	authURL, cacert string
	insecure        bool
}

// Add gives cmd the flags.
func (f *Flags) Add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.Cloud, "os-cloud", "", "`NAME` of a cloud in clouds.yaml (default: OS_CLOUD); \"envvars\" is what the OS_* variables say")
	flags.StringVar(&f.authURL, "os-auth-url", "", "`URL` of Keystone in place of the auth_url")
	flags.StringVar(&f.cacert, "os-cacert", "", "`FILE` with the CA certificates to trust (default: OS_CACERT)")
	flags.BoolVar(&f.insecure, "insecure", false, "do not check TLS certificates")
}

// Auth finds the credentials.
func (f *Flags) Auth() (admin.Auth, error) {
	auth, err := admin.ResolveAuth(admin.AuthRequest{
		Cloud: f.Cloud, URL: f.authURL, CACert: f.cacert, Insecure: f.insecure,
		Dirs: cloudsDirs(), Env: os.Getenv, ReadFile: os.ReadFile,
	})
	if err != nil {
		return auth, app.Usagef("%w", err)
	}
	for _, file := range []string{auth.CACert, auth.Cert, auth.Key} {
		if err := readable(file); err != nil {
			return auth, app.ReadError("certificate or key", file, err)
		}
	}
	return auth, nil
}

// readable says why the file at path cannot be read; nil for no path.
func readable(path string) error {
	if path == "" {
		return nil
	}
	_, err := os.ReadFile(path)
	return err
}

// InEnvironment reports whether the environment names a Keystone.
func (f *Flags) InEnvironment() bool {
	return f.authURL != "" || os.Getenv("OS_CLOUD") != "" || os.Getenv("OS_AUTH_URL") != ""
}

// Endpoints is the endpointSource of a live Keystone.
func (f *Flags) Endpoints(ctx context.Context) (string, []keystone.Endpoint, []status.Finding, error) {
	auth, err := f.Auth()
	if err != nil {
		return "", nil, nil, err
	}
	endpoints, err := admin.Fetch(ctx, auth)
	return "Keystone at " + auth.URL, endpoints, nil, err
}

// cloudsDirs gives the folders in which openstacksdk looks for clouds.yaml.
func cloudsDirs() []string {
	dirs := []string{"."}
	config := os.Getenv("XDG_CONFIG_HOME")
	if home := os.Getenv("HOME"); config == "" && home != "" {
		config = filepath.Join(home, ".config")
	}
	if config != "" {
		dirs = append(dirs, filepath.Join(config, "openstack"))
	}
	return append(dirs, "/etc/openstack")
}
