package haproxy

import (
	"strings"

	"holdfast/internal/spec"
)

// Parts gives, for each service of s by its name, what cfg, made by Render of
// s, says of it: where it listens, and its backends with their hosts. What is
// the same in two configurations was not changed by the second; the parts that
// all services have in common are not looked at.
func Parts(cfg []byte, s *spec.Spec) map[string]string {
	service := map[string]string{} // by the line that begins the section
	for _, svc := range s.Services {
		service["backend "+BackendName(svc)] = svc.Name
		service["backend "+OnceName(svc)] = svc.Name
		service["backend "+AcceptsName(svc)] = svc.Name
		service["backend "+EvenName(svc)] = svc.Name
		for _, v := range s.VIPs {
			for i := range v.Addresses {
				service["frontend "+FrontendName(v, i, svc)] = svc.Name
			}
		}
	}
	lines := map[string]*strings.Builder{}
	forLines(cfg, func(_ int, section, words []string) {
		name, ok := service[strings.Join(section, " ")]
		if !ok || section[0] == "frontend" && words[0] != "bind" {
			return
		}
		if lines[name] == nil {
			lines[name] = &strings.Builder{}
		}
		lines[name].WriteString(section[1] + ": " + strings.Join(words, " ") + "\n")
	})
	parts := make(map[string]string, len(lines))
	for name, b := range lines {
		parts[name] = b.String()
	}
	return parts
}
