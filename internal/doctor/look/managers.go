package look

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v4"

	"holdfast/internal/doctor"
	"holdfast/internal/spec"
)

// managers reads what configures the devices.
func (l *looker) managers(context.Context) {
	if !l.facts.Systemd {
		return // a container, whose devices others configure
	}
	all := slices.Concat(l.netplan(), l.networkd(), l.networkManager(), l.cloudInit())
	slices.SortStableFunc(all, func(a, b doctor.Manager) int { return strings.Compare(a.Name+a.Link, b.Name+b.Link) })
	l.facts.Managers = all
}

// glob gives the files below the root that a pattern matches, as paths of this host, sorted.
func (l *looker) glob(pattern string) []string {
	all, err := filepath.Glob(l.path(pattern))
	if err != nil {
		return nil
	}
	for i, path := range all {
		all[i] = "/" + strings.TrimPrefix(strings.TrimPrefix(path, l.opt.Root), "/")
	}
	slices.Sort(all)
	return all
}

// networkd reads the .network files. The first in the order of names that matches a device
// is its (systemd.network(5)); one below /etc takes the place of one of the same name, and
// drop-ins add to it.
func (l *looker) networkd() (all []doctor.Manager) {
	if len(l.glob("run/systemd/netif/state")) == 0 {
		return nil // it does not run
	}
	dirs := []string{"usr/lib/systemd/network", "run/systemd/network", "etc/systemd/network"}
	files := map[string]string{}
	for _, dir := range dirs {
		for _, file := range l.glob(dir + "/*.network") {
			files[filepath.Base(file)] = file
		}
	}
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	taken := map[string]bool{}
	for _, name := range names {
		match, keep := unitSettings(l.read(files[name]))
		for _, dir := range dirs {
			for _, drop := range l.glob(dir + "/" + name + ".d/*.conf") {
				if _, k := unitSettings(l.read(drop)); k != "" {
					keep = k
				}
			}
		}
		for _, link := range l.facts.Links {
			if taken[link.Name] || !matches(match, link.Name) {
				continue
			}
			taken[link.Name] = true
			// What netplan writes is netplan's to be changed.
			if !strings.HasPrefix(name, "10-netplan-") {
				all = append(all, doctor.Manager{Name: "systemd-networkd", Link: link.Name, File: files[name], Keeps: slices.Contains([]string{"yes", "true", "1", "on"}, keep)})
			}
		}
	}
	return all
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := filepath.Match(p, name)
		return ok && err == nil
	})
}

// unitSettings gives which devices a .network file is for, and its KeepConfiguration.
func unitSettings(text string) (match []string, keep string) {
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		key, value, found := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case strings.HasPrefix(line, "["):
			section = line
		case found && section == "[Match]" && key == "Name":
			match = append(match, strings.Fields(value)...)
		case found && section == "[Network]" && key == "KeepConfiguration":
			keep = strings.ToLower(value)
		}
	}
	return match, keep
}

// netplan reads which devices netplan configures by networkd, and whether it calls them
// critical: what its files say of one device is put together, the later ones before.
func (l *looker) netplan() (all []doctor.Manager) {
	type device struct {
		Critical *bool `yaml:"critical"`
	}
	renderer := ""
	for _, file := range l.glob("etc/netplan/*.yaml") {
		var plan struct {
			Network struct {
				Renderer  string            `yaml:"renderer"`
				Ethernets map[string]device `yaml:"ethernets"`
				Bonds     map[string]device `yaml:"bonds"`
				Bridges   map[string]device `yaml:"bridges"`
				VLANs     map[string]device `yaml:"vlans"`
			} `yaml:"network"`
		}
		if yaml.Unmarshal([]byte(l.read(file)), &plan) != nil {
			continue
		}
		n := plan.Network
		renderer = cmp.Or(n.Renderer, renderer)
		for _, devices := range []map[string]device{n.Ethernets, n.Bonds, n.Bridges, n.VLANs} {
			for name, d := range devices {
				i := slices.IndexFunc(all, func(m doctor.Manager) bool { return m.Link == name })
				if i < 0 {
					i = len(all)
					all = append(all, doctor.Manager{Name: "netplan", Link: name, File: file})
				}
				if d.Critical != nil {
					all[i].Keeps = *d.Critical
				}
			}
		}
	}
	if renderer == "NetworkManager" {
		return nil
	}
	return all
}

// networkManager matters where a VIP has a device of its own, which it would take over.
func (l *looker) networkManager() []doctor.Manager {
	i := slices.IndexFunc(l.opt.Spec.VIPs, func(v spec.VIP) bool { return v.Device == spec.Macvlan })
	if i < 0 || len(l.glob("run/NetworkManager")) == 0 {
		return nil
	}
	const main = "/etc/NetworkManager/NetworkManager.conf"
	keeps := slices.ContainsFunc(append(l.glob("etc/NetworkManager/conf.d/*.conf"), main), func(file string) bool {
		for line := range strings.Lines(l.read(file)) {
			if strings.HasPrefix(strings.TrimSpace(line), "unmanaged-devices") && strings.Contains(line, "hf-") {
				return true
			}
		}
		return false
	})
	return []doctor.Manager{{Name: "NetworkManager", Link: l.opt.Spec.Interface(l.opt.Spec.VIPs[i], l.opt.Controller), File: main, Keeps: keeps}}
}

func (l *looker) cloudInit() []doctor.Manager {
	const config = "/etc/cloud/cloud.cfg"
	if l.read(config) == "" || len(l.glob("etc/cloud/cloud-init.disabled")) > 0 {
		return nil
	}
	off := slices.ContainsFunc(append(l.glob("etc/cloud/cloud.cfg.d/*.cfg"), config), func(file string) bool {
		var c struct {
			Network struct {
				Config yaml.Node `yaml:"config"`
			} `yaml:"network"`
		}
		return yaml.Unmarshal([]byte(l.read(file)), &c) == nil && c.Network.Config.Value == "disabled"
	})
	return []doctor.Manager{{Name: "cloud-init", File: config, Keeps: off}}
}
