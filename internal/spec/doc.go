// Package spec turns the bytes of the one YAML file, /etc/holdfast/holdfast.yaml,
// into a Spec with every default filled in, or into all findings that it has,
// each with its line and column and what to write instead. docs/spec.md is the
// reference of the file's keys.
//
// It is strict: what it does not understand is an error, since a key that is
// ignored is a promise that is broken. It reads no file, resolves no name and
// asks no machine; whether an interface or a certificate exists is found out
// elsewhere.
package spec
