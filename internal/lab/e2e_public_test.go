package lab_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// publicPort is a cloud that clients reach through port 443 alone: keystone and horizon by
// name, glance by path, which its hosts do not see.
const publicPort = `
cloud: public
vips:
  - name: api
    addresses: [10.64.20.10/24]
    hostname: cloud.example.org
    interface: eno1
    endpoints: [public]
    vrrp: {router_id: 7, interval: 50ms}
    tls: {certificate: /etc/holdfast/tls/not-here.pem, redirect: true}
    public:
      by: name
      services: {glance: /image, horizon: cloud.example.org}
  - name: inside
    addresses: [10.64.20.11/24]
    hostname: inside.example.org
    interface: eno1
    endpoints: [internal, admin]
    vrrp: {router_id: 8, interval: 50ms}
controllers:
  - {name: ctl1, address: 10.64.20.13}
  - {name: ctl2, address: 10.64.20.14}
services:
  keystone: {}
  glance: {}
  horizon: {}
`

// TestPublicPort has clients reach three services through one port, over HTTP/1.1 and
// HTTP/2, and moves the VIP under a load and a download: nothing of them fails.
func TestPublicPort(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl here; apt-get install curl")
	}
	c := newCloud(t, "public", publicPort)
	c.await("answers", c.allAnswer)
	c.await("holdfast to call the lab well", c.well)
	for _, tt := range []struct{ url, want string }{
		{"https://keystone.example.org/v3", "200 keystone"},
		{"https://cloud.example.org/image/healthcheck", "200 glance"},
		{"https://cloud.example.org/", "200 horizon"},
		{"https://CLOUD.example.org/image", "300 glance"},
		{"http://keystone.example.org/v3", "301 https://keystone.example.org/v3"},
		{"http://inside.example.org:5000/v3", "200 keystone"},
	} {
		for _, version := range []string{"--http1.1", "--http2"} {
			out, _ := c.run("client", "curl", "-ksS", version, "-m", "5", "-o", "/dev/null", "-w", "%{http_code} %header{x-service}%header{location}", tt.url)
			if out != tt.want {
				t.Errorf("%s %s: %q, want %q", version, tt.url, out, tt.want)
			}
		}
	}
	for _, tt := range []struct{ url, name, want string }{
		{"https://cloud.example.org/", "other.example.org", "421"},
		{"https://cloud.example.org/", "keystone.example.org", "300"}, // its one certificate is for all names
	} {
		if out, _ := c.run("client", "curl", "-ksS", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: "+tt.name, tt.url); out != tt.want {
			t.Errorf("%s as %s: %s, want %s", tt.url, tt.name, out, tt.want)
		}
	}
	if out, code := c.run("client", "curl", "-ksS", "-m", "1", "https://cloud.example.org:5000/"); code == 0 {
		t.Errorf("the public VIP answers at port 5000: %s", out)
	}
	c.during(plannedLoad(5*time.Second), func() {
		first := c.holder()
		download := make(chan string, 1)
		go func() {
			out, _ := c.run("client", "curl", "-ksS", "--http2", "-m", "20", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", "https://cloud.example.org/image/stream/3000000?s=3")
			download <- out
		}()
		time.Sleep(500 * time.Millisecond)
		c.handOver(first, c.others(first)[0])
		if out := <-download; out != "200 3000000" {
			t.Errorf("the download through the move: %s", out)
		}
	})
	c.await("nothing to be left of the handover", c.settled)
	out, _ := c.run("client", "sh", "-c", fmt.Sprintf("curl -ksS -m 5 http://%s:9470/metrics | grep holdfast_client_requests_total | grep vip=.api", c.holder()))
	for _, service := range []string{"keystone", "glance", "horizon"} {
		if !strings.Contains(out, `service="`+service+`"`) {
			t.Errorf("no request of %s was counted:\n%s", service, out)
		}
	}
}
