package standin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
)

// serveLines is a service that is not HTTP: it answers each line with the
// host's name and the line. A health check that speaks HTTP to it is answered.
func (s *Server) serveLines(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	accepting, refuse := context.WithCancel(ctx)
	defer refuse()
	go func() {
		select {
		case <-s.finish:
			refuse()
		case <-accepting.Done():
		}
	}()
	stop := context.AfterFunc(accepting, func() { _ = l.Close() }) //nolint:errcheck // Accept tells
	defer stop()
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			serving.Go(func() { s.echoLines(ctx, conn) })
		case accepting.Err() != nil:
			serving.Wait() // until clients have ended what they have, or ctx does
			return nil
		default:
			cancel()
			return fmt.Errorf("service %s on %s: %w", s.service.Name, s.host.Name, err)
		}
	}
}

func (s *Server) echoLines(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) //nolint:errcheck // the reader sees it
	defer stop()
	defer conn.Close() //nolint:errcheck // nothing is buffered
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		if err != nil || s.failing() {
			return
		}
		if err := s.answerLine(conn, line); err != nil {
			return
		}
	}
}

var errAnswered = errors.New("answered a health check")

func (s *Server) answerLine(w io.Writer, line string) error {
	if strings.Contains(line, " HTTP/1.") {
		code := passing(s.service.Check.Expect)
		_, err := fmt.Fprintf(w, "HTTP/1.1 %d Checked\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", code)
		return errors.Join(err, errAnswered)
	}
	_, err := fmt.Fprintf(w, "%s: %s", s.host.Name, line)
	return err
}
