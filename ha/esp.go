package ha

import (
	"net/netip"

	"roam6/internal/role"
	"roam6/mip6"
)

// permits drops a message of a mobile that uses IPsec if it did not come under it.
// That the security association is the home address's is known by then
// (role.MessageReceived.Protected).
func (a *Agent) permits(from, source netip.Addr, protected bool) bool {
	if h := a.homes[from]; h == nil || !h.ESP || protected {
		return true
	}
	a.drop(role.DropUnauthenticated, source)
	return false
}

// careOfProtected refuses an update whose care-of address ESP does not protect, as
// it does not the header before it: then the Alternate Care-of Address option must
// say it (RFC 3776 §4.3). One that asks for no binding needs none.
func careOfProtected(bu mip6.BindingUpdate, u *update) error {
	if _, ok := mip6.Find[mip6.AlternateCareOf](bu); ok || u.deregisters() {
		return nil
	}
	return mip6.ErrNoAuthentication
}
