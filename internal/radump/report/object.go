package report

import (
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"strconv"
	"time"
)

// Object builds a JSON object whose keys stay in the order in which they
// came.
type Object struct{ b []byte }

func (o *Object) key(key string) {
	separator := byte(',')
	if len(o.b) == 0 {
		separator = '{'
	}
	o.b = append(o.b, separator)
	o.b = strconv.AppendQuote(o.b, key)
	o.b = append(o.b, ':')
}

// Text adds a string.
func (o *Object) Text(key, value string) {
	o.key(key)
	quoted, _ := json.Marshal(value) // a string cannot fail
	o.b = append(o.b, quoted...)
}

// Addr adds an address.
func (o *Object) Addr(key string, value netip.Addr) { o.Text(key, value.String()) }

// Hex adds octets as hexadecimal digits.
func (o *Object) Hex(key string, value []byte) { o.Text(key, hex.EncodeToString(value)) }

// Number adds a number.
func (o *Object) Number(key string, value int64) {
	o.key(key)
	o.b = strconv.AppendInt(o.b, value, 10)
}

// Seconds adds a time in whole seconds.
func (o *Object) Seconds(key string, value time.Duration) {
	o.key(key)
	o.b = strconv.AppendInt(o.b, int64(value/time.Second), 10)
}

// Milliseconds adds a time in whole milliseconds.
func (o *Object) Milliseconds(key string, value time.Duration) {
	o.key(key)
	o.b = strconv.AppendInt(o.b, value.Milliseconds(), 10)
}

// Boolean adds true or false.
func (o *Object) Boolean(key string, value bool) {
	o.key(key)
	o.b = strconv.AppendBool(o.b, value)
}

// Texts adds a list of strings, which may be empty.
func (o *Object) Texts(key string, values []string) {
	o.key(key)
	if values == nil {
		values = []string{}
	}
	list, _ := json.Marshal(values) // strings cannot fail
	o.b = append(o.b, list...)
}

// Objects adds a list of objects, which may be empty.
func (o *Object) Objects(key string, values []Object) {
	o.key(key)
	o.b = append(o.b, '[')
	for i := range values {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = append(o.b, values[i].End()...)
	}
	o.b = append(o.b, ']')
}

// Nested adds an object.
func (o *Object) Nested(key string, value Object) {
	o.key(key)
	o.b = append(o.b, value.End()...)
}

// End returns the object as JSON. Nothing may be added afterwards.
func (o *Object) End() []byte {
	if len(o.b) == 0 {
		return []byte("{}")
	}
	return append(o.b, '}')
}
