package standin

import (
	"errors"
	"fmt"
	"net/http"
	"os"
)

// writeDown adds the key of a request that is not safe to repeat to the file
// of arrivals.
func (s *Server) writeDown(r *http.Request) error {
	key := r.Header.Get(headerKey)
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return nil
	}
	if s.opt.Arrivals == "" || key == "" {
		return nil
	}
	file, err := os.OpenFile(s.opt.Arrivals, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("write down an arrival: %w", err)
	}
	if _, err := file.WriteString(key + "\n"); err != nil {
		return errors.Join(fmt.Errorf("write down an arrival: %w", err), file.Close())
	}
	return file.Close()
}
