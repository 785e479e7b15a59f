package config

import (
	"errors"
	"fmt"

	"roam6/internal/ike"
)

// exchangeDraft are the options of a key exchange.
type exchangeDraft struct {
	enabled           bool
	localID, remoteID string
	psk               ike.Secret
	cert, key, ca     string
	mobike            bool
	socket            string
}

// unlessIKE is what there is in place of options for keys.
const unlessIKE = "none; required without ike"

func exchangeOptions() []option[ipsecDraft] {
	exchange := func(field func(*exchangeDraft) *string) func(*ipsecDraft) *string {
		return func(d *ipsecDraft) *string { return field(&d.exchange) }
	}
	return []option[ipsecDraft]{
		one(optionIKE, boolean(), func(d *ipsecDraft) *bool { return &d.exchange.enabled }).fallback("0").
			help("Have strongSwan negotiate the keys by IKEv2 (RFC 4877 §7), in place of the options for SPIs and keys; for home tests, too. " +
				"roam6 tells strongSwan's charon what to do by its vici socket, takes the keys from the kernel, and takes everything back when it stops; charon is started by the system, and needs a kernel with IPsec for IPv6 (ESP). " +
				"Tell charon to leave the tunnel alone: `charon { interfaces_ignore = roam6 }` in strongswan.conf (`charon-systemd` in place of `charon` where that is how it is called), with the name of the tunnel device; `install_routes` stays on, as it is, or charon does not see the routes of care-of addresses. " +
				"The mobile sends no binding update before there are keys; a move later needs no new ones."),
		one(optionLocalID, identity(), exchange(func(x *exchangeDraft) *string { return &x.localID })).
			dependent("the home address at the mobile, the address of the home agent there").
			help("The IKE identity of this node: an address, a name, a mail address or a distinguished name. A certificate has to contain it. A home agent lets nobody but this identity have keys for the home address (RFC 4877 §4.2)."),
		one(optionRemoteID, identity(), exchange(func(x *exchangeDraft) *string { return &x.remoteID })).
			dependent("as of local_id").
			help("The IKE identity of the other node."),
		one(optionPSK, presharedKey(), func(d *ipsecDraft) *ike.Secret { return &d.exchange.psk }).
			dependent("none: certificates").
			help("The preshared key of mobile and home agent, another one for each mobile. `openssl rand -base64 32` makes one: what people can remember others can guess, from what they hear of one exchange."),
		one(optionLocalCert, absolutePath(4095), exchange(func(x *exchangeDraft) *string { return &x.cert })).
			dependent("none; required without psk").
			help("The certificate of this node, as a file in PEM or DER."),
		one(optionLocalKey, absolutePath(4095), exchange(func(x *exchangeDraft) *string { return &x.key })).
			dependent("none; required without psk").
			help("The private key of that, not encrypted: a file that only its owner can read."),
		one(optionCA, absolutePath(4095), exchange(func(x *exchangeDraft) *string { return &x.ca })).
			dependent("none; required without psk").
			help("The certificate of the authority that has issued the certificate of the other node."),
		one(optionMOBIKE, boolean(), func(d *ipsecDraft) *bool { return &d.exchange.mobike }).fallback("1").
			help("Let the key exchange follow the mobile by MOBIKE (RFC 4555): bit K of binding updates and acknowledgements (RFC 6275 §11.7.1). Otherwise it is made anew after each move, and the keys with it."),
		one(optionVici, socketPath(), exchange(func(x *exchangeDraft) *string { return &x.socket })).fallback(ike.DefaultSocket).
			help("The vici socket of charon."),
	}
}

// identity is an IKE identity in charon's notation.
func identity() kind[string] {
	const limit = 255
	return kind[string]{
		name: fmt.Sprintf("an IKE identity of at most %d characters", limit),
		parse: func(s string) (string, error) {
			if s == "" || len(s) > limit {
				return "", errMalformed
			}
			return s, nil
		},
	}
}

// presharedKey is a secret that is not guessed at once.
func presharedKey() kind[ike.Secret] {
	const least, most = 16, 1024
	return kind[ike.Secret]{
		name:   fmt.Sprintf("a secret of %d to %d characters", least, most),
		secret: true,
		parse: func(s string) (ike.Secret, error) {
			if len(s) < least || len(s) > most {
				return "", errors.New("this has " + fmt.Sprint(len(s)))
			}
			return ike.Secret(s), nil
		},
	}
}
