package web

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"holdfast/internal/traffic"
)

// steps is a History that tells its spans apart by their steps.
type steps struct{}

func (steps) Hour() (traffic.History, error) {
	return traffic.HistoryOf([]traffic.Frame{{Number: 7, Points: []traffic.Point{{Service: "nova", Requests: 12}}}}, 6, 2, 1, 10*time.Second), nil
}
func (steps) Day() (traffic.History, error)   { return traffic.History{Step: 5 * time.Minute}, nil }
func (steps) Month() (traffic.History, error) { return traffic.History{Step: time.Hour}, nil }

func TestClientsAnswer(t *testing.T) {
	s := demoServer(view{})
	s.opt.History = steps{}
	url := start(t, s)
	for span, step := range map[string]time.Duration{"": 10 * time.Second, "?span=hour": 10 * time.Second, "?span=day": 5 * time.Minute, "?span=month": time.Hour} {
		resp, body := get(t, "GET", url+"/clients"+span)
		var answer Clients
		if err := json.Unmarshal([]byte(body), &answer); err != nil || resp.StatusCode != 200 || answer.Step != step || answer.Controller == "" {
			t.Errorf("%q: %d, %v\n%s", span, resp.StatusCode, err, body)
		}
		if step == 10*time.Second && (answer.Known[0] || !answer.Known[1] || answer.Services[0].Requests[1] != 12) {
			t.Errorf("%q: %s", span, body)
		}
	}
	if resp, body := get(t, "GET", url+"/clients?span=year"); resp.StatusCode != 400 || !strings.Contains(body, "want hour, day or month") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}
