package load

import (
	"fmt"
	"regexp"

	"holdfast/internal/spec"
)

// template is a part of an endpoint's URL that a client fills in.
var template = regexp.MustCompile(`[$%]\([a-z_]+\)s`)

// TargetsOf gives every http service of s through the name of each VIP that it is on.
func TargetsOf(s *spec.Spec) []Target {
	var all []Target
	for _, v := range s.VIPs {
		scheme := "http"
		if v.TLS != nil {
			scheme = "https"
		}
		for _, service := range s.Services {
			if service.Mode != spec.HTTP || !service.On(v) {
				continue
			}
			path := template.ReplaceAllString(service.Path, "lab")
			if path == "" {
				path = "/"
			}
			at := v.PlaceOf(service, "public")
			all = append(all, Target{
				Name: service.Name,
				URL:  fmt.Sprintf("%s://%s:%d%s", scheme, at.Name, at.Port, at.Path+path),
			})
		}
	}
	return all
}
