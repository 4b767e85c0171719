package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
)

// ahead is how many numbers of events are set aside on disk before they are given: as many
// may be lost, by a disk that is full or a process that is killed, and none is given twice,
// but by a process that is killed while a disk that stands still takes its first.
const ahead = 500

// Numbers keep on disk which numbers may have been given to events. Others may have seen
// those, and know incidents by them, although the journal's file has them not.
type numbers struct {
	path    string
	log     *slog.Logger
	highest uint64 // that is set aside
	failed  bool   // which was said
}

// read gives the highest number that may have been given, 0 where that is not known.
func (n *numbers) read() (uint64, error) {
	text, err := os.ReadFile(n.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the numbers of events: %w", err)
	}
	highest, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the numbers of events: %s has no number: %w", n.path, err)
	}
	return highest, nil
}

// give sees to it that seq is set aside, with some more.
func (n *numbers) give(seq uint64) {
	if seq == 0 || seq+ahead/2 <= n.highest {
		return
	}
	err := n.write(seq + ahead)
	if err != nil && !n.failed {
		n.log.Warn("the numbers of events cannot be kept: after a restart some may be given again", "error", err)
	}
	n.failed = err != nil
}

// write puts highest in the place of what is there, and needs no room for it on the disk.
func (n *numbers) write(highest uint64) error {
	out, err := os.OpenFile(n.path, os.O_WRONLY|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("open the numbers of events: %w", err)
	}
	_, err = out.WriteAt(fmt.Appendf(nil, "%020d\n", highest), 0)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("write the numbers of events: %w", err)
	}
	n.highest = highest
	return nil
}
