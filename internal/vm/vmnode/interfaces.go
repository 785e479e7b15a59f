package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// card is an interface of this namespace, and the machine's card that takes its place.
type card struct {
	name      string
	index     int
	mac       net.HardwareAddr
	mtu       int
	addresses []netip.Prefix // but link-local ones
}

// taken are the interfaces of this namespace while a machine has their place: IPv6 is off
// at them, so that this kernel neither answers nor forwards.
type taken []card

// interfaces reads what there is but lo. Routes that do not follow from addresses are not
// known here, and not taken over.
func interfaces() (taken, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var all taken
	for _, l := range links {
		a := l.Attrs()
		if a.Flags&net.FlagLoopback != 0 {
			continue
		}
		addresses, err := netlink.AddrList(l, netlink.FAMILY_V6)
		if err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", a.Name, err)
		}
		c := card{name: a.Name, index: a.Index, mac: a.HardwareAddr, mtu: a.MTU}
		for _, x := range addresses {
			ip, _ := netip.AddrFromSlice(x.IP)
			if bits, _ := x.Mask.Size(); !ip.IsLinkLocalUnicast() {
				c.addresses = append(c.addresses, netip.PrefixFrom(ip, bits))
			}
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("there is no interface but lo in this network namespace")
	}
	return all, nil
}

// setting is the value of a variable of IPv6 in this namespace.
func setting(of, name string) (string, error) {
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + of + "/" + name)
	return strings.TrimSpace(string(b)), err
}

// take silences this kernel.
func (t taken) take() error {
	for _, c := range t {
		if err := c.disable("1"); err != nil {
			return err
		}
	}
	return nil
}

// give puts back what was there before take.
func (t taken) give() error {
	var errs []error
	for _, c := range t {
		errs = append(errs, c.disable("0"))
		link, err := netlink.LinkByIndex(c.index)
		if err != nil {
			errs = append(errs, fmt.Errorf("interface %s: %w", c.name, err))
			continue
		}
		for _, a := range c.addresses {
			ip := &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), 128)}
			if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ip, Flags: unix.IFA_F_NODAD}); err != nil {
				errs = append(errs, fmt.Errorf("give %s its address %v back: %w", c.name, a, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (c card) disable(value string) error {
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+c.name+"/disable_ipv6", []byte(value), 0); err != nil {
		return fmt.Errorf("switch IPv6 at %s: %w", c.name, err)
	}
	return nil
}

// settings are the variables that the machine gets from this namespace: how it forwards,
// and what it takes from whom.
func settings() []string {
	return []string{"forwarding", "accept_ra", "autoconf", "accept_dad", "dad_transmits", "accept_redirects"}
}

// script is how the machine's shell makes the interfaces: functions of guest.sh.
func (t taken) script() (string, error) {
	var b strings.Builder
	for _, name := range settings() {
		value, err := setting("default", name)
		if err != nil {
			return "", fmt.Errorf("settings of this namespace: %w", err)
		}
		fmt.Fprintf(&b, "setting %s %s\n", name, value)
	}
	for _, c := range t {
		fmt.Fprintf(&b, "card %v %s %d\n", c.mac, c.name, c.mtu)
		for _, a := range c.addresses {
			fmt.Fprintf(&b, "ip addr add %v dev %s\n", a, c.name)
		}
	}
	return b.String(), nil
}
