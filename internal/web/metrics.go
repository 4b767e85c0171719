package web

import (
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"holdfast/internal/status"
	"holdfast/internal/traffic"
)

// metricsHandler serves the Snapshot and what clients got as metrics, and what Prometheus's
// own collectors tell of the process.
func metricsHandler(snapshot func() status.Snapshot, clients func() traffic.Account, log *slog.Logger) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		newCollector(snapshot),
		newClientCollector(clients),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 8,
		Timeout:             writeTimeout,
	})
}

// A collector makes metrics of a Snapshot each time it is asked.
type collector struct {
	snapshot func() status.Snapshot
	desc     descriptions
}

// descriptions are the metrics there are; docs/json.md lists them.
type descriptions struct {
	info, started, taken                                          *prometheus.Desc
	configInfo, configLoaded, configRejected, configRaw           *prometheus.Desc
	haproxyInfo, haproxyState, haproxySince                       *prometheus.Desc
	haproxyRestarts, haproxyReloads, haproxyConnections           *prometheus.Desc
	vipState, vipSince, vipPresent, vipPriority, vipHolder        *prometheus.Desc
	vipFinishing, vipSendErrors, vipHeldUp, vipPutBack, vipClaims *prometheus.Desc
	vipTransitions, advertsSent, advertsSeen, advertsDrop         *prometheus.Desc
	vipAnnounced, bgpUp, bgpSince, bgpRoutes, bgpBFD              *prometheus.Desc
	certificateEnd, certificateRefused                            *prometheus.Desc
	serviceState, serviceHosts                                    *prometheus.Desc
	hostUp, hostDrained, hostSince, hostSessions                  *prometheus.Desc
	hostCondition, serviceLastResort, serviceHeld                 *prometheus.Desc
	pathRTT, pathLost                                             *prometheus.Desc
	findings, finding, drained                                    *prometheus.Desc
}

func newCollector(snapshot func() status.Snapshot) *collector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("holdfast_"+name, help, labels, nil)
	}
	host := []string{"service", "host", "address"}
	return &collector{snapshot, descriptions{
		info:    d("info", "Always 1; the labels tell which agent this is.", "version", "cloud", "controller"),
		started: d("start_time_seconds", "When the agent started, in Unix time."),
		taken:   d("snapshot_time_seconds", "When the agent's loop made what is shown here, in Unix time."),

		configInfo:     d("config_info", "Always 1; the label is the digest of the spec in use.", "digest"),
		configLoaded:   d("config_loaded_time_seconds", "When the spec in use was brought into force, in Unix time."),
		configRaw:      d("config_raw_lines", "Lines of HAProxy's configuration that the spec in use has as they are."),
		configRejected: d("config_rejected", "1 when the spec file as it is now was refused and the one before it is in use."),

		haproxyInfo:        d("haproxy_info", "Always 1; the label is HAProxy's version.", "version"),
		haproxyState:       d("haproxy_state", "1 for the state that HAProxy is in, 0 for the others.", "state"),
		haproxySince:       d("haproxy_state_since_time_seconds", "When HAProxy came into its state, in Unix time."),
		haproxyRestarts:    d("haproxy_restarts_total", "How often HAProxy was started again since the agent started."),
		haproxyReloads:     d("haproxy_reloads_total", "How often HAProxy was reloaded since the agent started."),
		haproxyConnections: d("haproxy_client_connections", "Open connections of clients."),

		vipState:       d("vip_state", "1 for the VRRP state that the VIP is in here, 0 for the others.", "vip", "state"),
		vipSince:       d("vip_state_since_time_seconds", "When the VIP came into its state here, in Unix time.", "vip"),
		vipPresent:     d("vip_address_present", "1 when the kernel has the VIP's addresses at this moment.", "vip"),
		vipFinishing:   d("vip_finishing_connections", "Connections that go on here after the VIP was handed over.", "vip"),
		vipPriority:    d("vip_priority", "The VRRP priority of this controller.", "vip"),
		vipHolder:      d("vip_holder", "1 for the controller that holds the VIP, as far as this one knows; none where it knows of nobody.", "vip", "holder"),
		vipTransitions: d("vip_transitions_total", "Changes of the VRRP state since the agent started.", "vip"),
		advertsSent:    d("vip_adverts_sent_total", "VRRP adverts sent.", "vip"),
		advertsSeen:    d("vip_adverts_received_total", "VRRP adverts received and accepted.", "vip"),
		vipSendErrors:  d("vip_send_errors_total", "VRRP packets that could not be sent.", "vip"),
		vipHeldUp:      d("vip_held_up_total", "How often the agent was held up for so long that another controller may have taken over.", "vip"),
		vipPutBack:     d("vip_addresses_put_back_total", "Addresses of the VIP that somebody else had removed, and the agent put back.", "vip"),
		vipAnnounced:   d("vip_announced", "1 for what becomes of the VIP here, 0 for the others; only of VIPs that are announced by BGP.", "vip", "state"),
		bgpUp:          d("bgp_session_up", "1 when the BGP session with a router is established.", "peer"),
		bgpSince:       d("bgp_session_since_time_seconds", "When the BGP session with a router was established, or ended, in Unix time.", "peer"),
		bgpRoutes:      d("bgp_session_routes", "Routes that the router was told.", "peer"),
		bgpBFD:         d("bgp_bfd_up", "1 when the BFD session with a router is up; only where there is BFD.", "peer"),
		vipClaims:      d("vip_foreign_claims_total", "Frames (ARP, neighbour advertisements) in which another machine said that an address of the VIP is its own.", "vip"),
		advertsDrop:    d("vip_adverts_rejected_total", "VRRP adverts received and dropped, by reason.", "vip", "reason"),

		certificateEnd:     d("certificate_expiry_timestamp_seconds", "When the certificate of the VIP ends, or the first of its chain, in Unix time.", "vip"),
		certificateRefused: d("certificate_refused", "1 when the file of the VIP's certificate has one that was refused, and the one before it is in use.", "vip"),

		serviceState:      d("service_state", "1 for the state that the service is in as this HAProxy sees it, 0 for the others.", "service", "state"),
		serviceHosts:      d("service_hosts", "Hosts of the service in each state as this HAProxy sees them.", "service", "state"),
		serviceHeld:       d("service_held", "1 when this controller holds a VIP that the service listens on: when clients reach the service by its HAProxy.", "service"),
		serviceLastResort: d("service_last_resort", "1 while no host passes its check and those that accept a connection serve all the same.", "service"),
		hostCondition:     d("service_host_condition", "1 for what the evidence says of the host, 0 for the others; all 0 where nothing is known.", append(slices.Clip(host), "condition")...),

		hostUp:       d("service_host_up", "1 when the host's health check passes and it is not drained.", host...),
		hostDrained:  d("service_host_drained", "1 when the host is taken out on purpose.", host...),
		hostSince:    d("service_host_state_since_time_seconds", "When the host came into its state, in Unix time.", host...),
		hostSessions: d("service_host_sessions", "Requests or connections that the host has at the moment.", host...),

		pathRTT:  d("path_rtt_seconds", "The median time of a TCP handshake with the host, of the last 20, one a second.", "host", "address"),
		pathLost: d("path_lost_ratio", "The share of these that got no answer, 0 to 1.", "host", "address"),

		drained:  d("drained", "1 when the service is taken out on this controller, or with the label empty the whole controller.", "service"),
		findings: d("findings", "What the agent finds wrong or worth knowing, by severity.", "severity"),
		finding:  d("finding", "How many findings of a kind there are, of the agent and of a file that it has refused; none of a kind that there is none of.", "code", "severity"),
	}}
}

// Describe is part of prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	d := c.desc
	for _, desc := range []*prometheus.Desc{
		d.info, d.started, d.taken, d.configInfo, d.configLoaded, d.configRejected, d.configRaw,
		d.haproxyInfo, d.haproxyState, d.haproxySince, d.haproxyRestarts, d.haproxyReloads, d.haproxyConnections,
		d.vipState, d.vipSince, d.vipPresent, d.vipFinishing, d.vipPriority, d.vipHolder, d.vipTransitions, d.vipSendErrors, d.vipHeldUp, d.vipPutBack, d.vipClaims, d.vipAnnounced, d.bgpUp, d.bgpSince, d.bgpRoutes, d.bgpBFD, d.advertsSent, d.advertsSeen, d.advertsDrop,
		d.certificateEnd, d.certificateRefused,
		d.serviceState, d.serviceHosts, d.hostUp, d.hostDrained, d.hostSince, d.hostSessions, d.hostCondition, d.serviceLastResort, d.serviceHeld,
		d.pathRTT, d.pathLost, d.drained, d.findings, d.finding,
	} {
		ch <- desc
	}
}

// Collect is part of prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.snapshot()
	out := emitter{ch}
	c.agent(out, s)
	c.haproxy(out, s.HAProxy)
	for _, v := range s.VIPs {
		c.vip(out, v)
	}
	for _, one := range s.BGP {
		c.session(out, one)
	}
	c.drains(out, s)
	for _, service := range s.Services {
		c.service(out, service)
		out.gauge(c.desc.serviceHeld, one(service.HeldBy(s.VIPs)), service.Name)
	}
	for _, p := range s.Paths {
		c.path(out, p)
	}
}

// emitter sends constant metrics. One that cannot be made, as of a label that
// is not UTF-8, is reported by the registry and costs no other.
type emitter struct{ ch chan<- prometheus.Metric }

func (e emitter) send(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels []string) {
	m, err := prometheus.NewConstMetric(desc, kind, value, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(desc, err)
	}
	e.ch <- m
}

func (e emitter) gauge(desc *prometheus.Desc, value float64, labels ...string) {
	e.send(desc, prometheus.GaugeValue, value, labels)
}

func (e emitter) counter(desc *prometheus.Desc, value float64, labels ...string) {
	e.send(desc, prometheus.CounterValue, value, labels)
}

// time sends t, unless it is unknown.
func (e emitter) time(desc *prometheus.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		e.gauge(desc, float64(t.UnixNano())/1e9, labels...)
	}
}

func (c *collector) agent(out emitter, s status.Snapshot) {
	out.gauge(c.desc.info, 1, s.Version, s.Cloud, s.Controller)
	out.time(c.desc.started, s.Started)
	out.time(c.desc.taken, s.Time)
	out.gauge(c.desc.configInfo, 1, s.Config.Digest)
	out.time(c.desc.configLoaded, s.Config.Loaded)
	out.gauge(c.desc.configRejected, one(len(s.Config.Rejected) > 0))
	out.gauge(c.desc.configRaw, float64(s.Config.RawLines))
	for _, severity := range []status.Severity{status.Error, status.Warning, status.Info} {
		n := 0
		for _, f := range s.Findings {
			if f.Severity == severity {
				n++
			}
		}
		out.gauge(c.desc.findings, float64(n), string(severity))
	}
	for k, n := range kinds(s) {
		out.gauge(c.desc.finding, float64(n), k.code, string(k.severity))
	}
}

// A kind is of findings that are counted together.
type kind struct {
	code     string
	severity status.Severity
}

// kinds counts the findings of s. Those of a file that was refused are warnings: what was in
// force stays so. It has only codes of a running cloud: what else is wrong in a file is for
// who wrote it.
func kinds(s status.Snapshot) map[kind]int {
	count := map[kind]int{}
	add := func(code string, severity status.Severity) {
		if status.ActionOf(code) != "" {
			count[kind{code, severity}]++
		}
	}
	for _, f := range s.Findings {
		add(f.Code, f.Severity)
	}
	for _, f := range s.Config.Rejected {
		add(f.Code, status.Warning)
	}
	return count
}

// drains tells of the whole controller always, and of the services that are
// drained by themselves.
func (c *collector) drains(out emitter, s status.Snapshot) {
	out.gauge(c.desc.drained, one(status.DrainedWhole(s.Drains)), "")
	for _, d := range s.Drains {
		if d.Service != "" {
			out.gauge(c.desc.drained, 1, d.Service)
		}
	}
}

func (c *collector) haproxy(out emitter, h status.HAProxy) {
	out.gauge(c.desc.haproxyInfo, 1, h.Version)
	for _, state := range []status.HAProxyState{
		status.HAProxyStarting, status.HAProxyRunning, status.HAProxyHung, status.HAProxyDown, status.HAProxyFailed,
	} {
		out.gauge(c.desc.haproxyState, one(h.State == state), string(state))
	}
	out.time(c.desc.haproxySince, h.Since)
	out.counter(c.desc.haproxyRestarts, float64(h.Restarts))
	out.counter(c.desc.haproxyReloads, float64(h.Reloads))
	out.gauge(c.desc.haproxyConnections, float64(h.Connections))
}

func (c *collector) vip(out emitter, v status.VIP) {
	if v.Announce != "" {
		c.announced(out, v)
		return
	}
	for _, state := range []status.VIPState{status.Initialize, status.Backup, status.Active} {
		out.gauge(c.desc.vipState, one(v.State == state), v.Name, string(state))
	}
	out.time(c.desc.vipSince, v.Since, v.Name)
	out.gauge(c.desc.vipPresent, one(v.Present), v.Name)
	finishing := 0
	if v.Giving != nil {
		finishing = v.Giving.Connections
	}
	out.gauge(c.desc.vipFinishing, float64(finishing), v.Name)
	out.gauge(c.desc.vipPriority, float64(v.Priority), v.Name)
	if v.Holder != "" {
		out.gauge(c.desc.vipHolder, 1, v.Name, v.Holder)
	}
	out.counter(c.desc.vipTransitions, float64(v.Transitions), v.Name)
	out.counter(c.desc.advertsSent, float64(v.AdvertsSent), v.Name)
	out.counter(c.desc.advertsSeen, float64(v.AdvertsSeen), v.Name)
	out.counter(c.desc.vipSendErrors, float64(v.SendErrors), v.Name)
	out.counter(c.desc.vipHeldUp, float64(v.HeldUp), v.Name)
	out.counter(c.desc.vipPutBack, float64(v.PutBack), v.Name)
	out.counter(c.desc.vipClaims, float64(v.Claims), v.Name)
	for reason, n := range v.Rejected {
		out.counter(c.desc.advertsDrop, float64(n), v.Name, reason)
	}
	c.certificate(out, v)
}

func (c *collector) certificate(out emitter, v status.VIP) {
	if v.Certificate != nil {
		end, refused := v.Certificate.NotAfter, v.Certificate.Refused
		for _, more := range v.MoreCertificates {
			if more.NotAfter.Before(end) {
				end = more.NotAfter
			}
			refused = refused || more.Refused
		}
		out.time(c.desc.certificateEnd, end, v.Name)
		out.gauge(c.desc.certificateRefused, one(refused), v.Name)
	}
}

// announced tells of a VIP that is announced by BGP, which has no state of VRRP.
func (c *collector) announced(out emitter, v status.VIP) {
	for _, state := range []status.AnnouncedState{status.Withdrawn, status.Resuming, status.Announced, status.Draining, status.Lingering} {
		out.gauge(c.desc.vipAnnounced, one(v.Announced == state), v.Name, string(state))
	}
	out.time(c.desc.vipSince, v.Since, v.Name)
	out.gauge(c.desc.vipPresent, one(v.Present), v.Name)
	out.counter(c.desc.vipPutBack, float64(v.PutBack), v.Name)
	c.certificate(out, v)
}

// session tells of the BGP session with one router.
func (c *collector) session(out emitter, s status.BGPSession) {
	out.gauge(c.desc.bgpUp, one(s.Established), s.Peer)
	out.time(c.desc.bgpSince, s.Since, s.Peer)
	out.gauge(c.desc.bgpRoutes, float64(s.Routes), s.Peer)
	if s.BFD != "" {
		out.gauge(c.desc.bgpBFD, one(s.BFD == "up"), s.Peer)
	}
}

// path tells of the way to one host; of its time only where one is known.
func (c *collector) path(out emitter, p status.Path) {
	if p.RTT > 0 {
		out.gauge(c.desc.pathRTT, p.RTT.Seconds(), p.Host, p.Address)
	}
	if p.Sent > 0 {
		out.gauge(c.desc.pathLost, float64(p.Lost)/float64(p.Sent), p.Host, p.Address)
	}
}

func (c *collector) service(out emitter, s status.Service) {
	count := map[status.ServiceState]int{}
	for _, h := range s.Hosts {
		count[h.State]++
		out.gauge(c.desc.hostUp, one(h.State == status.Up), s.Name, h.Name, h.Address)
		out.gauge(c.desc.hostDrained, one(h.State == status.Drain), s.Name, h.Name, h.Address)
		out.time(c.desc.hostSince, h.Since, s.Name, h.Name, h.Address)
		out.gauge(c.desc.hostSessions, float64(h.Sessions), s.Name, h.Name, h.Address)
		for _, condition := range status.Conditions() {
			out.gauge(c.desc.hostCondition, one(h.Condition == condition), s.Name, h.Name, h.Address, string(condition))
		}
	}
	out.gauge(c.desc.serviceLastResort, one(s.LastResort), s.Name)
	for _, state := range status.ServiceStates() {
		if state != status.Drain { // of a host only
			out.gauge(c.desc.serviceState, one(s.State == state), s.Name, string(state))
		}
		if state != status.Degraded { // of a service only
			out.gauge(c.desc.serviceHosts, float64(count[state]), s.Name, string(state))
		}
	}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
