package cloud

import (
	"strconv"
	"strings"

	"holdfast/internal/status"
)

// The ways in which HAProxy's consistent hash places servers by their ids.
const (
	hashUsual = "as usual"
	hashTwice = "in another way"
)

// hashOf says how the HAProxy of a version places servers; "" for what is no version.
// From 3.0.0 to 3.0.12 and from 3.2.0 to 3.2.6 the id is hashed twice (mended by HAProxy's
// change 03e9a5a1e7 of 2025-10-16). Of 3.1, which has it too, it is not known here which
// release mended it: it is taken for mended.
func hashOf(version string) string {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 3 {
		return ""
	}
	digits := strings.IndexFunc(parts[2], func(r rune) bool { return r < '0' || r > '9' })
	if digits >= 0 {
		parts[2] = parts[2][:digits]
	}
	patch, err := strconv.Atoi(parts[2])
	if err != nil {
		return ""
	}
	switch minor := parts[0] + "." + parts[1]; {
	case minor == "3.0" && patch < 13, minor == "3.2" && patch < 7:
		return hashTwice
	}
	return hashUsual
}

// findHashes tells of HAProxys that send one client to different hosts.
func (m *merger) findHashes() {
	if m.differing(func(s *status.Snapshot) string { return hashOf(s.HAProxy.Version) }) == "" {
		return
	}
	text := m.differing(func(s *status.Snapshot) string { return s.HAProxy.Version })
	m.find(status.Info, status.CodeHashesDiffer, "haproxy", "a client whose requests go to one host does not come to the same one through each HAProxy, as these versions hash in two ways: "+text,
		"run 3.0.13 or later of 3.0, 3.2.7 or later of 3.2: 3.0.0 to 3.0.12 and 3.2.0 to 3.2.6 hash otherwise than all others",
		also{brief: "HAProxys hash in two ways"})
}
