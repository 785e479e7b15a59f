package cn

import (
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// FuzzHandle gives a correspondent whatever the network may: it must not panic,
// and keep nothing of it, since nobody can guess a token.
//
// Covers: Attack: malformed options, C12.
func FuzzHandle(f *testing.F) {
	w := newWorld(f, testConfig())
	m := w.mobile(homeA, careOf1).test()
	for _, p := range []mip6.Packet{
		{Source: homeA, Destination: own, Message: mip6.HomeTestInit{}},
		{Source: careOf1, Destination: own, Message: mip6.CareOfTestInit{}},
		m.deletes().packet(),
	} {
		b, err := p.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint16(0))
	}
	forged := m.registers(time.Minute)
	forged.key = mip6.BindingKey{}
	b, err := forged.packet().Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, uint16(300))
	f.Fuzz(func(t *testing.T, b []byte, seconds uint16) {
		p, err := mip6.ParsePacket(b)
		if err != nil {
			return
		}
		w := newWorld(t, testConfig())
		w.mobile(homeA, careOf1).test()
		w.run(time.Duration(seconds) * time.Second)
		actions := w.receive(p)
		w.wantEmpty()
		answers := 0
		for _, a := range actions {
			switch a.(type) {
			case role.Send, role.Dropped:
				answers++
			}
		}
		if _, update := p.Message.(mip6.BindingUpdate); answers == 0 && !update {
			t.Error("neither answered nor counted")
		}
		w.wantEmpty()
	})
}
