package anchor

import (
	"log/slog"

	"roam6/internal/esp"
	"roam6/internal/role"
	"roam6/mip6"
)

// protectedBy finds the visitor of an update that came under an IPsec association, which
// may be another anchor's of this node: nil is nobody.
//
// ESP protects neither the source address nor the header before it, and who can change
// those could turn the visitor's traffic on anybody. So the update has to say its
// on-link care-of address in the Alternate Care-of Address option, as at a home agent
// (RFC 3776 §4.3), although RFC 5380 §6.1 would do without; one that asks for no binding
// needs none. sealed tells that it has an authentication option of RFC 4285, which
// nobody can verify where there is no key for it.
func (a *Anchor) protectedBy(spi uint32, bu mip6.BindingUpdate, sealed bool, u *update) *visitor {
	v := a.protected[spi]
	_, named := mip6.Find[mip6.AlternateCareOf](bu)
	switch {
	case v == nil:
		a.unknown(spi, u)
		return nil
	case sealed && v.SA == nil:
		a.drop(role.DropUnauthenticated, u.source)
		return nil
	case !named && !u.deregisters():
		a.drop(role.DropUnauthenticated, u.source)
		if v.events.Allow(a.now, events) {
			a.log(slog.LevelWarn, "local binding update in ESP that does not protect its care-of address: the Alternate Care-of Address option is missing (RFC 3776 §4.3)",
				slog.String("visitor", v.Name), slog.Any("regional_care_of", u.home), slog.Any("care_of", u.careOf))
		}
		return nil
	}
	return v
}

// credentials are what a visitor is known by, whatever it is called.
type credentials struct {
	sa  mip6.SecurityAssociation // zero: none
	esp esp.Association          // zero: none
}

func (v Visitor) credentials() (c credentials) {
	if v.SA != nil {
		c.sa = *v.SA
	}
	if v.ESP != nil {
		c.esp = *v.ESP
	}
	return c
}

// configured reports whether a visitor is one of those that are known.
func (a *Anchor) configured(v *visitor) bool {
	if v.ESP != nil {
		return a.protected[v.ESP.SPI] == v
	}
	return a.visitors[v.SA.SPI] == v
}
