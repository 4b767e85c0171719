package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"holdfast/internal/haproxy"
	"holdfast/internal/haproxy/ours"
	"holdfast/internal/haproxy/output"
	"holdfast/internal/haproxy/runtime"
	"holdfast/internal/pidfd"
)

// adopt takes over the HAProxy that runs with this run directory, if one does.
// One whose master does not answer is ended: beside a second one, it would
// take half of the connections and answer none.
func (s *supervisor) adopt() error {
	all, err := s.ours()
	if err != nil || len(all) == 0 {
		return err
	}
	peer := ours.Peer(s.MasterSocket.Path)
	candidates := ours.Masters(all, peer)
	p, worker, err := s.adoptable(candidates, peer)
	if err == nil {
		err = s.follow(p, worker, s.recall(p))
	}
	if err != nil {
		s.log.Warn("a HAProxy that cannot be adopted runs; ending it", "pid", all[0].PID, "error", err)
		if err := s.sweep(); err != nil { // the next start tries again, and says so
			s.log.Error("an earlier HAProxy is in the way", "error", err)
		}
		if s.hasConfig() {
			s.restart = time.After(0)
		}
		return nil
	}
	s.log.Info("adopted the running HAProxy", "pid", p.master.PID, "worker", worker)
	s.identify(p.master)
	if s.config() != nil {
		s.closingAgain(s.ctx)
	}
	if len(candidates) > 1 {
		s.log.Warn("another HAProxy runs with the same run directory; ending it")
		if err := s.sweepBut(p.master.PID); err != nil {
			s.log.Error("a second HAProxy is in the way", "error", err)
		}
	}
	return nil
}

// adoptable takes hold of the master, and finds its worker.
func (s *supervisor) adoptable(masters []ours.Process, peer int) (*proc, int, error) {
	pid, err := ours.Choose(masters, peer)
	if err != nil {
		return nil, 0, err
	}
	w, err := pidfd.Open(pid)
	if err != nil {
		return nil, 0, err
	}
	s.logFile.of(w.PID)
	s.logFile.skip()
	procs, err := s.awaitMaster(w)
	if runtime.LeadsNowhere(err) {
		procs, err = s.revive(w)
	}
	switch {
	case err != nil:
	case procs.Master.PID != w.PID:
		err = fmt.Errorf("pid %d answers on its socket", procs.Master.PID)
	case len(procs.Workers) == 0:
		err = errors.New("it has no worker")
	default:
		ctx, cancel := context.WithTimeout(s.ctx, masterTimeout)
		defer cancel()
		if info, err := s.Info(ctx); err == nil {
			s.note(info)
		}
		return &proc{master: w, adopted: true, started: time.Now()}, procs.Workers[0].PID, nil
	}
	w.Close()
	return nil, 0, err
}

// awaitMaster asks the master for its processes. One that is busy, as in a reload
// or on a machine whose processors are all taken, gets more time.
func (s *supervisor) awaitMaster(master *pidfd.Process) (output.Processes, error) {
	begun := time.Now()
	for {
		before := activityOf(master.PID)
		ctx, cancel := context.WithTimeout(s.ctx, masterTimeout)
		procs, err := s.Processes(ctx)
		cancel()
		busy := activityOf(master.PID).busySince(before)
		if !runtime.TimedOut(err) || !busy || time.Since(begun) > s.opt.BusyAfter {
			return procs, err
		}
	}
}

// recall finds out which configuration the adopted p runs with: nil when that
// cannot be told, and then the first Apply reloads.
func (s *supervisor) recall(p *proc) *haproxy.Config {
	cfg, err := s.readConfig()
	note, err2 := readIfThere(s.runningFile())
	if err != nil && !errors.Is(err, os.ErrNotExist) || err2 != nil {
		s.log.Warn("the configuration that HAProxy runs with is not known", "error", errors.Join(err, err2))
	}
	if strings.TrimSpace(string(note)) != fmt.Sprintf("%d %s", p.master.PID, digest(cfg)) {
		return nil
	}
	return cfg
}
