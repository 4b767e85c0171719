package cli

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// isJournal reports whether stream leads to journald: systemd tells which file
// does, by its device and inode, in $JOURNAL_STREAM (systemd.exec(5)).
func isJournal(stream any) bool {
	file, ok := stream.(*os.File)
	device, inode, told := strings.Cut(os.Getenv("JOURNAL_STREAM"), ":")
	if !ok || !told {
		return false
	}
	info, err := file.Stat()
	if err != nil {
		return false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && device == strconv.FormatUint(s.Dev, 10) && inode == strconv.FormatUint(s.Ino, 10)
}
