package web

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"holdfast/internal/traffic"
)

// A clientCollector makes metrics of what clients got each time it is asked. Its series are
// bounded by the services and VIPs of the spec, the classes of codes and the causes.
type clientCollector struct {
	account func() traffic.Account
	desc    clientDescriptions
}

// clientDescriptions are the metrics there are; docs/json.md lists them.
type clientDescriptions struct {
	requests, failed, cut, gaveUp, retries, redispatched, refused *prometheus.Desc
	queued, queue, empty, firstByte, lost, strange                *prometheus.Desc
}

func newClientCollector(account func() traffic.Account) *clientCollector {
	key := []string{"service", "vip", "interface"}
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("holdfast_client_"+name, help, append(slices.Clip(key), labels...), nil)
	}
	return &clientCollector{account, clientDescriptions{
		requests:     d("requests_total", "Requests that ended, by the class of the code that the client got; \"none\" where it got none, and for TCP sessions.", "code"),
		failed:       d("failed_total", "Requests that got an answer of 500 or more, or no whole answer, and TCP sessions that were not to be had or were cut off."),
		cut:          d("cut_total", "Those of the failed that were cut off when a host had them."),
		gaveUp:       d("gave_up_total", "Requests whose client went before its answer was whole; they are not among the failed."),
		retries:      d("retries_total", "How often requests were sent to a host again."),
		redispatched: d("redispatched_total", "Requests that another host got in the end than the first one."),
		refused:      d("refused_total", "Requests that HAProxy answered in the place of a host, or had to end, by cause.", "cause"),
		queued:       d("queued_total", "Requests that waited in a queue for a millisecond or more."),
		queue:        d("queue_seconds_total", "How long they waited, together."),
		empty:        d("connections_without_request_total", "Connections of which no whole request came, and TLS handshakes that failed; those where nothing came are left out."),
		firstByte:    d("first_byte_seconds", "From the end of a request to the first byte of a host's answer."),

		lost:    prometheus.NewDesc("holdfast_client_log_lines_lost_total", "Lines of HAProxy's log that came faster than the agent read them: what they were of is in no other figure.", nil, nil),
		strange: prometheus.NewDesc("holdfast_client_log_lines_strange_total", "Lines that came from who is not HAProxy, and were not counted.", nil, nil),
	}}
}

// within are the buckets of the histogram: bounds of those that traffic counts in.
func within() []time.Duration {
	return []time.Duration{
		time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
		200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, 60 * time.Second,
	}
}

// Describe is part of prometheus.Collector.
func (c *clientCollector) Describe(ch chan<- *prometheus.Desc) {
	d := c.desc
	for _, desc := range []*prometheus.Desc{
		d.requests, d.failed, d.cut, d.gaveUp, d.retries, d.redispatched, d.refused, d.queued, d.queue, d.empty, d.firstByte, d.lost, d.strange,
	} {
		ch <- desc
	}
}

// Collect is part of prometheus.Collector.
func (c *clientCollector) Collect(ch chan<- prometheus.Metric) {
	out := emitter{ch}
	account := c.account()
	for i := range account.Sums {
		c.one(out, &account.Sums[i])
	}
	out.counter(c.desc.lost, float64(account.Lost))
	out.counter(c.desc.strange, float64(account.Strange))
}

// one tells of a service on a VIP. What was not seen of codes and causes has no series.
func (c *clientCollector) one(out emitter, s *traffic.Sum) {
	key := []string{s.Service, s.VIP, s.Interface}
	with := func(label string) []string { return append(slices.Clip(key), label) }
	for class, n := range s.Codes {
		if n > 0 || class == 2 || class == 5 {
			out.counter(c.desc.requests, float64(n), with(traffic.ClassName(class))...)
		}
	}
	for _, cause := range traffic.Causes() {
		if n := s.Refused[cause]; n > 0 {
			out.counter(c.desc.refused, float64(n), with(cause.String())...)
		}
	}
	for _, counter := range []struct {
		desc  *prometheus.Desc
		value float64
	}{
		{c.desc.failed, float64(s.Failed)},
		{c.desc.cut, float64(s.Cut)},
		{c.desc.gaveUp, float64(s.GaveUp)},
		{c.desc.retries, float64(s.Retries)},
		{c.desc.redispatched, float64(s.Redispatched)},
		{c.desc.queued, float64(s.Queued)},
		{c.desc.queue, s.QueueTime.Seconds()},
		{c.desc.empty, float64(s.Noise)},
	} {
		out.counter(counter.desc, counter.value, key...)
	}
	c.histogram(out, s, key)
}

func (c *clientCollector) histogram(out emitter, s *traffic.Sum, key []string) {
	counts, total := s.Buckets(within())
	buckets := make(map[float64]uint64, len(counts))
	for i, at := range within() {
		buckets[at.Seconds()] = counts[i]
	}
	m, err := prometheus.NewConstHistogram(c.desc.firstByte, total, s.FirstSum.Seconds(), buckets, key...)
	if err != nil {
		m = prometheus.NewInvalidMetric(c.desc.firstByte, err)
	}
	out.ch <- m
}
