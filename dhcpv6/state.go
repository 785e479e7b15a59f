package dhcpv6

// State is what a client is about.
type State uint8

// States of a client.
const (
	StateIdle       State = iota // nothing is asked for
	StateSoliciting              // looking for servers
	StateRequesting              // asking the server it has chosen
	StateConfirming              // asking whether leases of before are good on this link
	StateInforming               // asking for information only
	StateInformed                // has information only
	StateBound                   // has leases
	StateRenewing                // T1 has passed
	StateRebinding               // T2 has passed
	StateEnded                   // nobody gave anything: Config.MaxSolicits
	StateReleasing               // stopping
	StateDone                    // stopped
)

func (s State) String() string {
	switch s {
	case StateIdle:
		return "idle"
	case StateSoliciting:
		return "soliciting"
	case StateRequesting:
		return "requesting"
	case StateConfirming:
		return "confirming"
	case StateInforming:
		return "informing"
	case StateInformed:
		return "informed"
	case StateBound:
		return "bound"
	case StateRenewing:
		return "renewing"
	case StateRebinding:
		return "rebinding"
	case StateEnded:
		return "ended"
	case StateReleasing:
		return "releasing"
	case StateDone:
		return "done"
	default:
		return "unknown"
	}
}
