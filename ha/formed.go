package ha

import "net/netip"

// Formed are the home addresses beside the configured one under which a mobile may
// register: one for every other home prefix (RFC 6275 §11.4.1).
func (a *Agent) Formed(configured netip.Addr) (list []netip.Addr) {
	h := a.homes[configured]
	if h == nil {
		return nil
	}
	for _, other := range h.homes {
		if other.addr != configured {
			list = append(list, other.addr)
		}
	}
	return list
}

// HasHome reports whether an address is one under which a mobile may register, be it
// bound or not.
func (a *Agent) HasHome(addr netip.Addr) bool { return a.homes[addr] != nil }
