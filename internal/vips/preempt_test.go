package vips

import (
	"strings"
	"testing"
	"time"
)

// TestSetPreempt proves that a VIP is told to take itself back only while nobody
// else changes the options of its router, and as often as a reload takes it back.
func TestSetPreempt(t *testing.T) {
	a := newVIPs()
	s := mustParse(t, testSpec)
	o, err := a.newOwner(s, s.VIPs[0])
	if err != nil {
		t.Fatal(err)
	}
	a.all = []*owner{o}
	a.configuring.Lock() // a drain lowers the priority, say
	lowered := *o.view.Load()
	lowered.router.Priority /= 10
	done := make(chan bool)
	go func() { done <- a.SetPreempt("api", true) }()
	select {
	case <-done:
		t.Fatal("set while another one changes the options: the one or the other is lost")
	case <-time.After(50 * time.Millisecond): // it waits
	}
	o.view.Store(&lowered)
	a.configuring.Unlock()
	if !<-done {
		t.Error("not set")
	}
	if got := o.view.Load().router; !got.Preempt || got.Priority != lowered.router.Priority {
		t.Errorf("preempt %v, priority %d; want true, and %d as the drain has it", got.Preempt, got.Priority, lowered.router.Priority)
	}
	if a.SetPreempt("api", true) {
		t.Error("set again, where it is")
	}
	next, err := a.newOwner(s, mustParse(t, strings.Replace(testSpec, "20ms", "30ms", 1)).VIPs[0])
	if err != nil {
		t.Fatal(err)
	}
	if a.keep([]*owner{o}, next) != o || o.view.Load().router.Preempt {
		t.Fatal("a reload did not set it back, which it does")
	}
	if !a.SetPreempt("api", true) || !o.view.Load().router.Preempt {
		t.Error("not set after a reload")
	}
}
