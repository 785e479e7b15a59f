package role

import "net/netip"

// BindingChanged tells that a binding of a home agent began, moved to another care-of
// address, or ended. It comes behind the changes of the data plane and the
// acknowledgement that belong to it. What is restored after a restart is no change.
type BindingChanged struct {
	Mobile string // name of the mobile's section
	Home   netip.Addr
	// From and To are the preferred care-of addresses before and after; invalid: there
	// was none, or is none any more.
	From, To netip.Addr
	Cause    BindingCause
}

func (BindingChanged) isAction() {}

// BindingCause is what changed a binding.
type BindingCause uint8

// Causes of a change.
const (
	CauseUpdate        BindingCause = iota + 1 // a binding update
	CauseLifetime                              // it was not refreshed in time
	CauseConfiguration                         // the mobile is not served like that any more
	CauseElsewhere                             // another on the home link has the home address
)

func (c BindingCause) String() string {
	switch c {
	case CauseUpdate:
		return "update"
	case CauseLifetime:
		return "lifetime"
	case CauseConfiguration:
		return "configuration"
	case CauseElsewhere:
		return "elsewhere"
	default:
		return "unknown"
	}
}
