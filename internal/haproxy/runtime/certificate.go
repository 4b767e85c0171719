package runtime

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/output"
)

// SetCertificate has the current worker serve new connections with pem, the
// certificate, chain and key in the place of those it read from file, without
// a reload (management guide 9.3, "set ssl cert"). The connections that are
// open go on. The file itself is not touched. It returns once HAProxy says
// that it serves the certificate with that fingerprint.
//
// What HAProxy refuses is a *RefusedError. It takes no more than tune.bufsize,
// 16 kB, in this way, and does not say so: then the error is another.
func (c *Client) SetCertificate(ctx context.Context, file string, pem []byte, fingerprint string) error {
	if err := c.replaceCertificate(ctx, file, pem); err != nil {
		return fmt.Errorf("set the certificate %s: %w", file, err)
	}
	serves, err := c.ServesCertificate(ctx, file)
	if err == nil && serves != fingerprint {
		err = fmt.Errorf("HAProxy serves %s, and not %s", serves, fingerprint)
	}
	if err != nil {
		return fmt.Errorf("set the certificate %s: %w", file, err)
	}
	return nil
}

// replaceCertificate does the transaction.
func (c *Client) replaceCertificate(ctx context.Context, file string, pem []byte) error {
	name := haproxy.CLIWord(file)
	set := "set ssl cert " + name + " <<"
	if bytes.Contains(pem, []byte("\n\n")) {
		return fmt.Errorf("%q: its content would end at an empty line", set)
	}
	// One that was left open would be gone on with.
	_, _ = c.Runtime(ctx, "abort ssl cert "+name) //nolint:errcheck // most often there is none
	reply, err := c.WorkerSocket.Converse(ctx, "set severity-output number;"+set+"\n"+strings.TrimSuffix(string(pem), "\n")+"\n\n")
	if err != nil {
		return fmt.Errorf("ask HAProxy %q: %w", set, err)
	}
	reply, err = withoutSeverities(set, strings.TrimPrefix(reply, "\n"))
	if err != nil {
		return err
	}
	if !strings.Contains(reply, "Transaction") {
		return fmt.Errorf("%q: HAProxy did not take the %d bytes", set, len(pem))
	}
	reply, err = c.Runtime(ctx, "commit ssl cert "+name)
	if err != nil {
		return err
	}
	if !strings.Contains(reply, "Success") {
		return &RefusedError{"commit ssl cert " + name, OneLine(reply)}
	}
	return nil
}

// ServesCertificate gives the fingerprint of the certificate that the current
// worker serves as that of file: its SHA-1 in upper case hex digits.
func (c *Client) ServesCertificate(ctx context.Context, file string) (string, error) {
	reply, err := c.Runtime(ctx, "show ssl cert "+haproxy.CLIWord(file))
	if err != nil {
		return "", err
	}
	return output.ParseFingerprint([]byte(reply))
}
