package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxMessage is the longest message on the control socket, in bytes; a
	// request to run a command carries its environment.
	maxMessage = 4 << 20
	// maxFiles is how many open files a message may carry.
	maxFiles = 3
)

// A request is what a command asks of the lab's server: one a connection, but
// for the signals to the command that op "exec" started.
type request struct {
	Op    string       `json:"op"` // ping, status, fault, exec, signal, switch, down
	Fault *Fault       `json:"fault,omitempty"`
	Exec  *execRequest `json:"exec,omitempty"`
	// Signal is the number of the one to send, for op "signal".
	Signal int `json:"signal,omitempty"`
	// Peer is the kind of peer to run, for op "switch"; empty: agents. Nodes are the
	// controllers to run it; none: all.
	Peer  string   `json:"peer,omitempty"`
	Nodes []string `json:"nodes,omitempty"`
}

// An execRequest asks for a command in a node. Its standard streams come with
// the message as open files.
type execRequest struct {
	Node string   `json:"node"`
	Args []string `json:"args"`
	Env  []string `json:"env"`
	Dir  string   `json:"dir"`
	// TTY says that the streams are a terminal which becomes the command's own.
	TTY bool `json:"tty"`
}

// A reply is what the server answers.
type reply struct {
	Error string `json:"error,omitempty"`
	// Wrong says that Error is one of the request, an OptionsError.
	Wrong  bool    `json:"wrong,omitempty"`
	Status *Status `json:"status,omitempty"`
	Fault  *Fault  `json:"fault,omitempty"` // as it was done
	// Exit is how the command ended, 128 more than a signal's number.
	Exit *int `json:"exit,omitempty"`
}

// A wire sends and receives messages, one JSON value a line, with open files.
type wire struct {
	conn  *net.UnixConn
	buf   []byte
	files []*os.File // received and not handed on yet
}

// dial connects to the server of the lab in d.
func dial(ctx context.Context, d Dir) (*wire, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", d.socket())
	if err != nil {
		return nil, fmt.Errorf("reach the lab %q: %w", d.Name(), err)
	}
	return &wire{conn: conn.(*net.UnixConn)}, nil
}

func (w *wire) close() error {
	err := w.conn.Close()
	for _, f := range w.files {
		err = errors.Join(err, f.Close())
	}
	w.files = nil
	return err
}

// send writes v and lets files travel with its first byte.
func (w *wire) send(v any, files ...*os.File) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	data = append(data, '\n')
	if len(data) > maxMessage {
		return fmt.Errorf("message of %d bytes; %d is the limit", len(data), maxMessage)
	}
	if len(files) > 0 {
		if err := w.sendFiles(data[:1], files); err != nil {
			return err
		}
		data = data[1:]
	}
	if _, err := w.conn.Write(data); err != nil {
		return fmt.Errorf("talk to the lab: %w", err)
	}
	return nil
}

func (w *wire) sendFiles(data []byte, files []*os.File) error {
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	if _, _, err := w.conn.WriteMsgUnix(data, unix.UnixRights(fds...), nil); err != nil {
		return fmt.Errorf("hand files to the lab: %w", err)
	}
	return nil
}

// receive reads the next message into v; io.EOF when the other side is gone.
func (w *wire) receive(v any) error {
	for {
		if line, rest, found := bytes.Cut(w.buf, []byte("\n")); found {
			w.buf = slices.Clone(rest)
			if err := json.Unmarshal(line, v); err != nil {
				return fmt.Errorf("not a message of the lab: %w", err)
			}
			return nil
		}
		if len(w.buf) > maxMessage {
			return fmt.Errorf("message longer than %d bytes", maxMessage)
		}
		if err := w.read(); err != nil {
			return err
		}
	}
}

// read takes what is there, open files among it.
func (w *wire) read() error {
	chunk := make([]byte, 64<<10)
	oob := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, oobn, _, _, err := w.conn.ReadMsgUnix(chunk, oob)
	if err == nil && n == 0 && oobn == 0 {
		err = io.EOF
	}
	if err != nil {
		return err
	}
	w.buf = append(w.buf, chunk[:n]...)
	return w.takeFiles(oob[:oobn])
}

func (w *wire) takeFiles(oob []byte) error {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("files in a message: %w", err)
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return fmt.Errorf("files in a message: %w", err)
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			w.files = append(w.files, os.NewFile(uintptr(fd), "stream"))
		}
	}
	return nil
}

// handOver gives the files that were received to the caller.
func (w *wire) handOver() []*os.File {
	files := w.files
	w.files = nil
	return files
}

// call sends one request and gives its one reply.
func call(ctx context.Context, d Dir, req request) (reply, error) {
	w, err := dial(ctx, d)
	if err != nil {
		return reply{}, err
	}
	stop := context.AfterFunc(ctx, func() { w.conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // it wakes the reader
	defer stop()
	var answer reply
	err = w.send(req)
	if err == nil {
		err = w.receive(&answer)
	}
	err = errors.Join(err, w.close())
	if err == nil && answer.Error != "" {
		err = answer.refusal()
	}
	return answer, err
}

// refuse makes the reply that says err.
func refuse(err error) reply {
	_, wrong := errors.AsType[*OptionsError](err)
	return reply{Error: err.Error(), Wrong: wrong}
}

// refusal is the error that r says.
func (r reply) refusal() error {
	if r.Wrong {
		return &OptionsError{errors.New(r.Error)}
	}
	return errors.New(r.Error)
}

// alive reports whether a server answers for d.
func alive(ctx context.Context, d Dir) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := call(ctx, d, request{Op: "ping"})
	return err == nil
}
