package kernel

import (
	"fmt"
	"strconv"

	"roam6/internal/nlsock"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
)

// ends finds a device for each tunnel of a mobile, with its ends. Those that cannot be
// carried fail here.
func (p *path) ends(steps []step) {
	for i := range steps {
		s := &steps[i]
		if s.new == nil {
			continue
		}
		if s.new.MTU-headerLength < leastMTU {
			s.err = fmt.Errorf("%w: it takes %d octets", errFragments, s.new.MTU)
			continue
		}
		if s.key.Side == overlay.MobileSide {
			s.err = p.device(s)
			s.new.astray = p.elsewhere(s.new.Path)
		}
	}
}

// device finds or makes the device of a mobile's tunnel.
func (p *path) device(s *step) error {
	t := s.new
	want := link{local: t.Path.Local, remote: t.Path.Remote, on: t.Path.Link, mtu: t.MTU - headerLength}
	have := link{}
	if s.old != nil {
		have = s.old.device
		t.seen = s.old.seen
	}
	if have.index == 0 {
		have, _ = p.inherited.claim(want)
	}
	if have.index == 0 {
		want.name = p.freeName()
		if err := p.create(&want); err != nil {
			return err
		}
		t.device = want
		return nil
	}
	want.index, want.name = have.index, have.name
	t.device = want
	switch {
	case want == have:
		return nil
	case want.local == have.local && want.remote == have.remote && want.on == have.on:
		return p.commitAll("MTU of "+want.name, []rtbatch.Request{want.resize(want.mtu)})
	default:
		return p.commitAll("path of "+want.name, want.change())
	}
}

// freeName is a name that no device of ours has.
func (p *path) freeName() string {
	taken := make(map[string]bool)
	for _, t := range p.mobiles {
		taken[t.device.name] = true
	}
	for _, d := range p.inherited.devices {
		taken[d.name] = true
	}
	for n := 1; ; n++ {
		name := p.external.name + strconv.Itoa(n)
		if _, err := p.index(name); !taken[name] && err != nil {
			return name
		}
	}
}

// dropDevices removes the devices of tunnels that are gone or failed.
func (p *path) dropDevices(steps []step) {
	var requests []rtbatch.Request
	done := make(map[int]bool)
	for _, s := range steps {
		if s.new != nil && s.err == nil {
			continue
		}
		for _, t := range []*tunnel{s.new, s.old} {
			if t == nil || t.device.index == 0 {
				continue
			}
			if !done[t.device.index] {
				done[t.device.index] = true
				p.countDrops(t)
				requests = append(requests, t.device.remove())
			}
			t.device = link{}
		}
	}
	p.route.Commit(requests, func(_ int, err error) {
		if !nlsock.Gone(err) {
			p.log().Warn("a tunnel device remains", "engine", Name, "reason", err)
		}
	})
}
