package spec

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"strings"
	"time"

	"holdfast/internal/status"

	"go.yaml.in/yaml/v4"
)

// Notify says whom incidents are told; nobody where there is neither a webhook nor a command.
type Notify struct {
	// Webhook is a URL that takes them by POST; empty: WebhookFile, if any, is the path of
	// a file that has it, for one that is a secret.
	Webhook, WebhookFile string
	// Command is a program and its arguments, which takes them on stdin.
	Command []string
	// After is how long an incident lasts, and how long it is over, before that is told;
	// 1s to 1h, default 10s.
	After time.Duration
	// Planned has planned work told, too.
	Planned bool
}

// Any reports whether anybody is told.
func (n Notify) Any() bool { return n.Webhook != "" || n.WebhookFile != "" || len(n.Command) > 0 }

// defaultNotifyAfter is longer than a failover takes to be over.
const defaultNotifyAfter = 10 * time.Second

type rawNotify struct {
	node                 *yaml.Node
	webhook, webhookFile item[string]
	command              rawList[item[string]]
	after                item[time.Duration]
	planned              item[bool]
}

func notifyFields() []field[rawNotify] {
	return []field[rawNotify]{
		{
			"webhook", false, "the URL that takes incidents by POST", "https://alerts.example.org/holdfast",
			func(d *decoder, v value, n *rawNotify) { n.webhook = d.webhook(v) },
		},
		{
			"webhook_file", false, "the path of a file that has the URL, where that is a secret", "/etc/holdfast/webhook",
			func(d *decoder, v value, n *rawNotify) { n.webhookFile = d.filePath(v) },
		},
		{
			"command", false, "a list of a program and its arguments", "[/usr/local/bin/page, --cloud, eqiad1]",
			func(d *decoder, v value, n *rawNotify) {
				n.command = each(d, v, "write the path of a program, or an argument", d.text)
			},
		},
		{
			"after", false, "how long an incident lasts before it is told, 1s to 1h", "30s",
			func(d *decoder, v value, n *rawNotify) { n.after = d.notifyAfter(v) },
		},
		{
			"planned", false, "true or false", "true",
			func(d *decoder, v value, n *rawNotify) { n.planned = d.boolean(v) },
		},
	}
}

// webhook reads a URL. What is wrong with it is said without it: it may have a secret.
func (d *decoder) webhook(v value) item[string] {
	t := d.text(v)
	if !t.ok {
		return t
	}
	u, err := url.Parse(t.v)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "":
		d.fail(status.CodeBadWebhook, v.node, v.path+" is not the URL of a web server", v.hint.String())
	case u.User != nil:
		d.fail(status.CodeBadWebhook, v.node, v.path+" has a password in it, which everybody sees who may read this file", "put the URL into a file that only root may read, and name that with webhook_file")
	default:
		return t
	}
	return bad[string](v)
}

func (d *decoder) notifyAfter(v value) item[time.Duration] {
	i := d.duration(v)
	if i.ok && (i.v < time.Second || i.v > time.Hour) {
		d.fail(status.CodeBadDuration, v.node, fmt.Sprintf("%s %s is out of range", v.path, i.v), "write a time from 1s to 1h")
		return bad[time.Duration](v)
	}
	return i
}

// checkNotify checks the keys of notify against each other.
func (c *checker) checkNotify() {
	n := c.raw.notify
	if n.node == nil || n.node.Kind != yaml.MappingNode { // which was said
		return
	}
	if n.webhook.given() && n.webhookFile.given() {
		c.fail(status.CodeBadWebhook, n.webhookFile.node, "notify has both webhook and webhook_file", "leave one out")
	}
	if n.command.ok && len(n.command.all) == 0 {
		c.fail(status.CodeBadCommand, n.command.node, "notify.command is empty", "write the path of a program, or leave command out")
	}
	if n.command.ok && len(n.command.all) > 0 {
		if program := n.command.all[0]; program.ok && !strings.HasPrefix(program.v, "/") {
			c.fail(status.CodeBadCommand, program.node, fmt.Sprintf("notify.command has %s as the program, which is not its whole path", quote(program.v)), "write the whole path, beginning with /")
		}
	}
	if !n.webhook.given() && !n.webhookFile.given() && n.command.node == nil {
		c.fail(status.CodeMissingKey, n.node, "notify has neither webhook nor command", "write one of webhook, webhook_file and command, or leave notify out")
	}
}

func (raw rawNotify) build() Notify {
	n := Notify{Webhook: raw.webhook.v, WebhookFile: raw.webhookFile.v, Planned: raw.planned.v, After: raw.after.or(defaultNotifyAfter)}
	for _, word := range raw.command.all {
		n.Command = append(n.Command, word.v)
	}
	return n
}

// notifyValues gives what a diff shows. A path or a query of a URL may be a secret, and so may
// an argument of the command: of these a few digits are shown that change with them.
func notifyValues(n Notify) []pair {
	webhook := none
	if u, err := url.Parse(n.Webhook); err == nil && n.Webhook != "" {
		webhook = u.Scheme + "://" + u.Host
		if u.Path != "" || u.RawQuery != "" {
			webhook += "/... " + hidden(n.Webhook)
		}
	}
	command := none
	if len(n.Command) > 0 {
		if command = n.Command[0]; len(n.Command) > 1 {
			command += " ... " + hidden(strings.Join(n.Command, "\x00"))
		}
	}
	return []pair{
		{"notify.webhook", webhook},
		{"notify.webhook_file", orNone(n.WebhookFile)},
		{"notify.command", command},
		{"notify.after", span(n.After)},
		{"notify.planned", fmt.Sprint(n.Planned)},
	}
}

func hidden(secret string) string { return fmt.Sprintf("(%.3x)", sha256.Sum256([]byte(secret))) }
