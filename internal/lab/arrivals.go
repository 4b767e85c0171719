package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// arrivals is the file to which a service's host adds the key of each request
// that is not safe to repeat.
func (d Dir) arrivals(node, service string) string {
	return d.path("nodes", node, service+".arrivals")
}

// ReadArrivals tells how often each request that is not safe to repeat arrived
// at the services of the lab in d, by its X-Lab-Key: since the lab's start,
// whatever has happened to the services.
func ReadArrivals(d Dir) (map[string]int, error) {
	files, err := filepath.Glob(d.arrivals("*", "*"))
	if err != nil {
		return nil, fmt.Errorf("look for arrivals: %w", err)
	}
	all := map[string]int{}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read what arrived: %w", err)
		}
		for key := range strings.FieldsSeq(string(data)) {
			all[key]++
		}
	}
	return all, nil
}
