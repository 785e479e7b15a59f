package role

// DropReason says why a message was not accepted. Its String is the metric
// label and the word in the log.
type DropReason uint8

// Reasons for dropping a signalling message, in the order in which they are
// checked.
const (
	DropMalformed        DropReason = iota + 1 // does not decode
	DropChecksum                               // RFC 6275 §9.2: silent
	DropUnknownType                            // answered with a Binding Error
	DropNotForUs                               // destination is not this node's
	DropUnexpected                             // a message this role does not take
	DropUnroutable                             // care-of or home address not unicast routable
	DropNoHomeAddress                          // Home Address option missing or in a message that must not have it
	DropUnknownMobile                          // no mobile with this home address: default deny
	DropUnauthenticated                        // no authentication where it is required
	DropUnknownSPI                             // ESP by a security association that is not known
	DropBadAuthenticator                       // authenticator does not verify
	DropUndecipherable                         // ESP that verifies and decrypts to nonsense: another key
	DropReplay                                 // sequence or timestamp not fresh
	DropUnsolicited                            // acknowledges nothing that is outstanding
	DropRateLimited                            // too many
	DropProhibited                             // by configuration
)

func (r DropReason) String() string {
	switch r {
	case DropMalformed:
		return "malformed"
	case DropChecksum:
		return "checksum"
	case DropUnknownType:
		return "unknown_type"
	case DropNotForUs:
		return "not_for_us"
	case DropUnexpected:
		return "unexpected"
	case DropUnroutable:
		return "unroutable"
	case DropNoHomeAddress:
		return "home_address_option"
	case DropUnknownMobile:
		return "unknown_mobile"
	case DropUnauthenticated:
		return "unauthenticated"
	case DropUnknownSPI:
		return "unknown_spi"
	case DropBadAuthenticator:
		return "bad_authenticator"
	case DropUndecipherable:
		return "undecipherable"
	case DropReplay:
		return "replay"
	case DropUnsolicited:
		return "unsolicited"
	case DropRateLimited:
		return "rate_limited"
	case DropProhibited:
		return "prohibited"
	default:
		return "unknown"
	}
}
