package changelog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// A Writer takes the lines of one journal.
type Writer[D Detail[D]] struct {
	Name string // of the journal
	// Continues is the name of the journal of an apply that was broken off, and
	// that this one goes on with; "" for none.
	Continues string

	file *os.File
	out  io.Writer // to file
	now  func() time.Time
}

// Begin writes the first line: what is going to be done.
func (w *Writer[D]) Begin(plan, cloud string, total int, d D) error {
	return w.write(Line[D]{Kind: Begin, Version: version, Plan: plan, Cloud: cloud, Total: total, Continues: w.Continues, Detail: d})
}

// Intend writes that change n, from 1, is going to be made.
func (w *Writer[D]) Intend(n int, d D) error { return w.write(Line[D]{Kind: Intend, N: n, Detail: d}) }

// Made writes how change n was made.
func (w *Writer[D]) Made(n int, how D) error {
	return w.write(Line[D]{Kind: Changed, N: n, Detail: how})
}

// Verified writes that those who use it have change n.
func (w *Writer[D]) Verified(n int) error { return w.write(Line[D]{Kind: Verified, N: n}) }

// Applied writes that all changes are made.
func (w *Writer[D]) Applied() error { return w.write(Line[D]{Kind: Applied}) }

// Stop writes why no further change is made, after so many were done, and gives
// that as a *StoppedError. Text is what is written of err.
func (w *Writer[D]) Stop(done int, err error, text string) error {
	// If this cannot be written the journal ends here, which says the same.
	return &StoppedError{Journal: w.Name, Done: done, Err: errors.Join(err, w.write(Line[D]{Kind: Stopped, Error: text}))}
}

// write adds l. When it returns, l is on disk.
func (w *Writer[D]) write(l Line[D]) error {
	l.Time = w.now()
	text, err := l.Encode()
	if err != nil {
		return err
	}
	if _, err = w.out.Write(text); err == nil {
		err = w.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// Close ends the writing.
func (w *Writer[D]) Close() error { return w.file.Close() }

// A StoppedError says that an apply or a rollback did not come to its end.
type StoppedError struct {
	Journal string // its name
	Done    int    // changes made and verified, or undone
	Err     error
}

func (e *StoppedError) Error() string { return e.Err.Error() }

func (e *StoppedError) Unwrap() error { return e.Err }
