package speccmd

import (
	"fmt"
	"os"
	"strings"

	"holdfast/internal/auth"
	"holdfast/internal/auth/keyfile"
	"holdfast/internal/cli/app"
	"holdfast/internal/spec"
	"holdfast/internal/status"
)

// authenticationFlags say what "holdfast validate" is to say of the authentication.
type authenticationFlags struct {
	wanted  bool
	keyFile string
}

// authentication is what is done with a key, and whom that withstands.
type authentication struct {
	Mode       string        `json:"mode"`
	KeyFile    string        `json:"key_file,omitempty"` // empty: there is no key
	Withstands []auth.Threat `json:"withstands"`
}

// look looks at the key, and says what the authentication of s withstands; nil where
// that was not asked for, or there is no spec.
func (f authenticationFlags) look(s *spec.Spec) (*authentication, []status.Finding, error) {
	if s == nil || !f.wanted && f.keyFile == "" {
		return nil, nil, nil
	}
	mode, _ := auth.ParseMode(string(s.Agent.Authentication)) // else the first
	policy := auth.Policy{Mode: mode}
	file := keyfile.Find(f.keyFile, os.Getenv("CREDENTIALS_DIRECTORY"))
	if file != "" {
		var err error
		if policy.Keys, err = keyfile.Load(file); err != nil {
			return nil, nil, &app.ExitError{Code: app.ExitUsage, Err: err}
		}
	}
	says := &authentication{Mode: mode.String(), KeyFile: file, Withstands: policy.Withstands()}
	if policy.Demands() {
		return says, nil, nil
	}
	found := status.Finding{
		Severity: status.Info, Code: status.CodeNotAuthenticated, Subject: "authentication",
		Text:   fmt.Sprintf("agent.authentication is %s: adverts and requests that are not signed are believed", mode),
		Remedy: "the next step is " + next(mode).String() + ", once every controller has this one",
	}
	if policy.Keys == nil {
		found.Text = "there is no key: who sends adverts and requests from a controller's address is believed"
		found.Remedy = "holdfast key " + keyfile.Default + ", the same file on every controller, and then agent.authentication: permissive and strict"
	}
	return says, []status.Finding{found}, nil
}

// next is the step of a roll-out after mode.
func next(mode auth.Mode) auth.Mode { return min(mode+1, auth.Strict) }

// String gives lines for people.
func (a *authentication) String() string {
	if a == nil {
		return ""
	}
	var b strings.Builder
	if a.KeyFile == "" {
		b.WriteString("authentication: none, there is no key\n")
	} else {
		fmt.Fprintf(&b, "authentication: %s, with %s\n", a.Mode, a.KeyFile)
	}
	for _, t := range a.Withstands {
		fmt.Fprintf(&b, "  %s %s\n", t.Who, t.What)
	}
	return b.String()
}
