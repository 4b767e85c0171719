package busy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// Counts is how many requests a host of a service has seen, whatever it
// answered.
type Counts struct {
	Requests int `json:"requests"` // but for health checks
	Keyed    int `json:"keyed"`    // of these, from a load generator: with its key
	Checks   int `json:"checks"`   // health checks, from whomever
}

// Add gives the sum of both.
func (c Counts) Add(o Counts) Counts {
	return Counts{c.Requests + o.Requests, c.Keyed + o.Keyed, c.Checks + o.Checks}
}

// Sub gives what has come since o.
func (c Counts) Sub(o Counts) Counts {
	return Counts{c.Requests - o.Requests, c.Keyed - o.Keyed, c.Checks - o.Checks}
}

// countsLine is a file of Counts: as long whatever it says, so that it can be
// overwritten in place.
const countsLine = "%019d %019d %019d\n"

// ReadCounts gives what the file at path says; none where there is no file.
func ReadCounts(path string) (Counts, error) {
	var c Counts
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(data) == 0 {
		return c, nil
	}
	if err == nil {
		_, err = fmt.Sscanf(string(data), countsLine, &c.Requests, &c.Keyed, &c.Checks)
	}
	if err != nil {
		return c, fmt.Errorf("read how many requests came: %w", err)
	}
	return c, nil
}

// A Counter keeps Counts in a file, where they outlive whoever counts, however
// that ends.
type Counter struct {
	file *os.File

	mu     sync.Mutex // guards following
	counts Counts
}

// OpenCounter goes on counting in the file at path.
func OpenCounter(path string) (*Counter, error) {
	counts, err := ReadCounts(path)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("count requests: %w", err)
	}
	return &Counter{file: file, counts: counts}, nil
}

// Count adds to what was counted.
func (c *Counter) Count(more Counts) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts = c.counts.Add(more)
	_, err := c.file.WriteAt(fmt.Appendf(nil, countsLine, c.counts.Requests, c.counts.Keyed, c.counts.Checks), 0)
	if err != nil {
		return fmt.Errorf("count a request: %w", err)
	}
	return nil
}

// Close ends the counting.
func (c *Counter) Close() error { return c.file.Close() }
