package config

// checkLinks checks that no interface has two jobs that exclude each other.
func checkLinks(s sections, tunnel string) {
	notTunnel := func(e section, option string, item int, name string) {
		if name == tunnel {
			e.wrong(option, item, "another interface: this is the tunnel_device of the globals section")
		}
	}
	for _, e := range s.mobileNodes {
		if !e.enabled {
			continue
		}
		for i, name := range e.value.Uplinks {
			notTunnel(e.section, optionUplink, i, name)
		}
		for i, name := range e.value.Downstreams {
			notTunnel(e.section, optionDownstream, i, name)
		}
	}
	for _, e := range s.requests {
		if !e.enabled {
			continue
		}
		notTunnel(e.section, optionUplink, 0, e.value.Uplink)
		for i, name := range e.value.Downstreams {
			notTunnel(e.section, optionDownstream, i, name)
		}
	}
	for _, e := range s.homeAgents {
		if e.enabled {
			notTunnel(e.section, "interface", 0, e.value.Interface)
		}
	}
	for _, e := range s.anchors {
		if e.enabled {
			notTunnel(e.section, optionInterface, 0, e.value.Interface)
		}
	}
	up := s.uplinkOwners()
	s.checkDownstreams(up)
	for _, e := range s.interfaces {
		if !e.enabled {
			continue
		}
		name := e.value.Name
		notTunnel(e.section, optionInterface, 0, name)
		for i, upstream := range e.value.AnchorUpstreams {
			notTunnel(e.section, optionMapUpstream, i, upstream)
		}
		if !e.value.Advertise {
			continue
		}
		if other, ok := up[name]; ok && other.Type == "prefix_request" {
			e.wrong("interface", 0, "an interface that is not an uplink of "+quoted(other)+": its router is in the access network")
		} else if ok {
			// RFC 3963 §7.1: no router advertisements on the egress while away.
			e.wrong("interface", 0, "an interface that is not an uplink of "+quoted(other)+": a mobile does not advertise there")
		}
	}
}

// uplinkOwners are the sections that have an interface as uplink, a mobile's
// before a prefix_request.
func (s sections) uplinkOwners() map[string]section {
	up := map[string]section{}
	for _, e := range s.requests {
		if e.enabled {
			up[e.value.Uplink] = e.section
		}
	}
	for _, e := range s.mobileNodes {
		if e.enabled {
			for _, name := range e.value.Uplinks {
				up[name] = e.section
			}
		}
	}
	return up
}

// checkDownstreams checks that no downstream is an uplink, and that what a
// prefix_request numbers belongs to it alone: prefixes of the place where the
// router is, beside those that stay, would break what is begun with them.
func (s sections) checkDownstreams(up map[string]section) {
	check := func(e section, downstreams []string) {
		for i, name := range downstreams {
			if other, ok := up[name]; ok {
				e.wrong(optionDownstream, i, "an interface that is not an uplink of "+quoted(other))
			}
		}
	}
	owners := map[string]section{}
	for _, e := range s.mobileNodes {
		if !e.enabled {
			continue
		}
		check(e.section, e.value.Downstreams)
		for _, name := range e.value.Downstreams {
			owners[name] = e.section
		}
	}
	for _, e := range s.requests {
		if !e.enabled {
			continue
		}
		check(e.section, e.value.Downstreams)
		for i, name := range e.value.Downstreams {
			if other, ok := owners[name]; ok && other.Section != e.Section {
				e.wrong(optionDownstream, i, "an interface that is not a downstream of "+quoted(other))
				continue
			}
			owners[name] = e.section
		}
	}
}

// advertiseDownstream completes the interface sections of downstreams, where
// roam6 advertises also without a section.
func advertiseDownstream(s sections) {
	owners := map[string]section{}
	for _, e := range s.mobileNodes {
		for _, name := range e.value.Downstreams {
			if e.enabled {
				owners[name] = e.section
			}
		}
	}
	for _, e := range s.requests {
		for _, name := range e.value.Downstreams {
			if e.enabled {
				owners[name] = e.section
			}
		}
	}
	for i := range s.interfaces {
		e := &s.interfaces[i]
		owner, ok := owners[e.value.Name]
		switch {
		case !ok || !e.enabled:
		case !e.has(optionAdvertise):
			e.value.Advertise = true
		case !e.value.Advertise && e.sound:
			e.wrong(optionAdvertise, 0, "1, because the interface is a downstream of "+quoted(owner)+"; where another program is to advertise it is not listed there")
		}
	}
}
