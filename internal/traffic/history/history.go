// Package history keeps what clients got: of the last hour for every ten seconds, and of the
// last month for every five minutes. Each is a ring of frames in a file, which never grows;
// one that a crash or a power cut tore is left out. It counts nothing.
package history

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"holdfast/internal/traffic"
)

const (
	// short is how long a stretch of the hour is, long one of the month: a whole number of
	// the short ones.
	short, long = traffic.SlotLength, 5 * time.Minute
	// shorts and longs are how many are kept.
	shorts, longs = 360, 31 * 24 * 12
	// perLong is how many short ones make a long one, perHour how many long ones an hour.
	perLong, perHour = int64(long / short), int64(time.Hour / long)
	// settle is after which time the lines of a stretch that is over have come.
	settle = time.Second
	// atOnce is how much of a file is read at once, in octets.
	atOnce = 256 * traffic.FrameSize
)

// The files; the first is in the run directory, since a disk need not be written that often.
const (
	shortFile = "clients-hour"
	longFile  = "clients-month"
)

// Options is what a Keeper is made of.
type Options struct {
	RunDir, StateDir string
	// Point gives what clients got in the stretch of SlotLength with that number.
	Point func(number int64) []traffic.Rate
	Log   *slog.Logger
}

// A Keeper keeps the history. Its methods may be called by any goroutine.
type Keeper struct {
	opt  Options
	now  func() time.Time
	said trouble // of Run alone

	// Each is held by the one who reads that file: a month takes some, and the disk that has
	// it may stand still while the hour, which is in memory, does not.
	readingHour, readingMonth sync.Mutex
	// keepLong keeps a long stretch: with Run it waits for no disk. writeLong writes it.
	keepLong, writeLong func(traffic.Frame) error
}

// New makes a Keeper. It touches nothing until Run.
func New(opt Options) *Keeper {
	k := &Keeper{opt: opt, now: time.Now}
	k.writeLong = func(f traffic.Frame) error { return write(filepath.Join(opt.StateDir, longFile), f, longs) }
	k.keepLong = k.writeLong
	return k
}

// waiting is how many long stretches wait for a disk that stands still: an hour.
const waiting = 12

// Run keeps what comes about until ctx ends. A disk that stands still then keeps nobody: what
// was to be written to it is lost.
func (k *Keeper) Run(ctx context.Context) {
	queue := make(chan traffic.Frame, waiting)
	k.keepLong = func(f traffic.Frame) error {
		select {
		case queue <- f:
			return nil
		default:
			return fmt.Errorf("keep what clients got: the disk with %s stands still", k.opt.StateDir)
		}
	}
	go k.writeLongs(ctx, queue)
	var going stretch
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := k.now()
		current := now.UnixNano() / int64(short)
		timer.Reset(time.Unix(0, (current+1)*int64(short)).Add(settle).Sub(now))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		k.keep(current, &going)
	}
}

// A stretch is the long one that goes on.
type stretch struct {
	begun    bool
	number   int64 // of the long stretch
	last     int64 // short one that was gathered
	gathered traffic.Gatherer
}

// keep keeps the stretch with that number, which is over, and the long one that ends with it
// or has ended before: a clock that is set, or a machine that stands still, leaves some out.
func (k *Keeper) keep(number int64, going *stretch) {
	if going.begun && number <= going.last {
		if going.last-number < perLong {
			return // the clock was set back a little: these are known
		}
		*going = stretch{}
	}
	rates := k.opt.Point(number)
	var one traffic.Gatherer
	one.Add(rates)
	err := write(filepath.Join(k.opt.RunDir, shortFile), traffic.Frame{Number: number, Points: one.Take()}, shorts)
	if going.begun && number/perLong != going.number {
		err = errors.Join(err, k.end(going))
	}
	going.begun, going.number, going.last = true, number/perLong, number
	going.gathered.Add(rates)
	if (number+1)%perLong == 0 {
		err = errors.Join(err, k.end(going))
	}
	k.said.say(k.opt.Log, err)
}

// end writes the long stretch that goes on.
func (k *Keeper) end(going *stretch) error {
	points := going.gathered.Take()
	going.begun = false
	return k.keepLong(traffic.Frame{Number: going.number, Points: points})
}

// writeLongs writes what comes until ctx ends.
func (k *Keeper) writeLongs(ctx context.Context, queue <-chan traffic.Frame) {
	var t trouble
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-queue:
			t.say(k.opt.Log, k.writeLong(f))
		}
	}
}

// A trouble is what was logged last, so that it is said once.
type trouble string

func (t *trouble) say(log *slog.Logger, err error) {
	switch {
	case err == nil:
		*t = ""
	case err.Error() != string(*t):
		*t = trouble(err.Error())
		log.Warn("the history of what clients got cannot be written", "error", err)
	}
}

// write puts a frame into its place in a ring of that many. The place is what it replaces:
// nothing else is touched, and what is torn has a wrong checksum.
func write(path string, f traffic.Frame, frames int64) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("keep what clients got: %w", err)
	}
	_, err = file.WriteAt(f.Encode(), f.Number%frames*traffic.FrameSize)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("keep what clients got: %w", err)
	}
	return nil
}

// Hour gives the last hour, by ten seconds.
func (k *Keeper) Hour() (traffic.History, error) {
	last := k.now().UnixNano() / int64(short)
	frames, err := read(filepath.Join(k.opt.RunDir, shortFile), &k.readingHour)
	return traffic.HistoryOf(frames, last-shorts, shorts, 1, short), err
}

// Day gives the last day, by five minutes.
func (k *Keeper) Day() (traffic.History, error) {
	last := k.now().UnixNano() / int64(long)
	frames, err := read(filepath.Join(k.opt.StateDir, longFile), &k.readingMonth)
	return traffic.HistoryOf(frames, last-24*perHour, int(24*perHour), 1, long), err
}

// Month gives the last 30 days, by hours.
func (k *Keeper) Month() (traffic.History, error) {
	last := k.now().UnixNano() / int64(long) / perHour * perHour
	frames, err := read(filepath.Join(k.opt.StateDir, longFile), &k.readingMonth)
	return traffic.HistoryOf(frames, last-30*24*perHour, 30*24, int(perHour), long), err
}

// read gives the frames of a file that are whole; none of one that is not there. One reads at
// a time.
func read(path string, one *sync.Mutex) (frames []traffic.Frame, err error) {
	one.Lock()
	defer one.Unlock()
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what clients got: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	buffer := make([]byte, atOnce)
	for left := longs; left > 0; { // however long somebody has made it
		n, err := io.ReadFull(file, buffer)
		for data := buffer[:n]; len(data) >= traffic.FrameSize; data = data[traffic.FrameSize:] {
			if f, whole := traffic.DecodeFrame(data[:traffic.FrameSize]); whole {
				frames = append(frames, f)
			}
			left--
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return frames, nil
		}
		if err != nil {
			return frames, fmt.Errorf("read what clients got: %w", err)
		}
	}
	return frames, nil
}
