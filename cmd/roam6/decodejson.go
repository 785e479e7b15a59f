package main

import (
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"strconv"
	"time"
)

// jsonObject builds a JSON object whose keys stay in the order in which they
// came.
type jsonObject struct{ b []byte }

func (o *jsonObject) key(key string) {
	separator := byte(',')
	if len(o.b) == 0 {
		separator = '{'
	}
	o.b = append(o.b, separator)
	o.b = strconv.AppendQuote(o.b, key)
	o.b = append(o.b, ':')
}

func (o *jsonObject) text(key, value string) {
	o.key(key)
	quoted, _ := json.Marshal(value) // a string cannot fail
	o.b = append(o.b, quoted...)
}

func (o *jsonObject) addr(key string, value netip.Addr) { o.text(key, value.String()) }
func (o *jsonObject) hex(key string, value []byte)      { o.text(key, hex.EncodeToString(value)) }

func (o *jsonObject) number(key string, value int64) {
	o.key(key)
	o.b = strconv.AppendInt(o.b, value, 10)
}

func (o *jsonObject) seconds(key string, value time.Duration) {
	o.key(key)
	o.b = strconv.AppendInt(o.b, int64(value/time.Second), 10)
}

func (o *jsonObject) milliseconds(key string, value time.Duration) {
	o.key(key)
	o.b = strconv.AppendInt(o.b, value.Milliseconds(), 10)
}

func (o *jsonObject) boolean(key string, value bool) {
	o.key(key)
	o.b = strconv.AppendBool(o.b, value)
}

func (o *jsonObject) texts(key string, values []string) {
	o.key(key)
	if values == nil {
		values = []string{}
	}
	list, _ := json.Marshal(values) // strings cannot fail
	o.b = append(o.b, list...)
}

func (o *jsonObject) objects(key string, values []jsonObject) {
	o.key(key)
	o.b = append(o.b, '[')
	for i := range values {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = append(o.b, values[i].end()...)
	}
	o.b = append(o.b, ']')
}

func (o *jsonObject) nested(key string, value jsonObject) {
	o.key(key)
	o.b = append(o.b, value.end()...)
}

func (o *jsonObject) end() []byte {
	if len(o.b) == 0 {
		return []byte("{}")
	}
	return append(o.b, '}')
}
