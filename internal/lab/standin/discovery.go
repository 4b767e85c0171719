package standin

import "net/http"

// shape is the form of a service's answer to GET /.
type shape int

const (
	plainList  shape = iota // {"versions": [...]}
	valuesList              // {"versions": {"values": [...]}}
)

// An api is what a service's version discovery says.
type api struct {
	status int
	shape  shape
	id     string
	path   string
	state  string // "CURRENT" or "stable"
}

// apiOf gives the version discovery of the services that are known by type,
// as their own API references describe it, and a plain one for others.
func apiOf(serviceType string) api {
	switch serviceType {
	case "identity":
		return api{http.StatusMultipleChoices, valuesList, "v3.14", "/v3/", "stable"}
	case "image":
		return api{http.StatusMultipleChoices, plainList, "v2.16", "/v2/", "CURRENT"}
	case "compute":
		return api{http.StatusOK, plainList, "v2.1", "/v2.1/", "CURRENT"}
	case "network":
		return api{http.StatusOK, plainList, "v2.0", "/v2.0/", "CURRENT"}
	case "placement":
		return api{http.StatusOK, plainList, "v1.0", "/", "CURRENT"}
	case "dns":
		return api{http.StatusOK, valuesList, "v2", "/v2/", "CURRENT"}
	case "block-storage", "volumev3":
		return api{http.StatusMultipleChoices, plainList, "v3.0", "/v3/", "CURRENT"}
	case "orchestration":
		return api{http.StatusMultipleChoices, plainList, "v1.0", "/v1/", "CURRENT"}
	case "load-balancer":
		return api{http.StatusOK, plainList, "v2.27", "/v2/", "CURRENT"}
	case "key-manager":
		return api{http.StatusMultipleChoices, valuesList, "v1", "/v1/", "stable"}
	}
	return api{http.StatusOK, plainList, "v1.0", "/", "CURRENT"}
}

// discovery gives the answer of a service of that type to GET /.
func discovery(serviceType, host string) (int, any) {
	a := apiOf(serviceType)
	versions := []map[string]any{{
		"id":     a.id,
		"status": a.state,
		"links":  []map[string]string{{"rel": "self", "href": "http://" + host + a.path}},
	}}
	if a.shape == valuesList {
		return a.status, map[string]any{"versions": map[string]any{"values": versions}}
	}
	return a.status, map[string]any{"versions": versions}
}
