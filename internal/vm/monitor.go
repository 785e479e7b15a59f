package vm

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Monitor gives orders to a machine that runs, by QEMU's Machine Protocol (QMP): a JSON
// value for each order and each answer, and events in between. It is safe for use by
// several goroutines.
type Monitor struct {
	mu     sync.Mutex
	stream io.ReadWriter
	answer *json.Decoder
	ready  bool // the capabilities are negotiated
}

// NewMonitor speaks on the other end of Machine.Monitor. QEMU begins when it has started.
func NewMonitor(stream io.ReadWriter) *Monitor {
	return &Monitor{stream: stream, answer: json.NewDecoder(stream)}
}

// order is what QMP can be told.
type order struct {
	Execute   string `json:"execute"`
	Arguments *link  `json:"arguments,omitempty"`
}

// link are the arguments of set_link.
type link struct {
	Name string `json:"name"`
	Up   bool   `json:"up"`
}

// SetLink gives a card, by its index in Machine.Cards, its carrier, or takes it away. It
// returns when QEMU has done so; the kernel in the machine hears of it by an interrupt.
func (m *Monitor) SetLink(card int, up bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ready {
		if err := m.tell(order{Execute: "qmp_capabilities"}); err != nil {
			return err
		}
		m.ready = true
	}
	return m.tell(order{Execute: "set_link", Arguments: &link{cardName(card), up}})
}

// tell gives an order and waits for its answer. The greeting and events are neither
// "return" nor "error".
func (m *Monitor) tell(o order) error {
	fail := func(err error) error { return fmt.Errorf("QEMU's monitor: %s: %w", o.Execute, err) }
	if err := json.NewEncoder(m.stream).Encode(o); err != nil {
		return fail(err)
	}
	for {
		var a struct {
			Return *json.RawMessage `json:"return"`
			Error  *struct {
				Description string `json:"desc"`
			} `json:"error"`
		}
		switch err := m.answer.Decode(&a); {
		case err != nil:
			return fail(err)
		case a.Error != nil:
			return fail(fmt.Errorf("it says: %s", a.Error.Description))
		case a.Return != nil:
			return nil
		}
	}
}
