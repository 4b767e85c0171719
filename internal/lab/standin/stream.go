package standin

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// headerChecksum tells the CRC-32 (IEEE) of a stream's body, in hexadecimal.
const headerChecksum = "X-Body-Crc32"

const (
	maxStream = 64 << 20 // bytes
	// streamStep is how often a stream gives its next piece.
	streamStep = 20 * time.Millisecond
)

// giveStream answers GET /stream/N?s=SECONDS: N bytes, a piece at a time over
// so many seconds, as to a client far away. No two places of the body are
// alike, and a header has its checksum, so that a client can tell whether what
// it got is what was sent.
func (s *Server) giveStream(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/stream/"))
	seconds, secondsErr := strconv.ParseFloat(r.URL.Query().Get("s"), 64)
	if err != nil || secondsErr != nil || n < 1 || n > maxStream || !(seconds >= 0 && seconds <= 3600) {
		s.json(w, http.StatusBadRequest, map[string]string{"error": fmt.Sprintf("write /stream/N?s=SECONDS with N from 1 to %d", maxStream)})
		return
	}
	body := streamBody(n)
	w.Header().Set("Content-Length", strconv.Itoa(n))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set(headerChecksum, fmt.Sprintf("%08x", crc32.ChecksumIEEE(body)))
	begin, length := time.Now(), time.Duration(seconds*float64(time.Second))
	out := http.NewResponseController(w)
	for sent := 0; sent < n; {
		due := n
		if gone := time.Since(begin) + streamStep; gone < length {
			due = max(sent+1, int(float64(n)*float64(gone)/float64(length)))
		}
		if _, err := w.Write(body[sent:due]); err != nil {
			return // the client has gone
		}
		if err := out.Flush(); err != nil {
			return
		}
		if sent = due; sent == n {
			return
		}
		select {
		case <-time.After(streamStep):
		case <-r.Context().Done():
			return
		}
	}
}

// streamBody gives n bytes in which each word tells its place.
func streamBody(n int) []byte {
	body := make([]byte, 0, n+4)
	for i := uint32(0); len(body) < n; i++ {
		body = binary.BigEndian.AppendUint32(body, i*2654435761)
	}
	return body[:n]
}
