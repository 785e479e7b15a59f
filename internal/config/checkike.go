package config

import (
	"slices"

	"roam6/internal/esp"
	"roam6/internal/ike"
	"roam6/overlay"
)

// keyOptions are those that a key exchange makes superfluous.
func keyOptions() []string {
	return append([]string{optionSPIToAgent, optionKeyToAgent, optionSPIToMobile, optionKeyToMobile}, tunnelOptions()...)
}

// exchangeOnly are those that mean nothing without one.
func exchangeOnly() []string {
	return []string{optionLocalID, optionRemoteID, optionPSK, optionLocalCert, optionLocalKey, optionCA, optionMOBIKE, optionVici}
}

// checkExchange checks that keys are either configured or negotiated.
func (e *ipsecEntry) checkExchange() {
	if !e.value.exchange.enabled {
		for _, option := range keyOptions()[:4] {
			if !e.has(option) {
				e.missing(option, "with keys that are configured all of "+optionSPIToAgent+", "+optionKeyToAgent+", "+optionSPIToMobile+" and "+optionKeyToMobile+"; or "+optionIKE+" '1'")
			}
		}
		if i := slices.IndexFunc(exchangeOnly(), e.has); i >= 0 {
			e.wrong(exchangeOnly()[i], 0, optionIKE+" '1' in the section, which it is for; or nothing")
		}
		return
	}
	for _, option := range slices.Concat(keyOptions(), []string{optionWindow}, payloadOptionNames()) {
		if e.has(option) {
			e.wrong(option, 0, "nothing, because of "+optionIKE+" '1'; or no "+optionIKE)
		}
	}
	files := []string{optionLocalCert, optionLocalKey, optionCA}
	i := slices.IndexFunc(files, e.has)
	switch {
	case e.has(optionPSK) && i >= 0:
		e.wrong(files[i], 0, "nothing, because there is a "+optionPSK+"; or no "+optionPSK)
	case e.has(optionPSK):
	case i < 0:
		e.missing(optionPSK, "with "+optionIKE+" a secret that both have; or "+optionLocalCert+", "+optionLocalKey+" and "+optionCA)
	default:
		for _, option := range files {
			if !e.has(option) {
				e.missing(option, "without "+optionPSK+" all of "+optionLocalCert+", "+optionLocalKey+" and "+optionCA)
			}
		}
	}
}

// peer is what a section says of the key exchange, seen from one side.
func (e *ipsecEntry) peer(side overlay.Side) *ike.Peer {
	x := e.value.exchange
	if !x.enabled {
		return nil
	}
	p := ike.Peer{
		Ends: ike.Ends{Home: e.value.home, Agent: e.value.agent, Side: side}, Socket: x.socket,
		LocalID: x.localID, RemoteID: x.remoteID, PSK: x.psk, Certificate: x.cert, Key: x.key, Authority: x.ca, MOBIKE: x.mobike, Payload: e.value.payload.on,
	}
	if e.has(optionAlgorithm) {
		p.Algorithm = e.value.algorithm
	}
	return &p
}

// exchanged is the policy of a section whose keys are negotiated.
func (e *ipsecEntry) exchanged(side overlay.Side) esp.Policy {
	return esp.Policy{Home: e.value.home, Agent: e.value.agent, Side: side, Negotiated: &esp.Negotiated{}, Payload: e.value.payload.on}
}
