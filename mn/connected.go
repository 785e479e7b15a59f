package mn

// Connected reports whether packets to the home address arrive, as far as the node can
// know: away from home it has an attachment that works, and what the home agent has
// acknowledged leads there, by an anchor that has acknowledged it too where there is one
// between; at home the return is complete, or the home agent has not answered it for so
// long that the home address serves without. What is broken beyond the access router shows
// when an update or the tunnel goes unanswered, no earlier.
func (n *Node) Connected() bool {
	a := n.current
	switch {
	case n.stopping || !a.works():
		return false
	case a.home:
		return a.homeState == homeSettled || a.homeState == homeUnanswered
	case n.bound(a):
		return true
	default: // or the home agent of before carries on until the next one has answered
		r := n.carrier()
		return r != n.reg && r.registered && r.careOf == a.careOf
	}
}
