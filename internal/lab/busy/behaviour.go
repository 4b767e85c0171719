// Package busy says how a stand-in takes its requests: how many at a time, how
// long each holds a worker, and which it turns away. A real service has a fixed
// number of workers, and whatever comes beyond that waits in one queue, health
// checks among it.
package busy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Bounds of a Behaviour.
const (
	MaxWorkers = 10000
	MaxHold    = time.Hour
	MaxRate    = 100000 // requests a second
)

// A Behaviour is how a stand-in takes requests. The zero one takes them all at
// once.
type Behaviour struct {
	// Workers is how many requests are worked on at a time; the others wait, in
	// the order they came. 0: as many as there are.
	Workers int `json:"workers,omitempty"`
	// Hold is how long a request keeps its worker, beside what answering it takes.
	Hold time.Duration `json:"hold_ns,omitempty"`
	// Limited says that requests over Rate a second are answered 503 with
	// Retry-After; health checks are not counted.
	Limited bool    `json:"limited,omitempty"`
	Rate    float64 `json:"rate,omitempty"`
	// Closes says that a connection is closed without an answer when the headers
	// of a request are over MaxHeaders.
	Closes bool `json:"closes,omitempty"`
}

// MaxHeaders is how many bytes of headers a request may have where a Behaviour
// Closes: uWSGI's buffer, as it comes.
const MaxHeaders = 4096

// String names what is unlike an ordinary host, for a person: "busy", "late",
// "push-back", "closes"; empty for nothing.
func (b Behaviour) String() string {
	var words []string
	switch {
	case b.Workers > 0:
		words = append(words, "busy")
	case b.Hold > 0:
		words = append(words, "late")
	}
	if b.Limited {
		words = append(words, "push-back")
	}
	if b.Closes {
		words = append(words, "closes")
	}
	return strings.Join(words, ", ")
}

// ParseWorkers reads "8x100ms": so many workers, each request so long.
func ParseWorkers(text string) (workers int, hold time.Duration, err error) {
	n, d, found := strings.Cut(text, "x")
	if found {
		workers, err = strconv.Atoi(n)
	}
	if found && err == nil {
		hold, err = time.ParseDuration(d)
	}
	if !found || err != nil || workers < 1 || workers > MaxWorkers || hold < 0 || hold > MaxHold {
		return 0, 0, fmt.Errorf("%q does not say how many workers there are and how long each request takes; write 8x100ms", text)
	}
	return workers, hold, nil
}

// ParseHold reads how long every answer takes.
func ParseHold(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > MaxHold {
		return 0, fmt.Errorf("%q is not a time from 0 to %v; write one such as 300ms", text, MaxHold)
	}
	return d, nil
}

// ParseRate reads how many requests a second are taken.
func ParseRate(text string) (float64, error) {
	rate, err := strconv.ParseFloat(strings.TrimSuffix(text, "/s"), 64)
	if err != nil || !(rate >= 0 && rate <= MaxRate) {
		return 0, fmt.Errorf("%q is not a rate from 0 to %d requests a second", text, MaxRate)
	}
	return rate, nil
}

// WriteFile puts b into the file at path, whole at every moment.
func (b Behaviour) WriteFile(path string) error {
	next := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	data, err := json.Marshal(b)
	if err == nil {
		err = os.WriteFile(next, data, 0o644)
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return fmt.Errorf("write a behaviour: %w", err)
	}
	return nil
}

// ReadFile gives the Behaviour that is in the file at path; the zero one when
// there is no file.
func ReadFile(path string) (Behaviour, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Behaviour{}, nil
	}
	var b Behaviour
	if err == nil {
		err = json.Unmarshal(data, &b)
	}
	if err != nil {
		return Behaviour{}, fmt.Errorf("read a behaviour: %w", err)
	}
	return b, nil
}
