package trace

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"

	"roam6/internal/role"
	"roam6/mip6"
)

// encodeAction is the inverse of decodeAction.
func (c clock) encodeAction(a role.Action) (Tagged, error) {
	name := reflect.TypeOf(a).Name()
	switch a := a.(type) {
	case role.Send:
		b, err := packetOctets(a.Packet)
		if err != nil {
			return Tagged{}, err
		}
		return tag(name, send{Packet: b, Link: a.Link, SPI: a.SPI})
	case role.SendICMP:
		b, err := icmpOctets(a.Packet)
		if err != nil {
			return Tagged{}, err
		}
		return tag(name, sendICMP{Packet: b, Link: a.Link})
	case role.SendDHCP:
		return tag(name, dhcpReceived{Link: a.Link, From: a.From, To: a.To, Message: withoutAuthentication(a.Message)})
	case role.PrefixesDelegated:
		return tag(name, c.ofDelegated(a))
	case role.Dropped:
		return tag(name, dropped{Reason: a.Reason.String(), From: a.From})
	case role.Log:
		return tag(name, logged{Level: a.Level, Message: a.Message, Attrs: attributes(a.Attrs)})
	case role.Remember:
		return tag(name, remember{c.ofMemory(a.Memory)})
	case role.HandoverDone:
		return tag(name, handoverDone{c.ofHandover(a.Handover)})
	case role.BindingChanged:
		return tag(name, bindingChanged{Mobile: a.Mobile, Home: a.Home, From: a.From, To: a.To, Cause: a.Cause.String()})
	default:
		return tag(name, a)
	}
}

// decodeAction reads an action of any type.
func (c clock) decodeAction(t Tagged) (role.Action, error) {
	switch t.Type {
	case "Send":
		var w send
		if err := read(t, &w); err != nil {
			return nil, err
		}
		p, err := mip6.ParsePacket(w.Packet)
		p.MH = nil
		return role.Send{Packet: p, Link: w.Link, SPI: w.SPI}, err
	case "SendICMP":
		var w sendICMP
		if err := read(t, &w); err != nil {
			return nil, err
		}
		p, err := mip6.ParseICMPPacket(w.Packet)
		return role.SendICMP{Packet: p, Link: w.Link}, err
	case "RequestKeys":
		return action(t, new(role.RequestKeys))
	case "RenewKeys":
		return action(t, new(role.RenewKeys))
	case "JoinAnycast":
		return action(t, new(role.JoinAnycast))
	case "LeaveAnycast":
		return action(t, new(role.LeaveAnycast))
	case "HomeAddressFormed":
		return action(t, new(role.HomeAddressFormed))
	case "SolicitRouter":
		return action(t, new(role.SolicitRouter))
	case "ProbeAddress":
		return action(t, new(role.ProbeAddress))
	case "ProbeNeighbor":
		return action(t, new(role.ProbeNeighbor))
	case "AnnounceAddress":
		return action(t, new(role.AnnounceAddress))
	case "DefendAddress":
		return action(t, new(role.DefendAddress))
	case "UndefendAddress":
		return action(t, new(role.UndefendAddress))
	case "AssignAddress":
		return action(t, new(role.AssignAddress))
	case "UnassignAddress":
		return action(t, new(role.UnassignAddress))
	case "AddRoute":
		return action(t, new(role.AddRoute))
	case "RemoveRoute":
		return action(t, new(role.RemoveRoute))
	case "LearnNeighbor":
		return action(t, new(role.LearnNeighbor))
	case "ForgetNeighbor":
		return action(t, new(role.ForgetNeighbor))
	case "Forward":
		return action(t, new(role.Forward))
	case "AdvertisePrefix":
		return action(t, new(role.AdvertisePrefix))
	case "Remember":
		var w remember
		if err := read(t, &w); err != nil {
			return nil, err
		}
		m, err := c.memory(w.Memory)
		return role.Remember{Memory: m}, err
	case "Dropped":
		var w dropped
		err := read(t, &w)
		return role.Dropped{Reason: named(w.Reason, role.DropMalformed), From: w.From}, err
	case "Log":
		var w logged
		err := read(t, &w)
		return role.Log{Level: w.Level, Message: w.Message, Attrs: slogAttributes(w.Attrs)}, err
	case "HandoverDone":
		var w handoverDone
		err := read(t, &w)
		return role.HandoverDone{Handover: c.handover(w.Handover)}, err
	case "BindingChanged":
		var w bindingChanged
		err := read(t, &w)
		return role.BindingChanged{Mobile: w.Mobile, Home: w.Home, From: w.From, To: w.To, Cause: named(w.Cause, role.CauseUpdate)}, err
	case "Acknowledged":
		return action(t, new(role.Acknowledged))
	case "ConfigureLink":
		return action(t, new(role.ConfigureLink))
	case "DeclineAddress":
		return action(t, new(role.DeclineAddress))
	case "LeaseChanged":
		return action(t, new(role.LeaseChanged))
	case "DelegationEnded":
		return action(t, new(role.DelegationEnded))
	case "SendDHCP":
		var w dhcpReceived
		err := read(t, &w)
		return role.SendDHCP{Link: w.Link, From: w.From, To: w.To, Message: w.Message}, err
	case "NumberDownstream":
		return action(t, new(role.NumberDownstream))
	case "PrefixesDelegated":
		var w prefixesDelegated
		err := read(t, &w)
		return c.delegated(w), err
	case "Save":
		return action(t, new(role.Save))
	default:
		return nil, fmt.Errorf("%w: action %.40q is unknown", ErrFormat, t.Type)
	}
}

// action is event for actions.
func action(t Tagged, into any) (role.Action, error) {
	err := read(t, into)
	a, _ := reflect.ValueOf(into).Elem().Interface().(role.Action)
	return a, err
}

// strict reads JSON, all of it and without members that are not known, into what a pointer
// points to.
func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	switch err := d.Decode(into); {
	case err == io.EOF:
		return io.ErrUnexpectedEOF // there is nothing
	case err != nil:
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the value")
	}
	return nil
}
