package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"holdfast/internal/lab/busy"
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

// counts is the file in which a service's host says how many requests came.
func (d Dir) counts(node, service string) string {
	return d.path("nodes", node, service+".counts")
}

// ReadCounts tells how many requests the hosts of a service in the lab in d have
// seen, whatever they answered: since the lab's start, whatever has happened to
// them.
func ReadCounts(d Dir, service string) (busy.Counts, error) {
	var all busy.Counts
	files, err := filepath.Glob(d.counts("*", service))
	if err != nil {
		return all, fmt.Errorf("look for counts: %w", err)
	}
	for _, path := range files {
		one, err := busy.ReadCounts(path)
		if err != nil {
			return all, err
		}
		all = all.Add(one)
	}
	return all, nil
}
