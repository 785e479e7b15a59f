package mip6

import "strconv"

// String returns the message's name as in RFC 6275 §6.1, in lower case.
func (t MessageType) String() string {
	switch t {
	case TypeBindingRefreshRequest:
		return "binding refresh request"
	case TypeHomeTestInit:
		return "home test init"
	case TypeCareOfTestInit:
		return "care-of test init"
	case TypeHomeTest:
		return "home test"
	case TypeCareOfTest:
		return "care-of test"
	case TypeBindingUpdate:
		return "binding update"
	case TypeBindingAcknowledgement:
		return "binding acknowledgement"
	case TypeBindingError:
		return "binding error"
	default:
		return "MH type " + strconv.Itoa(int(t))
	}
}

// String returns the option's name as in the RFC that defines it, in lower case.
func (t OptionType) String() string {
	switch t {
	case OptionPad1:
		return "Pad1"
	case OptionPadN:
		return "PadN"
	case OptionRefreshAdvice:
		return "binding refresh advice"
	case OptionAlternateCareOf:
		return "alternate care-of address"
	case OptionNonceIndices:
		return "nonce indices"
	case OptionAuthorizationData:
		return "binding authorization data"
	case OptionMobileNetworkPrefix:
		return "mobile network prefix"
	case OptionMobileNodeID:
		return "mobile node identifier"
	case OptionAuthentication:
		return "mobility message authentication"
	case OptionReplayProtection:
		return "mobility message replay protection"
	default:
		return "mobility option " + strconv.Itoa(int(t))
	}
}

// String returns the status in words, with its number: what an operator looks
// up is the number, what they understand are the words.
func (s Status) String() string {
	number := strconv.Itoa(int(s))
	words := ""
	switch s {
	case StatusAccepted:
		words = "accepted"
	case StatusPrefixDiscoveryNecessary:
		words = "accepted but prefix discovery necessary"
	case StatusReasonUnspecified:
		words = "reason unspecified"
	case StatusAdministrativelyProhibited:
		words = "administratively prohibited"
	case StatusInsufficientResources:
		words = "insufficient resources"
	case StatusHomeRegistrationNotSupported:
		words = "home registration not supported"
	case StatusNotHomeSubnet:
		words = "not home subnet"
	case StatusNotHomeAgent:
		words = "not home agent for this mobile node"
	case StatusDuplicateAddress:
		words = "duplicate address detection failed"
	case StatusSequenceOutOfWindow:
		words = "sequence number out of window"
	case StatusExpiredHomeNonce:
		words = "expired home nonce index"
	case StatusExpiredCareOfNonce:
		words = "expired care-of nonce index"
	case StatusExpiredNonces:
		words = "expired nonces"
	case StatusTypeChangeDisallowed:
		words = "registration type change disallowed"
	case StatusRouterNotPermitted:
		words = "mobile router operation not permitted"
	case StatusInvalidPrefix:
		words = "invalid prefix"
	case StatusNotAuthorizedForPrefix:
		words = "not authorized for prefix"
	case StatusForwardingSetupFailed:
		words = "forwarding setup failed, prefixes missing"
	case StatusIDMismatch:
		words = "message identifier mismatch"
	case StatusMessageIDRequired:
		words = "message identifier required"
	case StatusAuthenticationFailed:
		words = "authentication failed"
	case StatusInvalidCareOfAddress:
		words = "invalid care-of address"
	default:
		if s.Accepted() {
			return "accepted, status " + number
		}
		return "rejected, status " + number
	}
	return words + " (" + number + ")"
}

// String returns the letters of the flags that are set, such as "AHR".
func (f UpdateFlags) String() string {
	const letters = "AHLKMRPF"
	var b [len(letters)]byte
	n := 0
	for i := range len(letters) {
		if f&(UpdateAcknowledge>>i) != 0 {
			b[n] = letters[i]
			n++
		}
	}
	return string(b[:n])
}

// String returns the letters of the flags that are set, such as "KR".
func (f AckFlags) String() string {
	const letters = "KRP"
	var b [len(letters)]byte
	n := 0
	for i := range len(letters) {
		if f&(AckKeyManagement>>i) != 0 {
			b[n] = letters[i]
			n++
		}
	}
	return string(b[:n])
}
